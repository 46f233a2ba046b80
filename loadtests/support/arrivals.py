"""Open arrivals: work begins at random moments at a mean rate, however long earlier work takes."""

import random
import time

import gevent
from gevent.queue import Queue


class Arrivals:
    """A Poisson process whose arrivals are taken by users. One that finds no free user waits for the next."""

    # Less is a free user that this process woke up late.
    ON_TIME_S = 0.1

    def __init__(self, rate: float) -> None:
        self.taken = self.on_time = 0
        self._rate, self._waiting = rate, Queue[float]()
        self._generator: gevent.Greenlet | None = None

    def begin(self) -> None:
        """Let work arrive from now on."""
        self._generator = self._generator or gevent.spawn(self._generate)

    def take(self) -> None:
        """Wait for an arrival that no other user has taken."""
        scheduled = self._waiting.get()
        self.taken += 1
        self.on_time += time.monotonic() - scheduled <= self.ON_TIME_S

    def stop(self) -> None:
        """No more arrivals."""
        if self._generator:
            self._generator.kill()

    @property
    def share_on_time(self) -> float | None:
        """The share of all arrivals that found a free user; those that still wait found none."""
        due = self.taken + self._waiting.qsize()
        return self.on_time / due if due else None

    def _generate(self) -> None:
        due = time.monotonic()
        while True:
            due += random.expovariate(self._rate)
            gevent.sleep(max(0.0, due - time.monotonic()))
            self._waiting.put(due)
