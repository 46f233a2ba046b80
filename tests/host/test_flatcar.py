"""The coreos half of the user-data: started as Flatcar starts it, at the first boot and again at the second."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import remove_labelled
from registry_stack.targets.local.host import render
from registry_stack.userdata.host_files import HostFile, host_files
from tests.host.conftest import MACHINES
from tests.host.flatcar import ADDRESS, UNIT, Flatcar
from tests.host.targets import METADATA, RUN_LABEL
from tests.support.oci import ImageRef
from tests.support.upstream import Upstream, ensure_network

CERTIFICATES = "/home/root/registry_certs"
# What a second application must not make anew.
LASTING = f"{CERTIFICATES}/* {CERTIFICATES}/.generated /var/lib/registry/http-secret"


@pytest.fixture(scope="module")
def run() -> Iterator[str]:
    """A name for all that these tests start, which is removed."""
    name = f"hosttest-flatcar-{secrets.token_hex(3)}"
    ensure_network(engine(), name, {RUN_LABEL: name})
    yield name
    remove_labelled(engine(), f"{RUN_LABEL}={name}")


@pytest.fixture(scope="module")
def own_upstream(run: str) -> Upstream:
    upstream = Upstream.start(engine(), run, {RUN_LABEL: run})
    upstream.push("library/check", "1.0", [1000])
    return upstream


@pytest.fixture(scope="module")
def flatcar(request: pytest.FixtureRequest, run: str, own_upstream: Upstream) -> Flatcar:
    request.config.stash[MACHINES].append(run)
    return Flatcar.boot(engine(), run, run, {RUN_LABEL: run})


def written(flatcar: Flatcar) -> dict[str, HostFile]:
    return host_files(render(flatcar.values))


def applied(flatcar: Flatcar) -> int:
    """How often coreos-cloudinit has come to its end, in all boots."""
    return flatcar.output(f"journalctl -u {UNIT} -o cat").count("Calling unit command")


def test_only_coreos_cloudinit_configured_the_host(flatcar: Flatcar) -> None:
    assert applied(flatcar) == 1
    assert flatcar.output("cloud-init status || true") == "status: disabled"
    assert 'warning: unrecognized key "runcmd"' in flatcar.output(f"journalctl -u {UNIT} -o cat")
    assert flatcar.machine.exec(["touch", "/usr/nothing"], check=False).err.endswith("Read-only file system\n")


def test_every_file_is_there_as_given(flatcar: Flatcar) -> None:
    """Also where the addresses of the machine could have got into them."""
    assert ADDRESS in flatcar.output(f"systemctl show -P Environment {UNIT}")
    for path, file in written(flatcar).items():
        assert flatcar.output(f"stat -c '%a %u' {path}") == f"{file.mode:o} 0", path
        assert flatcar.machine.read(path) == file.content, path


def test_units_are_up(flatcar: Flatcar) -> None:
    assert flatcar.output("systemctl is-enabled docker-registry-host.target") == "enabled"
    assert flatcar.output("systemctl is-active docker-registry-host.target registry-ready") == "active\nactive"
    assert flatcar.output("systemctl list-units --failed --plain --no-legend") == ""
    assert METADATA in flatcar.output("iptables -S DOCKER-USER")


def test_mirror_pulls_through(flatcar: Flatcar, own_upstream: Upstream, tmp_path: Path) -> None:
    image = own_upstream.push("library/sample", "1", [100_000])
    assert flatcar.client(443, tmp_path).pull("library/sample", "1").digest == image.digest
    assert own_upstream.blob_fetches(image.layers[0].digest) >= 1


def test_push_and_pull(flatcar: Flatcar, tmp_path: Path) -> None:
    registry = flatcar.client(5000, tmp_path)
    pushed = registry.push("flatcar/push", "1", [100_000])
    assert registry.pull("flatcar/push", "1").digest == pushed.digest


@dataclass(frozen=True)
class Before:
    """What there was before the second boot."""

    pushed: ImageRef
    sums: str
    applied: int


@pytest.fixture(scope="module")
def again(flatcar: Flatcar, tmp_path_factory: pytest.TempPathFactory) -> Before:
    """Booted a second time, after a file of the cloud-config was edited on the machine."""
    pushed = flatcar.client(5000, tmp_path_factory.mktemp("ca")).push("flatcar/kept", "1", [100_000])
    before = Before(pushed, flatcar.output(f"sha256sum {LASTING}"), applied(flatcar))
    flatcar.output("echo \"TAG_TTL_SECONDS='7'\" | /opt/registry/registry-apply /dev/stdin")
    flatcar.output("echo '# edited' >> /etc/docker-registry/redis.conf")
    flatcar.output("rm /opt/registry/wait-for /etc/systemd/system/registry-gc.timer")
    flatcar.reboot()
    return before


def test_second_boot_applies_it_again(flatcar: Flatcar, again: Before) -> None:
    assert applied(flatcar) == again.applied + 1
    test_every_file_is_there_as_given(flatcar)
    test_units_are_up(flatcar)


@pytest.mark.usefixtures("again")
def test_second_boot_keeps_applied_settings(flatcar: Flatcar) -> None:
    """Those of user-data, which have been written again, are older."""
    assert b"TAG_TTL_SECONDS='60'" in flatcar.machine.read("/etc/docker-registry/environment.user-data")
    assert b"TAG_TTL_SECONDS='7'" in flatcar.machine.read("/etc/docker-registry/environment")
    assert "max-age=6," in flatcar.output("cat /run/registry/edge/upstream.conf")


def test_second_boot_keeps_ca_key_and_secret(flatcar: Flatcar, again: Before) -> None:
    sums = again.sums.splitlines()
    assert {f"{CERTIFICATES}/{name}" for name in ("ca.crt", "ca.key", "server.crt", "server.key")} <= {
        line.split()[1] for line in sums
    }
    assert flatcar.output(f"sha256sum {LASTING}").splitlines() == sums


def test_second_boot_serves_again(flatcar: Flatcar, again: Before, own_upstream: Upstream, tmp_path: Path) -> None:
    registry = flatcar.client(5000, tmp_path)
    assert registry.pull("flatcar/kept", "1").digest == again.pushed.digest
    registry.push("flatcar/after", "1", [1000])
    image = own_upstream.push("library/after", "1", [1000])
    assert flatcar.client(443, tmp_path).pull("library/after", "1").digest == image.digest
