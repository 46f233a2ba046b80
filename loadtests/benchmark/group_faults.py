"""What may happen to a member of a group, or to all in turn, each as a context that repairs it at its end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from loadtests.benchmark.group_testbed import STORE, GroupTestbed
from loadtests.support.fault_injection import RESTART_DEADLINE_S
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until
from registry_stack.progress import no_progress
from registry_stack.targets.local.rollout import wait_until_ready

Fault = Callable[[GroupTestbed], AbstractContextManager[None]]
CUT_OFF, BAD_CERTIFICATE, DISK_FULL, SWIFT_AWAY = (
    "cut off from the others",
    "bad certificate",
    "disk full",
    "Swift away",
)
_FILLER = f"{STORE}/filler"
_EDGE = "docker-registry-edge"
_SERVICES = (_EDGE, "docker-registry-proxy")
_CERTIFICATES = "/home/root/registry_certs"
_OWNER = "mode=700,uid=65532,gid=65532"


@contextmanager
def killed(testbed: GroupTestbed) -> Iterator[None]:
    """The last member is killed, as by a power cut, and boots again."""
    host = testbed.hosts[-1]
    host.container.kill()
    with _booted_at_end(testbed, host):
        yield


@contextmanager
def rebooted(testbed: GroupTestbed) -> Iterator[None]:
    """The last member is shut down in order, and boots again."""
    host = testbed.hosts[-1]
    host.container.stop(timeout=60)
    with _booted_at_end(testbed, host):
        yield


@contextmanager
def _booted_at_end(testbed: GroupTestbed, host: Machine) -> Iterator[None]:
    try:
        yield
    finally:
        testbed.restart(host)
        wait_until_ready(host, no_progress)


@contextmanager
def bad_certificate(host: Machine) -> Iterator[None]:
    """It serves a certificate that neither clients nor the other members trust."""
    host.exec(["sh", "-ec", f"mkdir /run/good /run/bad; cp -a {_CERTIFICATES}/server.* /run/good"])
    bad = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=bad"
    host.exec(["openssl", *bad.split(), "-keyout", "/run/bad/server.key", "-out", "/run/bad/server.crt"])
    _serve_pair(host, "bad", trusted=False)
    try:
        yield
    finally:
        _serve_pair(host, "good", trusted=True)
        host.exec(["rm", "-r", "/run/good", "/run/bad"])


def _serve_pair(host: Machine, which: str, trusted: bool) -> None:
    """Put a pair where a user would; the host takes it up by itself."""
    host.exec(["sh", "-ec", f"cp -a /run/{which}/server.* {_CERTIFICATES}"])
    _wait_for_mirror(host, ["--cacert", f"{_CERTIFICATES}/ca.crt"], works=trusted)


@contextmanager
def other_edge_image(testbed: GroupTestbed) -> Iterator[None]:
    """All get another edge image, one after the other, and then the one before."""
    command = ["docker", "inspect", "--format", "{{.Config.Image}}", _EDGE]
    client, image = testbed.client.client, testbed.hosts[0].exec(command).out.strip()
    other, before = f"{testbed.options.name}-edge:other", testbed.mirror.parameters
    client.images.get(image).tag(other)
    try:
        testbed.redeploy(testbed.options, [*before, f"edge_image={other}"])
        yield
    finally:
        testbed.redeploy(testbed.options, before)
        client.images.remove(other)


@contextmanager
def other_servers(testbed: GroupTestbed) -> Iterator[None]:
    """All are replaced, one after the other, and keep their volumes: here by another address of their ports."""
    before, parameters = testbed.options, testbed.mirror.parameters
    try:
        testbed.redeploy(replace(before, address="127.0.0.2"), parameters)
        yield
    finally:
        testbed.redeploy(before, parameters)


@contextmanager
def cut_off(host: Machine) -> Iterator[None]:
    """Nothing from the other members arrives at it; it still has its clients, the upstream and Swift.

    Raises RegistryStackError at its end when nothing was sent that could arrive.
    """
    rule = ["PREROUTING", "--in-interface", _peer_interface(host), "--jump", "DROP"]
    host.exec(["iptables", "--table", "raw", "--insert", *rule])
    try:
        yield
        rules = host.exec(["iptables", "--table", "raw", "--list-rules", "PREROUTING", "--verbose"]).out
        if " -c 0 0 " in rules.splitlines()[1]:
            raise RegistryStackError(f"{host.name} was not cut off: {rules}")
    finally:
        host.exec(["iptables", "--table", "raw", "--delete", *rule])


def _peer_interface(host: Machine) -> str:
    """The interface on the network that only members share."""
    host.container.reload()
    networks = host.container.attrs["NetworkSettings"]["Networks"]
    address = next(str(one["IPAddress"]) for name, one in networks.items() if name.endswith("-peers"))
    lines = host.exec(["ip", "-oneline", "-4", "address"]).out.splitlines()
    return next(line.split()[1] for line in lines if f" {address}/" in line)


@contextmanager
def disk_full(host: Machine) -> Iterator[None]:
    """The disk of its cache, which `small_disk` has made, fills up with something else."""
    host.exec(["sh", "-c", f"cat /dev/zero > {_FILLER} 2>/dev/null || true"])
    try:
        yield
    finally:
        host.exec(["rm", "-f", _FILLER])


@contextmanager
def small_disk(host: Machine, megabytes: int) -> Iterator[None]:
    """The host's cache is on a small file system, which is empty at first."""
    host.exec(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,{_OWNER}", "tmpfs", STORE])
    _start_services(host)
    try:
        yield
    finally:
        host.exec(["systemctl", "stop", *_SERVICES])
        host.exec(["umount", STORE])
        _start_services(host)


def _start_services(host: Machine) -> None:
    """Start anew what has files there open."""
    host.exec(["systemctl", "restart", *_SERVICES])
    _wait_for_mirror(host, ["--insecure"])


def _wait_for_mirror(host: Machine, options: list[str], works: bool = True) -> None:
    """Wait until a request to it by curl works, or does not."""
    command = ["curl", "-sSf", "-o", "/dev/null", *options, "https://localhost/v2/"]

    def probe() -> str | None:
        done = host.exec(command, check=False)
        return None if (done.code == 0) is works else done.tail() or "still works"

    wait_until(probe, RESTART_DEADLINE_S, f"the mirror of {host.name}")


@contextmanager
def swift_away(testbed: GroupTestbed) -> Iterator[None]:
    """Swift does not answer, and its connections stay open.

    All its processes are stopped: Docker's own pause fails where a freezer does not succeed at once.
    """
    testbed.swift.exec(["sh", "-c", "kill -STOP -1"])
    try:
        yield
    finally:
        testbed.swift.exec(["sh", "-c", "kill -CONT -1"])


def _of_last(fault: Callable[[Machine], AbstractContextManager[None]]) -> Fault:
    return lambda testbed: fault(testbed.hosts[-1])


# By what a report calls them.
FAULTS: dict[str, Fault] = {
    "killed": killed,
    "rebooted": rebooted,
    CUT_OFF: _of_last(cut_off),
    DISK_FULL: _of_last(disk_full),
    BAD_CERTIFICATE: _of_last(bad_certificate),
    SWIFT_AWAY: swift_away,
    "another edge image, and back": other_edge_image,
    "other servers, and back": other_servers,
}
