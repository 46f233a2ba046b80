"""Parallel clients that pull an image as Docker does, verify every byte and keep none.

    python3 -m loadtests.benchmark.pull_worker --clients=10 --pulls=100 URL CA-FILE REPOSITORY TAG

The benchmark runs it on the client machine, together with loadtests.support.registry and nothing but Python. curl and
sha256sum would need two processes and a pipe for each layer, and more of the processors than the mirror under test.
"""

import json
import multiprocessing
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loadtests.support.registry import protocol
from loadtests.support.registry.https import HttpsClient, Pace


class Client(HttpsClient):
    """A client that downloads several blobs at a time, as long as one pull lasts."""

    def send(self, requests: Sequence[protocol.Request]) -> list[protocol.Response]:
        """Send a batch, a few requests at a time."""
        if len(requests) == 1:
            return [self.request(requests[0])]
        with ThreadPoolExecutor(protocol.MAX_CONCURRENT_DOWNLOADS) as pool:
            return list(pool.map(self.request, requests))

    def request(self, request: protocol.Request, pace: Pace | None = None) -> protocol.Response:
        """Send one request and verify the response; a RequestError names the request."""
        try:
            return super().request(request, pace)
        except protocol.RequestError as error:
            raise type(error)(f"{request.method} {request.path}: {error}") from error


def _pull_once(options: Namespace) -> None:
    """Pull once and print one line of JSON. A line is one write, so that processes do not mix theirs."""
    started = time.monotonic()
    result: dict[str, Any]
    client = Client(options.url, options.ca, options.timeout)
    try:
        protocol.drive(protocol.pull(options.repository, options.tag), client.send)
        result = {"seconds": time.monotonic() - started}
    except protocol.RequestError as error:
        result = {"failed": str(error), "wrong": isinstance(error, protocol.WrongBytesError)}
    finally:
        client.close()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _pull_repeatedly(options: Namespace) -> None:
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        _pull_once(options)


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
        pool.map(work, [options] * count, chunksize=1)


if __name__ == "__main__":
    main()
