"""The cache volume: what is on it outlives the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_stack.lab import lab
from registry_stack.targets.cloud.stack import Request
from tests.stack.stack_under_test import DEPLOY_S, StackBeside, StackUnderTest
from tests.support.deadlines import factor
from tests.support.oci import OciClient

pytestmark = pytest.mark.long


class VolumeWorld(StackBeside):
    """A second stack, with a volume; its pushed images are in Swift."""

    def request(self, **parameters: Any) -> Request:
        """With a volume of one GB; a server of this size and another one are more than the lab has memory for."""
        return super().request(**{"cache_volume_size": 1} | parameters)

    def client(self, ca: str, port: int) -> OciClient:
        """Of one of its ports, logged in where that is asked, trusting one CA."""
        outputs = self.stack.outputs()
        login = (outputs["registry_username"], outputs["registry_password"]) if port == 5000 else None
        return OciClient(f"https://{self.address}:{port}", login, ca)


@pytest.fixture(scope="module")
def created(world: StackUnderTest) -> Iterator[VolumeWorld]:
    lab.up(volumes=True, patience=factor())
    made = VolumeWorld(world, f"{world.name}-volume")
    try:
        made.create()
        yield made
    finally:
        made.delete()


def test_everything_lasting_is_on_the_volume(created: VolumeWorld, world: StackUnderTest) -> None:
    mount = created.host.mount_point("/var/lib/registry")
    assert mount.exists
    assert mount.filesystem == "ext4"
    assert {"noatime", "nosuid", "nodev"} <= set(mount.options)
    volume = created.stack.resource_id("cache_volume")
    assert [one.id for one in world.lab.connect().block_storage.volumes() if one.status == "in-use"] == [volume]


def test_volume_outlives_the_server(created: VolumeWorld, world: StackUnderTest, tmp_path: Path) -> None:
    """With another server, which Heat waits for: the same CA and the cached image from the volume, the pushed images
    from Swift."""
    certificate = created.stack.outputs()["ca_certificate"]
    (tmp_path / "ca.crt").write_text(certificate)
    mirror, registry = (created.client(str(tmp_path / "ca.crt"), port) for port in (443, 5000))
    world.upstream.push("library/on-the-volume", "1", [10_000, 2_000_000])
    cached = mirror.pull("library/on-the-volume", "1")
    pushed = registry.push("volume/kept", "1", [10_000, 2_000_000])
    server, volume = (created.stack.resource_id(name) for name in ("server", "cache_volume"))
    request = created.request(registry_username="another")
    created.stack.update(request, DEPLOY_S, lambda _line: None, replaced="server")
    assert created.stack.resource_id("server") != server
    assert created.stack.resource_id("cache_volume") == volume
    assert created.stack.outputs()["ca_certificate"] == certificate
    # Not over the connections to the server that is gone.
    mirror, registry = (created.client(str(tmp_path / "ca.crt"), port) for port in (443, 5000))
    fetched = world.upstream.blob_fetches()
    assert mirror.pull("library/on-the-volume", "1").layers == cached.layers
    assert world.upstream.blob_fetches() == fetched
    assert registry.pull("volume/kept", "1").digest == pushed.digest


def test_volume_is_deleted_with_the_stack(created: VolumeWorld, world: StackUnderTest) -> None:
    created.stack.delete(lambda _line: None)
    assert list(world.lab.connect().block_storage.volumes()) == []
