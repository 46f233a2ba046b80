"""One address that moves: one of the hosts has it, another one when that fails, and clients know nothing else."""

import ipaddress
import secrets
from collections.abc import Iterator

import pytest

from registry_stack.docker.machine import Machine
from registry_stack.machines.client import ClientNetwork, docker_client, login
from tests.group.members import DOMAIN, SHARED, Group, HostOfGroup
from tests.support.deadlines import wait_until

SHARED_NAME = f"{SHARED}.{DOMAIN}"
DEADLINE_S = 60


@pytest.fixture(scope="module")
def vip(group: Group) -> Iterator[str]:
    """The last address of the network on which the hosts reach each other."""
    network = group.engine.networks.get(group.options.peers)
    address = str(ipaddress.ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"])[-2])
    for host in group.hosts:
        apply(host, f"GROUP_VIP='{address}'")
    yield address
    for host in group.hosts:
        apply(host, "GROUP_VIP=''")
        assert not has(host, address)


@pytest.fixture(scope="module")
def client(group: Group, vip: str) -> Iterator[Machine]:
    """A machine with Docker, which knows that address only."""
    place = ClientNetwork(group.options.peers, hosts={SHARED_NAME: vip})
    name = f"{group.options.name}-vip-client"
    machine = docker_client(group.engine, name, place, group.labels, group.deployment, SHARED_NAME)
    login(machine, group.deployment, SHARED_NAME)
    yield machine
    machine.remove()


def apply(host: HostOfGroup, setting: str) -> None:
    host.machine.put("/root/setting", f"{setting}\n".encode())
    host.host.check_output("/opt/registry/registry-apply /root/setting")


def has(host: HostOfGroup, vip: str) -> bool:
    return host.machine.running and f" {vip}/" in host.host.check_output("ip -o address")


def wait_for_holder(group: Group, vip: str, *hosts: HostOfGroup) -> HostOfGroup:
    """One of these, and nobody else."""

    def probe() -> str | None:
        found = [host for host in group.hosts if has(host, vip)]
        return None if len(found) == 1 and found[0] in hosts else f"{[host.number for host in found]} have {vip}"

    wait_until(probe, DEADLINE_S, "one host to have the address")
    holder = next(host for host in hosts if has(host, vip))
    holder.host.check_output("/opt/registry/collect-slow-metrics")
    metrics = holder.host.file("/run/registry/metrics/slow.prom").content_string
    assert f'registry_group_vip_held{{address="{vip}"}} 1\n' in metrics
    return holder


def pull(group: Group, client: Machine) -> None:
    """An image that neither the client nor a mirror has."""
    repo = f"library/vip-{secrets.token_hex(4)}"
    group.upstream.push(repo, "1", [100_000])
    client.exec(["docker", "pull", "--quiet", f"{repo}:1"])


def test_address_moves_from_a_host_that_is_killed(group: Group, vip: str, client: Machine) -> None:
    """A pull that has begun meanwhile waits for it, and so does a push. It does not move back."""
    first = wait_for_holder(group, vip, *group.hosts)
    pull(group, client)
    (second,) = (host for host in group.hosts if host is not first)
    with group.killed(first):
        pull(group, client)
        assert has(second, vip)
        repo = f"{SHARED_NAME}:5000/vip/{secrets.token_hex(4)}"
        client.exec(["sh", "-ec", f"tar -cC /etc hostname | docker import - {repo}; docker push --quiet {repo}"])
    assert wait_for_holder(group, vip, second) is second


@pytest.mark.long
def test_address_moves_from_a_mirror_that_does_not_answer(group: Group, vip: str, client: Machine) -> None:
    first = wait_for_holder(group, vip, *group.hosts)
    (second,) = (host for host in group.hosts if host is not first)
    first.host.check_output("systemctl stop docker-registry-edge")
    try:
        wait_for_holder(group, vip, second)
        pull(group, client)
    finally:
        first.host.check_output("systemctl start docker-registry-edge docker-registry-host.target")


@pytest.mark.long
def test_address_stays_while_settings_change(group: Group, vip: str) -> None:
    holder = wait_for_holder(group, vip, *group.hosts)
    for setting in ("TAG_TTL_SECONDS='61'", "TAG_TTL_SECONDS='60'"):
        apply(holder, setting)
        assert [host for host in group.hosts if has(host, vip)] == [holder]
