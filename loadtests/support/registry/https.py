"""A blocking client with one connection per thread; it needs nothing but Python."""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from loadtests.support.registry import protocol


class Pace:
    """When the bytes of a response come: seconds until the first, and the longest wait for any more."""

    def __init__(self) -> None:
        self.first_s = self.longest_gap_s = 0.0
        self._before = time.monotonic()

    def watch(self, incoming: HTTPResponse) -> Iterator[memoryview]:
        """The body in blocks. A block may take a while to fill up on a slow link, so the first byte is waited for."""
        if incoming.length:
            incoming.peek(1)
        self.first_s = self._waited_s()
        for block in iter_blocks(incoming):
            self._waited_s()
            yield block

    def _waited_s(self) -> float:
        now = time.monotonic()
        waited_s, self._before = now - self._before, now
        self.longest_gap_s = max(self.longest_gap_s, waited_s)
        return waited_s


class HttpsClient:
    """A client of one registry. `ca_file` is empty where the system's CAs are trusted; each request has `headers`."""

    def __init__(self, url: str, ca_file: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._host, self._port, self._timeout_s = address.hostname, address.port, timeout_s
        self._context = ssl.create_default_context(cafile=ca_file or None) if address.scheme == "https" else None
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._connections: dict[int, HTTPConnection] = {}

    def request(self, request: protocol.Request, pace: Pace | None = None) -> protocol.Response:
        """Send one request and verify the response; a RequestError says what was wrong."""
        pace = pace or Pace()
        connection = self._connection()
        try:
            with self._send(connection, request) as incoming:
                return protocol.read_response(
                    request, incoming.status, dict(incoming.getheaders()), pace.watch(incoming)
                )
        except (OSError, HTTPException) as error:
            connection.close()
            raise protocol.RequestError(repr(error)) from error
        except protocol.RequestError:
            connection.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def _send(self, connection: HTTPConnection, request: protocol.Request) -> HTTPResponse:
        reused = connection.sock is not None
        headers = {**self._headers, **request.headers}
        # A Location may be a whole URL.
        path, body = urlsplit(request.path)._replace(scheme="", netloc="").geturl(), request.body
        try:
            connection.request(request.method, path, body, headers)
            return connection.getresponse()
        except ConnectionError:
            if not reused:
                raise
        # The server may close an idle connection at any time (RFC 9112, 9.3.1).
        connection.close()
        connection.request(request.method, path, body, headers)
        return connection.getresponse()

    def _connection(self) -> HTTPConnection:
        thread = threading.get_ident()
        if thread not in self._connections:
            self._connections[thread] = self._open()
        return self._connections[thread]

    def _open(self) -> HTTPConnection:
        if self._context is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._context)


def iter_blocks(incoming: HTTPResponse) -> Iterator[memoryview]:
    """The body in blocks, each valid until the next one is read."""
    block = memoryview(bytearray(protocol.BLOCK))
    while count := incoming.readinto(block):
        yield block[:count]
