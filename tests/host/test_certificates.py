"""The server certificate: what is served, replaced, refused, renewed."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import requests
from testinfra.host import Host

from tests.host.journal import journal
from tests.host.targets import Target
from tests.support.certificates import (
    CERTIFICATES,
    PORTS,
    Pair,
    certificate_at,
    current_pair,
    own_authority,
    presented,
    put,
    restored,
    serials,
    wait_for,
)

REFUSED = "refused, the previous pair stays in service"


def sums(host: Host) -> str:
    return str(host.check_output(f"sha256sum {CERTIFICATES}/* {CERTIFICATES}/.generated"))


@pytest.mark.parametrize("port", PORTS)
def test_chain_and_every_name(target: Target, port: int) -> None:
    """A client that trusts the CA accepts the host by each of its names."""
    trusting = ssl.create_default_context(cafile=target.deployment.ca_file)
    hostname = target.host.check_output("hostname")
    names = [hostname, target.fqdn, "localhost", "127.0.0.1", "::1", *target.addresses]
    for name in names:
        presented(target.authority(port), trusting, name).close()
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'elsewhere.example'"):
        presented(target.authority(port), trusting, "elsewhere.example")


def test_certificate_is_not_publicly_trusted(target: Target) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="unable to get local issuer"):
        requests.get(f"https://{target.authority(443)}/v2/", timeout=10)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(target: Target, port: int, version: ssl.TLSVersion) -> None:
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        presented(target.authority(port), old)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_and_http2(target: Target, port: int, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=target.deployment.ca_file)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with presented(target.authority(port), context) as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_own_pair_is_loaded_automatically(target: Target, host: Host) -> None:
    pair = own_authority(host).issue([target.reached_as])
    since = journal(host)
    with restored(target):
        put(target, pair)
        wait_for(target, pair)
        target.mirror().expect(200, "GET", "/v2/")
        host.check_output("systemctl start gen-cert-key")
        assert current_pair(host) == pair
        assert len(since.lines("registry-certs", "in service")) == 1
        assert since.lines("registry-certs", REFUSED) == []


def test_own_pair_is_loaded_by_a_restart(target: Target, host: Host) -> None:
    pair = own_authority(host).issue([target.reached_as])
    with restored(target) as before:
        host.check_output("systemctl stop registry-certs.path")
        put(target, pair)
        assert serials(target) == {before.serial}
        host.check_output("systemctl restart docker-registry docker-registry-proxy")
        wait_for(target, pair)
        target.registry().expect(200, "GET", "/v2/")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("server.key", None, "server.crt and server.key do not belong together"),
        ("server.crt", b"not a certificate\n", "server.crt is not a PEM certificate"),
        ("server.key", b"-----BEGIN PRIVATE KEY-----\n", "server.key is not an unencrypted PEM private key"),
    ],
    ids=["mismatch", "no-certificate", "no-key"],
)
def test_bad_pair_is_refused(target: Target, host: Host, name: str, content: bytes | None, reason: str) -> None:
    """One line in the journal, and the old pair is still served: by itself and after a restart."""
    refused(target, host, name, content or own_authority(host).issue([target.reached_as]).key, reason)


def test_pair_with_a_broken_chain_is_refused(target: Target, host: Host) -> None:
    """nginx would go on with what it has, and not start again with this."""
    good = host.file(f"{CERTIFICATES}/server.crt").content
    content = good + good[: len(good) // 2] + b"\n"
    refused(target, host, "server.crt", content, "server.crt has a broken certificate in its chain")


def test_expired_pair_is_refused(target: Target, host: Host) -> None:
    """The last one, put there once more, must not replace the new one."""
    with restored(target) as before:
        since = journal(host)
        put(target, own_authority(host).issue([target.reached_as], days=-1 / 48))
        reason = "server.crt has expired, and the one in service has not"
        since.until("registry-certs", f"error: {CERTIFICATES}: {reason}: {REFUSED}")
        assert serials(target) == {before.serial}


def test_folder_without_a_pair_is_refused(target: Target, host: Host) -> None:
    """Whoever looks for the last change there finds nothing to look at."""
    with restored(target) as before:
        since = journal(host)
        host.check_output(f"rm {CERTIFICATES}/*")
        since.until("registry-certs", f"error: {CERTIFICATES}: server.crt or server.key is missing: {REFUSED}")
        assert serials(target) == {before.serial}


def test_served_pair_is_the_validated_pair(target: Target, host: Host) -> None:
    """And not what is put there during the check, here by the program that checks."""
    pair, program = own_authority(host).issue([target.reached_as]), "/usr/local/bin/openssl"
    # Only the check of the whole pair may meet it: the metrics look at the certificate too, the watch at half a pair.
    lines = [
        "#!/bin/sh",
        f"! grep -q install-certs /proc/$PPID/cmdline || echo > {CERTIFICATES}/server.crt",
        'exec /usr/bin/openssl "$@"',
        "",
    ]
    with restored(target):
        host.check_output("systemctl stop registry-certs.path")
        put(target, pair)
        try:
            target.write(program, "\n".join(lines).encode())
            host.check_output(f"chmod 0755 {program}")
            host.check_output("systemctl start registry-certs")
        finally:
            host.check_output(f"rm {program}")
        assert host.check_output(f"cat {CERTIFICATES}/server.crt") == ""
        wait_for(target, pair)


def refused(target: Target, host: Host, name: str, content: bytes, reason: str) -> None:
    message = f"error: {CERTIFICATES}: {reason}: {REFUSED}"
    with restored(target) as before:
        since = journal(host)
        target.write(f"{CERTIFICATES}/{name}", content)
        since.until("registry-certs", REFUSED)
        assert serials(target) == {before.serial}
        host.check_output("systemctl restart docker-registry")
        assert serials(target) == {before.serial}
        target.registry().expect(200, "GET", "/v2/")
    # The good pair is back and was taken up, so nothing more is to come.
    assert since.lines("registry-certs", starting="error: ") == [message]
    assert since.lines("docker-registry", starting="error: ") == [message]


def test_running_again_changes_nothing(target: Target, host: Host) -> None:
    before, served = sums(host), serials(target)
    host.check_output("systemctl start gen-cert-key")
    assert sums(host) == before
    assert serials(target) == served


def near_its_end(target: Target, host: Host) -> Pair:
    """A generated certificate that expires within the month, with the record that it was generated."""
    names = host.check_output(f"tail -n +2 {CERTIFICATES}/.generated").splitlines()
    pair = own_authority(host).issue([name.split(":", 1)[1] for name in names], days=5)
    record = "\n".join([f"{hashlib.sha256(pair.certificate).hexdigest()}  -", *names, ""])
    target.write(f"{CERTIFICATES}/.generated", record.encode())
    put(target, pair)
    return pair


def test_renewal_keeps_the_ca(target: Target, host: Host) -> None:
    ca = host.check_output(f"cat {CERTIFICATES}/ca.crt")
    wait_for(target, near_its_end(target, host))
    host.check_output("systemctl start gen-cert-key")
    wait_for(target, current_pair(host))
    left = certificate_at(target.authority(443)).not_valid_after_utc - datetime.now(UTC)
    assert left > timedelta(days=300)
    assert host.check_output(f"cat {CERTIFICATES}/ca.crt") == ca
    target.mirror().expect(200, "GET", "/v2/")


def test_new_address_gets_into_the_certificate(target: Target, host: Host) -> None:
    host.check_output("ip address add 198.51.100.7/32 dev lo")
    try:
        host.check_output("systemctl start gen-cert-key")
    finally:
        host.check_output("ip address delete 198.51.100.7/32 dev lo")
    wait_for(target, current_pair(host))
    trusting = ssl.create_default_context(cafile=target.deployment.ca_file)
    presented(target.authority(443), trusting, "198.51.100.7").close()
