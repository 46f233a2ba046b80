"""Waiting on the host under test: for a file, for its clients to be served."""

from testinfra.host import Host

from tests.host.targets import Target
from tests.support.deadlines import deadline, wait_until


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
