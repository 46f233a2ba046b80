"""The thresholds of a run. Each is an option with a default, and a run that violates one fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.metrics import Metrics, percentile

# None: it could not be measured.
Measure = Callable[["Outcome"], float | None]
# With more of a latency being the client's own lateness, it says little about the mirror: a response may wait more than
# once. A millisecond is nothing that these thresholds are about.
MAX_CLIENT_SHARE = 0.25
_NEGLIGIBLE_MS = 1.0


@dataclass
class Outcome:
    """What thresholds look at: the metrics, the upstream's counters, and what the scenario itself found.

    `facts` are the scenario's own figures by name, `notes` its log lines for people.
    """

    metrics: Metrics
    upstream: FakeUpstream | None
    facts: dict[str, float]
    notes: list[str]

    def fact(self, name: str) -> float | None:
        """A figure of the scenario, if it has been measured."""
        return self.facts.get(name)


@dataclass(frozen=True)
class Threshold:
    """The option `--NAME` and its default. `at_most` tells an upper from a lower limit.

    `percent` says which percentile of a latency it is: there, the client's own lateness counts. `of_client` says
    whether the client made the load that it was asked for: if not, there is no verdict on the mirror.
    """

    name: str
    default: float
    what: str
    measure: Measure
    at_most: bool = True
    percent: float | None = None
    of_client: bool = False

    @property
    def dest(self) -> str:
        """Its name among the parsed options."""
        return self.name.replace("-", "_")

    def passed(self, measured: float | None, limit: float) -> bool:
        """Whether a figure respects the limit; an unmeasured one does only if the limit allows anything."""
        if measured is None:
            return not self.at_most and limit <= 0
        return measured <= limit if self.at_most else measured >= limit

    def is_mostly_client(self, measured: float | None, metrics: Metrics, share: float) -> bool:
        """Whether more than this share of a latency was the client's own lateness."""
        if self.percent is None or not measured:
            return False
        return (percentile(metrics.late_ms, self.percent) or 0.0) > max(share * measured, _NEGLIGIBLE_MS)


@dataclass(frozen=True)
class Verdict:
    """A threshold with what was measured. `passed` is None where that was not the mirror's doing but the client's."""

    name: str
    what: str
    at_most: bool
    limit: float
    measured: float | None
    passed: bool | None


def judge(thresholds: Sequence[Threshold], options: Any, outcome: Outcome) -> list[Verdict]:
    """Check every threshold, and that no response had wrong bytes, which is not optional."""
    verdicts, share = [], getattr(options, "max_client_share", MAX_CLIENT_SHARE)
    for one in (*thresholds, WRONG_BYTES):
        limit, measured = float(getattr(options, one.dest, 0)), one.measure(outcome)
        passed: bool | None = one.passed(measured, limit)
        if one.is_mostly_client(measured, outcome.metrics, share) or (one.of_client and not passed):
            passed = None
        verdicts.append(Verdict(one.name, one.what, one.at_most, limit, measured, passed))
    return verdicts


def verdict_of_all(verdicts: Sequence[Verdict]) -> bool | None:
    """False if any threshold was violated, else None if any could not be judged, else True."""
    found = {verdict.passed for verdict in verdicts}
    return False if False in found else None if None in found else bool(found)


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts for a terminal."""
    table = Table("figure", "limit", "measured", "passed", title="thresholds")
    for one in verdicts:
        measured = "not measured" if one.measured is None else f"{one.measured:.4g}"
        passed = {True: "yes", False: "NO", None: "no verdict"}[one.passed]
        table.add_row(one.what, f"{'≤' if one.at_most else '≥'} {one.limit:g}", measured, passed)
    return table


def hit_ratio(outcome: Outcome) -> float | None:
    """The hit ratio by the mirror's cache header, or else by how many requests reached the upstream."""
    metrics = outcome.metrics
    if metrics.hit_ratio is not None or outcome.upstream is None or not metrics.cacheable:
        return metrics.hit_ratio
    counters = outcome.upstream.counters()
    missed = sum(count for name, count in counters.items() if name.startswith(("manifest_", "blob_")))
    return max(0.0, 1 - missed / metrics.cacheable)


def _hit_latency(percent: int, default_ms: float) -> Threshold:
    """The latency of cache hits; that of all responses when the mirror sends no cache header."""

    def measure(outcome: Outcome) -> float | None:
        metrics = outcome.metrics
        return percentile(metrics.hit_ms or (metrics.miss_ms if metrics.without_cache_status else []), percent)

    return Threshold(f"max-hit-p{percent}-ms", default_ms, f"hit latency p{percent}, ms", measure, percent=percent)


def _of(values: Callable[[Metrics], float]) -> Measure:
    return lambda outcome: values(outcome.metrics)


WRONG_BYTES = Threshold("wrong", 0, "responses with wrong bytes", _of(lambda metrics: metrics.wrong))
FAILURES = Threshold("max-failures", 0, "failed requests", _of(lambda metrics: len(metrics.failures)))
HIT_RATIO = Threshold("min-hit-ratio", 0.9, "hit ratio", hit_ratio, at_most=False)
HIT_LATENCY = (_hit_latency(50, 100), _hit_latency(95, 500), _hit_latency(99, 1000))
PULLS = Threshold("min-pulls", 1, "complete pulls", _of(lambda metrics: len(metrics.pull_ms)), at_most=False)
PUSHES = Threshold("min-pushes", 1, "complete pushes", _of(lambda metrics: len(metrics.push_ms)), at_most=False)
THROUGHPUT = Threshold(
    "min-mb-per-s",
    1,
    "throughput, MB/s",
    _of(lambda metrics: metrics.bytes_received / 1e6 / metrics.seconds),
    at_most=False,
)
PUSH_LATENCY = Threshold(
    "max-push-p95-ms", 10_000, "push latency p95, ms", lambda outcome: percentile(outcome.metrics.push_ms, 95)
)
