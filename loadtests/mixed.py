r"""Measures pulls and pushes while tags expire, the upstream fails and services are killed underneath: no wrong byte.

    locust -f loadtests/mixed.py --headless -u 20 -t 3m

In turn: the upstream answers 429 to everything, is slow, is killed and comes back; redis, proxy and edge are killed and
brought back by systemd. Only requests to the killed service may fail, and only until it is back; cached images never
fail for the upstream. On a mirror of its own; with --name NAME on that local deployment, without the upstream's part.
"""

import argparse
import math
import os
import secrets
import time
from typing import Any

import gevent
from locust import FastHttpUser, events, task

from loadtests.support.host import KILLED, Outage, host_of, kill
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import HIT_LATENCY, PULLS, PUSHES, Outcome, Threshold
from registry_stack.errors import RegistryStackError

_outages: list[Outage] = []


def unexplained(run: Outcome) -> float:
    """Failures that no killed service explains; each is shown."""
    left = [one for one in run.record.failures if not any(outage.explains(one) for outage in _outages)]
    begun = run.record.started
    for one in left[:10]:
        when = f"{one.sent - begun:.1f} to {one.failed - begun:.1f} s"
        run.notes.append(f"not explained, {when}: {one.kind}: {one.reason}")
    return len(left)


UNEXPLAINED = Threshold("max-unexplained", 0, "failures that no killed service explains", unexplained)
CYCLES = Threshold(
    "min-cycles", 1, "times that everything was broken once", lambda run: run.fact("cycles"), at_most=False
)
AWAY = Threshold("max-away-s", 30, "longest time a killed service was away, s", lambda run: run.fact("longest away, s"))

# Tags expire several times in a run.
scenario = Scenario(
    "mixed",
    __doc__,
    [UNEXPLAINED, CYCLES, AWAY, PULLS, PUSHES, *HIT_LATENCY[:2]],
    where="own",
    parameters=["tag_ttl_seconds=5"],
)


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--calm", type=float, default=3.0, metavar="S", help="seconds between two things that break")
    add("--away", type=float, default=8.0, metavar="S", help="seconds that the upstream is slow, refuses, or is away")


@events.test_start.add_listener
def _begin(**_event: Any) -> None:
    _outages.clear()
    host_of(scenario.mirror)
    scenario.spawn(_break_things)


def _break_things() -> None:
    """Round after round until the run ends; what is begun is put right again."""
    scenario.facts |= {"cycles": 0, "longest away, s": 0}
    try:
        while scenario.running:
            _upstream_fails()
            for service in KILLED:
                _kill(service)
            scenario.facts["cycles"] += scenario.running
    except RegistryStackError as error:
        scenario.record.fail(time.monotonic(), "operator", str(error))
        scenario.quit()


def _upstream_fails() -> None:
    standin = scenario.mirror.standin
    if standin is None:
        return
    for behaviour in ({"status": 429}, {"delay_s": 2.0}):
        _note(f"upstream: {behaviour}")
        standin.behave(**behaviour)
        _calm(scenario.options.away)
        standin.behave()
        _calm(scenario.options.calm)
    if scenario.running:
        _note("upstream killed")
        standin.stop()
        _calm(scenario.options.away)
        standin.start_again()
    _note("upstream back")
    _calm(scenario.options.calm)


def _note(what: str) -> None:
    scenario.notes.append(f"{what} at {scenario.record.seconds:.1f} s")


def _kill(service: str) -> None:
    if not scenario.running:
        return
    deployment = scenario.mirror.deployment
    assert deployment is not None
    # Until it is back, which the run may not see the end of, there is no end of it.
    _outages.append(Outage(service, time.monotonic(), math.inf))
    outage = _outages[-1] = kill(host_of(scenario.mirror), deployment, service)
    begun = scenario.record.started
    scenario.notes.append(f"{service} killed at {outage.killed - begun:.1f} s, back {outage.seconds:.1f} s later")
    scenario.facts[f"{service} killed, times"] = sum(one.service == service for one in _outages)
    scenario.facts["longest away, s"] = max(one.seconds for one in _outages)
    scenario.facts["failed while killed"] = sum(
        any(one.explains(failure) for one in _outages) for failure in scenario.record.failures
    )
    _calm(scenario.options.calm)


def _calm(seconds: float) -> None:
    """So long, or until the run ends."""
    until = time.monotonic() + seconds
    while scenario.running and time.monotonic() < until:
        gevent.sleep(0.1)


class DockerHost(FastHttpUser):
    """Pulls cached images; after a failure it tries again, as Docker does, a little later."""

    weight = 3

    def on_start(self) -> None:
        """With connections of its own."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """One image."""
        if not self.registry.pull(*scenario.choose()):
            gevent.sleep(0.5)


class BuildServer(FastHttpUser):
    """Pushes."""

    weight = 1

    def on_start(self) -> None:
        """With connections and a repository of its own."""
        self.registry = scenario.client(self, push=True)
        self.repo = f"loadtests/{secrets.token_hex(4)}"

    @task
    def push(self) -> None:
        """One small image, always under the same tag."""
        if not self.registry.push(self.repo, "latest", [os.urandom(200_000)]):
            gevent.sleep(0.5)
        gevent.sleep(0.2)
