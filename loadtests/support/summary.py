"""The summary of a run: figures and verdicts, as JSON and for a terminal."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from loadtests.support.metrics import percentile
from loadtests.support.thresholds import Outcome, Verdict, hit_ratio, verdict_of_all, verdict_table
from registry_stack.console import out

_CONCLUSIONS = {
    True: "passed",
    False: "FAILED: a threshold was violated",
    None: "NO VERDICT: this client was itself late, or had too few users: put less load on this machine, or more users",
}


def summarize(scenario: str, measures: str, outcome: Outcome, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that is known of a run, ready for JSON."""
    metrics, upstream = outcome.metrics, outcome.upstream
    latencies = {
        "hit": metrics.hit_ms,
        "tag hit": metrics.tag_hit_ms,
        "other": metrics.miss_ms,
        "refresh": metrics.refresh_ms,
        "pull": metrics.pull_ms,
        "push": metrics.push_ms,
    }
    return {
        "scenario": scenario,
        "measures": measures,
        "seconds": metrics.seconds,
        "requests": metrics.requests,
        "failed": len(metrics.failures),
        "failovers": metrics.failovers,
        "wrong": metrics.wrong,
        "pulls": len(metrics.pull_ms),
        "pushes": len(metrics.push_ms),
        "mb_received_per_s": metrics.bytes_received / 1e6 / metrics.seconds,
        "mb_sent_per_s": metrics.bytes_sent / 1e6 / metrics.seconds,
        "hit_ratio": hit_ratio(outcome),
        "cache": dict(metrics.cache_statuses),
        "upstream": upstream.counters() if upstream and upstream.machine.running else None,
        "ms": {kind: _percentiles(values) for kind, values in latencies.items() if values},
        "late_ms": _percentiles(metrics.late_ms),
        "reasons": sorted({f"{failure.kind}: {failure.reason}" for failure in metrics.failures})[:20],
        "facts": outcome.facts,
        "notes": outcome.notes,
        "thresholds": [asdict(verdict) for verdict in verdicts],
        "passed": verdict_of_all(verdicts),
    }


def print_summary(summary: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Figures, then thresholds, then one line with the verdict."""
    ratio = "unknown" if summary["hit_ratio"] is None else f"{summary['hit_ratio']:.3f}"
    lines = [
        f"{summary['scenario']}: {summary['pulls']} pulls, {summary['pushes']} pushes, {summary['requests']} requests "
        f"in {summary['seconds']:.1f} s, {summary['mb_received_per_s']:.1f} MB/s received, hit ratio {ratio}"
    ]
    if summary["failovers"]:
        lines.append(f"  requests that failed at one host and were sent to the next: {summary['failovers']}")
    latencies = {f"{kind} ms": values for kind, values in summary["ms"].items()}
    latencies["this client itself was late by ms"] = summary["late_ms"]
    for kind, values in latencies.items():
        lines.append(f"  {kind}: {', '.join(f'{name} {value:.2f}' for name, value in values.items())}")
    lines += [f"  {name}: {value:.4g}" for name, value in summary["facts"].items()]
    lines += [f"  {note}" for note in summary["notes"]]
    lines += [f"  failed: {reason}" for reason in summary["reasons"]]
    out.print("\n".join(lines), markup=False)
    out.print(verdict_table(verdicts))
    out.print(_CONCLUSIONS[summary["passed"]])


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": percentile(values, percent) or 0.0 for percent in (50, 95, 99)}
