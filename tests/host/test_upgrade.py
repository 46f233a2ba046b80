"""The project itself, updated: a deployment of an earlier commit gets this code, and that commit's again.

One story, in this order."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry_stack.deployment import current
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from tests.support.commands import ROOT, Done, run
from tests.support.deadlines import wait_until
from tests.support.earlier import checkout
from tests.support.oci import Auth, ImageRef, OciClient
from tests.support.upstream import Upstream, ensure_network

pytestmark = pytest.mark.long
NAME = f"hosttest-{secrets.token_hex(4)}"
MORE = "more.test"
ANOTHER_LOGIN = ("ci", "of another robot")


@dataclass
class Drill:
    """A deployment, what it has been filled with, and the CA file that its clients were given at first."""

    earlier: Path
    upstreams: dict[str, Upstream]
    ca_file: Path
    # Of the mirror by namespace ("" for the first upstream), and those that were pushed.
    cached: list[tuple[str, ImageRef]] = field(default_factory=list)
    pushed: list[ImageRef] = field(default_factory=list)
    password: str = ""
    lasting: str = ""

    def deploy(self, root: Path) -> Done:
        """With the code in `root`, and the parameters that both know."""
        first, more = self.upstreams.values()
        parameters = [
            f"upstream_url={first.url}",
            f"upstreams=more={more.url}",
            "upstream_check_image=library/check:1",
            "require_upstream=true",
        ]
        ports = ("--mirror-port", "0", "--registry-port", "0")
        done = run("deploy", "--name", NAME, *ports, *(f"-P{one}" for one in parameters), root=root, timeout_s=400)
        assert done.code == 0, done.err
        return done

    @property
    def host(self) -> Machine:
        """Where it runs now."""
        return local.find_host(NAME)

    def mirror(self) -> OciClient:
        """A client with the CA file of the beginning."""
        return OciClient(f"https://localhost:{self.host.port(443)}", None, str(self.ca_file))

    def registry(self, auth: Auth = None) -> OciClient:
        """The same, logged in as at the beginning."""
        login = auth or ("docker", self.password)
        return OciClient(f"https://localhost:{self.host.port(5000)}", login, str(self.ca_file))

    def fill(self, tag: str) -> None:
        """Two images through the mirror from each upstream, and two pushed ones."""
        for repo in ("library/kept", "library/kept-too"):
            for ns, upstream in self.upstreams.items():
                upstream.push(repo, tag, [10_000, 2_000_000, f"{ns} {tag}".encode()])
                self.cached.append((ns, self.pull(ns, repo, tag)))
            self.pushed.append(self.registry().push(f"upgrade/{repo}", tag, [10_000, 2_000_000]))

    def pull(self, ns: str, repo: str, reference: str) -> ImageRef:
        """Through the mirror."""
        return self.mirror().pull(repo, reference, **({"ns": ns} if ns else {}))

    def is_complete(self) -> None:
        """Everything is there, with the upstreams away; the logins and the CA are the same."""
        for upstream in self.upstreams.values():
            upstream.stop()
        try:
            for ns, image in self.cached:
                for reference in (image.reference, image.digest):
                    assert self.pull(ns, image.repo, reference).digest == image.digest
            for image in self.pushed:
                assert self.registry().pull(image.repo, image.reference).digest == image.digest
            self.registry(ANOTHER_LOGIN).expect(200, "GET", "/v2/")
            self.registry(("docker", "wrong")).expect(401, "GET", "/v2/")
            assert lasting(self.host) == self.lasting
            assert current(NAME).password == self.password
        finally:
            for upstream in self.upstreams.values():
                upstream.start_again()

    def is_working(self, tag: str) -> None:
        """New images come and go as well, once the names of the upstreams are known again."""
        for ns, upstream in self.upstreams.items():
            upstream.push("library/again", tag, [f"again {ns}".encode()])
            wait_until(self._answers(ns, f"/v2/library/again/manifests/{tag}"), 60, f"{upstream.url} to be back")
        self.fill(tag)

    def _answers(self, ns: str, path: str) -> Callable[[], str | None]:
        def probe() -> str | None:
            status = self.mirror().request("GET", path, params={"ns": ns} if ns else {}).status_code
            return None if status == 200 else str(status)

        return probe


def lasting(host: Machine) -> str:
    """What clients know the host by, and what signs its uploads: the CA with its key, and the secret."""
    files = [f"/home/root/registry_certs/{name}" for name in ("ca.crt", "ca.key")]
    return host.exec(["sha256sum", *files, "/var/lib/registry/http-secret"]).out


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """Deployed by the earlier code, and filled."""
    folder = tmp_path_factory.mktemp("earlier")
    earlier, client, options = checkout(folder / "checkout"), engine(), LocalOptions(NAME)
    ensure_network(client, options.network, options.all_labels)
    upstreams: dict[str, Upstream] = {}
    try:
        upstreams[""] = Upstream.start(client, options.network, {}, name=f"{NAME}-upstream")
        upstreams[f"{MORE}:5000"] = Upstream.start(client, options.network, {}, name=f"{NAME}-more", alias=MORE)
        upstreams[""].push("library/check", "1", [1000])
        drill = Drill(earlier, upstreams, folder / "ca.crt")
        drill.deploy(earlier)
        known = current(NAME)
        drill.ca_file.write_bytes(Path(known.ca_file).read_bytes())
        drill.password, drill.lasting = known.password, lasting(drill.host)
        user, password = ANOTHER_LOGIN
        script = 'printf "%s:%s\\n" "$1" "$(openssl passwd -6 "$2")" >> /var/lib/registry/htpasswd'
        drill.host.exec(["bash", "-c", script, "bash", user, password])
        drill.fill("1")
        yield drill
    finally:
        for upstream in upstreams.values():
            upstream.remove()
        local.destroy(NAME)
        assert local.list_resources(client, NAME) == []


def test_update_loses_nothing(drill: Drill) -> None:
    before = drill.host.container.id
    done = drill.deploy(ROOT)
    assert "stopping it to replace it" in done.err
    assert drill.host.container.id != before
    drill.is_complete()
    drill.is_working("2")
    assert drill.host.exec(["test", "-x", "/opt/registry/registry-apply"], check=False).code == 0


def test_way_back_loses_nothing(drill: Drill) -> None:
    """Of what was there before the update and of what came after it."""
    drill.deploy(drill.earlier)
    assert drill.host.exec(["test", "-e", "/opt/registry/registry-apply"], check=False).code == 1
    drill.is_complete()
    drill.is_working("3")


def test_second_update_loses_nothing(drill: Drill) -> None:
    drill.deploy(ROOT)
    drill.is_complete()
