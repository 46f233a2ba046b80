"""A blocking client with one connection per thread; it needs nothing but Python."""

import ssl
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from loadtests.support.registry import protocol


class HttpsClient:
    """A client of one registry. `ca_file` is empty where the system's CAs are trusted."""

    def __init__(self, url: str, ca_file: str, timeout_s: float) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._host, self._port, self._timeout_s = address.hostname, address.port, timeout_s
        self._context = ssl.create_default_context(cafile=ca_file or None) if address.scheme == "https" else None
        self._connections: dict[int, HTTPConnection] = {}

    def request(self, request: protocol.Request) -> protocol.Response:
        """Send one request and verify the response; a RequestError says what was wrong."""
        connection = self._connection()
        try:
            with self._send(connection, request) as incoming:
                return protocol.read_response(
                    request, incoming.status, dict(incoming.getheaders()), iter_blocks(incoming)
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
        headers = {"Accept-Encoding": "identity", **request.headers}
        try:
            connection.request(request.method, request.path, headers=headers)
            return connection.getresponse()
        except ConnectionError:
            if not reused:
                raise
        # The server may close an idle connection at any time (RFC 9112, 9.3.1).
        connection.close()
        connection.request(request.method, request.path, headers=headers)
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
