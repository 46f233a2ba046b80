"""Renders the report, `docs/performance.md` from `report.md.j2`, and its main tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.table import Table

from loadtests.benchmark.performance_targets import rate_relative_to, relative_to_static
from loadtests.benchmark.profiles import HEADLINE_CLIENTS, OUTAGE_CLIENTS, OUTAGE_REQUEST_S, Profile
from loadtests.benchmark.results import Results, Target
from loadtests.benchmark.systems_under_test import PROXY_2, REPORT_ORDER

_REQUESTS = {"tag": "manifest by tag", "digest": "manifest by digest", "blob": "64 MiB blob"}
_HEADS = {
    "image_mb": "image, MB",
    "mb_per_s": "MB/s",
    "mean_s": "mean, s",
    "median_s": "median, s",
    "slowest_s": "slowest, s",
    "published_s": "mean 2016, s",
    "upstream_ratio": "upstream bytes / image size",
    "rps": "requests/s",
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
    tables = _Tables(results)
    text = environment.get_template("report.md.j2").render(
        results=results,
        profile=profile,
        plots=plots,
        headline=headline(results),
        headline_clients=HEADLINE_CLIENTS,
        outage_clients=OUTAGE_CLIENTS,
        outage_request_s=OUTAGE_REQUEST_S,
        targets=tables.targets(),
        requests=tables.requests,
        grid=tables.grid,
        rows=tables.rows,
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


def ratios_table(results: Results) -> Table:
    """The headline figures relative to nginx static, for a terminal."""
    tables = _Tables(results)
    table = Table("system", *_REQUESTS.values(), title=f"relative to nginx static, {HEADLINE_CLIENTS} clients")
    for name in tables.systems("headline"):
        table.add_row(name, *(tables.ratio(name, request) for request in _REQUESTS))
    return table


class _Tables:
    """Renders results as Markdown tables."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def targets(self) -> str:
        """All targets."""
        cells = [
            [target.name, target.limit, _measured(target), "yes" if target.met else "**no**", target.note]
            for target in self.results.targets
        ]
        return _markdown(["figure", "target", "measured", "met", "note"], cells)

    def requests(self, request: str) -> str:
        """The headline figures of one kind of request."""
        column = "mb_per_s" if request == "blob" else "rps"
        cells = []
        for name in self.systems("headline"):
            row = self.results.find("headline", system=name, request=request)
            if row:
                figures = (row[column], row["p50_ms"], row["p99_ms"], row["errors"])
                cells.append([name, *map(_number, figures), self.ratio(name, request)])
        return _markdown(["system", _HEADS[column], "p50, ms", "p99, ms", "failed", "vs nginx static"], cells)

    def grid(self, stage: str, across: str, column: str, **wanted: Any) -> str:
        """One figure, with a row for each system and a column for each value of `across`."""
        rows = [
            row for row in self.results.rows.get(stage, []) if all(row[name] == value for name, value in wanted.items())
        ]
        values = list(dict.fromkeys(row[across] for row in rows))
        cells = []
        for name in self.systems(stage):
            figures = {row[across]: row[column] for row in rows if row["system"] == name}
            cells.append([name, *(_number(figures.get(value)) for value in values)])
        return _markdown([across, *map(str, values)], cells)

    def rows(self, stage: str, names: str) -> str:
        """The rows of a stage with the columns of these names."""
        columns = names.split()
        cells = [[_number(row.get(column)) for column in columns] for row in self.results.rows.get(stage, [])]
        return _markdown([_HEADS.get(column, column) for column in columns], cells)

    def systems(self, stage: str) -> list[str]:
        """The systems that were measured in a stage."""
        measured = {row["system"] for row in self.results.rows.get(stage, [])}
        return [name for name in REPORT_ORDER if name in measured]

    def ratio(self, system: str, request: str) -> str:
        """A system's headline rate relative to nginx static."""
        column = "mb_per_s" if request == "blob" else "rps"
        value = self.results.value("headline", f"{column}_of_static", system=system, request=request)
        return "" if value is None else f"{value:.3g}×"


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
