"""The caches within their limits: what was not asked for longest goes; a full disk is passed by."""

from collections.abc import Iterator

import pytest

from tests.integration.cache import warm
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.oci import Blob, ImageRef
from tests.support.upstream import Upstream

LOOK = ("/opt/registry/registry-cache", "--once")
FULL = "/run/registry/cache/full"
MB = 1_000_000


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    url = "http://upstream.test:5000"
    return make_host("limits", upstream_url=url, cache_min_free_percent=0).start(REDIS, EDGE, FETCH, PROXY)


@pytest.fixture(scope="module")
def upstream(this_run: Run, host: Host) -> Upstream:
    return Upstream.start(this_run.client, host.network.name, this_run.labels)


@pytest.fixture
def no_space(host: Host) -> Iterator[None]:
    """A floor that no disk here can keep."""
    with host.changed(cache_min_free_percent=90):
        yield
    host.exec(*LOOK)
    assert host.exec("test", "-e", FULL).code == 1


def stored(host: Host, blob: Blob) -> bool:
    path = f"/var/lib/registry/proxy/docker/registry/v2/blobs/sha256/{blob.digest[7:9]}/{blob.digest[7:]}/data"
    return host.exec("test", "-e", path).code == 0


def filled(host: Host, upstream: Upstream, name: str, layers: list[bytes | int]) -> ImageRef:
    image = upstream.push(f"library/{name}", "1", [*layers])
    warm(host, image)
    return image


def test_least_recently_used_blob_is_evicted(host: Host, upstream: Upstream) -> None:
    images = [filled(host, upstream, f"lru-{number}", [4 * MB]) for number in range(3)]
    # The oldest is asked for again, and is the newest then. The edge writes that down within 2 s.
    host.exec("sleep", "1")
    host.mirror.pull(images[0].repo, images[0].reference)
    host.exec("sleep", "3")
    assert "evicted" in host.exec(*LOOK, CACHE_LIMIT_BYTES=str(10 * MB)).out
    assert [stored(host, image.layers[0]) for image in images] == [True, False, True]
    assert all(stored(host, image.config) for image in images)
    # Gone from the store, and from what redis knows.
    for image in images:
        assert host.mirror.pull(image.repo, image.reference).digest == image.digest


def test_nothing_is_evicted_within_the_limits(host: Host, upstream: Upstream) -> None:
    image = filled(host, upstream, "small", [MB])
    assert host.exec(*LOOK).out == ""
    assert stored(host, image.layers[0])


def test_size_limit_ignores_missing_stores(host: Host, upstream: Upstream) -> None:
    """Here the store of an upstream that nobody has used: for du that is an error."""
    image = filled(host, upstream, "beside-nothing", [4 * MB])
    with host.changed(upstreams="unused=http://unused.test"):
        done = host.exec(*LOOK, CACHE_LIMIT_BYTES=str(MB))
    assert (done.code, done.err) == (0, "")
    assert "evicted" in done.out
    assert not stored(host, image.layers[0])


@pytest.mark.usefixtures("no_space")
def test_full_disk_bypasses_the_cache(host: Host, upstream: Upstream) -> None:
    kept = filled(host, upstream, "kept", [10_000])
    assert "the disk of the cache is full" in host.exec(*LOOK).err
    assert host.exec("test", "-e", FULL).code == 0
    cold = upstream.push("library/passed", "1", [5 * MB])
    for image in (cold, kept, cold):
        assert host.mirror.pull(image.repo, image.reference).digest == image.digest
    # Nor does the proxy get it.
    assert not stored(host, cold.layers[0])
