"""Secrets: where they lie, who can read them, and where they must never show up."""

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from registry_stack.targets.local.rollout import UNITS
from tests.host.targets import Target

CERTS = "/home/root/registry_certs"
# Copies of the parameters, of the host's own.
OWN = ("", ".user-data", ".taken", ".applied")
# Owner and mode of what holds a secret. The containers run as 65532.
FILES = {
    **dict.fromkeys((f"/etc/docker-registry/environment{own}" for own in OWN), (0, 0o600)),
    f"{CERTS}/ca.key": (0, 0o600),
    f"{CERTS}/server.key": (0, 0o600),
    "/var/lib/registry/http-secret": (0, 0o600),
    "/var/lib/registry/tls/server.key": (65532, 0o400),
    "/run/registry/env/docker-registry": (0, 0o600),
    "/run/registry/edge/htpasswd": (65532, 0o600),
    "/run/registry/edge/upstream.conf": (65532, 0o600),
}
FOLDERS = {
    CERTS: (0, 0o700),
    "/var/lib/registry/certs": (0, 0o700),
    "/var/lib/registry/tls": (65532, 0o700),
    "/run/registry/env": (0, 0o700),
    "/run/registry/edge": (65532, 0o700),
}
# Everything but the kernel's own file systems.
EVERYWHERE = "/boot /etc /home /media /mnt /opt /root /run /srv /tmp /usr/local /var"


PATTERNS = "/root/secrets"


@pytest.fixture(scope="module", autouse=True)
def patterns(target: Target, host: Host) -> Iterator[None]:
    """A file on the host with every secret, one a line."""
    key = host.check_output(f"sed -n 2p {CERTS}/server.key")
    http_secret = host.check_output("cat /var/lib/registry/http-secret")
    target.write(PATTERNS, "\n".join([*target.secrets, key, http_secret, ""]).encode())
    yield
    host.check_output(f"rm {PATTERNS}")


def found(host: Host, search: str) -> set[str]:
    """The lines that a shell command prints."""
    return set(host.run(search).stdout.splitlines())


@pytest.mark.parametrize("path", [*FILES, *FOLDERS])
def test_owner_and_mode(host: Host, path: str) -> None:
    file = host.file(path)
    assert (file.uid, file.mode) == (FILES | FOLDERS)[path]


def test_certificates_are_public(host: Host) -> None:
    for name in ("ca.crt", "server.crt"):
        assert host.file(f"{CERTS}/{name}").mode == 0o644


def test_nobody_else_can_read_a_secret(host: Host) -> None:
    search = f"runuser -u nobody -- grep -rIlFs -f - {EVERYWHERE} < {PATTERNS}"
    assert found(host, search) == set()


def test_secret_search_finds_known_locations(host: Host) -> None:
    """The same search as root: it works."""
    search = f"grep -rIlFs -f - /etc/docker-registry /run/registry /var/lib/registry < {PATTERNS}"
    assert {"/etc/docker-registry/environment", "/run/registry/env/docker-registry"} <= found(host, search)


def test_no_secret_in_the_journal(host: Host) -> None:
    search = f"journalctl --no-pager -o cat --all | grep -F -f {PATTERNS}"
    assert found(host, search) == set()


def test_no_secret_on_a_command_line(host: Host) -> None:
    """Looked at again and again while every service starts anew."""
    units = " ".join((*UNITS, "registry-ready"))
    search = f"""
        systemctl restart {units} & restarting=$!
        while kill -0 $restarting 2>/dev/null; do
            cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -aF -f {PATTERNS}
        done"""
    assert found(host, search) == set()
    assert host.check_output("systemctl is-active registry-ready") == "active"


@pytest.mark.parametrize("unit", UNITS)
def test_containers_see_only_their_own(host: Host, unit: str) -> None:
    """No container can read the parameters of the host, nor the keys in the folder of the certificates."""
    for path in ("/etc/docker-registry/environment", CERTS, "/var/lib/registry/certs"):
        seen = host.run("docker exec %s sh -c %s", unit, f"cat {path}/* {path}")
        assert seen.stdout == ""
