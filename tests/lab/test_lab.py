"""The lab comes up, is what it says, and leaves the machine outside as it was: after `down`, and after a crash."""

import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import openstack
import pytest

from registry_stack.lab import container, credentials, lab, settings
from registry_stack.lab.build import lab_image
from registry_stack.lab.readiness import NEUTRON_AGENTS, NOVA_SERVICES
from registry_stack.targets.cloud.connection import connect
from tests.lab import host_snapshot
from tests.lab.conftest import RunningLab
from tests.support.commands import run


def test_every_fact_of_readiness_holds(running: RunningLab) -> None:
    status = lab.status()
    assert [check for check in status.checks if not check.passed] == []
    assert status.memory_mib < 5 * 1024, "no server runs yet"


def test_no_service_loses_its_queue_while_idle(running: RunningLab) -> None:
    """RabbitMQ closes the connection of whoever owes it a heartbeat, as an API does between two requests."""
    listed = running.machine.exec(["rabbitmqctl", "--quiet", "--no-table-headers", "list_connections", "timeout"]).out
    assert len(listed.split()) > 5
    assert set(listed.split()) == {"0"}


def test_up_again_changes_nothing(running: RunningLab) -> None:
    started = running.machine.container.attrs["State"]["StartedAt"]
    assert lab.up() == running.folder
    running.machine.container.reload()
    assert running.machine.container.attrs["State"]["StartedAt"] == started


def test_build_makes_the_image_that_runs(running: RunningLab) -> None:
    done = run("lab", "build")
    assert (done.code, done.out.split()) == (0, [running.machine.container.attrs["Config"]["Image"]]), done.err


def test_credentials_are_for_their_owner_only(running: RunningLab) -> None:
    files = [path for path in running.folder.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {
        credentials.CLOUDS,
        credentials.OPENRC,
        credentials.SSH_KEY,
        credentials.ENVIRONMENT,
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("how", ["clouds.yaml", "openrc"])
def test_the_ordinary_command_works_from_here(running: RunningLab, how: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    script = f"{sys.executable} -m openstackclient.shell stack list -f json"
    if how == "openrc":
        script = f". {running.folder / credentials.OPENRC} && {script}"
    else:
        clean |= {"OS_CLIENT_CONFIG_FILE": str(running.folder / credentials.CLOUDS), "OS_CLOUD": settings.CLOUD}
    done = subprocess.run(["bash", "-c", script], env=clean, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_operator_finds_what_a_stack_needs(running: RunningLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.folder / credentials.CLOUDS))
    cloud = openstack.connect(cloud=settings.CLOUD)
    image = cloud.image.find_image(settings.SERVER_IMAGE, ignore_missing=False)
    assert image.status == "active"
    assert image.kernel_id or image.properties["kernel_id"]
    assert cloud.compute.find_flavor(settings.FLAVOR, ignore_missing=False).ram == 1536
    assert cloud.compute.find_keypair(settings.KEY_PAIR)
    assert cloud.network.find_network(settings.EXTERNAL_NETWORK, ignore_missing=False).is_router_external
    assert [zone.status for zone in cloud.dns.zones()] == ["ACTIVE"]


def test_every_service_is_the_packages_own_unit(running: RunningLab) -> None:
    units = running.machine.exec(["systemctl", "list-units", "--plain", "--no-legend", "--state=running"]).out
    names = {line.split()[0].removesuffix(".service") for line in units.splitlines()}
    assert names >= {"keystone", "glance-api", "heat-engine", "swift-proxy", *NOVA_SERVICES, *NEUTRON_AGENTS}
    assert not names & {"cinder-api", "cinder-volume", "octavia-api", "octavia-worker"}, "nobody has asked for them"
    assert running.machine.exec(["systemctl", "--failed", "--plain", "--no-legend"]).out == ""


def test_names_of_neighbours_and_of_the_zone_resolve(running: RunningLab) -> None:
    def resolve(name: str) -> str:
        return running.machine.exec(["dig", f"@{settings.ADDRESS}", "+short", name]).out.strip()

    assert resolve("upstream.test")
    assert resolve(f"ns.{settings.ZONE}") == ""


def test_requests_at_the_same_time_are_all_answered(running: RunningLab) -> None:
    """Where uwsgi adds threads to eventlet's, a request can wait for ever for one that nothing wakes."""

    def make_and_remove(name: str) -> None:
        network = connect(settings.CLOUD, running.folder / credentials.CLOUDS).network
        made = network.create_network(name=name)
        network.create_subnet(network_id=made.id, ip_version=4, cidr="10.99.0.0/24")
        network.delete_port(network.create_port(network_id=made.id))
        network.delete_network(made)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make_and_remove, ["one", "two", "three", "four"], timeout=300))
    lost = running.machine.exec(["grep", "-rl", "cannot switch to a different thread", "/var/log"], check=False)
    assert (lost.code, lost.out) == (1, "")


def test_lab_cannot_write_host_sysctls(running: RunningLab) -> None:
    # Readable and meant for the machine outside; a write must fail before the value is looked at.
    for path in ("/proc/sys/fs/file-max", "/proc/sys/kernel/pid_max", "/proc/sys/vm/swappiness"):
        result = running.machine.exec(["sh", "-c", f"cat {path} > {path}"], check=False)
        assert result.code != 0, path
    assert running.machine.exec(["sh", "-c", "mkdir /sys/kernel/x"], check=False).code != 0


def test_floating_ips_are_reachable_without_a_route(running: RunningLab) -> None:
    route = subprocess.run(
        ["ip", "route", "get", settings.SUBNET.replace(".0/24", ".200")], capture_output=True, text=True, check=True
    ).stdout
    assert " via " not in route, "floating IPs are on a network of this machine's own"
    with socket.create_connection((settings.ADDRESS, 5000), timeout=5):
        pass


# The last two: they end the lab.
def test_down_leaves_the_docker_host_unchanged(running: RunningLab) -> None:
    identity = str(running.machine.container.id)
    bridge = f"br-{str(running.client.networks.get(settings.NAME).id)[:12]}"
    assert host_snapshot.processes_of(identity)
    assert host_snapshot.mentions(bridge)
    gone = lab.down()
    assert settings.NAME in gone
    assert not running.folder.exists()
    assert host_snapshot.differences(running.before, host_snapshot.snapshot()) == []
    assert host_snapshot.mentions(settings.SUBNET.removesuffix(".0/24")) == []
    assert host_snapshot.mentions(bridge) == []
    assert host_snapshot.processes_of(identity) == []
    assert lab.down() == []


def test_crash_leaves_the_docker_host_unchanged(running: RunningLab) -> None:
    container.ensure_network(running.client)
    machine = container.boot(running.client, lab_image(running.client), lambda _step: None)
    machine.exec(["timeout", "60", "sh", "-c", "until [ -e /sys/class/net/br-ex ]; do sleep 0.2; done"])
    machine.container.kill()
    assert settings.NAME in lab.down()
    assert host_snapshot.differences(running.before, host_snapshot.snapshot()) == []
    assert host_snapshot.mentions(settings.SUBNET.removesuffix(".0/24")) == []
