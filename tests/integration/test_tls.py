"""What the edge shows on its two ports: the certificate chain and its names, TLS 1.2 and later, HTTP/2."""

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from tests.integration.host import CERTIFICATES, MIRROR_PORT, REGISTRY_PORT, Host

PORTS = pytest.mark.parametrize("port", [MIRROR_PORT, REGISTRY_PORT], ids=["mirror", "registry"])


def handshake(host: Host, port: int, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    """A closed connection that has been through its handshake."""
    address = urlsplit(host.url(port))
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as connection,
    ):
        connection.settimeout(10)
        return connection


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks one version, with whatever ciphers that needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


@PORTS
@pytest.mark.parametrize("name", ["registry", "registry.localdomain", "localhost", "127.0.0.1", "::1"])
def test_names(filesystem_host: Host, port: int, name: str) -> None:
    handshake(filesystem_host, port, ssl.create_default_context(cafile=filesystem_host.ca_file), name)


@PORTS
@pytest.mark.parametrize("name", ["other", "localdomain", "a.registry.localdomain", "127.0.0.2"])
def test_other_names_do_not_match(filesystem_host: Host, port: int, name: str) -> None:
    context = ssl.create_default_context(cafile=filesystem_host.ca_file)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch|not valid for"):
        handshake(filesystem_host, port, context, name)


@PORTS
def test_certificate_is_not_trusted_without_the_ca(filesystem_host: Host, port: int) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(filesystem_host, port, ssl.create_default_context())


def test_local_addresses_are_in_the_certificate(filesystem_host: Host) -> None:
    address = filesystem_host.exec("hostname", "-i").out.split()[0]
    server, _authority = certificates(filesystem_host)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert address in [str(one) for one in names.get_values_for_type(x509.IPAddress)]


def certificates(host: Host) -> tuple[x509.Certificate, x509.Certificate]:
    """The server's and the CA's."""
    authority = x509.load_pem_x509_certificate(Path(host.ca_file).read_bytes())
    shown = ssl.get_server_certificate(("localhost", urlsplit(host.url(MIRROR_PORT)).port or 443))
    return x509.load_pem_x509_certificate(shown.encode()), authority


def test_chain_satisfies_a_strict_verifier(filesystem_host: Host) -> None:
    """The web PKI's rules for extensions, which newer clients go by."""
    server, authority = certificates(filesystem_host)
    verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName("localhost"))
    assert verifier.verify(server, []) == [server, authority]


def test_extensions(filesystem_host: Host) -> None:
    server, authority = certificates(filesystem_host)
    is_authority = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert is_authority.critical
    assert (is_authority.value.ca, is_authority.value.path_length) == (True, 0)
    assert authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    # Apple's clients refuse more of any CA (support.apple.com/103769); the 398 days are for public ones.
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days <= 825
    assert authority.not_valid_after_utc > server.not_valid_after_utc


def test_keys_are_the_owners_alone(filesystem_host: Host) -> None:
    for key in (f"{CERTIFICATES}/ca.key", f"{CERTIFICATES}/server.key"):
        assert filesystem_host.exec("stat", "--format", "%a %U", key).out == "600 root\n"
    # The copy that the edge reads is the edge's, and the CA's key is not where it could read it.
    assert filesystem_host.exec("stat", "--format", "%a %u", "/var/lib/registry/tls/server.key").out == "400 65532\n"
    assert filesystem_host.exec("ls", "/var/lib/registry/tls").out.split() == ["server.crt", "server.key"]


@PORTS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions(filesystem_host: Host, port: int, version: ssl.TLSVersion) -> None:
    assert handshake(filesystem_host, port, only(version))


@PORTS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(filesystem_host: Host, port: int, version: ssl.TLSVersion) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context = only(version)
    # An alert is the server's own word: not that this client could not.
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION|alert protocol version"):
        handshake(filesystem_host, port, context)


@PORTS
def test_http2_is_negotiated(filesystem_host: Host, port: int) -> None:
    context = ssl.create_default_context(cafile=filesystem_host.ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = urlsplit(filesystem_host.url(port))
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


def test_push_and_pull_by_http2(filesystem_host: Host) -> None:
    """A real client of it, curl on the host's network."""
    username, password = filesystem_host.login
    curl = (
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        f"{CERTIFICATES}/ca.crt",
        "--user",
        f"{username}:{password}",
        "--output",
        "/tmp/body",
        "--write-out",
        "%{http_version} %{http_code}",
        "--dump-header",
        "/tmp/header",
    )
    url = "https://localhost:5000/v2/http2/image/blobs/uploads/"
    assert filesystem_host.exec(*curl, "--request", "POST", url).out == "2 202"
    location = next(
        line.split()[1]
        for line in filesystem_host.read("/tmp/header").splitlines()
        if line.lower().startswith("location:")
    )
    filesystem_host.exec("sh", "-c", "head -c 3000000 /dev/urandom > /tmp/blob")
    digest = "sha256:" + filesystem_host.exec("sha256sum", "/tmp/blob").out.split()[0]
    put = filesystem_host.exec(*curl, "--upload-file", "/tmp/blob", f"{location}&digest={digest}")
    assert put.out == "2 201", put.err
    assert filesystem_host.exec(*curl, f"https://localhost:5000/v2/http2/image/blobs/{digest}").out == "2 200"
    assert filesystem_host.exec("cmp", "/tmp/blob", "/tmp/body").code == 0


@PORTS
def test_tls_1_2_has_authenticated_encryption_only(filesystem_host: Host, port: int) -> None:
    """CBC ciphers are open to LUCKY13; every client of the supported list knows AES-GCM or ChaCha20."""
    accepted = set()
    for cipher in only(ssl.TLSVersion.TLSv1_2).get_ciphers():
        if cipher["protocol"] == "TLSv1.3":
            continue
        context = only(ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(f"{cipher['name']}:@SECLEVEL=0")
        try:
            handshake(filesystem_host, port, context)
            accepted.add(cipher["name"])
        except (ssl.SSLError, OSError):
            continue
    assert accepted
    assert {name for name in accepted if not ("GCM" in name or "CHACHA20" in name)} == set()
