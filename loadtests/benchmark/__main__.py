"""`python -m loadtests.benchmark`: measures, checks the targets, and writes the report."""

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

from loadtests.benchmark.group_benchmarks import STAGES as GROUP_STAGES
from loadtests.benchmark.group_benchmarks import measure_group
from loadtests.benchmark.machine import describe
from loadtests.benchmark.performance_targets import check_targets
from loadtests.benchmark.plots import plot_all
from loadtests.benchmark.profiles import (
    BLOB,
    FULL,
    GROUP,
    PUBLISHED,
    QUICK,
    QUICK_GROUP,
    QUICK_STORES,
    SMALL,
    STORES,
    Profile,
)
from loadtests.benchmark.pull_benchmarks import measure_docker, measure_herd, measure_limited, measure_pulls
from loadtests.benchmark.report import headline, targets_table, write_report
from loadtests.benchmark.request_benchmarks import measure_outages, measure_requests
from loadtests.benchmark.results import Results
from loadtests.benchmark.scale_benchmarks import STAGE, measure_scale
from loadtests.benchmark.testbed import ROOT, start_testbed
from registry_stack.console import fail, out, progress, report_errors
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.rollout import UNITS

_CLEAN_UP_S = 120
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    quick: Annotated[bool, typer.Option("--quick", help="Take some minutes instead of half an hour or more.")] = False,
    output: Annotated[Path, typer.Option(help="The report; plots go to its folder.")] = ROOT / "docs/performance.md",
    registry_3: Annotated[str, typer.Option(help="Image of a registry 3.x to compare with as well.")] = "",
    scale: Annotated[
        bool, typer.Option("--scale", help="Measure only the housekeeping of caches of up to a million blobs.")
    ] = False,
    group: Annotated[bool, typer.Option("--group", help="Measure only groups of up to three hosts.")] = False,
    before: Annotated[
        Path | None, typer.Option(help="cloud-config/files of another checkout, to compare --scale with.")
    ] = None,
    from_json: Annotated[Path | None, typer.Option(help="Write the report from an earlier run's JSON.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a target is missed.")] = False,
) -> None:
    """Benchmark the mirror against nginx and bare registry proxies, and write the report.

    Everything runs in temporary containers, which are removed at the end.
    """
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    # Before the report: whatever goes wrong there, the figures are saved.
    figures = output.with_suffix(".json")
    earlier = _load(from_json or figures) if from_json or figures.exists() else None
    if scale:
        stores = QUICK_STORES if quick else STORES
        results = _run_part(
            earlier, quick, figures, lambda results, report: measure_scale(results, stores, before, report)
        )
    elif group:
        size = QUICK_GROUP if quick else GROUP
        results = _run_part(earlier, quick, figures, lambda results, report: measure_group(results, size, report))
    elif from_json and earlier:
        results = earlier
    else:
        results = _run(QUICK if quick else FULL, registry_3)
        # Separate runs, with --scale and --group, measure them.
        apart = (STAGE, *GROUP_STAGES)
        results.rows |= {stage: earlier.rows[stage] for stage in apart if earlier and stage in earlier.rows}
    profile = QUICK if results.profile == QUICK.name else FULL
    check_targets(results, profile)
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(asdict(results), indent=1) + "\n")
    plots = plot_all(results, output.parent)
    write_report(results, profile, plots, output)
    out.print(targets_table(results))
    out.print(headline(results))
    out.print(f"written: {output}, {figures.name}, {', '.join(name for name, _title in plots)}")
    if results.problems or (strict and not all(target.met for target in results.targets)):
        raise typer.Exit(1)


def _run(profile: Profile, registry_3: str) -> Results:
    with progress("benchmark", spinner=False) as report:
        results = Results(profile.name, describe(engine(report)))
        _measure(results, profile, registry_3, report)
        results.add("mixed", **_measure_mixed(profile, report))
    return results


def _run_part(
    earlier: Results | None, quick: bool, figures: Path, measure: Callable[[Results, ProgressCallback], None]
) -> Results:
    """Measure one part, and keep what an earlier run has measured of the rest; if it is interrupted, what there is."""
    with progress("benchmark", spinner=False) as report:
        results = earlier or Results((QUICK if quick else FULL).name, describe(engine(report)))
        try:
            measure(results, report)
        except BaseException:
            partial = figures.with_suffix(".partial.json")
            partial.write_text(json.dumps(asdict(results), indent=1) + "\n")
            report(f"the figures so far: {partial} (--from-json)")
            raise
    return results


def _load(figures: Path) -> Results:
    """The results of an earlier run, without its targets, which are checked again."""
    try:
        saved = json.loads(figures.read_text())
        return Results(saved["profile"], saved["machine"], saved["versions"], saved["rows"], saved["problems"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegistryStackError(f"--from-json {figures}: not the JSON of an earlier run: {error!r}") from error


def _measure(results: Results, profile: Profile, registry_3: str, report: ProgressCallback) -> None:
    """Run all stages: first those that need every system, last those that need the mirror alone on its host."""
    with start_testbed([SMALL, BLOB, PUBLISHED], report) as (testbed, (small, blob, published)):
        if registry_3:
            testbed.systems.add_registry_3(registry_3)
        results.versions.update({system.name: system.version for system in testbed.systems.all})
        stages: dict[str, Callable[[], None]] = {
            "requests": lambda: measure_requests(testbed, profile, results, small, blob),
            "herd": lambda: measure_herd(testbed, profile, results),
            "upstream down": lambda: measure_outages(testbed, profile, results, small),
            "pulls": lambda: measure_pulls(testbed, profile, results, published),
            "limited link": lambda: measure_limited(testbed, profile, results),
            "docker": lambda: measure_docker(testbed, profile, results),
        }
        for name, measure in stages.items():
            # The report shows an aborted stage; the others still run.
            try:
                measure()
            except (RegistryStackError, OSError) as error:
                results.problems[name] = str(error).partition("\n")[0]
                fail(f"{name}: {error}")
                testbed.clear_faults()


def _measure_mixed(profile: Profile, report: ProgressCallback) -> dict[str, Any]:
    """Run loadtests/mixed.py in a separate process with its own mirror; return its summary as a row."""
    report(f"loadtests/mixed.py for {profile.mixed_s} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixed.json"
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/mixed.py"), "--headless", "-u", "8"]
        command += ["-r", "8", "-t", f"{profile.mixed_s}s", "--scale", "0.2", "--summary", str(path), "--only-summary"]
        command += ["--html", str(Path(folder) / "mixed.html"), "--calm", "2", "--fault", "6"]
        last_line = _run_command(command)
        not_measured: dict[str, Any] = dict.fromkeys(("pulls", "pushes", "errors", "wrong", "unexplained"))
        if not path.exists():
            return not_measured | {"note": f"did not run: {last_line}"}
        summary = json.loads(path.read_text())
    killed = [fact for fact in summary["facts"] if fact.endswith("killed, times")]
    if len(killed) < len(UNITS):
        note = f"ended before all services were killed: {', '.join(killed)}"
        return not_measured | {"note": note, "events": summary["notes"]}
    measured = {threshold["name"]: threshold["measured"] for threshold in summary["thresholds"]}
    outage_s = summary["facts"].get("longest outage, s", 0)
    return {
        "pulls": summary["pulls"],
        "pushes": summary["pushes"],
        "errors": summary["failed"],
        "wrong": summary["wrong"],
        "unexplained": measured["max-unexplained"],
        "note": f"{summary['requests']} requests; longest outage of a killed service: {outage_s:.1f} s",
        "events": summary["notes"],
    }


def _run_command(command: list[str]) -> str:
    """Run a command and return the last line of its errors. If interrupted, it has time to clean up."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _out, errors = process.communicate()
        except BaseException:
            process.terminate()
            process.wait(_CLEAN_UP_S)
            raise
    return (errors.strip() or "no output").splitlines()[-1]


if __name__ == "__main__":
    report_errors(app)
