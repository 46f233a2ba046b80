"""Parallel clients that pull an image as Docker does, verify every byte and keep none.

    python3 -m loadtests.benchmark.pull_worker --clients=10 --pulls=100 URL[,URL …] CA-FILE REPOSITORY TAG

Several URLs are those of a group's members. Each pull has another one first, and asks the next for what that one fails.
The benchmark runs it on the client machine, together with loadtests.support.registry and nothing but Python. curl and
sha256sum would need two processes and a pipe for each layer, and more of the processors than the mirror under test.
"""

import json
import multiprocessing
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loadtests.support.registry import protocol
from loadtests.support.registry.https import HttpsClient


class Client:
    """A client that downloads several blobs at a time, as long as one pull lasts.

    Of several URLs it asks the first, the next one for what that one fails, and at last the first again, as Docker and
    containerd ask for the rest of a blob: it breaks off when its sender has lost the member that had it. `failed` lists
    those that failed.
    """

    def __init__(
        self, urls: Sequence[str], ca_file: str, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self.failed: list[str] = []
        self._members = {url: HttpsClient(url, ca_file, timeout_s, headers) for url in urls}
        self._turn = [*urls, *urls[:1]] if len(urls) > 1 else urls

    def send(self, requests: Sequence[protocol.Request]) -> list[protocol.Response]:
        """Send a batch, a few requests at a time."""
        if len(requests) == 1:
            return [self.request(requests[0])]
        with ThreadPoolExecutor(protocol.MAX_CONCURRENT_DOWNLOADS) as pool:
            return list(pool.map(self.request, requests))

    def request(self, request: protocol.Request) -> protocol.Response:
        """Send one request and verify the response; a RequestError names the request."""
        asked: list[str] = []
        try:
            return protocol.ask_in_turn(self._turn, lambda url: self._members[url].request(request), asked)
        except protocol.RequestError as error:
            raise type(error)(f"{request.method} {request.path}: {error}") from error
        finally:
            self.failed += asked[:-1]

    def close(self) -> None:
        """Close all connections."""
        for member in self._members.values():
            member.close()


def members_for(urls: Sequence[str], number: int) -> list[str]:
    """The members of a group as the client of this number has them: each begins with another."""
    first = number % len(urls)
    return [*urls[first:], *urls[:first]]


def _pull_once(options: Namespace, number: int) -> None:
    """Pull once and print one line of JSON. A line is one write, so that processes do not mix theirs."""
    started = time.monotonic()
    result: dict[str, Any]
    client = Client(members_for(options.url.split(","), number), options.ca, options.timeout)
    try:
        protocol.drive(protocol.pull(options.repository, options.tag), client.send)
        result = {"seconds": time.monotonic() - started}
    except protocol.RequestError as error:
        result = {"failed": str(error), "wrong": isinstance(error, protocol.WrongBytesError)}
    finally:
        client.close()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _pull_repeatedly(options: Namespace, number: int) -> None:
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        _pull_once(options, number)


def main() -> None:
    """Run the clients."""
    parser = ArgumentParser(
        description='Print a line for each pull: {"seconds": S} or {"failed": REASON, "wrong": BOOLEAN}.'
    )
    parser.add_argument("--clients", type=int, default=1, help="number of processes")
    parser.add_argument("--pulls", type=int, default=1, help="number of pulls by all clients together")
    parser.add_argument("--seconds", type=float, help="pull repeatedly for so long instead")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that a client waits for the next bytes")
    for name in ("url", "ca", "repository", "tag"):
        parser.add_argument(name)
    options = parser.parse_args()
    work, count = (_pull_once, options.pulls) if options.seconds is None else (_pull_repeatedly, options.clients)
    # Forked before the first pull begins: starting Python for each client would be part of the measurement.
    with multiprocessing.get_context("fork").Pool(options.clients) as pool:
        pool.starmap(work, [(options, number) for number in range(count)], chunksize=1)


if __name__ == "__main__":
    main()
