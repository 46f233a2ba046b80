r"""Measures whether the host holds: hours of pulls and pushes, its memory, file descriptors and disk watched.

    locust -f loadtests/soak.py --headless -u 10 -t 8h           # an hour unless -t says otherwise

What is used in the last third of the run is compared with the first third, warm-up left out: what keeps growing is a
leak. On a local deployment, whose host can be looked into.
"""

import argparse
import os
import secrets
from statistics import median
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

from loadtests.support.host import Sample, host_of, sample
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, HIT_LATENCY, PULLS, PUSHES, Outcome, Threshold
from registry_stack.errors import RegistryStackError

_samples: list[Sample] = []
_WARM_UP = 0.1


def _growth(what: str) -> Any:
    """How much more of something is used in the last third than in the first, in its own unit."""

    def measure(_run: Outcome) -> float | None:
        values = [getattr(one, what) for one in _samples[int(len(_samples) * _WARM_UP) :]]
        third = len(values) // 3
        return median(values[-third:]) - median(values[:third]) if third else None

    return measure


GROWTH = (
    Threshold("max-memory-growth-mib", 30, "growth of memory, MiB", _growth("memory_mib")),
    Threshold("max-descriptor-growth", 100, "growth of open file descriptors", _growth("descriptors")),
    Threshold("max-disk-growth-mib", 100, "growth of disk use, MiB", _growth("disk_mib")),
)
MEMORY = Threshold(
    "max-memory-mib", 600, "most memory of the whole host, MiB", lambda _run: max(_of("memory_mib"), default=None)
)

scenario = Scenario("soak", __doc__, [*GROWTH, MEMORY, PULLS, PUSHES, FAILURES, *HIT_LATENCY])


def _of(what: str) -> list[float]:
    return [getattr(one, what) for one in _samples]


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--every", type=float, default=10.0, metavar="S", help="seconds between two looks at the host")
    parser.set_defaults(run_time="1h")


@events.test_start.add_listener
def _begin(**_event: Any) -> None:
    _samples.clear()
    gevent.spawn(_watch)


def _watch() -> None:
    """Look at the host until the run ends."""
    try:
        host = host_of(scenario.mirror)
        while scenario.running:
            _samples.append(sample(host))
            scenario.facts |= {
                "memory now, MiB": _samples[-1].memory_mib,
                "descriptors now": _samples[-1].descriptors,
                "disk now, MiB": _samples[-1].disk_mib,
                "samples": len(_samples),
            }
            gevent.sleep(scenario.options.every)
    except RegistryStackError as error:
        scenario.record.fail(0, "watch", str(error))
        scenario.quit()


class DockerHost(FastHttpUser):
    """Pulls."""

    weight = 4
    wait_time = constant(0.2)

    def on_start(self) -> None:
        """With connections of its own."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """One image."""
        self.registry.pull(*scenario.choose())


class BuildServer(FastHttpUser):
    """Pushes the same image again and again, so that the disk has no reason to fill."""

    weight = 1
    wait_time = constant(1)

    def on_start(self) -> None:
        """With connections and a repository of its own."""
        self.registry = scenario.client(self, push=True)
        self.repo, self.layer = f"loadtests/{secrets.token_hex(4)}", os.urandom(1_000_000)

    @task
    def push(self) -> None:
        """One image."""
        self.registry.push(self.repo, "latest", [self.layer])
