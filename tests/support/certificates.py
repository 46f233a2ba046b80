"""Certificates for the tests, what a TLS server really presents, and the folder of the certificates on a host."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID
from testinfra.host import Host

from tests.support.deadlines import deadline, wait_until

if TYPE_CHECKING:
    from tests.host.targets import Target

_TIMEOUT_S = 10
# Of the host, and the ports that serve what is in it.
CERTIFICATES = "/home/root/registry_certs"
PORTS = (443, 5000)
# A change is taken up once nothing has changed for two seconds.
TAKEN_UP_S = 20


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


def put(target: "Target", pair: Pair) -> None:
    """Put a pair into the folder as an operator may: moved there, with a moment between the two."""
    target.write(f"{CERTIFICATES}/new.key", pair.key)
    target.write(f"{CERTIFICATES}/new.crt", pair.certificate)
    # In one command: between two, a busy host could find the change complete and validate half a pair.
    moves = "touch -d 2020-01-01 new.key new.crt && mv new.crt server.crt && sleep 0.7 && mv new.key server.key"
    target.host.check_output(f"cd {CERTIFICATES} && {moves}")


def own_authority(host: Host) -> Authority:
    """The host's own CA, so that its clients accept what a test issues."""
    files = (host.check_output(f"cat {CERTIFICATES}/ca.crt"), host.check_output(f"cat {CERTIFICATES}/ca.key"))
    return Authority.load(*(text.encode() for text in files))


def serials(target: "Target") -> set[int]:
    """Serial numbers of the certificates that are served, of both ports."""
    return {certificate_at(target.authority(port)).serial_number for port in PORTS}


def wait_for(target: "Target", pair: Pair) -> None:
    """Wait until both ports serve it."""
    wanted = {pair.serial}

    def probe() -> str | None:
        found = serials(target)
        return None if found == wanted else f"another one: {found}"

    wait_until(probe, deadline(target.host, TAKEN_UP_S), "the new certificate to be served")


def current_pair(host: Host) -> Pair:
    """What is in the folder."""
    names = ("server.crt", "server.key")
    return Pair(*(f"{host.check_output('cat %s', f'{CERTIFICATES}/{name}')}\n".encode() for name in names))


@contextmanager
def restored(target: "Target") -> Iterator[Pair]:
    """Whatever a test puts there, afterwards what was there before is back and served."""
    # A host that got another address while a pair of the user's own was there issues its own as soon as it looks again.
    target.host.check_output("systemctl start gen-cert-key && /opt/registry/install-certs")
    before = current_pair(target.host)
    target.host.check_output(f"rm -rf /root/certs-before && cp -a {CERTIFICATES} /root/certs-before")
    try:
        yield before
    finally:
        target.host.check_output("systemctl start registry-certs.path")
        target.host.check_output(f"cp -a /root/certs-before/. {CERTIFICATES}/ && rm -rf /root/certs-before")
        # A run that began before must not restore it, and none may continue into the next test.
        target.host.check_output("systemctl restart registry-certs")
        wait_for(target, before)
