r"""Measures pulls and pushes while tags expire, the upstream fails and services are killed: no byte may be wrong.

    locust -f loadtests/mixed.py --headless -u 20 -t 3m

In turn, the upstream answers 429 to everything, is slow, and is killed and restarted; then each of the host's services
is killed, and systemd restarts it. Only requests to a killed service may fail, and only until it has recovered; cached
images stay available whatever the upstream does. It deploys a temporary mirror; with --name NAME it uses that local
deployment and leaves the upstream alone.

With --hosts N that mirror is a group, whose members take turns at losing a service; in each cycle one is killed as a
whole and booted again. A pull may not fail then, as its client asks the next member; a push may, at the member that is
away, and the next one of that client goes to another.
"""

import argparse
import math
import os
import secrets
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

from loadtests.support.fault_injection import LocalHost, Outage, kill_host, kill_service, local_hosts
from loadtests.support.metrics import Failure
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import HIT_LATENCY, PULLS, PUSHES, Outcome, Threshold
from registry_stack.deployment import Deployment
from registry_stack.errors import RegistryStackError
from registry_stack.targets.local.rollout import UNITS

_outages: list[Outage] = []
# What the upstream does, the delay in seconds and the HTTP status.
_FAULTS = (("answers 429", 0.0, 429), ("takes 2 s to respond", 2.0, 0))


def unexplained(run: Outcome) -> float:
    """Count the failures that no killed service explains, and note the first ones."""
    failures = [one for one in run.metrics.failures if not _is_explained(one)]
    started = run.metrics.started
    for one in failures[:10]:
        when = f"{one.sent - started:.1f} to {one.failed - started:.1f} s"
        run.notes.append(f"unexplained, {when}: {one.kind}: {one.reason}")
    return len(failures)


def _is_explained(failure: Failure) -> bool:
    return any(outage.explains(failure) for outage in _outages)


UNEXPLAINED = Threshold("max-unexplained", 0, "failures that no killed service explains", unexplained)
CYCLES = Threshold("min-cycles", 1, "cycles through all faults", lambda run: run.fact("cycles"), at_most=False)
OUTAGE = Threshold(
    "max-outage-s", 30, "longest outage of a killed service, s", lambda run: run.fact("longest outage, s")
)

# Tags expire several times in a run.
scenario = Scenario(
    "mixed",
    __doc__,
    [UNEXPLAINED, CYCLES, OUTAGE, PULLS, PUSHES, *HIT_LATENCY[:2]],
    where="temporary",
    pushes=True,
    needs_host=True,
    group=True,
    parameters=["tag_ttl_seconds=5"],
)


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--calm", type=float, default=3.0, metavar="S", help="seconds without a fault between two faults")
    add("--fault", type=float, default=8.0, metavar="S", help="seconds that a fault of the upstream lasts")


@events.test_start.add_listener
def _begin(**_event: Any) -> None:
    _outages.clear()
    scenario.spawn(_inject_faults)


def _inject_faults() -> None:
    """Cycle through all faults until the run ends; each one that has begun is also repaired."""
    scenario.facts |= {"cycles": 0, "longest outage, s": 0}
    try:
        while scenario.running:
            _fail_upstream()
            for service in UNITS:
                _kill(service)
            _kill_member()
            scenario.facts["cycles"] += scenario.running
    except RegistryStackError as error:
        scenario.abort(error)


def _fail_upstream() -> None:
    upstream = scenario.mirror.upstream
    if upstream is None:
        return
    for behaviour, delay_s, status in _FAULTS:
        _note(f"upstream {behaviour}")
        upstream.inject(delay_s, status)
        _wait(scenario.options.fault)
        upstream.clear_faults()
        _wait(scenario.options.calm)
    if scenario.running:
        _note("upstream killed")
        upstream.kill()
        _wait(scenario.options.fault)
        upstream.restart()
    _note("upstream recovered")
    _wait(scenario.options.calm)


def _note(event: str) -> None:
    scenario.notes.append(f"{scenario.metrics.seconds:.1f} s: {event}")


def _kill(service: str) -> None:
    if not scenario.running:
        return
    host = _next_host()
    outage = _observe(service, host, lambda known: kill_service(host, known, service))
    scenario.facts[f"{service} killed, times"] = sum(one.service == service for one in _outages)
    scenario.facts["longest outage, s"] = max(outage.seconds, scenario.facts["longest outage, s"])
    _wait(scenario.options.calm)


def _kill_member() -> None:
    """Kill a whole host of a group: for a single one, that would be the end of everything."""
    if len(scenario.mirror.urls) == 1 or not scenario.running:
        return
    host = _next_host()
    _observe(host.machine.name, host, lambda known: kill_host(host, known, scenario.options.fault))
    scenario.facts["hosts killed, times"] = scenario.facts.get("hosts killed, times", 0) + 1
    _wait(scenario.options.calm)


def _next_host() -> LocalHost:
    """The host whose turn it is."""
    hosts = local_hosts(scenario.mirror)
    return hosts[len(_outages) % len(hosts)]


def _observe(what: str, host: LocalHost, kill: Callable[[Deployment], Outage]) -> Outage:
    """Keep and note the outage that a fault causes."""
    deployment = scenario.mirror.deployment
    assert deployment is not None
    # The run may end before it has recovered: until then the outage has no end.
    _outages.append(Outage(what, time.monotonic(), math.inf, host.urls))
    outage = _outages[-1] = kill(deployment)
    killed = outage.killed - scenario.metrics.started
    at = "" if what == host.machine.name or len(scenario.mirror.urls) == 1 else f" at {host.machine.name}"
    scenario.notes.append(f"{killed:.1f} s: {what} killed{at}, recovered after {outage.seconds:.1f} s")
    scenario.facts["failed during outages"] = sum(map(_is_explained, scenario.metrics.failures))
    return outage


def _wait(seconds: float) -> None:
    """Wait, but not beyond the end of the run."""
    until = time.monotonic() + seconds
    while scenario.running and time.monotonic() < until:
        gevent.sleep(0.1)


class DockerHost(FastHttpUser):
    """A Docker host that pulls cached images and, as Docker does, retries a little later after a failure."""

    weight = 3
    # Without a pause, this process would measure its own queue.
    wait_time = constant(0.2)

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """Pull one image."""
        if not self.registry.pull(*scenario.choose()):
            gevent.sleep(0.5)


class BuildServer(FastHttpUser):
    """A build server that pushes images."""

    weight = 1

    def on_start(self) -> None:
        """Open connections and choose a repository that no other user shares."""
        self.registry = scenario.client(self, push=True)
        self.repo = f"loadtests/{secrets.token_hex(4)}"

    @task
    def push(self) -> None:
        """Push one small image, always under the same tag."""
        if not self.registry.push(self.repo, "latest", [os.urandom(200_000)]):
            gevent.sleep(0.5)
        gevent.sleep(0.2)
