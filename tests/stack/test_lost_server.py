"""A server is lost with its stack; by its backup in Swift another one, with another address, becomes what it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.stack.stack_under_test import StackBeside, StackUnderTest
from tests.support.deadlines import scaled
from tests.support.oci import OciClient

pytestmark = pytest.mark.long
RESTORE = "/opt/registry/registry-restore latest 'REGISTRY_(USERNAME|PASSWORD)'"


class Lost(StackBeside):
    """Two stacks, one after the other, which share a Swift container and a passphrase."""

    def __init__(self, world: StackUnderTest) -> None:
        super().__init__(world, f"{world.name}-lost")
        self.container = self.name

    def create_named(self, name: str) -> None:
        """The first, or the next."""
        self.name = name
        self.create(swift_container=self.container, backup_passphrase="correct.horse-battery")

    def purge(self) -> None:
        """What is left in Swift."""
        store = self.world.lab.connect().object_store
        if any(one.name == self.container for one in store.containers()):
            for item in store.objects(self.container):
                store.delete_object(item, container=self.container)
            store.delete_container(self.container)


@pytest.fixture
def lost(world: StackUnderTest) -> Iterator[Lost]:
    made = Lost(world)
    yield made
    made.delete()
    made.purge()


@pytest.fixture
def take_address(world: StackUnderTest) -> Iterator[Callable[[str], None]]:
    """Takes a floating IP, as somebody else may have it by now."""
    network, taken = world.lab.connect(admin=True).network, []

    def take(address: str) -> None:
        external = next(one for one in network.networks() if one.is_router_external)
        taken.append(network.create_ip(floating_network_id=external.id, floating_ip_address=address))

    yield take
    for one in taken:
        network.delete_ip(one)


@pytest.mark.timeout(scaled(2400))
def test_lost_server(lost: Lost, take_address: Callable[[str], None], tmp_path: Path, measured: list[str]) -> None:
    """Clients that trust the first one's CA, and know its login, pull what they have pushed there, and push."""
    lost.create_named(f"{lost.world.name}-first")
    outputs = lost.stack.outputs()
    ca, login = tmp_path / "ca.crt", (outputs["registry_username"], outputs["registry_password"])
    ca.write_text(outputs["ca_certificate"])

    def connected(port: int) -> OciClient:
        return OciClient(f"https://{lost.address}:{port}", login if port == 5000 else None, str(ca))

    image = connected(5000).push("drill/kept", "1", [10_000, 2_000_000])
    lost.host.check_output("systemctl start registry-backup")
    address = lost.address
    lost.delete()
    take_address(address)
    began = monotonic()
    lost.create_named(f"{lost.world.name}-second")
    assert lost.address != address
    assert lost.stack.outputs()["ca_certificate"] != outputs["ca_certificate"]
    created_s = monotonic() - began
    said = lost.host.check_output(RESTORE).splitlines()
    assert said[0].startswith("restored: registry-backup/")
    restored_s = monotonic() - began
    assert connected(5000).pull("drill/kept", "1").digest == image.digest
    connected(5000).push("drill/kept", "2", [10_000])
    connected(443).expect(200, "GET", "/v2/")
    measured.append(f"lost server: another one after {created_s:.0f} s, restored after {restored_s:.0f} s")
