"""The metadata service, where user-data with its secrets lies, is closed to containers."""

from collections.abc import Iterator
from functools import partial

import pytest
from testinfra.host import Host

from harness.waiting import wait_until
from tests.host.targets import METADATA, Target
from tests.host.waits import wait_until_working

FETCH = "wget -T 3 -q -O /dev/null http://{}/"


def reachable(host: Host, inside: str, address: str) -> bool:
    """Does a container get an answer at an address?"""
    return bool(host.run(f"{inside} {FETCH.format(address)}").rc == 0)


@pytest.fixture
def metadata(target: Target, host: Host) -> Iterator[str]:
    """The ordinary address of a server that has the metadata address as well; both answer the host itself."""
    with target.metadata_server() as address:
        for one in (METADATA, address):
            wait_until(partial(answers, host, one), 15, f"http://{one}/ from the host")
        yield address


def answers(host: Host, address: str) -> str | None:
    got = host.run(f"curl -s -o /dev/null -m 3 -w '%{{http_code}}' http://{address}/").stdout
    return None if got == "200" else got


@pytest.mark.parametrize("network", ["docker-registry", "bridge"])
def test_containers_cannot_reach_it(host: Host, metadata: str, network: str) -> None:
    image = host.check_output("docker inspect -f '{{.Config.Image}}' docker-redis")
    inside = f"docker run --rm --network {network} --entrypoint timeout {image} 5"
    assert reachable(host, inside, metadata), "the same server at its ordinary address"
    assert not reachable(host, inside, METADATA)


@pytest.mark.parametrize("rules", ["kept", "rebuilt"])
def test_a_restarted_docker_keeps_it_closed(host: Host, target: Target, metadata: str, rules: str) -> None:
    """Also when its chain was rebuilt meanwhile, by a firewall for one, and has no rule of ours any more."""
    if rules == "rebuilt":
        host.check_output("iptables --wait --flush DOCKER-USER && iptables --wait --append DOCKER-USER -j RETURN")
    host.check_output("systemctl restart docker")
    wait_until_working(target)
    assert reachable(host, "docker exec docker-redis", metadata)
    assert not reachable(host, "docker exec docker-redis", METADATA)
