r"""Measures whether the host's memory, file descriptors and disk use stay level over hours of pulls and pushes.

    locust -f loadtests/soak.py --headless -u 10 -t 8h           # one hour without -t

The last third of the run is compared with the first, without the warm-up: what keeps growing is a leak. It needs a
local deployment, whose host it can look into.
"""

import argparse
import os
import secrets
from statistics import median
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

from loadtests.support.fault_injection import local_host
from loadtests.support.host_usage import Sample, sample
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, HIT_LATENCY, PULLS, PUSHES, Outcome, Threshold
from registry_stack.errors import RegistryStackError

_samples: list[Sample] = []
_WARM_UP = 0.1


def _growth(field: str) -> Any:
    """By how much the median of the last third exceeds that of the first."""

    def measure(_run: Outcome) -> float | None:
        values = _values(field)[int(len(_samples) * _WARM_UP) :]
        third = len(values) // 3
        return median(values[-third:]) - median(values[:third]) if third else None

    return measure


def _values(field: str) -> list[float]:
    return [getattr(one, field) for one in _samples]


GROWTH = (
    Threshold("max-memory-growth-mib", 30, "growth of memory, MiB", _growth("memory_mib")),
    Threshold("max-descriptor-growth", 100, "growth of open file descriptors", _growth("descriptors")),
    Threshold("max-disk-growth-mib", 100, "growth of disk use, MiB", _growth("disk_mib")),
)
MEMORY = Threshold(
    "max-memory-mib", 600, "peak memory of the whole host, MiB", lambda _run: max(_values("memory_mib"), default=None)
)

scenario = Scenario(
    "soak", __doc__, [*GROWTH, MEMORY, PULLS, PUSHES, FAILURES, *HIT_LATENCY], pushes=True, needs_host=True
)


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--every", type=float, default=10.0, metavar="S", help="seconds between two samples")
    parser.set_defaults(run_time="1h")


@events.test_start.add_listener
def _begin(**_event: Any) -> None:
    _samples.clear()
    gevent.spawn(_watch)


def _watch() -> None:
    """Sample the host until the run ends."""
    try:
        host = local_host(scenario.mirror)
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
        scenario.abort(error)


class DockerHost(FastHttpUser):
    """A Docker host that pulls images."""

    weight = 4
    wait_time = constant(0.2)

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """Pull one image."""
        self.registry.pull(*scenario.choose())


class BuildServer(FastHttpUser):
    """A build server that pushes the same image again and again, which does not fill the disk."""

    weight = 1
    wait_time = constant(1)

    def on_start(self) -> None:
        """Open connections and choose a repository that no other user shares."""
        self.registry = scenario.client(self, push=True)
        self.repo, self.layer = f"loadtests/{secrets.token_hex(4)}", os.urandom(1_000_000)

    @task
    def push(self) -> None:
        """Push the image."""
        self.registry.push(self.repo, "latest", [self.layer])
