"""The project itself, updated, on a cloud: a stack of an earlier commit with a cache volume gets this code, and that
commit's again. One story, in this order."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from registry_stack.deployment import current
from registry_stack.lab import lab, settings
from tests.stack.stack_under_test import DEPLOY_S, StackUnderTest
from tests.stack.test_volume import VolumeWorld
from tests.support.commands import ROOT, Done, run
from tests.support.deadlines import factor
from tests.support.earlier import checkout
from tests.support.oci import ImageRef, OciClient

pytestmark = pytest.mark.long
# What the earlier template does not know.
HEAT = "settings_transport=heat"


@dataclass
class Drill:
    """A stack with a volume, and what it has been filled with."""

    made: VolumeWorld
    earlier: Path
    environment: Path
    ca_file: Path
    measured: list[str]
    cached: list[ImageRef] = field(default_factory=list)
    pushed: list[ImageRef] = field(default_factory=list)

    def deploy(self, root: Path, *more: str) -> Done:
        """By the command of the code in `root`, as on any cloud."""
        made, world = self.made, self.made.world
        arguments = ("--os-cloud", settings.CLOUD, "--name", made.name, "-e", str(self.environment), "--yes", *more)
        done = run("deploy", *arguments, timeout_s=DEPLOY_S, root=root, clouds_file=world.lab.clouds_file)
        assert done.code == 0, done.err
        self.measured.append(f"deploy of {'this' if root == ROOT else 'the earlier'} code: {done.seconds:.0f} s")
        return done

    @property
    def kept(self) -> tuple[str | None, str | None]:
        """The server and the volume."""
        return self.made.stack.resource_id("server"), self.made.stack.resource_id("cache_volume")

    def client(self, port: int) -> OciClient:
        """With the CA of the beginning and the login of now."""
        known = current(self.made.name)
        login = (known.registry_username, known.password) if port == 5000 else None
        return OciClient(f"https://{known.address}:{port}", login, str(self.ca_file))

    def fill(self, tag: str) -> None:
        """An image through the mirror, and a pushed one."""
        self.made.world.upstream.push("library/upgraded", tag, [10_000, 2_000_000])
        self.cached.append(self.client(443).pull("library/upgraded", tag))
        self.pushed.append(self.client(5000).push("upgrade/kept", tag, [10_000, 2_000_000]))

    def is_complete(self) -> None:
        """Everything is there, without another fetch, for clients that know the CA of the beginning."""
        upstream = self.made.world.upstream
        fetched = upstream.blob_fetches()
        for image in self.cached:
            assert self.client(443).pull(image.repo, image.reference).digest == image.digest
        assert upstream.blob_fetches() == fetched
        for image in self.pushed:
            assert self.client(5000).pull(image.repo, image.reference).digest == image.digest
        assert self.made.stack.outputs()["ca_certificate"].strip() == self.ca_file.read_text().strip()


@pytest.fixture(scope="module")
def drill(world: StackUnderTest, tmp_path_factory: pytest.TempPathFactory, measured: list[str]) -> Iterator[Drill]:
    """Created by the earlier code, and filled."""
    folder = tmp_path_factory.mktemp("earlier")
    earlier = checkout(folder / "checkout")
    lab.up(volumes=True, patience=factor())
    made = VolumeWorld(world, f"{world.name}-upgrade")
    known = yaml.safe_load((earlier / "heat" / "registry.yaml").read_text())["parameters"]
    values = {name: value for name, value in made.request().environment["parameters"].items() if name in known}
    environment = folder / "environment.yaml"
    environment.write_text(yaml.safe_dump({"parameters": values}))
    drill = Drill(made, earlier, environment, folder / "ca.crt", measured)
    try:
        drill.deploy(earlier)
        drill.ca_file.write_bytes(Path(current(made.name).ca_file).read_bytes())
        drill.fill("1")
        yield drill
    finally:
        made.delete()


def test_earlier_code_deploys(drill: Drill) -> None:
    """In a test of its own, which has the time for it."""
    found = drill.made.stack.get()
    assert found is not None
    assert "settings_transport" not in found.parameters
    drill.is_complete()


def test_update_replaces_the_server_once(drill: Drill) -> None:
    server, volume = drill.kept
    done = drill.deploy(ROOT, "-P", HEAT)
    assert "This replaces the server (settings_transport" in done.err
    after, same_volume = drill.kept
    assert after != server
    assert same_volume == volume
    drill.is_complete()
    drill.fill("2")
    drill.deploy(ROOT, "-P", HEAT, "-P", "tag_ttl_seconds=61")
    assert drill.kept == (after, volume)
    drill.is_complete()


def test_way_back_loses_nothing(drill: Drill) -> None:
    """With an environment file that has no new parameter."""
    server, volume = drill.kept
    drill.deploy(drill.earlier)
    after, same_volume = drill.kept
    assert after != server
    assert same_volume == volume
    drill.is_complete()
    drill.fill("3")
