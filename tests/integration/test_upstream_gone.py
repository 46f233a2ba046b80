"""The upstream never returns: cached images are still served, also after restarts; everything else fails quickly."""

import time

import pytest

from tests.integration.cache import warm
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.deadlines import scaled
from tests.support.oci import ImageRef
from tests.support.upstream import Upstream

# Within this a client must have what is cached, whatever is broken.
FEW_S = 5
# And within this it must know that it cannot have the rest.
REFUSAL_S = 30


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    return make_host("offline", upstream_url="http://upstream.test:5000").start(REDIS, EDGE, FETCH, PROXY)


@pytest.fixture(scope="module")
def image(this_run: Run, host: Host) -> ImageRef:
    """An image in the cache; the upstream it came from does not exist any more."""
    upstream = Upstream.start(this_run.client, host.network.name, this_run.labels)
    image = upstream.push("library/warm", "1.0", [100_000, 3_000_000])
    warm(host, image)
    upstream.remove()
    return image


def test_cached_image(host: Host, image: ImageRef) -> None:
    for reference in ("1.0", image.digest):
        pull_soon(host, image, reference)
    assert host.mirror.catalog() == [image.repo]


def test_uncached_image_fails_soon(host: Host, image: ImageRef) -> None:
    started = time.monotonic()
    assert host.mirror.request("GET", f"/v2/{image.repo}/manifests/2.0").status_code in (404, 500, 502, 503, 504)
    assert time.monotonic() - started < scaled(REFUSAL_S)


@pytest.mark.parametrize("services", [(PROXY,), (EDGE, PROXY), (REDIS, EDGE, PROXY)], ids=lambda given: "+".join(given))
def test_cached_image_after_a_restart(host: Host, image: ImageRef, services: tuple[str, ...]) -> None:
    host.restart(*services)
    for _first_then_later in range(2):
        pull_soon(host, image, "1.0")


def test_cached_image_without_redis_too(host: Host, image: ImageRef) -> None:
    host.stop(REDIS)
    host.restart(PROXY)
    pull_soon(host, image, "1.0")
    host.start(REDIS)
    pull_soon(host, image, "1.0")


def test_new_host_without_an_upstream(make_host: MakeHost) -> None:
    """It never had an answer from its upstream, and starts all the same."""
    host = make_host("newborn", upstream_url="http://upstream.test:5000").start(EDGE, PROXY)
    assert host.mirror.request("GET", "/v2/").status_code == 200
    assert host.mirror.catalog() == []


def pull_soon(host: Host, image: ImageRef, reference: str) -> None:
    started = time.monotonic()
    assert host.mirror.pull(image.repo, reference).digest == image.digest
    assert time.monotonic() - started < scaled(FEW_S)
