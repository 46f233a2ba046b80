"""Redis or the upstream away at run time: what is cached and what was pushed stays to be had."""

from collections.abc import Iterator

import pytest
from requests import Response
from testinfra.host import Host

from tests.host.targets import Target
from tests.support.deadlines import deadline, scaled, wait_until
from tests.support.oci import ACCEPT, ImageRef, OciClient
from tests.support.outages import Outage, gone, hanging
from tests.support.upstream import Upstream

# A client that gets no answer gives up on the mirror without asking another: containerd 2.3 after this time.
PATIENCE_S = 30


@pytest.fixture(scope="module")
def cached(target: Target, upstream: Upstream) -> ImageRef:
    """An image that the mirror has."""
    upstream.push("library/cached", "1", [10_000, 1_000_000])
    return target.mirror().pull("library/cached", "1")


@pytest.fixture(params=[gone, hanging])
def away(request: pytest.FixtureRequest, target: Target, upstream: Upstream, cached: ImageRef) -> Iterator[None]:
    """The upstream fails in one of two ways; afterwards the mirror reaches it again."""
    outage: Outage = request.param
    with outage(upstream):
        yield
    new = upstream.push("library/back", request.param.__name__, [1000])
    wait_until(lambda: pullable(target, new), deadline(target.host, 60), "the mirror to reach its upstream again")


def by_tag(mirror: OciClient, repo: str, tag: str) -> Response:
    return mirror.request("GET", f"/v2/{repo}/manifests/{tag}", headers={"Accept": ACCEPT}, timeout=scaled(PATIENCE_S))


def pullable(target: Target, image: ImageRef) -> str | None:
    answer = by_tag(target.mirror(), image.repo, image.reference)
    return None if answer.status_code == 200 else answer.text


@pytest.mark.usefixtures("away")
def test_cached_image_is_pulled_without_upstream(mirror: OciClient, cached: ImageRef) -> None:
    answer = by_tag(mirror, "library/cached", "1")
    assert answer.headers["Docker-Content-Digest"] == cached.digest
    assert mirror.pull("library/cached", cached.digest).layers == cached.layers
    assert "library/cached" in mirror.catalog()


@pytest.mark.usefixtures("away")
def test_unknown_image_fails_quickly_and_clearly(mirror: OciClient) -> None:
    answer = by_tag(mirror, "library/never-seen", "1")
    assert answer.status_code in (404, 502, 503, 504)
    assert answer.json()["errors"][0]["message"]


@pytest.fixture
def without_redis(host: Host) -> Iterator[None]:
    host.check_output("systemctl stop docker-redis")
    yield
    host.check_output("systemctl start docker-redis")


@pytest.mark.usefixtures("without_redis")
def test_push_and_pull_without_redis(
    registry: OciClient, mirror: OciClient, upstream: Upstream, cached: ImageRef
) -> None:
    """Slower, not broken."""
    pushed = registry.push("outages/redis", "1", [10_000, 1_000_000])
    assert registry.pull("outages/redis", "1").digest == pushed.digest
    assert mirror.pull("library/cached", "1").digest == cached.digest
    cold = upstream.push("library/without-redis", "1", [10_000])
    assert mirror.pull("library/without-redis", "1").digest == cold.digest
