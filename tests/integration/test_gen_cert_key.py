"""gen-cert-key by itself: what it makes, keeps, makes anew and refuses, from what is in the folder."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry_stack.authority import make_authority
from registry_stack.docker.exec import ExecResult
from registry_stack.targets.local.host import USER_DATA_ENVIRONMENT
from tests.integration.host import CERTIFICATES, Host, MakeHost

KEPT = "/var/lib/registry/certs"
FILES = ("ca.crt", "ca.key", "server.crt", "server.key")


@pytest.fixture(scope="module")
def bare(make_host: MakeHost) -> Host:
    """A host on which nothing runs."""
    host = make_host("certificates")
    assert host.exec("/opt/registry/prepare-storage").code == 0
    return host


@pytest.fixture
def host(bare: Host) -> Host:
    """With a CA and a certificate that were just made."""
    empty(bare, CERTIFICATES, KEPT)
    assert generate(bare).code == 0
    return bare


def generate(host: Host) -> ExecResult:
    return host.exec("/opt/registry/gen-cert-key")


def empty(host: Host, *folders: str) -> None:
    host.exec("find", *folders, "-mindepth", "1", "-delete")


def found(host: Host) -> dict[str, str]:
    """The files in the folder, with their content."""
    names = host.exec("ls", "-A", CERTIFICATES).out.split()
    return {name: host.read(f"{CERTIFICATES}/{name}") for name in names}


def verified(host: Host) -> str:
    """Whether the server's certificate is of the CA and belongs to the key; empty when it does."""
    script = f"""cd {CERTIFICATES} && openssl verify -CAfile ca.crt server.crt >/dev/null &&
        test "$(openssl x509 -in server.crt -noout -pubkey)" = "$(openssl pkey -in server.key -pubout)" || echo no"""
    return host.exec("sh", "-c", script).out


def test_makes_all_of_them_once(host: Host) -> None:
    before = found(host)
    assert set(before) == {*FILES, ".generated"}
    assert verified(host) == ""
    result = generate(host)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert found(host) == before


def test_new_server_restores_certificates_from_the_volume(host: Host) -> None:
    before = found(host)
    empty(host, CERTIFICATES)
    assert generate(host).out == f"certificates restored from {KEPT}\n"
    assert found(host) == before


def test_other_names_keep_the_ca(host: Host) -> None:
    before = found(host)
    with host.changed(hostname="renamed"):
        assert "DNS:renamed.localdomain" in generate(host).out
    after = found(host)
    assert {name for name in FILES if after[name] != before[name]} == {"server.crt", "server.key"}
    assert verified(host) == ""


def certificate(host: Host, path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(host.read(path).encode())


def redated(host: Host, begins: timedelta, ends: timedelta) -> x509.Certificate:
    """The CA as if it had been made at another time: with the same key and name, valid from and until then."""
    before, now = certificate(host, f"{CERTIFICATES}/ca.crt"), datetime.now(UTC)
    key = serialization.load_pem_private_key(host.read(f"{CERTIFICATES}/ca.key").encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(before.subject)
        .issuer_name(before.subject)
        .public_key(before.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    for extension in before.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(key, hashes.SHA256())
    host.machine.put(f"{CERTIFICATES}/ca.crt", made.public_bytes(serialization.Encoding.PEM))
    return made


def test_clock_a_year_ahead_makes_certificates_for_now(host: Host) -> None:
    """As what is made begins more than a year ago. No longer than what clients accept, 825 days for a server's."""
    ca, server = (certificate(host, f"{CERTIFICATES}/{name}.crt") for name in ("ca", "server"))
    for one in (ca, server):
        assert datetime.now(UTC) - one.not_valid_before_utc > timedelta(days=366)
    assert server.not_valid_after_utc - server.not_valid_before_utc < timedelta(days=825)
    assert server.not_valid_after_utc - datetime.now(UTC) > timedelta(days=364)


def test_ca_is_renewed_two_years_before_it_ends(host: Host) -> None:
    """With its key: clients that trust the one before accept the server, and so do those that trust the new one."""
    old, before = redated(host, timedelta(days=-6000), timedelta(days=729)), found(host)
    assert generate(host).out.startswith("CA renewed: ")
    after, new = found(host), certificate(host, f"{CERTIFICATES}/ca.crt")
    assert {name for name in after if after[name] != before[name]} == {"ca.crt"}
    assert new.not_valid_after_utc - datetime.now(UTC) > timedelta(days=7000)
    assert new.serial_number != old.serial_number
    server = certificate(host, f"{CERTIFICATES}/server.crt")
    for ca in (old, new):
        server.verify_directly_issued_by(ca)
    assert certificate(host, f"{KEPT}/ca.previous.crt") == old
    assert host.read(f"{KEPT}/ca.crt") == after["ca.crt"]
    assert (generate(host).out, found(host)) == ("", after)


def test_ca_that_does_not_begin_yet_is_renewed(host: Host) -> None:
    """It was made while the clock was far ahead."""
    redated(host, timedelta(days=10), timedelta(days=7000))
    assert verified(host) == "no\n"
    assert generate(host).out.startswith("CA renewed: ")
    assert verified(host) == ""


def test_another_ca_regenerates_the_certificate(host: Host) -> None:
    """The operator's own CA, put in the place of the one that was made."""
    own = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=own"
    done = host.exec("sh", "-c", f"cd {CERTIFICATES} && {own} -keyout ca.key -out ca.crt 2>/dev/null")
    assert done.code == 0
    assert verified(host) == "no\n"
    before = found(host)
    assert "server certificate generated" in generate(host).out
    assert verified(host) == ""
    assert {name: found(host)[name] for name in ("ca.crt", "ca.key")} == {n: before[n] for n in ("ca.crt", "ca.key")}


def test_another_key_regenerates_the_certificate(host: Host) -> None:
    host.exec("sh", "-c", f"openssl ecparam -genkey -name prime256v1 -noout > {CERTIFICATES}/server.key")
    assert verified(host) == "no\n"
    assert "server certificate generated" in generate(host).out
    assert verified(host) == ""


@pytest.mark.parametrize("left", ["server.crt", "server.key"])
def test_half_a_pair_is_refused(host: Host, left: str) -> None:
    other = {"server.crt": "server.key", "server.key": "server.crt"}[left]
    host.exec("rm", f"{CERTIFICATES}/{other}")
    before, result = found(host), generate(host)
    assert (result.code, result.err) == (
        1,
        f"error: {CERTIFICATES} holds only one of server.crt and server.key: "
        "put the other beside it, or remove it to have both generated\n",
    )
    assert found(host) == before


@pytest.mark.parametrize("left", ["ca.crt", "ca.key"])
def test_half_a_ca_is_refused(host: Host, left: str) -> None:
    empty(host, CERTIFICATES)
    host.exec("cp", f"{KEPT}/{left}", CERTIFICATES)
    before, result = found(host), generate(host)
    assert (result.code, result.err) == (
        1,
        f"error: {CERTIFICATES} holds only one of ca.crt and ca.key: "
        "a server certificate cannot be made without both\n",
    )
    assert found(host) == before


def given_ca(certificate: bytes, key: bytes) -> dict[str, str]:
    """The parameters for a CA that issues the server's certificate."""
    return {
        "ca_certificate": base64.b64encode(certificate).decode(),
        "ca_certificate_key": base64.b64encode(key).decode(),
        "shared_hostname": "shared",
    }


def test_ca_of_the_parameters_issues_the_certificate(host: Host) -> None:
    authority = make_authority("CA of a group")
    with host.changed(**given_ca(*authority)):
        assert "DNS:shared.localdomain" in generate(host).out
        after = found(host)
        assert (after["ca.crt"].encode(), after["ca.key"].encode()) == authority
        assert verified(host) == ""
        assert generate(host).out == ""
        assert found(host) == after


def test_ca_that_cannot_issue_is_refused(host: Host) -> None:
    certificate, key = make_authority("CA of a group")
    server, server_key = (found(host)[f"server.{kind}"].encode() for kind in ("crt", "key"))
    for given, reason in (
        ((certificate, server_key), "ca_certificate and ca_certificate_key do not belong together"),
        ((server, server_key), "ca_certificate is not that of a CA"),
        ((b"", key), "ca_certificate is not a PEM certificate"),
        ((certificate, certificate), "ca_certificate_key is not an unencrypted PEM private key"),
    ):
        with host.changed(**given_ca(*given)):
            result = host.exec("/opt/registry/render-edge-config")
        assert result.err == f"error: {reason}\n"


def test_ca_that_issues_needs_what_user_data_lacks(host: Host) -> None:
    """Of user-data alone the host has no script for it: the line says what to do, instead of blaming a certificate."""
    before = host.read(USER_DATA_ENVIRONMENT)
    given = before.replace("CA_CERTIFICATE_KEY=''", "CA_CERTIFICATE_KEY='eA=='")
    assert given != before
    host.machine.put(USER_DATA_ENVIRONMENT, given.encode())
    result = host.exec("/opt/registry/render-edge-config")
    host.machine.put(USER_DATA_ENVIRONMENT, before.encode())
    assert result.err == "error: ca_certificate_key needs settings_transport=heat\n"
