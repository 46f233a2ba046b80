"""registry-backup with a real Swift, and what registry-restore refuses; tests/host has a host that is restored."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from registry_stack.docker.archive import pack
from registry_stack.docker.exec import ExecResult
from registry_stack.machines.swift import ALIAS
from tests.integration.host import CERTIFICATES, Host
from tests.integration.swift import Swift

CONTAINER, FOLDER = "docker_registry", "registry-backup/"
PASSPHRASE = "correct.horse-battery"
LASTING = f"{CERTIFICATES} /var/lib/registry/certs /var/lib/registry/logins /var/lib/registry/http-secret"
ARCHIVE = "/root/archive"


@pytest.fixture(scope="module")
def host(swift_host: Host) -> Iterator[Host]:
    """With a passphrase, and without the backups in its Swift that a test has left."""
    with swift_host.changed(backup_passphrase=PASSPHRASE):
        yield swift_host


def backup(host: Host, *arguments: str) -> ExecResult:
    return host.exec("/opt/registry/registry-backup", *arguments)


def restore(host: Host, *arguments: str) -> ExecResult:
    return host.exec("/opt/registry/registry-restore", *arguments)


def lasting(host: Host) -> str:
    """What a restore would change."""
    return host.exec("sh", "-c", f"find {LASTING} -type f | sort | xargs sha256sum; docker ps -q").out


def names(swift: Swift) -> list[str]:
    return [item["name"] for item in swift.objects(CONTAINER, FOLDER)]


def mark(host: Host) -> str:
    """What tells its archives from those of others."""
    secret = sha256(host.read("/var/lib/registry/http-secret").encode()).hexdigest()
    return f"{host.values['hostname']}-{secret[:8]}"


def test_backup_in_swift_opens_by_hand(host: Host, swift: Swift) -> None:
    done = backup(host)
    assert done.code == 0, done.err
    (name,) = names(swift)
    assert name.endswith(f"-{mark(host)}")
    assert done.out.startswith(f"written: http://{ALIAS}:8080/v1/AUTH_")
    assert done.out.endswith(f"/{CONTAINER}/{name}\n")
    content = b"".join(swift.read(CONTAINER, name))
    assert content.startswith(b"docker-registry-backup 1\nSalted__")
    host.machine.put(ARCHIVE, content)
    script = (
        f"tail -n +2 {ARCHIVE} | openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -pass env:P | tar -xzC /root/opened "
        "&& cd /root/opened && find . -type f"
    )
    found = host.exec("sh", "-c", f"rm -rf /root/opened && mkdir /root/opened && {script}", P=PASSPHRASE).out.split()
    assert {f".{CERTIFICATES}/{name}" for name in ("ca.crt", "ca.key", "server.crt", "server.key")} <= set(found)
    assert {"./var/lib/registry/http-secret", "./etc/docker-registry/environment.applied"} <= set(found)
    assert host.read("/root/opened/var/lib/registry/http-secret") == host.read("/var/lib/registry/http-secret")
    assert restore(host).out == f"{name}\n"
    # What the registry itself has there.
    assert {item["name"].partition("/")[0] for item in swift.objects(CONTAINER)} <= {"files", "segments", FOLDER[:-1]}


def test_newest_seven_of_a_host_are_kept(host: Host, swift: Swift) -> None:
    own, other = mark(host), f"{FOLDER}20200101T000000Z-registry-0badcafe"
    old = [f"{FOLDER}2021010{day}T000000Z-{own}" for day in range(1, 9)]
    swift.extract(CONTAINER, pack(dict.fromkeys((other, *old), (b"old", 0o600))).read())
    before, done = names(swift), backup(host)
    assert done.code == 0, done.err
    written = done.out.strip().partition(f"/{CONTAINER}/")[2]
    assert names(swift) == [other, *sorted({*before, written} - {other})[-7:]]
    # Who may push and pull does not meet them.
    assert all(not repository.startswith("registry-backup") for repository in host.registry.catalog())


def test_latest_is_of_another_host(host: Host, swift: Swift) -> None:
    """Not what this host has written since it was made."""
    assert backup(host).code == 0
    swift.extract(CONTAINER, pack({f"{FOLDER}20200101T000000Z-registry-0badcafe": (b"foreign", 0o600)}).read())
    done = restore(host, "latest")
    assert (done.code, done.err) == (1, f"error: {FOLDER}20200101T000000Z-registry-0badcafe is not a backup\n")


def test_nothing_is_written_without_a_passphrase(host: Host, swift: Swift) -> None:
    before = names(swift)
    with host.changed(backup_passphrase=""):
        done = backup(host)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert names(swift) == before


def test_age_is_a_metric(host: Host) -> None:
    assert backup(host).code == 0
    host.exec("mkdir", "-p", "/run/registry/metrics")
    host.exec("/opt/registry/collect-slow-metrics")
    lines = host.read("/run/registry/metrics/slow.prom").splitlines()
    (line,) = (line for line in lines if line.startswith("host_backup_timestamp_seconds{"))
    now = int(host.exec("date", "+%s").out)
    assert line.startswith('host_backup_timestamp_seconds{storage="swift"} ')
    assert now - 300 < int(line.split()[1]) <= now


@pytest.fixture
def archive(host: Host) -> bytes:
    """One in a file that only root can read."""
    done = backup(host, ARCHIVE)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert host.exec("stat", "-c", "%a %U", ARCHIVE).out == "600 root\n"
    return host.machine.read(ARCHIVE)


BROKEN = f"{ARCHIVE} is broken, or has another passphrase than backup_passphrase"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda good: good[: len(good) // 2] + b"\0" + good[len(good) // 2 + 1 :], BROKEN),
        (lambda good: good[:-1000], BROKEN),
        (lambda good: good[:30], BROKEN),
        (lambda good: b"docker-registry-backup 2\n" + good, f"{ARCHIVE} is of a newer version: update this host first"),
        (lambda _: b"PK\3\4\0\0\n\0\0", f"{ARCHIVE} is not a backup"),
        (lambda _: b"", f"{ARCHIVE} is not a backup"),
    ],
    ids=["byte", "end", "start", "newer", "foreign", "empty"],
)
def test_wrong_archive_is_refused(host: Host, archive: bytes, wrong: Any, reason: str) -> None:
    before = lasting(host)
    host.machine.put(ARCHIVE, wrong(archive))
    done = restore(host, ARCHIVE)
    assert (done.code, done.out, done.err) == (1, "", f"error: {reason}\n")
    assert lasting(host) == before


def test_another_passphrase_is_refused(host: Host, archive: bytes) -> None:
    before = lasting(host)
    with host.changed(backup_passphrase="another-passphrase"):
        done = restore(host, ARCHIVE)
    assert (done.code, done.out, done.err) == (1, "", f"error: {BROKEN}\n")
    assert lasting(host) == before


def test_missing_archive_is_said(host: Host) -> None:
    done = restore(host, "/root/nothing")
    assert (done.code, done.err) == (1, "error: cat: /root/nothing: No such file or directory\n")
    done = restore(host, f"{FOLDER}nothing")
    assert done.code == 1
    assert done.err.startswith("error: Swift, http://swift.test:8080/v1/AUTH_")
    assert done.err.endswith("404\n")


def test_refused_login_is_said(host: Host) -> None:
    with host.changed(os_password="wrong"):
        done = backup(host)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: Swift: ")
    assert "refuses user 'registry' (HTTP 401)" in done.err


def test_no_secret_on_a_command_line(host: Host) -> None:
    """Looked at again and again while a backup is written and read."""
    secrets = [PASSPHRASE, host.values["os_password"], host.read("/var/lib/registry/http-secret").strip()]
    host.machine.put("/root/secrets", "".join(f"{one}\n" for one in secrets).encode(), 0o600)
    script = """
        cd /opt/registry
        { ./registry-backup && ./registry-restore registry-backup/none; } > /dev/null 2>&1 & pid=$!
        while kill -0 $pid 2> /dev/null; do
            cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' '\\n' | grep -aF -f /root/secrets
        done
        runuser -u nobody -- grep -rIlFs -f - /run /tmp /var /root < /root/secrets
        rm /root/secrets"""
    assert host.exec("sh", "-c", script).out == ""
