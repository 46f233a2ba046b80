"""The cache volume: what is on it outlives the server.

The lab has no Cinder, so a stand-in is plainly one: Heat is told to make OS::Heat::None of both Cinder types, and a
disk with that resource's id is attached by libvirt, as Nova would.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from harness.cloud.stack import Request, Stack
from harness.local import TEMPLATE
from harness.waiting import wait_until
from tests.stack.world import World, heat_of
from tests.support.oci import OciClient
from tests.support.ssh import ssh_host

pytestmark = pytest.mark.long
STAND_IN = {"OS::Cinder::Volume": "OS::Heat::None", "OS::Cinder::VolumeAttachment": "OS::Heat::None"}
DISK = "/var/lib/nova/stand-in.raw"
DEADLINE_S = 900
ATTACHED_S = 300


class Volume:
    """A disk of 1 GB in the lab, at most at one server."""

    def __init__(self, world: World) -> None:
        self._machine, self._admin = world.lab.machine, world.lab.connect(admin=True)
        self._machine.exec(["qemu-img", "create", "-q", "-f", "raw", DISK, "1G"])
        self._domain = ""

    def attach(self, server: str, serial: str) -> None:
        """Move it there. Nova gives the first 20 characters of a volume's id as its serial number."""
        if self._domain:
            self._machine.exec(["virsh", "--quiet", "detach-disk", self._domain, DISK, "--live"])
        self._domain = str(self._admin.compute.get_server(server).instance_name)
        options = ["--targetbus", "virtio", "--serial", serial[:20], "--live", "--cache", "none"]
        self._machine.exec(["virsh", "--quiet", "attach-disk", self._domain, DISK, "vdz", *options])

    def remove(self) -> None:
        """Its server must be gone."""
        self._machine.exec(["rm", "-f", DISK])


class VolumeWorld:
    """A stack of its own with a volume; its pushed images are in Swift."""

    def __init__(self, world: World, environment: Path) -> None:
        self.world, self.environment = world, environment
        self.name = f"{world.name}-volume"
        self.stack = Stack(heat_of(world.lab), self.name)
        self.volume = Volume(world)
        self.server = ""

    def request(self, **parameters: str) -> Request:
        """With the stand-in."""
        own = {"hostname": self.name, "cache_volume_size": 1}
        return Request.read(self.name, TEMPLATE, [self.environment], self.world.parameters | own | parameters)

    def with_volume(self, action: Callable[[], None]) -> None:
        """While Heat works, attach the volume to the server that it makes."""
        with ThreadPoolExecutor(1) as background:
            working = background.submit(action)
            wait_until(self._new_server, ATTACHED_S, "a new server", poll_s=1)
            volume = self.stack.resource_id("cache_volume")
            assert volume is not None
            self.volume.attach(self.server, volume)
            working.result(DEADLINE_S)

    def _new_server(self) -> str | None:
        """A probe: another one than before, and running."""
        found = self.stack.resource_id("server")
        if found is None or found == self.server:
            return "none yet"
        status = str(self.world.lab.connect().compute.get_server(found).status)
        if status != "ACTIVE":
            return status
        self.server = found
        return None

    @property
    def address(self) -> str:
        """Its floating IP."""
        return str(self.stack.outputs()["floating_ip"])

    @property
    def host(self) -> Host:
        """Its server, over SSH."""
        return ssh_host(self.address, self.world.lab.ssh_key)

    def client(self, ca: str, port: int) -> OciClient:
        """Of one of its ports, logged in where that is asked, trusting one CA."""
        outputs = self.stack.outputs()
        login = (outputs["registry_username"], outputs["registry_password"]) if port == 5000 else None
        return OciClient(f"https://{self.address}:{port}", login, ca)


@pytest.fixture(scope="module")
def created(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumeWorld]:
    environment = tmp_path_factory.mktemp("volume") / "stand-in.yaml"
    environment.write_text(yaml.safe_dump({"resource_registry": STAND_IN}))
    made = VolumeWorld(world, environment)
    try:
        made.stack.create(made.request(), DEADLINE_S)
        made.with_volume(lambda: made.stack.wait(DEADLINE_S, lambda _line: None))
        yield made
    finally:
        if made.stack.get() is not None:
            made.stack.delete(lambda _line: None)
        made.volume.remove()


def test_everything_lasting_is_on_the_volume(created: VolumeWorld) -> None:
    mount = created.host.mount_point("/var/lib/registry")
    assert mount.exists
    assert mount.filesystem == "ext4"
    assert {"noatime", "nosuid", "nodev"} <= set(mount.options)


def test_it_outlives_the_server(created: VolumeWorld, world: World, tmp_path: Path) -> None:
    """With another server: the same CA and what the mirror had, from the volume; the pushed images, from Swift."""
    certificate = created.stack.outputs()["ca_certificate"]
    (tmp_path / "ca.crt").write_text(certificate)
    mirror, registry = (created.client(str(tmp_path / "ca.crt"), port) for port in (443, 5000))
    world.upstream.push("library/on-the-volume", "1", [10_000, 2_000_000])
    cached = mirror.pull("library/on-the-volume", "1")
    pushed = registry.push("volume/kept", "1", [10_000, 2_000_000])
    before = created.server
    request = created.request(registry_username="another")
    created.with_volume(lambda: created.stack.update(request, DEADLINE_S, lambda _line: None, replaced="ready_handle"))
    assert created.server != before
    assert created.stack.outputs()["ca_certificate"] == certificate
    fetched = world.upstream.blob_fetches()
    assert mirror.pull("library/on-the-volume", "1").layers == cached.layers
    assert world.upstream.blob_fetches() == fetched
    registry = created.client(str(tmp_path / "ca.crt"), 5000)
    assert registry.pull("volume/kept", "1").digest == pushed.digest
