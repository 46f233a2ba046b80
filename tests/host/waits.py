"""Whether the host works at this moment, as its clients see it."""

from harness.waiting import wait_until
from tests.host.targets import Target

# For what takes seconds on a machine of its own: a server under emulation, on two busy processors, took 76 s to start
# one container.
PATIENT_S = 200


def working(target: Target) -> str | None:
    """A probe: both registries answer through the front door."""
    codes = [client.request("GET", "/v2/", timeout=5).status_code for client in (target.mirror(), target.registry())]
    return None if codes == [200, 200] else f"mirror and registry answer {codes}"


def wait_until_working(target: Target, deadline_s: float = PATIENT_S) -> float:
    """Wait until both registries answer; return the seconds waited."""
    return wait_until(lambda: working(target), deadline_s, "push registry and mirror")
