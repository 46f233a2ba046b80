"""Draws the plots of the report, as PNG files in the same folder."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.benchmark.results import Results
from loadtests.benchmark.systems_under_test import REPORT_ORDER

mpl.use("Agg")
_SIZE = (7.2, 4.0)
_DPI = 120


def plot_all(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draw the plots whose figures were measured; return the file name and the title of each."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for request, column, title in (
        ("tag", "rps", "manifest by tag: requests per second"),
        ("tag", "p99_ms", "manifest by tag: p99 latency, ms"),
        ("blob", "mb_per_s", "64 MiB blob: MB/s"),
    ):
        name = f"performance-{request}-{column.replace('_', '-')}.png"
        if _over_clients(results, request, column, title, folder / name):
            drawn.append((name, title))
    if _upstreams(results, folder / "performance-upstream.png"):
        drawn.append(("performance-upstream.png", "manifest by tag: requests per second, by upstream"))
    if _pulls(results, folder / "performance-pulls.png"):
        drawn.append(("performance-pulls.png", "pulls of a 206 MB image: mean seconds"))
    if _scale(results, folder / "performance-scale.png"):
        drawn.append(("performance-scale.png", "housekeeping: processor seconds by blobs in the cache"))
    return drawn


def _over_clients(results: Results, request: str, column: str, title: str, path: Path) -> bool:
    figure, axes = pyplot.subplots(figsize=_SIZE)
    rows = results.rows.get("clients", [])
    for name in REPORT_ORDER:
        points = [(row["clients"], row[column]) for row in rows if (row["system"], row["request"]) == (name, request)]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="clients", title=title, yscale="log" if column != "mb_per_s" else "linear")
    return _save(figure, axes, path)


def _upstreams(results: Results, path: Path) -> bool:
    figure, axes = pyplot.subplots(figsize=_SIZE)
    rows = results.rows.get("upstream", [])
    upstreams = list(dict.fromkeys(row["upstream"] for row in rows))
    names = [name for name in REPORT_ORDER if any(row["system"] == name for row in rows)]
    for place, name in enumerate(names):
        rates = [results.value("upstream", "rps", system=name, upstream=upstream) or 0.0 for upstream in upstreams]
        axes.bar([index + place * 0.15 for index in range(len(upstreams))], rates, 0.15, label=name)
    axes.set(yscale="log", title="manifest by tag: requests per second, by upstream")
    axes.set_xticks([index + 0.3 for index in range(len(upstreams))], upstreams)
    return _save(figure, axes, path)


def _pulls(results: Results, path: Path) -> bool:
    figure, axes = pyplot.subplots(figsize=_SIZE)
    rows = results.rows.get("pulls", [])
    for column, label in (("mean_s", "this run"), ("published_s", "published 2016, other hardware")):
        points = [(row["clients"], row[column]) for row in rows if row.get(column)]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(xlabel="clients", ylabel="s", title="pull of a 206 MB image: mean seconds")
    return _save(figure, axes, path)


def _scale(results: Results, path: Path) -> bool:
    figure, axes = pyplot.subplots(figsize=_SIZE)
    rows = results.rows.get("scale", [])
    for version, style in (("mirror", "-"), ("before", "--")):
        for color, (column, label) in enumerate(
            (("look_s", "look"), ("evict_s", "eviction of a tenth"), ("scrape_s", "metrics"), ("page_s", "status page"))
        ):
            points = [(row["blobs"], row[column]) for row in rows if row["version"] == version]
            if points:
                axes.plot(*zip(*points, strict=True), style, marker="o", color=f"C{color}", label=f"{label}, {version}")
    axes.set(xlabel="blobs", ylabel="s", xscale="log", yscale="log", title="housekeeping: processor seconds")
    return _save(figure, axes, path)


def _save(figure: Figure, axes: Axes, path: Path) -> bool:
    """Write a plot, unless it is empty; return whether it was written."""
    drawn = bool(axes.lines or axes.patches)
    if drawn:
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    pyplot.close(figure)
    return drawn
