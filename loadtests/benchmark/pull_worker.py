"""Parallel clients that pull an image as Docker does, verify every byte and keep none.

    python3 -m loadtests.benchmark.pull_worker --clients=10 --pulls=100 URL CA-FILE REPOSITORY TAG

The benchmark runs it on the client machine, together with loadtests.support.registry and nothing but Python. curl and
sha256sum would need two processes and a pipe for each layer, and more of the processors than the mirror under test.
"""

import json
import multiprocessing
import ssl
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from loadtests.support.registry import protocol


class Client:
    """A client with one connection per thread, as long as one pull lasts."""

    def __init__(self, url: str, ca_file: str, timeout_s: float) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._host, self._port, self._timeout_s = address.hostname, address.port, timeout_s
        self._context = ssl.create_default_context(cafile=ca_file)
        self._connections: dict[int, HTTPSConnection] = {}

    def send(self, requests: Sequence[protocol.Request]) -> list[protocol.Response]:
        """Send a batch, a few requests at a time."""
        if len(requests) == 1:
            return [self.request(requests[0])]
        with ThreadPoolExecutor(protocol.MAX_CONCURRENT_DOWNLOADS) as pool:
            return list(pool.map(self.request, requests))

    def request(self, request: protocol.Request) -> protocol.Response:
        """Send one request and verify the response; a RequestError names the request."""
        where = f"{request.method} {request.path}"
        try:
            connection = self._connection()
            connection.request(request.method, request.path, headers={"Accept-Encoding": "identity", **request.headers})
            with connection.getresponse() as incoming:
                return protocol.read_response(
                    request, incoming.status, dict(incoming.getheaders()), iter_blocks(incoming)
                )
        except (OSError, HTTPException) as error:
            raise protocol.RequestError(f"{where}: {error!r}") from error
        except protocol.RequestError as error:
            raise type(error)(f"{where}: {error}") from error

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def _connection(self) -> HTTPSConnection:
        thread = threading.get_ident()
        if thread not in self._connections:
            self._connections[thread] = HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        return self._connections[thread]


def iter_blocks(incoming: HTTPResponse) -> Iterator[memoryview]:
    """The body in blocks, each valid until the next one is read."""
    block = memoryview(bytearray(protocol.BLOCK))
    while count := incoming.readinto(block):
        yield block[:count]


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
