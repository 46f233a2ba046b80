"""One scenario in one locust process: options, the mirror before the clock, figures, limits, exit code, cleaning up.

A locust file makes one `Scenario`; its users get their client from `scenario.client(self)`.
"""

import argparse
import atexit
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import gevent
from locust import FastHttpUser, events
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, LocalRunner, Runner

from loadtests.support.client import RegistryClient
from loadtests.support.images import POPULAR, Recipe, zipf
from loadtests.support.metrics import Record, percentile
from loadtests.support.mirror import Mirror, find_mirror, has_standin, known_parameters, own_mirror
from loadtests.support.thresholds import Outcome, Threshold, Verdict, hit_ratio, judge, table
from registry_stack.console import fail, out, progress, warn
from registry_stack.deployment import DEFAULT_NAME, State
from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback

REPORTS = Path("test-logs/load")
# auto: the deployed mirror, or one of our own where that one's upstream cannot be reached; own: always one of our own.
Where = Literal["auto", "own"]
# What a scenario has broken is put right, or a service restarted, in less.
_SETTLE_S = 90


class Scenario:
    """What the file is about (`name`, `measures`), what it must keep to, and what it does before the clock."""

    def __init__(
        self,
        name: str,
        measures: str,
        limits: Sequence[Threshold],
        *,
        where: Where = "auto",
        recipes: Callable[[argparse.Namespace], Sequence[Recipe]] | None = None,
        parameters: Sequence[str] = (),
        warm: bool = True,
        pulls: bool = True,
        least_images: int = 1,
    ) -> None:
        self.name, self.measures, self.limits = name, measures.partition("\n")[0], limits
        self.where, self.parameters, self.warm, self.pulls = where, parameters, warm, pulls
        self.least_images = least_images
        self._recipes = recipes or (lambda options: [recipe.scaled(options.scale) for recipe in POPULAR])
        self.record, self.judged = Record(), list[Verdict]()
        self.facts, self.notes = dict[str, float](), list[str]()
        self._beside: list[gevent.Greenlet] = []
        self.mirror: Mirror
        self.options: argparse.Namespace
        self.environment: Environment
        self._cleanup, self._cleaning = ExitStack(), Lock()
        events.init_command_line_parser.add_listener(self._add_options)
        events.init.add_listener(self._prepare)
        events.test_start.add_listener(self._start)
        events.test_stop.add_listener(self._stop)
        events.quitting.add_listener(self._quitting)
        events.quit.add_listener(self._clean_up)

    def client(self, user: FastHttpUser, push: bool = False) -> RegistryClient:
        """A client of the mirror, or with `push` of the registry, logged in."""
        mirror, known = self.mirror, self.mirror.deployment
        if not push:
            return RegistryClient(user, self.record, mirror.url, mirror.ca_file, None)
        if known is None:
            raise RegistryStackError(
                f"{mirror.url} is no deployment of ours, so its login is not known: deploy with `tox -e deploy`"
            )
        login = (known.registry_username, known.password)
        return RegistryClient(user, self.record, known.registry_url, known.ca_file, login)

    @property
    def running(self) -> bool:
        """Is the clock running?"""
        return self._runner.state in (STATE_RUNNING, STATE_SPAWNING)

    @property
    def users(self) -> int:
        """How many there are."""
        return int(self._runner.user_count)

    def spawn(self, work: Callable[[], None]) -> None:
        """Do this beside the users; the verdict waits until it is over, so that what it broke is there again."""
        self._beside.append(gevent.spawn(work))

    def quit(self) -> None:
        """End the run; its verdict stands."""
        self._runner.quit()

    @property
    def _runner(self) -> Runner:
        if self.environment.runner is None:
            raise RegistryStackError("this is to be run by locust")
        return self.environment.runner

    def choose(self) -> tuple[str, str]:
        """(repo, tag) of an image, the first ones most often: Zipf's law with the exponent --zipf."""
        repo, _colon, tag = zipf(self.mirror.images, self.options.zipf).rpartition(":")
        return repo, tag

    def _add_options(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group(f"{self.name}: {self.measures}")
        add = group.add_argument
        add("--name", default=DEFAULT_NAME, metavar="NAME", help="deployment to load, unless --host is given")
        add("--ca", default="", metavar="FILE", env_var="LOAD_CA", help="CA of --host")
        add("--images", default="", metavar="REPO:TAG,…", help="images to pull, the most popular first")
        add(
            "--zipf",
            type=float,
            default=1.0,
            metavar="S",
            help="exponent of the images' popularity, 0 for all the same",
        )
        add("--own-mirror", action="store_true", help="deploy a mirror and an upstream for this run, and remove them")
        add("--scale", type=float, default=1.0, metavar="F", help="sizes of the images of our own, as a factor")
        add("--cold", action="store_true", help="do not pull every image once before the clock")
        add("--summary", default="", metavar="FILE", help="write figures and verdict as JSON")
        for limit in self.limits:
            side = "at most" if limit.at_most else "at least"
            add(
                f"--{limit.name}",
                type=float,
                default=limit.default,
                metavar="N",
                help=f"{limit.what}, {side} [{limit.default:g}]",
            )

    def _prepare(self, environment: Environment, **_event: Any) -> None:
        """Before the clock. What goes wrong here ends locust with one line."""
        self.environment, self.options = environment, environment.parsed_options or argparse.Namespace()
        atexit.register(self._clean_up)
        signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
        try:
            if not isinstance(environment.runner, LocalRunner):
                raise RegistryStackError(
                    "one process only: the figures are this process's (no --master, --worker, --processes)"
                )
            with progress(self.name, spinner=False) as report:
                report(self.measures)
                self.mirror = self._find(report)
                report(f"{self.mirror.url} serves {', '.join(self.mirror.images)}")
                if self.warm and not self.options.cold:
                    self._warm(report)
        except RegistryStackError as error:
            fail(str(error))
            sys.exit(1)
        except KeyboardInterrupt:
            fail("interrupted")
            sys.exit(130)
        environment.host = self.mirror.url
        for user_class in environment.user_classes:
            user_class.host = self.mirror.url
        if self.options.headless and not self.options.html_file:
            self.options.html_file = str(REPORTS / f"{self.name}.html")

    def _find(self, report: ProgressCallback) -> Mirror:
        options = self.options
        images = [image.strip() for image in options.images.split(",") if image.strip()]
        if images and len(images) < self.least_images:
            raise RegistryStackError(f"--images {options.images}: {self.name} needs {self.least_images} at least")
        if malformed := [image for image in images if not image.rpartition(":")[0]]:
            raise RegistryStackError(
                f"--images {malformed[0]}: an image is given as REPO:TAG, such as library/alpine:3.20"
            )
        chosen = options.host or images or options.name != DEFAULT_NAME
        if options.own_mirror or (self.where == "own" and not chosen):
            return self._own(report)
        try:
            return find_mirror(options.host or "", options.ca, options.name, images, ask=self.pulls)
        except RegistryStackError as error:
            known = State(options.name).load()
            if options.host or images or known is None or known.target != "local" or has_standin(options.name):
                raise
            warn(f"{error}: using a mirror of our own, from the same cloud-config, with an upstream of our own")
            return self._own(report)

    def _own(self, report: ProgressCallback) -> Mirror:
        recipes = self._recipes(self.options)
        made = own_mirror(
            recipes, known_parameters(self.parameters), report, prefix=f"load-{self.name.replace('_', '-')}"
        )
        mirror, _images = self._cleanup.enter_context(made)
        return mirror

    def _warm(self, report: ProgressCallback) -> None:
        """Every image once, before the clock."""
        user = type("Warmer", (FastHttpUser,), {"abstract": True, "host": self.mirror.url})(self.environment)
        record = Record()
        client = RegistryClient(user, record, self.mirror.url, self.mirror.ca_file, None)
        for image in self.mirror.images:
            report(f"pulling {image} once")
            repo, _colon, tag = image.rpartition(":")
            if not client.pull(repo, tag):
                raise RegistryStackError(
                    f"{image} cannot be pulled through {self.mirror.url}: {record.failures[-1].reason}"
                )
        self.environment.stats.clear_all()

    def _start(self, **_event: Any) -> None:
        self.record.__init__()  # type: ignore[misc]
        self.facts.clear()
        self.notes.clear()
        self._beside.clear()
        if self.mirror.standin:
            self.mirror.standin.reset()

    def _stop(self, **_event: Any) -> None:
        """The verdict, while the upstream's counters are there to be asked."""
        gevent.joinall([one for one in self._beside if one is not gevent.getcurrent()], timeout=_SETTLE_S)
        outcome = Outcome(self.record, self.mirror.standin, self.facts, self.notes)
        summary = self._summary(outcome)
        self.judged = judge(self.limits, self.options, outcome)
        summary["limits"] = [asdict(one) for one in self.judged]
        summary["passed"] = all(one.kept for one in self.judged)
        self.print_summary(summary)
        if self.options.summary:
            Path(self.options.summary).write_text(json.dumps(summary, indent=2) + "\n")

    def _quitting(self, environment: Environment, **_event: Any) -> None:
        """Interrupted, there is a verdict too: of the run until then."""
        if self.running:
            self._runner.stop()
        environment.process_exit_code = 0 if self.judged and all(one.kept for one in self.judged) else 1

    def _clean_up(self, **_event: Any) -> None:
        """Told to end, locust ends twice, and must not be gone before the first end is over."""
        with self._cleaning:
            self._cleanup.close()

    def _summary(self, outcome: Outcome) -> dict[str, Any]:
        record = self.record
        latencies = {"hit": record.hit_ms, "other": record.miss_ms, "pull": record.pull_ms, "push": record.push_ms}
        return {
            "scenario": self.name,
            "measures": self.measures,
            "seconds": record.seconds,
            "requests": record.requests,
            "failed": len(record.failures),
            "wrong": record.wrong,
            "pulls": len(record.pull_ms),
            "pushes": len(record.push_ms),
            "mb_received_per_s": record.received / 1e6 / record.seconds,
            "mb_sent_per_s": record.sent / 1e6 / record.seconds,
            "hit_ratio": hit_ratio(outcome),
            "cache": dict(record.statuses),
            "upstream": outcome.standin.counters() if outcome.standin and outcome.standin.machine.running else None,
            "ms": {kind: _percentiles(values) for kind, values in latencies.items() if values},
            "reasons": sorted({f"{one.kind}: {one.reason}" for one in record.failures})[:20],
            "facts": self.facts,
            "notes": self.notes,
        }

    def print_summary(self, summary: dict[str, Any]) -> None:
        """For people: figures, then limits, then one line."""
        ratio = "not known" if summary["hit_ratio"] is None else f"{summary['hit_ratio']:.3f}"
        out.print(
            f"{self.name}: {summary['pulls']} pulls, {summary['pushes']} pushes, {summary['requests']} requests in "
            f"{summary['seconds']:.1f} s, {summary['mb_received_per_s']:.1f} MB/s received, hit ratio {ratio}",
            markup=False,
        )
        for kind, values in summary["ms"].items():
            shown = ", ".join(f"{name} {value:.1f}" for name, value in values.items())
            out.print(f"  {kind} ms: {shown}", markup=False)
        for name, value in self.facts.items():
            out.print(f"  {name}: {value:.4g}", markup=False)
        for note in self.notes:
            out.print(f"  {note}", markup=False)
        for reason in summary["reasons"]:
            out.print(f"  failed: {reason}", markup=False)
        out.print(table(self.judged))
        out.print("passed" if summary["passed"] else "FAILED: a limit was not kept")


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": percentile(values, percent) or 0.0 for percent in (50, 95, 99)}
