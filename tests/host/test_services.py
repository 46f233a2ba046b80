"""The five services answer and run with few rights; nothing else listens."""

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from registry_stack.targets.local.rollout import UNITS
from tests.host.journal import journal
from tests.host.listening_ports import listening
from tests.host.targets import Target
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

# Their limits in MiB: what the whole host needs is about their sum.
MEMORY_MIB = {
    "docker-redis": 128,
    "docker-registry": 512,
    "docker-registry-proxy": 512,
    "docker-registry-edge": 512,
    "docker-registry-fetch": 512,
}
OTHER_UNITS = (
    "docker-registry-host.target",
    "registry-certs.path",
    "gen-cert-key.timer",
    "registry-gc.timer",
    "registry-backup.timer",
)


def inspect(host: Host, container: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(host.check_output("docker inspect %s", container))
    return found[0]


def redis(host: Host, command: str) -> str:
    return str(host.check_output(f"docker exec docker-redis redis-cli {command}")).strip()


def test_mirror_answers_without_login(mirror: OciClient) -> None:
    answer = mirror.expect(200, "GET", "/v2/")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_registry_asks_for_login_and_takes_it(target: Target) -> None:
    answer = target.registry(("", "")).request("GET", "/v2/", auth=None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    target.registry().expect(200, "GET", "/v2/")


def test_redis_answers(host: Host) -> None:
    assert redis(host, "PING") == "PONG"


def test_redis_knows_what_was_pushed_and_pulled(
    host: Host, registry: OciClient, mirror: OciClient, upstream: Upstream
) -> None:
    pushed = registry.push("services/redis", "1", [2000])
    pulled = upstream.push("library/redis-used", "1", [2000])
    mirror.pull("library/redis-used", "1")
    assert pushed.layers[0].digest in redis(host, "-n 0 --scan")
    assert pulled.layers[0].digest in redis(host, "-n 1 --scan")


@pytest.mark.parametrize("unit", UNITS)
def test_container_has_few_rights(host: Host, unit: str) -> None:
    settings = inspect(host, unit)["HostConfig"]
    assert settings["ReadonlyRootfs"]
    assert settings["CapDrop"] == ["ALL"]
    assert not settings["CapAdd"]
    assert not settings["Privileged"]
    assert "no-new-privileges" in settings["SecurityOpt"]
    assert settings["Memory"] == MEMORY_MIB[unit] << 20
    assert settings["NetworkMode"] == ("none" if unit == "docker-registry-fetch" else "docker-registry")
    assert settings["PidsLimit"] > 0


@pytest.mark.parametrize("unit", UNITS)
def test_logs_are_kept_once(host: Host, unit: str) -> None:
    """In the journal, which has a limit of size; Docker's own files have none."""
    assert inspect(host, unit)["HostConfig"]["LogConfig"]["Type"] == "none"


@pytest.mark.parametrize("unit", UNITS)
def test_processes_have_no_rights(host: Host, unit: str) -> None:
    """What the kernel says of each process, whatever Docker was told."""
    for pid in host.check_output("docker top %s -eo pid | tail -n +2", unit).split():
        status = dict(re.findall(r"(\w+):\s+(.*)", host.check_output("cat /proc/%s/status", pid)))
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("unit", UNITS)
def test_root_file_system_is_read_only(host: Host, unit: str) -> None:
    written = host.run("docker exec --user 0 %s sh -c '>/nothing'", unit)
    assert written.failed
    assert "Read-only file system" in written.stderr


def test_only_the_edge_publishes_ports(host: Host) -> None:
    published = {name for name in UNITS if inspect(host, name)["HostConfig"]["PortBindings"]}
    assert published == {"docker-registry-edge"}


def test_listening_ports_are_exactly_those_expected(host: Host, target: Target) -> None:
    assert listening(host) == {("tcp", 443), ("tcp", 5000)} | target.own_sockets


def test_containers_send_no_larger_packets_than_the_host(host: Host) -> None:
    """Not just Docker's default: on an overlay they would get lost."""
    (network,) = json.loads(host.check_output("docker network inspect docker-registry"))
    device = host.check_output("ip -o route get 192.0.2.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/'")
    mtu = host.check_output("cat /sys/class/net/%s/mtu", device)
    assert network["Options"]["com.docker.network.driver.mtu"] == mtu
    assert host.check_output("docker exec docker-redis cat /sys/class/net/eth0/mtu") == mtu


def test_units_are_enabled_and_active(host: Host) -> None:
    assert host.service("docker-registry-host.target").is_enabled
    for unit in (*UNITS, *OTHER_UNITS):
        assert host.check_output("systemctl is-active %s", unit) == "active", unit


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
    assert host.check_output("systemctl show -P Result registry-ready.service") == "success"
    verdict = json.loads(host.check_output("cat /run/registry/ready.json"))
    assert verdict == {"status": "SUCCESS", "reason": ""}


def test_cloud_init_had_no_trouble(host: Host) -> None:
    result = json.loads(host.check_output("cat /run/cloud-init/result.json"))
    assert result["v1"]["errors"] == []


def test_container_logs_are_in_the_journal_of_the_unit(host: Host, mirror: OciClient) -> None:
    before = journal(host)
    mirror.request("GET", "/v2/services/not-there/manifests/1")
    # Its fetch from the upstream is logged too, often by another worker and so before it.
    assert before.until("docker-registry-edge", "/v2/services/not-there/manifests/1 404", starting="mirror ")
    assert "Ready to accept connections" in host.check_output("journalctl -u docker-redis -o cat --no-pager")
