"""How late this process itself is: the part of every latency that is the client's.

Another process writes the time into a pipe at random moments. How much later this process reads it is what it adds to a
response that arrives at such a moment: its own work, and the wait for a processor.
"""

import time
from collections.abc import Callable

import gevent

from loadtests.support import clock
from loadtests.support.processes import start_python


class LatenessMonitor:
    """Measures the lateness of this process until it is stopped."""

    def __init__(self, record_ms: Callable[[float], None]) -> None:
        self._clock, self._record_ms = start_python(clock.__name__), record_ms
        self._reader = gevent.spawn(self._read)

    def stop(self) -> None:
        """Measure no more."""
        self._reader.kill()
        assert self._clock.stdin
        self._clock.stdin.close()
        self._clock.wait()

    def _read(self) -> None:
        assert self._clock.stdout
        for line in self._clock.stdout:
            # CLOCK_MONOTONIC is the same for both processes.
            self._record_ms((time.monotonic() - float(line)) * 1000)
