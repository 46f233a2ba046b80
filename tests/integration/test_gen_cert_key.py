"""gen-cert-key by itself: what it makes, keeps, makes anew and refuses, from what is in the folder."""

import pytest

from registry_stack.docker.exec import ExecResult
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
