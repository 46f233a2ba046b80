"""Renders the report, `docs/performance.md` from `report.md.j2`, and its targets for a terminal."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.table import Table

from loadtests.benchmark.performance_targets import rate_relative_to, relative_to_static
from loadtests.benchmark.profiles import HEADLINE_CLIENTS, OUTAGE_CLIENTS, OUTAGE_REQUEST_S, Profile
from loadtests.benchmark.results import Results, Row, Target
from loadtests.benchmark.systems_under_test import MIRROR, PROXY_2, REPORT_ORDER

_HEADS = {
    "image_mb": "image, MB",
    "mb_per_s": "MB/s",
    "mean_s": "mean, s",
    "median_s": "median, s",
    "slowest_s": "slowest, s",
    "published_s": "mean 2016, s",
    "upstream_ratio": "upstream bytes / image size",
    "rps": "requests/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "rps_of_static": "rate vs nginx static",
    "mb_per_s_of_static": "rate vs nginx static",
    "look_s": "look, s",
    "idle_percent": "idle, % of one processor",
    "evict_s": "eviction, s",
    "evict_wall_s": "eviction, wall s",
    "first_bytes_s": "first bytes free, wall s",
    "scrape_s": "metrics, s",
    "page_s": "status page, s",
    "memory_mib": "largest process, at most MiB",
    "cached_mb": "cached MB, each member",
    "fault_s": "lasts, s",
    "serves_s": "new member serves after, s",
    "deploy_s": "deploy takes, s",
    "failovers": "requests sent to another member",
    "pushes_failed": "failed pushes",
    "pushes_failed_twice": "failed again",
    "lost": "acknowledged and lost",
    "rps_of_single": "rate vs single host",
    "errors": "failed requests",
    "failed": "failed pulls",
    "complete": "complete pulls",
    "wrong": "wrong bytes",
}
_WORDS = {1: "one core", 2: "two cores", 4: "four cores", 8: "eight cores"}


def write_report(results: Results, profile: Profile, plots: Sequence[tuple[str, str]], path: Path) -> None:
    """Write the whole report."""
    environment = Environment(
        loader=PackageLoader("loadtests.benchmark", "."),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("report.md.j2").render(
        results=results,
        profile=profile,
        plots=plots,
        headline=headline(results),
        headline_clients=HEADLINE_CLIENTS,
        outage_clients=OUTAGE_CLIENTS,
        outage_request_s=OUTAGE_REQUEST_S,
        targets=_targets(results),
        grid=partial(_grid, results),
        rows=partial(_rows, results),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip() + "\n")


def headline(results: Results) -> str:
    """The main result in one sentence; empty if it was not measured."""
    static, proxy = relative_to_static(results, "tag"), rate_relative_to(results, PROXY_2)
    if static is None or proxy is None:
        return ""
    cores = results.machine.get("cores", "")
    where = _WORDS.get(int(cores), f"{cores} cores") if cores.isdecimal() else "this machine"
    return (
        f"On {where} the mirror answers tags at {static:.2f}x the rate of nginx serving static files and "
        f"{proxy:.0f}x that of a bare {PROXY_2}."
    )


def targets_table(results: Results) -> Table:
    """The targets, for a terminal."""
    met = sum(target.met for target in results.targets)
    table = Table("figure", "target", "measured", "met", title=f"Targets: {met} of {len(results.targets)} met")
    for target in results.targets:
        table.add_row(target.name, target.limit, _measured(target), "yes" if target.met else "NO")
    return table


def _targets(results: Results) -> str:
    cells = [
        [target.name, target.limit, _measured(target), "yes" if target.met else "**no**", target.note]
        for target in results.targets
    ]
    return _markdown(["figure", "target", "measured", "met", "note"], cells)


def _rows(results: Results, stage: str, names: str, **wanted: Any) -> str:
    """The rows of a stage with these values, with the columns of these names."""
    columns = names.split()
    cells = [[_number(row.get(column)) for column in columns] for row in _select(results, stage, wanted)]
    return _markdown([_HEADS.get(column, column) for column in columns], cells)


def _grid(results: Results, stage: str, across: str, column: str, **wanted: Any) -> str:
    """One figure, with a row for each system and a column for each value of `across`."""
    figures: dict[str, dict[str, str]] = {}
    for row in _select(results, stage, wanted):
        figures.setdefault(row["system"], {})[str(row[across])] = _number(row[column])
    values = list(dict.fromkeys(value for by_value in figures.values() for value in by_value))
    cells = [[system, *(by_value.get(value, "") for value in values)] for system, by_value in figures.items()]
    return _markdown([across, *values], cells)


def _select(results: Results, stage: str, wanted: Mapping[str, Any]) -> list[Row]:
    """The rows of a stage with these values, in the report's order of systems."""
    rows = [row for row in results.rows.get(stage, []) if all(row[name] == value for name, value in wanted.items())]
    return sorted(rows, key=lambda row: REPORT_ORDER.index(row.get("system", MIRROR)))


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    if not cells:
        return "Not measured in this run."
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _measured(target: Target) -> str:
    return "not measured" if target.measured is None else f"{_number(target.measured)}{target.unit}"


def _number(value: float | str | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
