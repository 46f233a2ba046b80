"""Certificates for the tests, and what a TLS server really presents."""

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

_TIMEOUT_S = 10


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The serial number of the certificate."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number


class Authority:
    """A CA."""

    def __init__(self, certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> None:
        self.certificate, self._key = certificate, key

    @classmethod
    def create(cls, name: str, days: float = 30) -> "Authority":
        """A new one, of this common name."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        """Its certificate, which those who are to trust it need."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> "Authority":
        """The CA with this certificate and key."""
        private: CertificateIssuerPrivateKeyTypes = serialization.load_pem_private_key(key, None)  # type: ignore[assignment]
        return cls(x509.load_pem_x509_certificate(certificate), private)

    def issue(self, names: Sequence[str], days: float = 30) -> Pair:
        """A server certificate for these names and addresses."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issued by a test")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), plain)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def presented(authority: str, context: ssl.SSLContext | None = None, name: str = "") -> ssl.SSLSocket:
    """A TLS connection to `host:port` that has been made (and, unless a context says otherwise, not verified).

    The server is expected to have the certificate of `name`, the host unless it is given.
    """
    host, _colon, port = authority.rpartition(":")
    if context is None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((host, int(port)), _TIMEOUT_S)
    try:
        return context.wrap_socket(plain, server_hostname=name or host)
    except BaseException:
        plain.close()
        raise


def certificate_at(authority: str) -> x509.Certificate:
    """The certificate that a server presents at `host:port`."""
    with presented(authority) as connection:
        der = connection.getpeercert(binary_form=True)
    if der is None:
        raise AssertionError(f"{authority} presents no certificate")
    return x509.load_der_x509_certificate(der)
