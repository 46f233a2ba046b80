"""Parameters changed by `openstack stack update --existing` alone: what each costs the clients of a running server."""

import io
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from registry_stack.docker.machine import Machine
from registry_stack.images.service import service_image
from registry_stack.lab import settings
from registry_stack.lab.image_registry import ADDRESS
from registry_stack.machines.upstream import fill
from registry_stack.product import IMAGE_PARAMETERS
from registry_stack.progress import no_progress
from tests.stack.openstack import stack_update
from tests.stack.stack_under_test import DEPLOY_S, StackUnderTest
from tests.stack.traffic import Traffic, traffic
from tests.support.upstream import Upstream

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Update:
    """An update that has ended: how, after how long, and what clients lost."""

    status: str
    seconds: float
    seen: Traffic


@dataclass
class InPlace:
    """The stack, and the rows of the table of what has been measured."""

    world: StackUnderTest
    rows: list[str]

    def update(self, what: str, **parameters: str) -> Update:
        """With clients all the time; no cached pull is lost, and the server is the same."""
        server = self.world.server
        with traffic(self.world) as seen:
            started = time.monotonic()
            stack_update(self.world.lab, self.world.name, "--wait", **parameters)
            seconds = time.monotonic() - started
        found = self.world.stack.get()
        assert found is not None
        lost = {kind: len(seen.lost_of(kind)) for kind in ("mirror", "pull", "push")}
        cells = [f"{lost[kind]} of {seen.requests[kind]} | {seen.longest_s[kind]:.1f}" for kind in lost]
        self.rows.append(f"| {what} | {found.stack_status} | {seconds:.0f} | {' | '.join(cells)} |")
        assert self.world.server == server
        assert seen.lost_of("mirror") == []
        assert seen.requests["mirror"] > 0
        return Update(found.stack_status, seconds, seen)

    def setting(self, name: str) -> str:
        """What the server has."""
        line = str(self.world.host.check_output("grep ^%s= /etc/docker-registry/environment", name))
        return line.partition("=")[2].strip("'")


@pytest.fixture(scope="module")
def in_place(measured: list[str], deployed: StackUnderTest) -> Iterator[InPlace]:
    """Afterwards the stack has its own parameters again."""
    measured.append("| change | status | s | mirror: lost | longest, s | pull | longest | push | longest |")
    yield InPlace(deployed, measured)
    done = deployed.deploy()
    assert done.code == 0, done.err


def test_time_to_live_of_tags(in_place: InPlace) -> None:
    done = in_place.update("`tag_ttl_seconds`", tag_ttl_seconds="120")
    assert (done.status, done.seen.lost) == ("UPDATE_COMPLETE", [])
    assert in_place.setting("TAG_TTL_SECONDS") == "120"


def test_second_of_two_updates_counts(in_place: InPlace) -> None:
    """It is accepted while the first goes on."""
    world = in_place.world
    for value in ("121", "122"):
        done = stack_update(world.lab, world.name, tag_ttl_seconds=value)
        assert done.returncode == 0, done.stderr
    world.stack.wait(DEPLOY_S, no_progress)
    assert in_place.setting("TAG_TTL_SECONDS") == "122"


@pytest.fixture(scope="module")
def other(in_place: InPlace) -> Iterator[Upstream]:
    """An upstream that the mirror does not know before."""
    world = in_place.world
    name = f"{world.name}-other"
    upstream = Upstream.start(world.lab.client, settings.NAME, world.labels, name=name, alias=f"{name}.upstream.test")
    yield upstream
    upstream.remove()


def test_new_upstream(in_place: InPlace, other: Upstream) -> None:
    image = other.push("library/other", "1", [10_000])
    done = in_place.update("a new upstream", upstreams=f"other={other.url}")
    assert (done.status, done.seen.lost) == ("UPDATE_COMPLETE", [])
    assert in_place.world.mirror().pull("library/other", "1", ns=other.authority).digest == image.digest


@pytest.fixture
def rotated(in_place: InPlace) -> Iterator[Callable[[], tuple[str, str]]]:
    """A user of its own for the storage; each call gives it another password, and the one from before is no good."""
    admin, world = in_place.world.lab.connect(admin=True), in_place.world
    # Keystone closes connections that nobody uses for some seconds.
    admin.identity.connect_retries = 3
    name = f"{world.name}-storage"
    admin.create_user(name, password=secrets.token_urlsafe(24), domain_id="default")
    admin.grant_role("member", user=name, project=world.lab.connect().current_project_id)

    def rotate() -> tuple[str, str]:
        password = secrets.token_urlsafe(24)
        admin.update_user(name, password=password)
        return name, password

    yield rotate
    own = {key: world.parameters[key] for key in ("os_username", "os_password")}
    stack_update(world.lab, world.name, "--wait", **own)
    assert in_place.setting("OS_USERNAME") == own["os_username"]
    admin.delete_user(name)


def test_rotated_password(in_place: InPlace, rotated: Callable[[], tuple[str, str]]) -> None:
    """Another user, then that user's next password."""
    user, password = rotated()
    done = in_place.update("`os_username` and `os_password`", os_username=user, os_password=password)
    assert (done.status, done.seen.lost) == ("UPDATE_COMPLETE", [])
    _, password = rotated()
    done = in_place.update("`os_password`", os_password=password)
    assert (done.status, done.seen.lost) == ("UPDATE_COMPLETE", [])
    assert in_place.setting("OS_PASSWORD") == password
    in_place.world.registry().push("in-place/rotated", "1", [10_000])


def test_new_edge_image(in_place: InPlace) -> None:
    """Another one with the same in it, which the server pulls."""
    client, current = in_place.world.lab.client, in_place.setting("EDGE_IMAGE")
    reference = current.removeprefix(f"{ADDRESS}/")
    ours = service_image(client, reference, IMAGE_PARAMETERS["edge_image"])
    build = io.BytesIO(f"FROM {ours}\nLABEL another=yes\n".encode())
    image, _log = client.images.build(fileobj=build, rm=True, tag=f"{in_place.world.name}-edge")
    try:
        images = Machine.find(client, settings.IMAGES)
        assert images is not None
        fill(client, images, str(image.tags[0]), reference.partition(":")[0], "another")
        other = f"{current.partition('/')[0]}/{reference.partition(':')[0]}:another"
        done = in_place.update("`edge_image`", edge_image=other)
    finally:
        client.images.remove(str(image.tags[0]))
    assert (done.status, done.seen.lost) == ("UPDATE_COMPLETE", [])
    running = in_place.world.host.check_output("docker inspect -f '{{.Config.Image}}' docker-registry-edge")
    assert running == other


def test_wrong_edge_image(in_place: InPlace) -> None:
    """Found before anything stops."""
    before = in_place.setting("EDGE_IMAGE")
    done = in_place.update("a wrong `edge_image`", edge_image=f"{ADDRESS}/nginx:no-such-tag")
    assert (done.status, done.seen.lost) == ("UPDATE_FAILED", [])
    assert f"image {ADDRESS}/nginx:no-such-tag cannot be pulled" in in_place.world.stack.failure()
    assert in_place.setting("EDGE_IMAGE") == before
