"""A scenario in one locust process: it finds its mirror before the run, judges the run, and cleans up.

A locust file creates one `Scenario`; its users get their client from `scenario.client(self)`.
"""

import argparse
import atexit
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import gevent
from locust import FastHttpUser, events
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, LocalRunner, Runner

from loadtests.support.client import TIMEOUT_S, RegistryClient
from loadtests.support.downloads import Downloads
from loadtests.support.fault_injection import local_host
from loadtests.support.images import POPULAR, Recipe, choose_zipf
from loadtests.support.lateness import LatenessMonitor
from loadtests.support.metrics import Metrics
from loadtests.support.mirror import Mirror, find_mirror, has_fake_upstream, supported_parameters, temporary_mirror
from loadtests.support.options import add_options, parse_images
from loadtests.support.summary import print_summary, summarize
from loadtests.support.thresholds import Outcome, Threshold, Verdict, judge, verdict_of_all
from registry_stack.console import fail, progress, warn
from registry_stack.deployment import DEFAULT_NAME, State
from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import MOST_HOSTS

REPORTS = Path("test-logs/load")
# deployed: the deployed mirror, or a temporary one if that one's upstream is unreachable; temporary: always that.
Where = Literal["deployed", "temporary"]
# None: no threshold was violated, but the client was too late to judge a latency. argparse exits with 2.
EXIT_CODES: dict[bool | None, int] = {True: 0, False: 1, None: 3}
# A background task repairs what it has broken in less.
_REPAIR_DEADLINE_S = 90


class Scenario:
    """A locust file's name, what it `measures`, its thresholds, and what it needs before the run."""

    def __init__(
        self,
        name: str,
        measures: str,
        thresholds: Sequence[Threshold],
        *,
        where: Where = "deployed",
        recipes: Callable[[argparse.Namespace], Sequence[Recipe]] | None = None,
        parameters: Sequence[str] = (),
        warm: bool = True,
        pulls: bool = True,
        pushes: bool = False,
        needs_host: bool = False,
        group: bool = False,
        minimum_images: int = 1,
    ) -> None:
        self.name, self.measures, self.thresholds = name, measures.partition("\n")[0], thresholds
        self.where, self.parameters, self.warm = where, parameters, warm
        self.pulls, self.pushes, self.needs_host = pulls, pushes, needs_host
        self.group, self.minimum_images = group, minimum_images
        self._client_numbers = count()
        self._recipes = recipes or (lambda options: [recipe.scaled(options.scale) for recipe in POPULAR])
        self.metrics, self.verdicts = Metrics(), list[Verdict]()
        self.facts, self.notes = dict[str, float](), list[str]()
        self._background: list[gevent.Greenlet] = []
        self.mirror: Mirror
        self.downloads: Downloads
        self._lateness: LatenessMonitor | None = None
        self.options: argparse.Namespace
        self.environment: Environment
        self._cleanup, self._cleaning = ExitStack(), Lock()
        events.init_command_line_parser.add_listener(self._add_options)
        events.init.add_listener(self._prepare)
        events.test_start.add_listener(self._start)
        events.spawning_complete.add_listener(self._watch_lateness)
        events.test_stopping.add_listener(self._end_lateness)
        events.test_stop.add_listener(self._stop)
        events.quitting.add_listener(self._set_exit_code)
        events.quit.add_listener(self._clean_up)

    def client(self, user: FastHttpUser, push: bool = False) -> RegistryClient:
        """A client of the mirror or, with `push`, one that is logged in to the registry."""
        known = self.mirror.deployment
        if not push:
            return self._mirror_client(user, self.metrics, self._for_next_client(self.mirror.urls))
        assert known is not None
        login = (known.registry_username, known.password)
        urls = self._for_next_client(self.mirror.registry_urls)
        return RegistryClient(user, self.metrics, self.downloads, urls, known.ca_file, login)

    def _mirror_client(self, user: FastHttpUser, metrics: Metrics, urls: Sequence[str]) -> RegistryClient:
        return RegistryClient(user, metrics, self.downloads, urls, self.mirror.ca_file, None)

    def _for_next_client(self, urls: Sequence[str]) -> list[str]:
        """The members of a group as one client has them: the first is another for each client."""
        first = next(self._client_numbers) % len(urls)
        return [*urls[first:], *urls[:first]]

    @property
    def running(self) -> bool:
        """Whether the run has started and not ended."""
        return self._runner.state in (STATE_RUNNING, STATE_SPAWNING)

    @property
    def users(self) -> int:
        """The number of users."""
        return int(self._runner.user_count)

    def spawn(self, task: Callable[[], None]) -> None:
        """Run a task in the background. The verdict waits for it, so that it can repair what it has broken."""
        self._background.append(gevent.spawn(task))

    def abort(self, error: RegistryStackError) -> None:
        """End the run with a failure of the scenario itself."""
        self.metrics.record_failure(time.monotonic(), "scenario", str(error))
        self.quit()

    def quit(self) -> None:
        """End the run and judge it."""
        self._runner.quit()

    def choose(self) -> tuple[str, str]:
        """(repo, tag) of a random image, popular ones first: Zipf's law with the exponent --zipf."""
        repo, _colon, tag = choose_zipf(self.mirror.images, self.options.zipf).rpartition(":")
        return repo, tag

    @property
    def _runner(self) -> Runner:
        if self.environment.runner is None:
            raise RegistryStackError("run this file with locust")
        return self.environment.runner

    def _add_options(self, parser: argparse.ArgumentParser) -> None:
        add_options(parser, f"{self.name}: {self.measures}", self.thresholds, self.group)

    def _prepare(self, environment: Environment, **_event: Any) -> None:
        """Find and warm the mirror before the run. An error ends locust with one line."""
        self.environment, self.options = environment, environment.parsed_options or argparse.Namespace()
        atexit.register(self._clean_up)
        signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
        try:
            if not isinstance(environment.runner, LocalRunner):
                raise RegistryStackError(
                    "the figures are those of one process: run without --master, --worker and --processes"
                )
            with progress(self.name, spinner=False) as report:
                report(self.measures)
                self.mirror = self._find_mirror(report)
                self._check_access()
                self.downloads = Downloads(self.mirror.urls, self.mirror.ca_file, TIMEOUT_S)
                self._cleanup.callback(self.downloads.close)
                if self.pulls:
                    self.downloads.start()
                report(f"{', '.join(self.mirror.urls)} serves {', '.join(self.mirror.images)}")
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

    def _check_access(self) -> None:
        """Raise RegistryStackError if the scenario cannot do to this mirror what it is about to do."""
        if self.needs_host:
            local_host(self.mirror)
        if self.pushes and self.mirror.deployment is None:
            raise RegistryStackError(
                f"{self.mirror.url} was not deployed from here, so its login is unknown: deploy with `tox -e deploy`"
            )

    def _find_mirror(self, report: ProgressCallback) -> Mirror:
        options = self.options
        images = parse_images(options.images, self.name, self.minimum_images)
        chosen = options.host or images or options.name != DEFAULT_NAME
        if options.own_mirror or (self.where == "temporary" and not chosen):
            return self._temporary_mirror(report)
        if self.group and options.hosts > 1:
            raise RegistryStackError(f"--hosts {options.hosts}: only for a temporary mirror: add --own-mirror")
        try:
            return find_mirror(options.host or "", options.ca, options.name, images, check=self.pulls)
        except RegistryStackError as error:
            known = State(options.name).load()
            if options.host or images or known is None or known.target != "local" or has_fake_upstream(options.name):
                raise
            warn(f"{error}: using a temporary mirror with a fake upstream instead")
            return self._temporary_mirror(report)

    def _temporary_mirror(self, report: ProgressCallback) -> Mirror:
        prefix = f"load-{self.name.replace('_', '-')}"
        parameters = [*supported_parameters(self.parameters), *self.options.parameter]
        hosts = self.options.hosts if self.group else 1
        if not 1 <= hosts <= MOST_HOSTS:
            raise RegistryStackError(f"--hosts {hosts}: must be 1 to {MOST_HOSTS}")
        mirror, _images = self._cleanup.enter_context(
            temporary_mirror(self._recipes(self.options), parameters, report, prefix, hosts)
        )
        return mirror

    def _warm(self, report: ProgressCallback) -> None:
        """Pull every image once from each member, outside the statistics."""
        user = type("Warmer", (FastHttpUser,), {"abstract": True, "host": self.mirror.url})(self.environment)
        metrics = Metrics()
        for url in self.mirror.urls:
            client = self._mirror_client(user, metrics, [url])
            for image in self.mirror.images:
                report(f"pulling {image} once")
                repo, _colon, tag = image.rpartition(":")
                if not client.pull(repo, tag):
                    raise RegistryStackError(f"{image} cannot be pulled through {url}: {metrics.failures[-1].reason}")
        self.environment.stats.clear_all()

    def _start(self, **_event: Any) -> None:
        # In place: clients hold on to these metrics.
        self.metrics.__init__()  # type: ignore[misc]
        self.facts.clear()
        self.notes.clear()
        self._background.clear()
        if self.mirror.upstream:
            self.mirror.upstream.reset_counters()

    def _watch_lateness(self, **_event: Any) -> None:
        """Not before all users exist: creating them keeps this process busy for a second or two."""
        if self._lateness is None:
            self._lateness = LatenessMonitor(self.metrics.late_ms.append)

    def _end_lateness(self, **_event: Any) -> None:
        if self._lateness:
            self._lateness.stop()
            self._lateness = None

    def _stop(self, **_event: Any) -> None:
        """Judge the run while the upstream's counters can still be read."""
        others = [task for task in self._background if task is not gevent.getcurrent()]
        gevent.joinall(others, timeout=_REPAIR_DEADLINE_S)
        outcome = Outcome(self.metrics, self.mirror.upstream, self.facts, self.notes)
        self.verdicts = judge(self.thresholds, self.options, outcome)
        summary = summarize(self.name, self.measures, outcome, self.verdicts)
        print_summary(summary, self.verdicts)
        if self.options.summary:
            Path(self.options.summary).write_text(json.dumps(summary, indent=2) + "\n")

    def _set_exit_code(self, environment: Environment, **_event: Any) -> None:
        """Exit with 0 only if every threshold passed; an interrupted run is judged as far as it went."""
        if self.running:
            self._runner.stop()
        environment.process_exit_code = EXIT_CODES[verdict_of_all(self.verdicts)]

    def _clean_up(self, **_event: Any) -> None:
        """Remove what the scenario deployed. Locust may quit twice; the second waits for the first."""
        with self._cleaning:
            self._cleanup.close()
