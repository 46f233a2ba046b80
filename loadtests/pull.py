r"""Measures how fast the mirror answers from its cache, while Docker hosts pull popular images at a given rate.

    locust -f loadtests/pull.py          # the mirror of `tox -e deploy`; web UI at http://localhost:8089
    locust -f loadtests/pull.py --headless -t 1m
    locust -f loadtests/pull.py --headless -t 1m --host https://mirror.example.com --ca ca.crt \
      --images library/alpine:3.20,library/nginx:1.27

Pulls begin at random moments, --rate a second, chosen by Zipf's law; a user is a host that serves one at a time. Most
hosts have the image and only ask for its manifests; one in 1/--full lacks all of it. All digests are verified, those of
layers in other processes. This process also measures how late it was itself: see docs/development.md. For how much the
mirror can do at most, see throughput.py.
"""

import argparse
import random
from typing import Any

from locust import FastHttpUser, events, task

from loadtests.support.arrivals import Arrivals
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, HIT_LATENCY, HIT_RATIO, PULLS, Threshold

ON_TIME = Threshold(
    "min-on-time",
    0.9,
    "share of pulls that found a free user",
    lambda _run: _arrivals.share_on_time,
    at_most=False,
    of_client=True,
)

scenario = Scenario("pull", __doc__, [*HIT_LATENCY, HIT_RATIO, ON_TIME, PULLS, FAILURES])
_arrivals: Arrivals


def _positive(value: str) -> float:
    """An option's type."""
    if (number := float(value)) <= 0:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return number


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--rate", type=_positive, default=20.0, metavar="N", help="pulls that begin in a second")
    add("--full", type=float, default=0.05, metavar="F", help="share of hosts that have nothing of the image")
    parser.set_defaults(num_users=20, spawn_rate=100)


@events.test_start.add_listener
def _prepare(**_event: Any) -> None:
    global _arrivals
    _arrivals = Arrivals(scenario.options.rate)


@events.spawning_complete.add_listener
def _begin(**_event: Any) -> None:
    _arrivals.begin()


@events.test_stopping.add_listener
def _end(**_event: Any) -> None:
    _arrivals.stop()


class DockerHost(FastHttpUser):
    """A Docker host that pulls one image after another."""

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """Pull one image, as soon as there is a pull that no other user has begun."""
        _arrivals.take()
        pull = self.registry.pull if random.random() < scenario.options.full else self.registry.refresh
        pull(*scenario.choose())
