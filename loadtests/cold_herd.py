r"""Measures a thundering herd: all users pull one cold image at once over a limited link to the upstream.

    locust -f loadtests/cold_herd.py --headless -u 100 -r 100 --link-mbits 20 --image-mb 200
    locust -f loadtests/cold_herd.py --headless -u 100 -r 100 --link-mbits 50 --image-mb 1000 --one-layer \
        --parameter fetch_storage_gb=3

First one client pulls alone, then all of them together, for --rounds images; then the run ends. It deploys a temporary
mirror, whose upstream counts bytes. With --host or --images, those images must be cold there, and nothing that only the
upstream knows is measured. With --hosts N that mirror is a group over whose members the clients spread; the upstream's
bytes are then those for the whole group.

A layer is fetched once if it is not larger than half of fetch_storage_gb, which is 1 for a local deployment.

Of each layer, a client measures when the first byte comes, and how long none comes. The memory of the host is what its
processes and containers use, without the page cache; of a group, that of the member that uses most.
"""

import argparse
import time
from contextlib import suppress
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, events, task

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.fault_injection import local_hosts
from loadtests.support.host_usage import memory_mib
from loadtests.support.images import Recipe
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, Threshold
from registry_stack.errors import RegistryStackError

UPSTREAM_BYTES = Threshold(
    # Manifests come on top.
    "max-upstream-ratio",
    1.02,
    "upstream bytes, as a multiple of the image",
    lambda run: run.fact("upstream ratio"),
)
SLOWEST = Threshold(
    "max-slowest-ratio", 1.3, "slowest client, as a multiple of one alone", lambda run: run.fact("slowest ratio")
)
FIRST_BYTE = Threshold(
    "max-first-byte-s", 1, "first byte of a layer, s", lambda run: max(run.metrics.layer_first_s, default=None)
)
GAP = Threshold(
    "max-gap-s", 10, "longest time without a byte, s", lambda run: max(run.metrics.layer_gap_s, default=None)
)
MEMORY = Threshold("max-memory-mib", 600, "peak memory of the whole host, MiB", lambda run: run.fact("memory, MiB"))
HERD = Threshold("min-herd", 1, "clients served at once", lambda run: run.fact("herd"), at_most=False)
_QUIET_DEADLINE_S = 120


def recipes(options: argparse.Namespace) -> list[Recipe]:
    """One image for the single client and one for each herd: of the same size, without common layers."""
    if options.rounds < 1:
        raise RegistryStackError(f"--rounds {options.rounds}: must be at least 1")
    names = [f"library/herd-{number}" for number in range(options.rounds + 1)]
    if options.one_layer:
        return [Recipe(name, "1", (options.image_mb,)) for name in names]
    return [Recipe.of_size(name, options.image_mb) for name in names]


scenario = Scenario(
    "cold_herd",
    __doc__,
    [UPSTREAM_BYTES, SLOWEST, FIRST_BYTE, GAP, MEMORY, HERD, FAILURES],
    where="temporary",
    recipes=recipes,
    warm=False,
    group=True,
    minimum_images=2,
)


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--image-mb", type=float, default=20.0, metavar="MB", help="size of the cold image")
    add("--one-layer", action="store_true", help="all of it in one layer")
    add("--link-mbits", type=float, default=20.0, metavar="N", help="link to the upstream, Mbit/s, 0 for no limit")
    add("--rounds", type=int, default=1, metavar="N", help="herds, each on its own image")


class Herd:
    """Lets a number of users pull an image at the same moment and waits for the last one."""

    def __init__(self) -> None:
        self.image = ""
        self._places, self._pulling = 0, 0
        self._open, self._finished = Event(), Event()

    def run(self, image: str, clients: int) -> float:
        """Let so many clients pull the image; return the seconds of the slowest."""
        self.image, self._places = image, clients
        self._finished.clear()
        started = time.monotonic()
        self._open.set()
        self._finished.wait()
        return time.monotonic() - started

    def wait(self) -> None:
        """Wait until a herd starts."""
        self._open.wait()

    def join(self) -> bool:
        """Take a place in the herd; False when all are taken."""
        if not self._places:
            return False
        self._places -= 1
        self._pulling += 1
        return True

    def leave(self) -> None:
        """Tell that this client has ended its pull."""
        self._pulling -= 1
        if not self._pulling and not self._places:
            self._open.clear()
            self._finished.set()


_herd = Herd()


@events.spawning_complete.add_listener
def _begin(**_event: Any) -> None:
    gevent.spawn(_run_rounds)


def _run_rounds() -> None:
    """Measure, then end the run whatever happened."""
    watcher = gevent.spawn(_watch_memory)
    try:
        _measure()
    except RegistryStackError as error:
        scenario.abort(error)
    finally:
        watcher.kill()
        scenario.quit()


def _watch_memory() -> None:
    """Keep the peak of what the host uses, if it can be looked into."""
    with suppress(RegistryStackError):
        hosts = local_hosts(scenario.mirror)
        while True:
            used = max(memory_mib(host.machine) for host in hosts)
            scenario.facts["memory, MiB"] = max(used, scenario.facts.get("memory, MiB", 0.0))
            gevent.sleep(1)


def _measure() -> None:
    upstream, users = scenario.mirror.upstream, scenario.users
    if upstream and scenario.options.link_mbits:
        upstream.limit(scenario.options.link_mbits)
    first, *others = scenario.mirror.images
    alone_s, _ratio = _run_round(first, 1)
    rounds = [_run_round(image, users) for image in others]
    slowest = max(seconds for seconds, _ratio in rounds)
    scenario.facts |= {"herd": users, "alone, s": alone_s, "slowest, s": slowest, "slowest ratio": slowest / alone_s}
    ratios = [ratio for _seconds, ratio in rounds if ratio is not None]
    if ratios:
        scenario.facts["upstream ratio"] = max(ratios)


def _run_round(image: str, clients: int) -> tuple[float, float | None]:
    """Seconds of the slowest client, and the upstream's bytes as a multiple of the image's."""
    upstream, received = scenario.mirror.upstream, scenario.metrics.bytes_received
    if upstream:
        _wait_until_quiet(upstream)
        upstream.reset_counters()
    seconds = _herd.run(image, clients)
    size = (scenario.metrics.bytes_received - received) / clients
    if upstream:
        _wait_until_quiet(upstream)
    return seconds, upstream.counters().get("bytes", 0) / size if upstream and size else None


def _wait_until_quiet(upstream: FakeUpstream) -> None:
    """Wait until the upstream sends no more: registry 2.8 fills its store after it has served the client."""
    deadline, before = time.monotonic() + _QUIET_DEADLINE_S, -1
    while (now := upstream.counters().get("bytes", 0)) != before and time.monotonic() < deadline:
        before = now
        gevent.sleep(1)


class Puller(FastHttpUser):
    """A client that pulls each herd's image once, if there is a place for it."""

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)
        self.pulled = ""

    @task
    def pull(self) -> None:
        """Pull the herd's image as soon as the herd starts."""
        _herd.wait()
        image = _herd.image
        if self.pulled == image or not _herd.join():
            gevent.sleep(0.05)
            return
        self.pulled = image
        repo, _colon, tag = image.rpartition(":")
        try:
            self.registry.pull(repo, tag)
        finally:
            _herd.leave()
