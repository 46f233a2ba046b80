"""Waiting on the host under test: for a file, for its clients to be served; how long that may take."""

from testinfra.host import Host

from registry_stack.polling import wait_until
from tests.host.backend import MachineBackend
from tests.host.targets import Target

# On two busy processors one took 76 s to start a container, which takes seconds here.
_EMULATED = 8


def deadline(host: Host, seconds: float) -> float:
    """That many seconds for a host in a container here; more for a server of a cloud, as it may be emulated."""
    return seconds if isinstance(host.backend, MachineBackend) else seconds * _EMULATED


def wait_for_file(host: Host, path: str, seconds: float) -> None:
    """Wait until the host has it."""
    wait_until(lambda: None if host.file(path).exists else "not there", deadline(host, seconds), path)


def working(target: Target) -> str | None:
    """A probe: both registries answer through the front door."""
    codes = [client.request("GET", "/v2/", timeout=5).status_code for client in (target.mirror(), target.registry())]
    return None if codes == [200, 200] else f"mirror and registry answer {codes}"


def wait_until_working(target: Target) -> float:
    """Wait until both registries answer; return the seconds waited."""
    return wait_until(lambda: working(target), deadline(target.host, 60), "push registry and mirror")
