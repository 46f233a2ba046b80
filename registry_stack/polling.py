"""Waiting for a condition, with a deadline and an error that tells the last state."""

import time
from collections.abc import Callable

from registry_stack.errors import RegistryStackError

POLL_S = 0.2
TAIL_LINES = 15

# A probe looks at the real thing: None means success, a text tells the state instead.
Probe = Callable[[], str | None]


def wait_until(
    probe: Probe,
    deadline_s: float,
    what: str,
    *,
    log: Callable[[], str] | None = None,
    hint: str = "",
    poll_s: float = POLL_S,
) -> float:
    """Poll `probe` until it returns None, and return the seconds that it took.

    A probe that raises counts as "not yet", except for RegistryStackError, which ends the wait. After the deadline
    the RegistryStackError carries the last status, the tail of the log and the hint.
    """
    started = time.monotonic()
    while True:
        status = ask(probe)
        waited = time.monotonic() - started
        if status is None:
            return waited
        if waited > deadline_s:
            raise RegistryStackError(_give_up(what, deadline_s, status, log, hint))
        time.sleep(poll_s)


def ask(probe: Probe) -> str | None:
    """Call the probe once; an exception counts as a state, in one line."""
    try:
        return probe()
    except RegistryStackError:
        raise
    except Exception as error:  # noqa: BLE001 - not up yet: any failure to reach it is a status
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _give_up(what: str, deadline_s: float, status: str, log: Callable[[], str] | None, hint: str) -> str:
    message = f"waited {deadline_s:g} s for {what}: last seen: {status}"
    if hint:
        message += f"; {hint}"
    tail = log().strip().splitlines()[-TAIL_LINES:] if log else []
    return "\n".join([message, *(f"    {line}" for line in tail)])
