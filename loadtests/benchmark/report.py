"""The report: `docs/performance.md`, and the same tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from loadtests.benchmark.criteria import others
from loadtests.benchmark.profiles import HEADLINE_CLIENTS, Plan
from loadtests.benchmark.request_benchmarks import AWAY_ASKED_S
from loadtests.benchmark.results import Criterion, Results, Row

_TITLES = {"tag": "manifest by tag", "digest": "manifest by digest", "blob": "64 MiB blob"}
_HARDWARE = """\
The figures of 2016 were measured on other hardware, with the clients on machines of their own; here clients,
mirror and upstream share the cores that are named above, and the clients hash every byte they get. They show the shape,
not a race."""
_AWAY = f"""\
Whole pulls of a cached image, again and again, by 8 clients. Before them, for the first {AWAY_ASKED_S} s, requests
for its tag by {HEADLINE_CLIENTS} (rps, bad). The edge asks such an upstream again every 10 s; who asks for a tag just
then, and long after it was last looked up, is given the stale answer after up to 3 s."""
_PAIRED = "Of nginx static: the median over the rounds of what it came to in the same round."
_METHOD = """\
Everything was measured in one run on one machine: the contenders are containers of the same host, behind the
same certificate, published in the same way, and they hold the same images. wrk and verified pulls (HEAD and GET of the
tag, the platform's manifest, config and layers in parallel, every digest checked) come from a container beside it. The
upstream is nginx serving the images as files, over TLS as every public registry does; its delay is its own, its limited
link a token bucket."""


def write_report(results: Results, plan: Plan, plots: Sequence[tuple[str, str]], path: Path) -> None:
    """Write the whole report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*_head(results, plan), *_body(results, plan), *_pictures(plots)]).rstrip() + "\n")


def criteria_table(results: Results) -> Table:
    """For a terminal."""
    table = Table("figure", "demanded", "measured", "kept", title="demanded of the edge")
    for one in results.criteria:
        table.add_row(one.name, one.demanded, _measured(one), "yes" if one.kept else "NO")
    return table


def ratios_table(results: Results) -> Table:
    """For a terminal: the headline figures, as multiples of nginx static's."""
    table = Table("contender", *_TITLES.values(), title=f"of nginx static, {HEADLINE_CLIENTS} clients")
    for name in _present(results, "headline"):
        table.add_row(name, *(_ratio_cell(results, name, request) for request in _TITLES))
    return table


def _head(results: Results, plan: Plan) -> list[str]:
    kept = sum(one.kept for one in results.criteria)
    lines = [
        "# Performance",
        "",
        f"Written by `tox -e benchmark` ({plan.name} run): do not edit it, run that again.",
        "",
        _METHOD,
        "",
        *(f"- {name}: {value}" for name, value in results.machine.items()),
        *(f"- {name}: {value}" for name, value in results.versions.items()),
        "",
        f"## What is demanded: {kept} of {len(results.criteria)} kept",
        "",
    ]
    cells = [
        [one.name, one.demanded, _measured(one), "yes" if one.kept else "**no**", one.note] for one in results.criteria
    ]
    lines += _markdown(["figure", "demanded", "measured", "kept", ""], cells)
    broken = [f"- {stage} broke off: {reason}" for stage, reason in results.problems.items()]
    return [*lines, *broken, *([""] if broken else [])]


def _body(results: Results, plan: Plan) -> list[str]:
    lines = [f"## Requests, {HEADLINE_CLIENTS} clients, everything cached", ""]
    lines += [f"Medians of {plan.rounds} rounds of {plan.headline_s} s, each in another order.", _PAIRED, ""]
    for request, title in _TITLES.items():
        lines += [f"### {title}", "", *_requests(results, "headline", request, "contender")]
    lines += ["## Over clients", ""]
    for request, title in _TITLES.items():
        column = "mb_per_s" if request == "blob" else "rps"
        unit = "MB/s" if request == "blob" else "requests per second"
        lines += [f"{title}, {unit}:", "", *_grid(results, "clients", "clients", column, request=request)]
    lines += ["Manifest by tag, p99 in ms:", "", *_grid(results, "clients", "clients", "p99_ms", request="tag")]
    lines += ["## Over upstreams", "", "Manifest by tag, requests per second that were answered properly:", ""]
    lines += _grid(results, "upstream", "upstream", "rps")
    lines += ["Answers that were not 2xx, or none:", "", *_grid(results, "upstream", "upstream", "bad")]
    return [*lines, *_images(results)]


def _images(results: Results) -> list[str]:
    lines = ["## Herds: all clients on one cold image at once", ""]
    lines += _rows(
        results, "herd", "contender clients link image_mb upstream_ratio slowest_s mean_s right failed wrong"
    )
    lines += ["## Pulls of a 206 MB image", "", _HARDWARE, ""]
    lines += _rows(results, "pulls", "clients pulls mean_s published_s slowest_s mb_per_s failed wrong")
    lines += ["nginx static, the same pulls:", ""]
    lines += _rows(results, "static pulls", "clients mean_s failed")
    lines += ["## A real Docker host", "", "Seconds of `docker pull`, median of the rounds:", ""]
    lines += _rows(results, "docker", "way link median_s rounds")
    lines += ["## Upstream away", "", _AWAY, ""]
    lines += _rows(results, "down", "contender upstream seconds pulls failed wrong rps bad reason")
    lines += ["## Everything broken in turn (`loadtests/mixed.py`)", ""]
    lines += _rows(results, "mixed", "pulls pushes failed unexplained wrong note")
    happened = [f"- {what}" for row in results.rows.get("mixed", []) for what in row.get("happened", [])]
    return [*lines, *happened, *([""] if happened else [])]


def _pictures(plots: Sequence[tuple[str, str]]) -> list[str]:
    return ["## Plots", "", *(f"![{what}]({name})\n" for name, what in plots)] if plots else []


def _requests(results: Results, stage: str, request: str, first: str) -> list[str]:
    cells = []
    for name in _present(results, stage):
        row = results.find(stage, contender=name, request=request)
        if row:
            figures = [row["mb_per_s"] if request == "blob" else row["rps"], row["p50_ms"], row["p99_ms"], row["bad"]]
            cells.append([name, *map(_number, figures), _ratio_cell(results, name, request)])
    unit = "MB/s" if request == "blob" else "requests/s"
    return _markdown([first, unit, "p50 ms", "p99 ms", "failed", "of nginx static"], cells)


def _grid(results: Results, stage: str, across: str, column: str, **wanted: Any) -> list[str]:
    """Contenders down, `across` across."""
    rows = [row for row in results.rows.get(stage, []) if all(row[name] == value for name, value in wanted.items())]
    heads = list(dict.fromkeys(row[across] for row in rows))
    cells = []
    for name in _present(results, stage):
        found = {row[across]: row[column] for row in rows if row["contender"] == name}
        cells.append([name, *(_number(found.get(head)) for head in heads)])
    return _markdown(["", *map(str, heads)], cells)


def _rows(results: Results, stage: str, names: str) -> list[str]:
    """The rows of a stage, with the columns of these names."""
    columns, rows = names.split(), results.rows.get(stage, [])
    heads = [column.replace("mb_per_s", "MB/s").replace("_", " ") for column in columns]
    return _markdown(heads, [[_number(row.get(column)) for column in columns] for row in rows])


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    if not cells:
        return ["Not measured in this run.", ""]
    lines = [heads, ["---"] * len(heads), *cells]
    return [*(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines), ""]


def _ratio_cell(results: Results, name: str, request: str) -> str:
    column = "mb_per_s" if request == "blob" else "rps"
    ratio = results.value("headline", f"{column}_of_static", contender=name, request=request)
    return "" if ratio is None else f"{ratio:.3g}×"


def _present(results: Results, stage: str) -> list[str]:
    there = {row["contender"] for row in results.rows.get(stage, [])}
    return [name for name in others() if name in there]


def _measured(one: Criterion) -> str:
    return "not measured" if one.measured is None else f"{_number(one.measured)}{one.unit}"


def _number(value: Row | float | str | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
