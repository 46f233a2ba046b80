"""The measurements of a run: latencies, cache hits, and what failed when."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# The values of nginx's $upstream_cache_status (ngx_http_upstream_module) that mean "served from the cache".
HITS = frozenset({"HIT", "STALE", "UPDATING", "REVALIDATED"})
# The edge's own header, and the one that most other caches use.
CACHE_HEADERS = ("x-cache", "x-cache-status")


@dataclass(frozen=True)
class Failure:
    """A failed request: when it was sent and when it failed (seconds of time.monotonic()), and how.

    `wrong`: a complete response whose content does not match its digest, which nothing excuses. `urls` are those at
    which it failed: of a group, all members that the client has asked.
    """

    sent: float
    failed: float
    kind: str
    reason: str
    wrong: bool = False
    urls: frozenset[str] = frozenset()


@dataclass
class Metrics:
    """The measurements of one run. Hit and miss latencies are those of manifests and configs, in ms.

    `late_ms` is how late this process itself was, at random moments. `layer_first_s` and `layer_gap_s` are the time
    until the first byte of each layer, and the longest time without a byte. `failovers` counts the requests that failed
    at a member of a group, after which the client asked the next one.
    """

    started: float = field(default_factory=time.monotonic)
    hit_ms: array[float] = field(default_factory=lambda: array("d"))
    tag_hit_ms: array[float] = field(default_factory=lambda: array("d"))
    miss_ms: array[float] = field(default_factory=lambda: array("d"))
    pull_ms: array[float] = field(default_factory=lambda: array("d"))
    refresh_ms: array[float] = field(default_factory=lambda: array("d"))
    push_ms: array[float] = field(default_factory=lambda: array("d"))
    late_ms: array[float] = field(default_factory=lambda: array("d"))
    layer_first_s: array[float] = field(default_factory=lambda: array("d"))
    layer_gap_s: array[float] = field(default_factory=lambda: array("d"))
    requests: int = 0
    failovers: int = 0
    cacheable: int = 0
    hits: int = 0
    without_cache_status: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    cache_statuses: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def record_response(self, cache_status: str | None, size: int, ms: float, label: str) -> None:
        """Record a good response. `cache_status` is empty without a cache header, None for what is never cached."""
        self.requests += 1
        self.bytes_received += size
        if cache_status is None:
            return
        self.cacheable += 1
        self.cache_statuses[cache_status or "none"] += 1
        self.without_cache_status += not cache_status
        hit = cache_status in HITS
        self.hits += hit
        if label != "layer":
            (self.hit_ms if hit else self.miss_ms).append(ms)
        if hit and label == "manifest by tag":
            self.tag_hit_ms.append(ms)

    def record_failure(
        self, sent: float, kind: str, reason: str, wrong: bool = False, urls: Iterable[str] = ()
    ) -> None:
        """Record a request that failed just now, at the last of these URLs."""
        self.requests += 1
        self.failures.append(Failure(sent, time.monotonic(), kind, reason, wrong, frozenset(urls)))

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def wrong(self) -> int:
        """How many responses had wrong bytes."""
        return sum(failure.wrong for failure in self.failures)

    @property
    def hit_ratio(self) -> float | None:
        """The hit ratio according to the cache headers; None where some responses have none."""
        return None if self.without_cache_status or not self.cacheable else self.hits / self.cacheable


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value with `percent` of all values below it; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
