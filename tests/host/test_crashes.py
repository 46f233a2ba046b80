"""Every container can be killed: it comes back by itself, and at ever longer intervals when it keeps dying."""

import time

import pytest
from testinfra.host import Host

from registry_stack.targets.local.rollout import UNITS
from tests.host.targets import Target
from tests.host.waiting import wait_until_working
from tests.support.deadlines import deadline, wait_until
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

# From the kill to a working service, on a busy machine.
BACK_S = 30


def container_id(host: Host, unit: str) -> str:
    return str(host.run("docker inspect -f '{{.Id}} {{.State.Running}}' %s", unit).stdout.strip())


def kill(host: Host, unit: str) -> None:
    """kill -9 of the container's process, not by Docker's doing."""
    host.check_output("kill -9 $(docker inspect -f '{{.State.Pid}}' %s)", unit)


def wait_for_another(host: Host, unit: str, before: str) -> None:
    """Wait until another container runs and systemd says that it answers."""

    def probe() -> str | None:
        now = container_id(host, unit)
        state = host.run("systemctl is-active %s", unit).stdout.strip()
        return None if now.endswith("true") and now != before and state == "active" else f"{state} {now}"

    wait_until(probe, deadline(host, BACK_S), f"{unit} to come back")


@pytest.mark.parametrize("unit", UNITS)
def test_killed_container_comes_back(
    target: Target, host: Host, registry: OciClient, upstream: Upstream, unit: str
) -> None:
    # Restarts by the tests before are no crashes.
    host.check_output("rm -f /run/registry/backoff/%s", unit)
    before = container_id(host, unit)
    kill(host, unit)
    wait_for_another(host, unit, before)
    wait_until_working(target)
    pushed = registry.push(f"crashes/{unit}", "1", [10_000])
    assert registry.pull(f"crashes/{unit}", "1").digest == pushed.digest
    image = upstream.push(f"library/after-{unit}", "1", [10_000])
    assert target.mirror().pull(f"library/after-{unit}", "1").digest == image.digest


def test_repeated_crashes_are_backed_off_from(host: Host) -> None:
    """As if each start took no time: under emulation one takes longer than a series of crashes may."""
    unit, record = "docker-redis", "/run/registry/backoff/docker-redis"
    last, seconds = "0", []
    for _time in range(3):
        before = container_id(host, unit)
        host.check_output(f"echo $(date +%s) {last} > {record}")
        started = time.monotonic()
        kill(host, unit)
        wait_for_another(host, unit, before)
        seconds.append(time.monotonic() - started)
        last = host.check_output(f"cut -d ' ' -f 2 {record}")
    assert last == "4"
    # Before the last start it waited for half of that.
    assert seconds[-1] > 2, seconds


def test_failures_before_the_container_are_backed_off_from(target: Target, host: Host) -> None:
    """As systemd itself would try again ten times a second."""
    file = "/etc/docker-registry/environment"
    content = host.file(file).content
    # What is written with each start: its time, and twice the pause before it.
    record = "/run/registry/backoff/docker-registry-edge"
    # Starts are counted from here.
    host.check_output(f"rm -f {record}; systemctl reset-failed docker-registry-edge")
    target.write(file, content + b"EXTRA_CA_CERTIFICATES='bm90aGluZwo='\n")
    try:
        host.run("systemctl restart docker-registry-edge")
        wait_until(
            lambda: None if int(host.check_output(f"cut -d ' ' -f 2 {record}")) >= 2 else "no pause yet",
            deadline(host, 60),
            "a pause before a start",
        )
    finally:
        target.write(file, content)
        host.check_output("systemctl restart docker-registry-edge")
        wait_until_working(target)


def test_crash_after_a_long_run_is_not_backed_off_from(host: Host) -> None:
    """As if it had last been started an hour ago, after a whole series of crashes."""
    unit, record = "docker-redis", "/run/registry/backoff/docker-redis"
    before = container_id(host, unit)
    host.check_output(f"echo $(($(date +%s) - 3600)) 60 > {record}")
    kill(host, unit)
    wait_for_another(host, unit, before)
    assert host.check_output(f"cut -d ' ' -f 2 {record}") == "0"


def test_crashes_are_logged(host: Host) -> None:
    """The tests above killed each once."""
    for unit in UNITS:
        assert "status=137" in host.check_output("journalctl --no-pager -o cat -u %s", unit)
