"""A group of two servers: each answers for itself, then one address for both, which outlives the server that has it."""

import secrets
from collections.abc import Iterator
from time import monotonic

import pytest

from registry_stack.deployment import Deployment, Member, current
from registry_stack.docker.machine import Machine
from registry_stack.lab import lab
from registry_stack.machines.client import login
from tests.stack.stack_under_test import DEPLOY_S, StackBeside, StackUnderTest, answers
from tests.support.commands import run
from tests.support.deadlines import factor, scaled, wait_until
from tests.support.oci import ImageRef, OciClient
from tests.support.ssh import ssh_host

# Two servers share the processors that the others have for themselves.
pytestmark = pytest.mark.long
patient = pytest.mark.timeout(scaled(3600))
BOOT_S = 900


class GroupOfTwo(StackBeside):
    """By the command, with the environment file of the stack under test."""

    def __init__(self, world: StackUnderTest, name: str, measured: list[str]) -> None:
        super().__init__(world, name)
        self.measured = measured

    def deploy(self, *parameters: str) -> None:
        """To the end."""
        world = self.world
        given = [f"hostname={self.name}", f"swift_container={world.container}", *parameters]
        options = [part for one in given for part in ("-P", one)]
        done = run(
            *("deploy", "--target", "lab", "--hosts", "2", "--name", self.name, "-e", str(world.environment), *options),
            timeout_s=2 * DEPLOY_S,
        )
        assert done.code == 0, done.err
        self.measured.append(f"deploy of two servers ({' '.join(parameters) or 'new'}): {done.seconds:.0f} s")

    @property
    def deployment(self) -> Deployment:
        """As it is remembered."""
        return current(self.name)

    def connected(self, member: Member, port: int) -> OciClient:
        """To one of the servers, at its own address."""
        known = self.deployment
        login = (known.registry_username, known.password) if port == 5000 else None
        return OciClient(f"https://{member.address}:{port}", login, known.ca_file)

    def push_upstream(self) -> ImageRef:
        """An image that no mirror has."""
        layers = [100_000] * 6
        return self.world.upstream.push(f"library/group-{secrets.token_hex(4)}", "1", layers)

    def has_vip(self, member: Member) -> bool:
        """Whether the address that moves is this server's now."""
        host = ssh_host(member.address, self.world.lab.ssh_key, self.world.lab.ssh_user)
        command = "bash -c '. /etc/docker-registry/environment; ip -o address | grep -F \" $GROUP_VIP/\"'"
        return bool(host.run(command).succeeded)

    def holder(self) -> Member:
        """Which server has the address. Two may, for seconds, where one is too busy to be heard: emulated ones are."""
        found: list[Member] = []

        def probe() -> str | None:
            found[:] = [member for member in self.deployment.members if self.has_vip(member)]
            return None if len(found) == 1 else f"{[member.name for member in found]} have it"

        wait_until(probe, 120, "one server to have the address")
        return found[0]

    def own_addresses(self, member: Member) -> list[str]:
        """Of a server, on the stack's network."""
        network = self.world.lab.connect().network
        return [one.fixed_ip_address for one in network.ips(floating_ip_address=member.address)]

    def server(self, member: Member) -> str:
        """Its id."""
        return str(next(self.world.lab.connect().compute.servers(name=f"^{member.name}$")).id)

    def kill(self, member: Member) -> None:
        """Its power fails; Nova notices."""
        compute, server = self.world.lab.connect(admin=True).compute, self.server(member)
        self.world.lab.machine.exec(["virsh", "destroy", str(compute.get_server(server).instance_name)])
        wait_until(lambda: None if compute.get_server(server).status == "SHUTOFF" else "on", 60, "Nova to notice")

    def start_again(self, member: Member) -> None:
        """Returns when its mirror answers."""
        self.world.lab.connect().compute.start_server(self.server(member))
        wait_until(lambda: answers(self.connected(member, 443)), BOOT_S, f"{member.name} to answer")


@pytest.fixture(scope="module")
def group(world: StackUnderTest, measured: list[str]) -> Iterator[GroupOfTwo]:
    made = GroupOfTwo(world, f"{world.name}-group", measured)
    try:
        made.deploy()
        yield made
    finally:
        made.delete()


@patient
def test_both_servers_answer_for_themselves(group: GroupOfTwo) -> None:
    """A blob is fetched once for both, and what one takes the other has."""
    first, second = group.deployment.members
    assert group.deployment.load_balancer is False
    image = group.push_upstream()
    for member in (first, second):
        assert group.connected(member, 443).pull(image.repo, image.reference).digest == image.digest
    assert [group.world.upstream.blob_fetches(blob.digest) for blob in image.blobs] == [1] * len(image.blobs)
    pushed = group.connected(first, 5000).push("group/pushed", "1", [100_000])
    assert group.connected(second, 5000).pull("group/pushed", "1").digest == pushed.digest


@patient
def test_load_balancer_knows_both_servers(group: GroupOfTwo) -> None:
    """Octavia has them in both pools. The lab's carries no traffic."""
    lab.up(load_balancers=True, patience=factor())
    servers = {member.name: member.address for member in group.deployment.members}
    group.deploy("load_balancer=octavia")
    known, octavia = group.deployment, group.world.lab.connect().load_balancer
    assert known.load_balancer
    assert {member.name: member.address for member in known.members} == servers
    (balancer,) = octavia.load_balancers()
    assert balancer.provisioning_status == "ACTIVE"
    listeners = {str(one.default_pool_id): one.protocol_port for one in octavia.listeners()}
    members = {
        port: {(one.address, one.protocol_port) for one in octavia.members(pool)} for pool, port in listeners.items()
    }
    own = {address for member in known.members for address in group.own_addresses(member)}
    assert members == {port: {(address, port) for address in own} for port in (443, 5000)}
    assert {one.type for one in octavia.health_monitors()} == {"HTTPS"}
    group.deploy("load_balancer=none")
    assert {member.name: member.address for member in group.deployment.members} == servers
    assert list(octavia.load_balancers()) == []


@pytest.fixture(scope="module")
def client(group: GroupOfTwo) -> Iterator[Machine]:
    """A Docker host that does as the stack's output says, once the group has one address."""
    servers = {member.name: member.address for member in group.deployment.members}
    group.deploy("load_balancer=vip")
    known = group.deployment
    assert known.load_balancer
    assert {member.name: member.address for member in known.members} == servers
    machine = group.world.client("group", group.stack.outputs()["client_configuration"])
    login(machine, known, shared_name(group))
    yield machine
    machine.remove()


def shared_name(group: GroupOfTwo) -> str:
    return group.deployment.mirror_url.removeprefix("https://")


def use(group: GroupOfTwo, client: Machine) -> None:
    """A cold pull and a push, through the one address."""
    image = group.push_upstream()
    client.exec(["docker", "pull", "--quiet", f"{image.repo}:{image.reference}"])
    pushed = f"{shared_name(group)}:5000/group/{secrets.token_hex(4)}:1"
    client.exec(["docker", "tag", f"{image.repo}:{image.reference}", pushed])
    client.exec(["docker", "push", "--quiet", pushed])


@patient
def test_one_address_outlives_the_server_that_has_it(group: GroupOfTwo, client: Machine) -> None:
    use(group, client)
    holder = group.holder()
    (other,) = (member for member in group.deployment.members if member != holder)
    group.kill(holder)
    began = monotonic()
    use(group, client)
    group.measured.append(
        f"a cold pull and a push after the server with the address is lost: {monotonic() - began:.0f} s"
    )
    assert group.has_vip(other)
    # With `none`, clients know each server.
    image = group.push_upstream()
    assert group.connected(other, 443).pull(image.repo, image.reference).digest == image.digest
    group.start_again(holder)
    use(group, client)
    group.holder()
