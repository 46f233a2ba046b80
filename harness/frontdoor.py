"""A request to a deployment's front door, by address and with its own CA, whatever names resolve here."""

import socket
import ssl
from http.client import HTTPResponse
from urllib.parse import urlsplit

from harness.deployment import Deployment

TIMEOUT_S = 10


def answer(deployment: Deployment, url: str) -> int:
    """The status of GET /v2/ at the mirror's or the registry's URL. Raises OSError, of which ssl.SSLError is one."""
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or 443
    context = ssl.create_default_context(cafile=deployment.ca_file)
    with (
        socket.create_connection((deployment.address or name, port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(f"GET /v2/ HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        response = HTTPResponse(secure)
        response.begin()
        return response.status
