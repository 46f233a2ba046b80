"""What a run must keep to: each limit is an option with a default, and can fail the run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.metrics import Record, percentile

# None: it could not be measured.
Measure = Callable[["Outcome"], float | None]


@dataclass
class Outcome:
    """All that a limit may look at.

    `facts`: what a scenario has found out besides, by name; `notes`: lines for people.
    """

    record: Record
    standin: FakeUpstream | None
    facts: dict[str, float]
    notes: list[str]

    def fact(self, name: str) -> float | None:
        """What a scenario has found out, if it has."""
        return self.facts.get(name)


@dataclass(frozen=True)
class Threshold:
    """`--NAME` with a default; `at_most` says on which side of it a run may be."""

    name: str
    default: float
    what: str
    measure: Measure
    at_most: bool = True

    @property
    def dest(self) -> str:
        """Its name among the parsed options."""
        return self.name.replace("-", "_")

    def kept(self, measured: float | None, limit: float) -> bool:
        """Whether it was; what was not measured keeps only a limit of no meaning."""
        if measured is None:
            return not self.at_most and limit <= 0
        return measured <= limit if self.at_most else measured >= limit


@dataclass(frozen=True)
class Verdict:
    """A limit and what was measured."""

    name: str
    what: str
    at_most: bool
    limit: float
    measured: float | None
    kept: bool


def judge(limits: Sequence[Threshold], options: Any, outcome: Outcome) -> list[Verdict]:
    """Every limit, and that no byte was wrong, which is no option."""
    found = []
    for limit in (*limits, WRONG_BYTES):
        wanted, measured = float(getattr(options, limit.dest, 0)), limit.measure(outcome)
        found.append(Verdict(limit.name, limit.what, limit.at_most, wanted, measured, limit.kept(measured, wanted)))
    return found


def table(judged: Sequence[Verdict]) -> Table:
    """For people."""
    shown = Table("limit", "wanted", "measured", "kept", title="limits")
    for one in judged:
        measured = "not measured" if one.measured is None else f"{one.measured:.4g}"
        shown.add_row(one.what, f"{'≤' if one.at_most else '≥'} {one.limit:g}", measured, "yes" if one.kept else "NO")
    return shown


def hit_ratio(outcome: Outcome) -> float | None:
    """By the mirror's own header, else by what its upstream was asked for meanwhile."""
    record = outcome.record
    if record.hit_ratio is not None or outcome.standin is None or not record.cacheable:
        return record.hit_ratio
    asked = outcome.standin.counters()
    upstream = sum(count for name, count in asked.items() if name.startswith(("manifest_", "blob_")))
    return max(0.0, 1 - upstream / record.cacheable)


def _hit(percent: float) -> Measure:
    """Of answers from the cache; of all of them when the mirror does not say which those are."""

    def measure(outcome: Outcome) -> float | None:
        record = outcome.record
        return percentile(record.hit_ms or (record.miss_ms if record.unmarked else []), percent)

    return measure


def _of(values: Callable[[Record], float]) -> Measure:
    return lambda outcome: values(outcome.record)


WRONG_BYTES = Threshold("wrong", 0, "answers with wrong bytes", _of(lambda record: record.wrong))
FAILURES = Threshold("max-failures", 0, "failed requests", _of(lambda record: len(record.failures)))
HIT_RATIO = Threshold("min-hit-ratio", 0.9, "hit ratio", hit_ratio, at_most=False)
HIT_LATENCY = (
    Threshold("max-hit-p50-ms", 100, "hit latency p50, ms", _hit(50)),
    Threshold("max-hit-p95-ms", 500, "hit latency p95, ms", _hit(95)),
    Threshold("max-hit-p99-ms", 1000, "hit latency p99, ms", _hit(99)),
)
PULLS = Threshold("min-pulls", 1, "whole pulls", _of(lambda record: len(record.pull_ms)), at_most=False)
PUSHES = Threshold("min-pushes", 1, "whole pushes", _of(lambda record: len(record.push_ms)), at_most=False)
THROUGHPUT = Threshold(
    "min-mb-per-s", 1, "throughput, MB/s", _of(lambda record: record.received / 1e6 / record.seconds), at_most=False
)
PUSH_LATENCY = Threshold(
    "max-push-p95-ms", 10_000, "whole push p95, ms", lambda outcome: percentile(outcome.record.push_ms, 95)
)
