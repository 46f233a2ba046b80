"""A client that pulls and pushes all the time, and what it loses."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from time import monotonic
from typing import Any

import requests

from tests.stack.stack_under_test import StackUnderTest
from tests.support.oci import OciClient

# Between two pulls, or two pushes: the server under test has other things to do as well.
PAUSE_S = 2
# To connect, and between two bytes. Docker waits 30 s for a connection, and a host starts its edge in two. An emulated
# one takes half a minute for that.
TIMEOUT_S = (240, 300)
REPO = "library/in-traffic"


@dataclass
class Traffic:
    """By kind: `mirror`, cached pulls; `pull` and `push`, of the registry. And how long the longest of each took."""

    requests: Counter[str] = field(default_factory=Counter)
    longest_s: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def count(self, kind: str, client: OciClient) -> OciClient:
        """The client, each of whose requests is counted and has a connection of its own: Docker would try again when an
        idle one is closed."""
        client.session.headers["Connection"] = "close"
        send = client.session.request

        def request(*arguments: Any, **options: Any) -> requests.Response:
            started = monotonic()
            self.requests[kind] += 1
            try:
                return send(*arguments, **options | {"timeout": TIMEOUT_S})
            finally:
                self.longest_s[kind] = max(self.longest_s.get(kind, 0), monotonic() - started)

        client.session.request = request  # type: ignore[method-assign]
        return client

    def lost_of(self, *kinds: str) -> list[str]:
        """What became of the lost ones of these kinds."""
        return [line for line in self.lost if line.startswith(kinds)]


@contextmanager
def traffic(world: StackUnderTest) -> Iterator[Traffic]:
    """Until the end of the block. Each operation that fails has lost one request."""
    seen, stop = Traffic(), Event()
    cached = world.upstream.push(REPO, "1", [20_000])
    world.mirror().pull(REPO, "1")
    pushed = world.registry().push("in-traffic/kept", "1", [20_000])

    def mirror(_number: int) -> None:
        assert seen.count("mirror", world.mirror()).pull(REPO, "1").digest == cached.digest

    def pull(_number: int) -> None:
        assert seen.count("pull", world.registry()).pull("in-traffic/kept", "1").digest == pushed.digest

    def push(number: int) -> None:
        seen.count("push", world.registry()).push("in-traffic/pushed", str(number), [20_000])

    def repeat(operation: Callable[[int], None]) -> None:
        for number in count():
            if stop.is_set():
                return
            try:
                operation(number)
            except (AssertionError, requests.RequestException) as error:
                seen.lost.append(f"{operation.__name__}: {error}")
            stop.wait(PAUSE_S)

    with ThreadPoolExecutor(3) as pool:
        begun = [pool.submit(repeat, one) for one in (mirror, pull, push)]
        try:
            yield seen
        finally:
            stop.set()
        for one in begun:
            one.result()
