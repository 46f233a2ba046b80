"""`python -m loadtests.benchmark`: measure, print the ratios, write the report."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtests.benchmark.criteria import judge
from loadtests.benchmark.machine import describe
from loadtests.benchmark.plots import plot_all
from loadtests.benchmark.profiles import BLOB, FULL, PUBLISHED, QUICK, SMALL, Plan
from loadtests.benchmark.pull_benchmarks import measure_docker, measure_herd, measure_limited, measure_pulls
from loadtests.benchmark.report import criteria_table, ratios_table, write_report
from loadtests.benchmark.request_benchmarks import measure_down, measure_requests
from loadtests.benchmark.results import Results
from loadtests.benchmark.testbed import benchmark
from loadtests.support.host import KILLED
from registry_stack.console import fail, out, progress, report_errors
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback

ROOT = Path(__file__).resolve().parents[2]
_CLEAN_UP_S = 120
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes instead of half an hour or more.")] = False,
    output: Annotated[Path, typer.Option(help="The report; its plots go beside it.")] = ROOT / "docs/performance.md",
    registry_3: Annotated[str, typer.Option(help="Image of a registry 3.x to compare with as well.")] = "",
    again: Annotated[Path | None, typer.Option(help="Only write the report, from the JSON of an earlier run.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a demanded figure is missed.")] = False,
) -> None:
    """Measure our edge beside nginx static files, bare registry proxies and a plain nginx cache, and write the report.

    Everything runs in containers of its own, which are removed at the end, however it ends.
    """
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    results = _earlier(again) if again else _run(QUICK if quick else FULL, registry_3)
    plan = QUICK if results.plan == QUICK.name else FULL
    # First: whatever becomes of the report, the figures are there.
    figures = output.with_suffix(".json")
    figures.parent.mkdir(parents=True, exist_ok=True)
    judge(results, plan)
    figures.write_text(json.dumps(asdict(results), indent=1) + "\n")
    plots = plot_all(results, output.parent)
    write_report(results, plan, plots, output)
    out.print(ratios_table(results))
    out.print(criteria_table(results))
    out.print(f"written: {output}, {figures.name}, {', '.join(name for name, _what in plots)}")
    if results.problems or (strict and not all(one.kept for one in results.criteria)):
        raise typer.Exit(1)


def _run(plan: Plan, registry_3: str) -> Results:
    with progress("benchmark", spinner=False) as report:
        results = Results(plan.name, describe(engine(report)))
        _measure(results, plan, registry_3, report)
        results.add("mixed", **_mixed(plan, report))
    return results


def _earlier(figures: Path) -> Results:
    """The figures of an earlier run, to be judged again."""
    try:
        found = json.loads(figures.read_text())
        return Results(found["plan"], found["machine"], found["versions"], found["rows"])
    except (OSError, ValueError, KeyError) as error:
        raise RegistryStackError(f"--again {figures}: these are no figures of an earlier run: {error!r}") from error


def _measure(results: Results, plan: Plan, registry_3: str, report: ProgressCallback) -> None:
    """What needs all contenders first, what needs the edge alone on its host last."""
    with benchmark([SMALL, BLOB, PUBLISHED], report) as (bench, (small, blob, published)):
        if registry_3:
            bench.contenders.add_registry_3(registry_3)
        results.versions.update({one.name: one.version for one in bench.contenders.all})
        stages: dict[str, Callable[[], None]] = {
            "requests": lambda: measure_requests(bench, plan, results, small, blob),
            "herd": lambda: measure_herd(bench, plan, results),
            "upstream away": lambda: measure_down(bench, plan, results, small),
            "pulls": lambda: measure_pulls(bench, plan, results, published),
            "limited link": lambda: measure_limited(bench, plan, results),
            "docker": lambda: measure_docker(bench, plan, results),
        }
        for name, measure in stages.items():
            # One that breaks off is shown in the report, and takes nothing else with it.
            try:
                measure()
            except (RegistryStackError, OSError) as error:
                results.problems[name] = str(error).partition("\n")[0]
                fail(f"{name}: {error}")
                bench.calm()


def _mixed(plan: Plan, report: ProgressCallback) -> dict[str, Any]:
    """loadtests/mixed.py in a process of its own, on a mirror of its own; its summary as a row."""
    report(f"loadtests/mixed.py for {plan.mixed_s} s")
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "mixed.json"
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/mixed.py"), "--headless", "-u", "8"]
        command += ["-r", "8", "-t", f"{plan.mixed_s}s", "--scale", "0.2", "--summary", str(summary), "--only-summary"]
        command += ["--html", str(Path(folder) / "mixed.html"), "--calm", "2", "--away", "6"]
        said = _finish(command)
        missing: dict[str, Any] = dict.fromkeys(("pulls", "pushes", "failed", "wrong", "unexplained"))
        if not summary.exists():
            return missing | {"note": f"did not run: {said}"}
        found = json.loads(summary.read_text())
    unexplained = next(one["measured"] for one in found["limits"] if one["name"] == "max-unexplained")
    killed = [fact for fact in found["facts"] if fact.endswith("killed, times")]
    if len(killed) < len(KILLED):
        return missing | {
            "note": f"ended before everything was killed: {', '.join(killed)}",
            "happened": found["notes"],
        }
    away = found["facts"].get("longest away, s", 0)
    return {
        "pulls": found["pulls"],
        "pushes": found["pushes"],
        "failed": found["failed"],
        "wrong": found["wrong"],
        "unexplained": unexplained,
        "note": f"{found['requests']} requests, a killed service was away {away:.1f} s at most",
        "happened": found["notes"],
    }


def _finish(command: list[str]) -> str:
    """Run it; the last line of what it said. Interrupted together with us, it first removes what it has started."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _out, said = process.communicate()
        except BaseException:
            process.terminate()
            process.wait(_CLEAN_UP_S)
            raise
    return (said.strip() or "it said nothing").splitlines()[-1]


if __name__ == "__main__":
    report_errors(app)
