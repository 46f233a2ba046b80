"""Deadlines that fit the machine: a run measures once how slow its machine is, and scales every wait by that."""

import hashlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import cache

from testinfra.host import Host

from registry_stack import polling
from registry_stack.polling import Probe

# Of `_probe_s` on two idle cores of the machine for which the deadlines of the tests were written.
_REFERENCE_S = 0.12
_ROUNDS = 3
# An emulated server on two busy processors took 76 s to start a container, which takes seconds here.
_EMULATED = 8
# Measured once for all processes of a run; may be given, for a machine that is slower later than at the start.
VARIABLE = "REGISTRY_STACK_TEST_FACTOR"


@cache
def factor() -> float:
    """How much longer a test takes here than alone on the reference machine: the workers of a run share this one."""
    return _slowness() * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _slowness() -> float:
    """Of this machine, never less than 1."""
    if VARIABLE not in os.environ:
        measured = statistics.median(_probe_s() for _ in range(_ROUNDS)) / _REFERENCE_S
        os.environ[VARIABLE] = f"{max(1.0, measured):.2f}"
    return float(os.environ[VARIABLE])


def scaled(seconds: float) -> float:
    """A duration on the reference machine, as it may be on this one."""
    return seconds * factor()


def deadline(host: Host, seconds: float) -> float:
    """That many seconds for a host in a container here; more for a server of a cloud, which may be emulated."""
    return seconds if host.backend.NAME == "machine" else seconds * _EMULATED


def wait_until(
    probe: Probe,
    deadline_s: float,
    what: str,
    *,
    log: Callable[[], str] | None = None,
    hint: str = "",
    poll_s: float = polling.POLL_S,
) -> float:
    """Poll `probe` as the product does, for as long as this machine may take."""
    return polling.wait_until(probe, scaled(deadline_s), what, log=log, hint=hint, poll_s=poll_s)


def _probe_s() -> float:
    """The time that a fixed amount of computation and of new processes takes: what the hosts under test do most."""
    started = time.monotonic()
    data = b"\0" * (1 << 20)
    for _ in range(24):
        hashlib.sha256(data).digest()
    sum(number * number for number in range(600_000))
    for _ in range(40):
        subprocess.run(["/bin/true"], check=True)
    return time.monotonic() - started
