"""The metadata service, where user-data with its secrets lies, is closed to containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from testinfra.host import Host

from tests.host.targets import METADATA, Target
from tests.host.waiting import wait_until_working
from tests.support.deadlines import deadline, wait_until

FETCH = f"wget -T 3 -q -O /dev/null http://{METADATA}/"
RULE = f"DOCKER-USER --destination {METADATA} --jump DROP"


def reachable(host: Host, inside: str) -> bool:
    """Does a container get an answer?"""
    return bool(host.run(f"{inside} {FETCH}").rc == 0)


@pytest.fixture
def metadata(target: Target, host: Host) -> Iterator[None]:
    """It answers the host itself."""
    with target.metadata_server():
        wait_until(partial(answers, host), deadline(host, 15), f"http://{METADATA}/ from the host")
        yield


def answers(host: Host) -> str | None:
    got = host.run(f"curl -s -o /dev/null -m 3 -w '%{{http_code}}' http://{METADATA}/").stdout
    return None if got == "200" else got


@contextmanager
def opened(host: Host) -> Iterator[None]:
    """Without the rule that closes it."""
    host.check_output(f"iptables --wait --delete {RULE}")
    try:
        yield
    finally:
        host.check_output(f"iptables --wait --insert {RULE}")


@pytest.mark.usefixtures("metadata")
@pytest.mark.parametrize("network", ["docker-registry", "bridge"])
def test_containers_cannot_reach_it(host: Host, network: str) -> None:
    image = host.check_output("docker inspect -f '{{.Config.Image}}' docker-redis")
    inside = f"docker run --rm --network {network} --entrypoint timeout {image} 5"
    assert not reachable(host, inside)
    with opened(host):
        assert reachable(host, inside), "nothing else keeps them from it"


@pytest.mark.usefixtures("metadata")
@pytest.mark.parametrize("rules", ["kept", "rebuilt"])
def test_docker_restart_keeps_metadata_closed(host: Host, target: Target, rules: str) -> None:
    """Also when its chain was rebuilt meanwhile, by a firewall for one, and has no rule of ours any more."""
    if rules == "rebuilt":
        host.check_output("iptables --wait --flush DOCKER-USER && iptables --wait --append DOCKER-USER -j RETURN")
    host.check_output("systemctl restart docker")
    wait_until_working(target)
    assert not reachable(host, "docker exec docker-redis")
    with opened(host):
        assert reachable(host, "docker exec docker-redis"), "nothing else keeps it from it"
