r"""Measures a herd: all users pull one image at once that nobody has pulled before, through a limited link upstream.

    locust -f loadtests/cold_herd.py --headless -u 100 -r 100 --link-mbits 20 --image-mb 200

First one client alone, then all of them together, for --rounds images; then the run ends by itself. On a mirror of its
own, whose upstream counts; with --host or --images, of images that must be cold there, without what only it can tell.
"""

import argparse
import time
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, events, task

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.images import Recipe
from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, Threshold
from registry_stack.errors import RegistryStackError

UPSTREAM_BYTES = Threshold(
    # Manifests, and what a request has besides its body, come on top of registry 2.8's two fetches.
    "max-upstream-ratio",
    2.05,
    "upstream bytes, as a multiple of the image",
    lambda run: run.fact("upstream ratio"),
)
SLOWEST = Threshold(
    "max-slowest-ratio", 1.3, "slowest client, as a multiple of one alone", lambda run: run.fact("slowest ratio")
)
SETTLED_S = 120
HERD = Threshold("min-herd", 1, "clients served at once", lambda run: run.fact("herd"), at_most=False)


def recipes(options: argparse.Namespace) -> list[Recipe]:
    """One image for the one client, one for each herd: the same size, no common layer."""
    if options.rounds < 1:
        raise RegistryStackError(f"--rounds {options.rounds}: at least one")
    layers = tuple(options.image_mb * share for share in (0.5, 0.3, 0.15, 0.05))
    return [Recipe(f"library/herd-{number}", "1", layers) for number in range(options.rounds + 1)]


scenario = Scenario(
    "cold_herd",
    __doc__,
    [UPSTREAM_BYTES, SLOWEST, HERD, FAILURES],
    where="own",
    recipes=recipes,
    warm=False,
    least_images=2,
)
_go, _done = Event(), Event()
_left: list[int] = []


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--image-mb", type=float, default=20.0, metavar="MB", help="size of the cold image")
    add("--link-mbits", type=float, default=20.0, metavar="N", help="link to the upstream, Mbit/s, 0 for no limit")
    add("--rounds", type=int, default=1, metavar="N", help="herds, each on an image of its own")


@events.spawning_complete.add_listener
def _drive(**_event: Any) -> None:
    gevent.spawn(_rounds)


def _rounds() -> None:
    """One client alone, then the herds, then the end, whatever happens."""
    try:
        _measure()
    except RegistryStackError as error:
        scenario.record.fail(time.monotonic(), "operator", str(error))
    finally:
        scenario.quit()


def _measure() -> None:
    standin, herd = scenario.mirror.standin, scenario.users
    if standin and scenario.options.link_mbits:
        standin.limit(scenario.options.link_mbits)
    alone, *others = scenario.mirror.images
    alone_s, _bytes = _round(alone, 1)
    found = [_round(image, herd) for image in others]
    slowest = max(seconds for seconds, _bytes in found)
    scenario.facts |= {"herd": herd, "alone, s": alone_s, "slowest, s": slowest, "slowest ratio": slowest / alone_s}
    ratios = [ratio for _seconds, ratio in found if ratio is not None]
    if ratios:
        scenario.facts["upstream ratio"] = max(ratios)


def _round(image: str, clients: int) -> tuple[float, float | None]:
    """Seconds of the slowest client, and the upstream's bytes as a multiple of the image's."""
    standin, received = scenario.mirror.standin, scenario.record.received
    if standin:
        _settle(standin)
        standin.reset()
    _left[:] = [clients]
    Puller.image = image
    _done.clear()
    started = time.monotonic()
    _go.set()
    _done.wait()
    seconds = time.monotonic() - started
    size = (scenario.record.received - received) / clients
    if standin:
        _settle(standin)
    return seconds, standin.counters().get("bytes", 0) / size if standin and size else None


def _settle(standin: FakeUpstream) -> None:
    """Wait until the upstream sends nothing more: registry 2.8 fetches what it keeps by itself, after the client's."""
    deadline, before = time.monotonic() + SETTLED_S, -1
    while (now := standin.counters().get("bytes", 0)) != before and time.monotonic() < deadline:
        before = now
        gevent.sleep(1)


class Puller(FastHttpUser):
    """One of the herd."""

    image = ""

    def on_start(self) -> None:
        """With connections of its own."""
        self.registry = scenario.client(self)
        self.pulled = ""

    @task
    def pull(self) -> None:
        """When the herd starts, if it is wanted in it and has not been there."""
        _go.wait()
        if self.pulled == self.image or not _left or not _left[0] or not self._enlist():
            gevent.sleep(0.05)
            return
        repo, _colon, tag = self.image.rpartition(":")
        try:
            self.registry.pull(repo, tag)
        finally:
            _running.remove(self)
            if not _running and not _left[0]:
                _go.clear()
                _done.set()

    def _enlist(self) -> bool:
        _left[0] -= 1
        self.pulled = self.image
        _running.append(self)
        return True


_running: list[Puller] = []
