"""What was measured in a run: every answer with its latency, whether it was a cache hit, and what went wrong when."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Of nginx's $upstream_cache_status (ngx_http_upstream_module): served from the cache, whatever its age.
HITS = frozenset({"HIT", "STALE", "UPDATING", "REVALIDATED"})
# The edge's own, and the one that most others use.
CACHE_HEADERS = ("x-cache", "x-cache-status")


@dataclass(frozen=True)
class Failure:
    """A request that failed: when it was sent and when it failed (seconds of time.monotonic()), and how.

    `wrong` means bytes that are not what their digest says: never to be excused.
    """

    sent: float
    failed: float
    kind: str
    reason: str
    wrong: bool = False


@dataclass
class Record:
    """One run's figures. Latencies in ms: of requests for manifests and configs, whole answers."""

    started: float = field(default_factory=time.monotonic)
    hit_ms: array[float] = field(default_factory=lambda: array("d"))
    miss_ms: array[float] = field(default_factory=lambda: array("d"))
    pull_ms: array[float] = field(default_factory=lambda: array("d"))
    push_ms: array[float] = field(default_factory=lambda: array("d"))
    requests: int = 0
    cacheable: int = 0
    hits: int = 0
    unmarked: int = 0
    received: int = 0
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def answer(self, status: str | None, size: int, ms: float, small: bool) -> None:
        """A good answer, with its cache header: empty for none, None for what is never cached."""
        self.requests += 1
        self.received += size
        if status is None:
            return
        self.cacheable += 1
        self.statuses[status or "none"] += 1
        self.unmarked += not status
        hit = status in HITS
        self.hits += hit
        if small:
            (self.hit_ms if hit else self.miss_ms).append(ms)

    def fail(self, sent: float, kind: str, reason: str, wrong: bool = False) -> None:
        """A request that failed."""
        self.requests += 1
        self.failures.append(Failure(sent, time.monotonic(), kind, reason, wrong))

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def wrong(self) -> int:
        """Answers whose bytes were not what they should have been."""
        return sum(failure.wrong for failure in self.failures)

    @property
    def hit_ratio(self) -> float | None:
        """By the mirror's own word; None when it does not say."""
        return None if self.unmarked or not self.cacheable else self.hits / self.cacheable


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent are not above; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
