"""A host is lost; by what registry-backup has saved, another one becomes what it was, or stays what it is."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker import DockerClient
from testinfra.host import Host

from registry_stack.deployment import State, current
from registry_stack.docker.engine import engine
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, LocalOptions
from tests.host.targets import Target
from tests.support.certificates import CERTIFICATES, restored
from tests.support.commands import deploy, run
from tests.support.oci import OciClient

ARCHIVE, STATE = "/root/archive", "/var/lib/registry"
APPLIED = "/etc/docker-registry/environment.applied"
KEPT = f"{CERTIFICATES} {STATE}/certs {STATE}/logins {STATE}/http-secret {STATE}/htpasswd"
LOGIN = "robot:$apr1$abcdefgh$k7ptbYxMCxPtDUmBHoxUB1"
NAME = f"hosttest-{secrets.token_hex(4)}"


def lasting(host: Host) -> str:
    return str(host.check_output(f"find {KEPT} ! -type d | sort | xargs sha256sum"))


@contextmanager
def backed_up(target: Target, **settings: str) -> Iterator[str]:
    """Back up the host with logins of an operator, as if it had these settings; yields its CA certificate."""
    host = target.host
    target.write(f"{STATE}/htpasswd", f"{LOGIN}\n".encode())
    target.write(f"{STATE}/logins/extra", b"user:password")
    host.check_output(f"chown 65532:65532 {STATE}/logins/extra && cp -p {APPLIED} {APPLIED}.before")
    try:
        for name, value in settings.items():
            host.check_output(f"sed -i \"s,^{name}=.*,{name}='{value}',\" {APPLIED}")
        host.check_output(f"/opt/registry/registry-backup {ARCHIVE}")
        host.check_output(f"mv {APPLIED}.before {APPLIED}")
        yield str(host.check_output(f"cat {CERTIFICATES}/ca.crt"))
    finally:
        host.run(f"mv {APPLIED}.before {APPLIED}")
        host.check_output(
            f"rm -f {ARCHIVE} {STATE}/htpasswd {STATE}/logins/extra /etc/docker-registry/environment.refused"
            " && /opt/registry/render-edge-config && systemctl reload docker-registry-edge"
        )


def test_another_ca_is_replaced_by_the_lost_one(target: Target, host: Host) -> None:
    """The clients of the host that is gone need not be told anything."""
    with restored(target), backed_up(target) as ca:
        before = lasting(host)
        host.check_output(
            f"find {CERTIFICATES} {STATE}/certs {STATE}/logins -mindepth 1 -delete && rm {STATE}/htpasswd"
            " && systemctl start gen-cert-key && /opt/registry/install-certs"
        )
        assert host.check_output(f"cat {CERTIFICATES}/ca.crt") != ca
        said = host.check_output(f"/opt/registry/registry-restore {ARCHIVE}").splitlines()
        assert said[0] == f"restored: {ARCHIVE}"
        assert said[1].startswith("this host works: push, pull and mirror")
        assert lasting(host) == before
        login = host.file(f"{STATE}/logins/extra")
        assert (login.uid, login.mode) == (65532, 0o600)
        # With the CA of then.
        target.registry().expect(200, "GET", "/v2/")
        assert LOGIN in host.check_output("cat /run/registry/edge/htpasswd")


def refused(target: Target, pattern: str) -> str:
    """What a restore with these settings says; everything is as it was before."""
    host = target.host
    target.write(f"{STATE}/htpasswd", f"{LOGIN}\nlater:x\n".encode())
    before = lasting(host)
    done = host.run(f"/opt/registry/registry-restore {ARCHIVE} {pattern}")
    assert done.rc == 1
    assert done.stdout == ""
    assert lasting(host) == before
    target.registry().expect(200, "GET", "/v2/")
    (line,) = done.stderr.splitlines()
    return str(line)


@pytest.mark.long
def test_setting_that_is_wrong_restores_nothing(target: Target) -> None:
    with restored(target), backed_up(target, UPSTREAMS="nobody"):
        said = refused(target, "UPSTREAMS")
    assert said.startswith("error: nothing is restored: upstreams: no registry is known as nobody, only ")


@pytest.mark.long
def test_host_that_does_not_work_restores_nothing(target: Target, host: Host) -> None:
    image = host.check_output(f"sed -n \"s/^EDGE_IMAGE='\\(.*\\)'/\\1/p\" {APPLIED}")
    with restored(target), backed_up(target, FETCH_IMAGE=image):
        said = refused(target, "FETCH_IMAGE")
    assert said.startswith("error: nothing is restored: docker-registry-fetch does not start: ")
    assert host.check_output("systemctl is-active docker-registry-fetch") == "active"


@pytest.fixture
def client() -> Iterator[DockerClient]:
    """The engine; whatever the drill leaves is removed."""
    client = engine()
    yield client
    local.destroy(NAME)
    assert local.list_resources(client, NAME) == []


def lose(client: DockerClient) -> str:
    """The host with all that it had, and what was known here of it; its address, which the next one will not get."""
    host, options = local.find_host(NAME), LocalOptions(NAME)
    address, image = host.address, str(host.container.attrs["Config"]["Image"])
    host.remove()
    client.volumes.get(options.volume).remove()
    for name in ("deployment.json", "ca.crt", "password", "generated-password"):
        (State(NAME).folder / name).unlink()
    client.containers.run(
        image,
        ["infinity"],
        entrypoint=["sleep"],
        name=f"{NAME}-squatter",
        network=options.network,
        labels={DEPLOYMENT_LABEL: NAME},
        detach=True,
    )
    return address


@pytest.mark.long
def test_lost_host(client: DockerClient, tmp_path: Path) -> None:
    """Everything but Swift is gone. Another host gets another name, address and login, then the backup: clients of the
    first one find their images, and push."""
    given = ["--swift", "-P", "backup_passphrase=correct.horse-battery"]
    assert (done := run(*deploy(NAME, *given))).code == 0, done.err
    known = current(NAME)
    ca, login = tmp_path / "ca.crt", (known.registry_username, known.password)
    ca.write_bytes(Path(known.ca_file).read_bytes())

    def connected(port: int) -> OciClient:
        return OciClient(f"https://{local.find_host(NAME).address}:{port}", login if port == 5000 else None, str(ca))

    image = connected(5000).push("drill/kept", "1", [10_000, 1_000_000])
    local.find_host(NAME).exec(["systemctl", "start", "registry-backup"])
    address = lose(client)
    given += ["-P", "hostname=another"]
    assert (done := run(*deploy(NAME, *given))).code == 0, done.err
    assert local.find_host(NAME).address != address
    assert current(NAME).password != login[1]
    # Its own backup is not the one that is wanted.
    local.find_host(NAME).exec(["systemctl", "start", "registry-backup"])
    command = ["/opt/registry/registry-restore", "latest", "REGISTRY_(USERNAME|PASSWORD)"]
    said = local.find_host(NAME).exec(command).out.splitlines()
    assert said[0].startswith("restored: registry-backup/")
    assert connected(5000).pull("drill/kept", "1").digest == image.digest
    connected(5000).push("drill/kept", "2", [10_000])
    connected(443).expect(200, "GET", "/v2/")
    # `deploy` learns of the CA.
    assert (done := run(*deploy(NAME, *given, "-P", f"registry_password={login[1]}"))).code == 0, done.err
    assert Path(current(NAME).ca_file).read_bytes() == ca.read_bytes()
