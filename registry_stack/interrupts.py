"""Ctrl-C, which ends a command only where it waits for something."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_TICK_S = 0.02
# A second of computing: after that, Ctrl-C ends the command wherever it is.
_MOST_TICKS = 50


@contextmanager
def interrupted_while_waiting() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C where the main thread waits: where two ticks find it at the same instruction.

    Python alone raises it between any two instructions. Where an object is being finalized, it is lost and the command
    goes on; where urllib3 has just taken the lock of its connections, that lock is never released, and the clean-up
    waits for it for ever (docs.python.org, signal, "Note on Signal Handlers and Exceptions").
    """
    place: tuple[FrameType | None, int] | None = None
    ticks = 0

    def begin(_signal: int, _frame: FrameType | None) -> None:
        nonlocal place, ticks
        place, ticks = None, 0
        signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)

    def tick(_signal: int, frame: FrameType | None) -> None:
        nonlocal place, ticks
        before, place = place, (frame, frame.f_lasti if frame else -1)
        ticks += 1
        if place == before or ticks == _MOST_TICKS:
            signal.setitimer(signal.ITIMER_REAL, 0)
            place = None
            raise KeyboardInterrupt

    handlers = signal.signal(signal.SIGINT, begin), signal.signal(signal.SIGALRM, tick)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGALRM, handlers[1])
