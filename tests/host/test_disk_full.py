"""The cache's disk is full: pulls go on or fail clearly, and all is well once there is space."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from testinfra.host import Host

from tests.host.targets import Target
from tests.host.waiting import wait_until_working
from tests.support.deadlines import deadline, wait_until
from tests.support.oci import AnswerError, OciClient
from tests.support.upstream import Upstream

CACHE = "/var/lib/registry/proxy"
OPTIONS = "mode=700,uid=65532,gid=65532"


@pytest.fixture
def small_cache(target: Target, host: Host) -> Iterator[None]:
    """A cache of 4 MB in the place of the real one."""
    host.check_output(f"mount -t tmpfs -o size=4m,{OPTIONS} tmpfs {CACHE}")
    # The edge reads the blobs there.
    host.check_output("systemctl restart docker-registry-edge docker-registry-proxy")
    wait_until_working(target)
    yield
    host.check_output(f"systemctl stop docker-registry-edge docker-registry-proxy && umount {CACHE}")
    host.check_output("systemctl start docker-registry-edge docker-registry-proxy")
    wait_until_working(target)


@pytest.mark.usefixtures("small_cache")
def test_full_cache(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    small = upstream.push("library/small", "1", [100_000])
    large = upstream.push("library/large", "1", [12_000_000])
    assert mirror.pull("library/small", "1").digest == small.digest
    with suppress(AnswerError, requests.RequestException):
        # Delivered, refused or cut off: never the wrong bytes.
        assert mirror.pull("library/large", "1").digest == large.digest
    assert mirror.pull("library/small", "1").digest == small.digest
    host.check_output(f"mount -o remount,size=64m {CACHE}")
    wait_until(lambda: complete(mirror), deadline(host, 60), "a complete pull once there is space")
    assert host.check_output("systemctl is-active docker-registry-proxy") == "active"


def complete(mirror: OciClient) -> str | None:
    """A probe: pulled, every byte verified."""
    mirror.pull("library/large", "1")
    return None
