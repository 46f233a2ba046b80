"""A reboot at the worst moment: the upstream is down and the certificate is the user's. Nothing is lost."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from tests.host.targets import METADATA, Target
from tests.support.certificates import CERTIFICATES, Pair, current_pair, own_authority, put, restored, serials, wait_for
from tests.support.oci import ImageRef, OciClient
from tests.support.upstream import Upstream

# Files that must be the same afterwards.
ENVIRONMENT = "/etc/docker-registry/environment"
LASTING = f"{CERTIFICATES}/* {CERTIFICATES}/.generated /var/lib/registry/http-secret {ENVIRONMENT}"


@dataclass(frozen=True)
class Before:
    """What there was before the reboot."""

    pushed: ImageRef
    cached: ImageRef
    pair: Pair
    sums: str
    boot: str


@pytest.fixture(scope="module")
def before(target: Target, host: Host, upstream: Upstream) -> Iterator[Before]:
    """Rebooted once for all tests here."""
    pushed = target.registry().push("reboot/pushed", "1", [10_000, 2_000_000])
    upstream.push("library/reboot", "1", [10_000, 2_000_000])
    cached = target.mirror().pull("library/reboot", "1")
    pair = own_authority(host).issue([target.reached_as])
    with restored(target):
        put(target, pair)
        wait_for(target, pair)
        facts = Before(pushed, cached, pair, host.check_output(f"sha256sum {LASTING}"), boot_time(host))
        # As if registry-apply had just begun to try other settings.
        host.check_output(f"touch {ENVIRONMENT}.applying; sed -i 's/^EDGE_IMAGE=.*/EDGE_IMAGE=nothing/' {ENVIRONMENT}")
        upstream.stop()
        try:
            target.reboot()
            yield facts
        finally:
            upstream.start_again()


def boot_time(host: Host) -> str:
    return str(host.check_output("stat -c %Y /proc/1"))


def test_all_services_are_up_after_the_reboot(host: Host, before: Before) -> None:
    assert boot_time(host) != before.boot
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
    assert host.check_output("systemctl is-active docker-registry-host.target registry-certs.path") == "active\nactive"


@pytest.mark.usefixtures("before")
def test_boot_has_no_ordering_cycle(host: Host) -> None:
    """Which one systemd drops is chance: on one machine nobody misses it, on another no service starts."""
    targets = ("basic.target", "paths.target", "sockets.target", "timers.target")
    states = {target: host.run("systemctl is-active %s", target).stdout.strip() for target in targets}
    assert states == dict.fromkeys(targets, "active")
    # What chance spared this time.
    verified = host.run("systemd-analyze verify default.target docker-registry-host.target")
    assert "ordering cycle" not in verified.stderr, verified.stderr


def test_pushed_image_is_there(registry: OciClient, before: Before) -> None:
    assert registry.pull("reboot/pushed", "1").layers == before.pushed.layers


def test_cached_image_survives_a_reboot_without_upstream(mirror: OciClient, before: Before) -> None:
    assert mirror.pull("library/reboot", "1").digest == before.cached.digest
    assert mirror.pull("library/reboot", before.cached.digest).layers == before.cached.layers
    assert "library/reboot" in mirror.catalog()


def test_reboot_regenerates_nothing(host: Host, before: Before) -> None:
    assert host.check_output(f"sha256sum {LASTING}") == before.sums


@pytest.mark.usefixtures("before")
def test_interrupted_change_of_settings_is_undone(host: Host) -> None:
    """The reboot has gone back to the settings that worked, or the edge would not run."""
    assert not host.file(f"{ENVIRONMENT}.applying").exists
    assert host.check_output(f"cmp {ENVIRONMENT} {ENVIRONMENT}.applied") == ""


def test_own_certificate_still_serves(target: Target, host: Host, before: Before) -> None:
    host.check_output("systemctl start gen-cert-key")
    assert current_pair(host) == before.pair
    assert serials(target) == {before.pair.serial}


def test_pushes_work(registry: OciClient, before: Before) -> None:
    assert registry.push("reboot/after", "1", [10_000]).digest != before.pushed.digest


@pytest.mark.usefixtures("before")
def test_metadata_is_closed_again(host: Host) -> None:
    assert METADATA in host.check_output("iptables -S DOCKER-USER")
