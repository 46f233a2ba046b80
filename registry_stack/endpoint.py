"""Requests to a deployment by its address and with its own CA, whether its names resolve here or not."""

import socket
import ssl
from http.client import HTTPResponse
from urllib.parse import urlsplit

from registry_stack.deployment import Deployment

TIMEOUT_S = 10
# X509_V_ERR_… of openssl/x509_vfy.h: the issuer is unknown or not trusted.
_UNTRUSTED_ISSUER = frozenset({18, 19, 20, 21})


def get_status(deployment: Deployment, url: str, verify: bool = True) -> int:
    """The status of GET /v2/ at the mirror's or the registry's URL. Raises OSError, of which ssl.SSLError is one."""
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or 443
    context = ssl.create_default_context(cafile=deployment.ca_file)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((deployment.address or name, port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(f"GET /v2/ HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        response = HTTPResponse(secure)
        response.begin()
        return response.status


def is_untrusted_issuer(error: ssl.SSLCertVerificationError) -> bool:
    """Whether the certificate fails only for its issuer."""
    return error.verify_code in _UNTRUSTED_ISSUER
