"""The edge's own cache: tags fresh, stale and at their limit, herds, and what must never be cached."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from requests import Response

from tests.integration.cache import warm
from tests.integration.client import digest
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import ACCEPT, ImageRef
from tests.support.outages import Outage, gone, hanging, refusing
from tests.support.upstream import Upstream, now

FRESH_S, LIMIT_S = 2, 15
HERD = 100
# Served from the cache without waiting for anybody.
AT_ONCE_S = 1.5


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    url = "http://upstream.test:5000"
    return make_host("edge", upstream_url=url, tag_ttl_seconds=FRESH_S, tag_max_stale_seconds=LIMIT_S).start(
        REDIS, EDGE, FETCH, PROXY
    )


@pytest.fixture(scope="module")
def upstream(this_run: Run, host: Host) -> Upstream:
    return Upstream.start(this_run.client, host.network.name, this_run.labels)


def tag(host: Host, image: ImageRef, method: str = "GET", accept: str = ACCEPT) -> Response:
    return host.mirror.request(method, f"/v2/{image.repo}/manifests/{image.reference}", headers={"Accept": accept})


def cached(host: Host, upstream: Upstream, name: str) -> ImageRef:
    """An image whose tag has just been looked up."""
    image = upstream.push(f"library/{name}", "1", [1000, 200_000])
    warm(host, image)
    return image


@pytest.fixture
def fresh_for_long(host: Host) -> Iterator[None]:
    """Longer than a herd takes here."""
    with host.restarted_with(EDGE, tag_ttl_seconds=60):
        yield


@pytest.mark.usefixtures("fresh_for_long")
def test_fresh_tag_is_served_without_revalidation(host: Host, upstream: Upstream) -> None:
    image, since = cached(host, upstream, "fresh"), now()
    for method in ("GET", "HEAD", "GET"):
        answer = tag(host, image, method)
        assert (answer.status_code, answer.headers["X-Cache"]) == (200, "HIT")
        assert answer.headers["Docker-Content-Digest"] == image.digest
    assert upstream.requests(since) == []


@pytest.mark.usefixtures("fresh_for_long")
def test_equal_accepts_share_an_answer(host: Host, upstream: Upstream) -> None:
    image = cached(host, upstream, "accepts")
    turned = ",".join(reversed(ACCEPT.split(", "))) + ", application/vnd.docker.distribution.manifest.v1+json, */*"
    assert tag(host, image, accept=turned).headers["X-Cache"] == "HIT"


@pytest.mark.usefixtures("fresh_for_long")
@pytest.mark.parametrize("accept", ["*/*", None, "application/*", "text/plain, */*;q=0.1"])
def test_accept_everything(host: Host, upstream: Upstream, accept: str | None) -> None:
    """As curl and scanners do; whoever accepts everything shares the answer of whoever names all kinds."""
    image = cached(host, upstream, "everything")
    answer = host.mirror.request("GET", f"/v2/{image.repo}/manifests/1", headers={"Accept": accept})
    assert (answer.status_code, answer.content) == (200, image.manifest)
    assert answer.headers["X-Cache"] == "HIT"


def test_accept_subsets_are_cached_separately(host: Host, upstream: Upstream) -> None:
    image, kinds = cached(host, upstream, "less"), ACCEPT.split(", ")
    assert len(kinds) == 4
    for left_out in kinds:
        accept = ", ".join(kind for kind in kinds if kind != left_out)
        assert tag(host, image, accept=accept).headers["X-Cache"] == "MISS", left_out


def test_moved_tag_is_seen_within_twice_its_ttl(host: Host, upstream: Upstream) -> None:
    first = cached(host, upstream, "moved")
    moved = time.monotonic()
    second = upstream.push(first.repo, "1", [2000])

    def probe() -> str | None:
        return None if tag(host, first).headers["Docker-Content-Digest"] == second.digest else "the old one"

    wait_until(probe, 2 * FRESH_S + 1, "the tag to move")
    assert time.monotonic() - moved < scaled(2 * FRESH_S + 1)


def test_expired_tag_is_revalidated_on_first_pull(host: Host, upstream: Upstream) -> None:
    """Not whoever comes second: a tag that nobody asked for is not served as it was days ago."""
    first = cached(host, upstream, "forgotten")
    time.sleep(2 * FRESH_S + 1)
    second = upstream.push(first.repo, "1", [2000])
    assert tag(host, first).headers["Docker-Content-Digest"] == second.digest


@pytest.mark.parametrize("outage", [gone, refusing, hanging])
def test_stale_up_to_the_limit(host: Host, upstream: Upstream, outage: Outage) -> None:
    image = cached(host, upstream, f"stale-{outage.__name__}")
    tag(host, image)
    started = time.monotonic()
    with outage(upstream):
        time.sleep(2 * FRESH_S + 0.5)
        host.mirror.pull(image.repo, "1")
        before = time.monotonic()
        for _time in range(3):
            answer = tag(host, image)
            assert (answer.status_code, answer.headers["X-Cache"]) == (200, "STALE")
            assert answer.headers["Docker-Content-Digest"] == image.digest
        assert time.monotonic() - before < scaled(AT_ONCE_S)
        host.mirror.pull(image.repo, image.digest)
        time.sleep(max(0, started + FRESH_S + LIMIT_S + 1 - time.monotonic()))
        assert tag(host, image).status_code in (429, 503)
    wait_until(lambda: None if tag(host, image).status_code == 200 else "not yet", 40, "the upstream to be back")


def test_cold_while_the_upstream_hangs(host: Host, upstream: Upstream) -> None:
    with hanging(upstream), ThreadPoolExecutor(20) as pool:
        started = time.monotonic()
        codes = list(pool.map(lambda _n: unknown(host), range(20)))
        assert set(codes) == {503}
        assert time.monotonic() - started < scaled(60)
    wait_until(lambda: None if unknown(host) == 404 else "not yet", 20, "the upstream to be back")


def unknown(host: Host) -> int:
    return host.mirror.request("GET", "/v2/library/none/manifests/1").status_code


def test_new_image_is_found_within_seconds(host: Host, upstream: Upstream) -> None:
    image = ImageRef("library/later", "1", "", cached(host, upstream, "filler").config, (), b"")
    assert tag(host, image).status_code == 404
    later = upstream.push("library/later", "1", [1000])

    def probe() -> str | None:
        answer = tag(host, image)
        return None if answer.status_code == 200 else f"HTTP {answer.status_code}"

    wait_until(probe, 15, "the new image")
    assert tag(host, image).headers["Docker-Content-Digest"] == later.digest


def test_unknown_digest_is_not_found(host: Host, upstream: Upstream) -> None:
    image = cached(host, upstream, "unknown-digest")
    answer = host.mirror.expect(404, "GET", f"/v2/{image.repo}/manifests/{digest(b'none')}")
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_blob_comes_from_the_store(host: Host, upstream: Upstream) -> None:
    image = cached(host, upstream, "store")
    host.stop(PROXY)
    try:
        blob = image.layers[1]
        path = f"/v2/{image.repo}/blobs/{blob.digest}"
        answer = host.mirror.expect(200, "GET", path)
        assert digest(answer.content) == blob.digest
        assert answer.headers["Docker-Content-Digest"] == blob.digest
        assert answer.headers["ETag"] == f'"{blob.digest}"'
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"
        resumed = {"Range": "bytes=100-199", "If-Range": answer.headers["ETag"]}
        assert host.mirror.expect(206, "GET", path, headers=resumed).content == answer.content[100:200]
        assert int(host.mirror.expect(200, "HEAD", path).headers["Content-Length"]) == blob.size
        wait_until(lambda: None if f" GET {path} 200 " in host.log(EDGE) else "not yet", 5, "the line of the log")
        assert tag(host, image).status_code == 200
    finally:
        host.start(PROXY)


@pytest.mark.usefixtures("fresh_for_long")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_herd_on_a_cold_tag(host: Host, upstream: Upstream, method: str) -> None:
    image, since = upstream.push(f"library/herd-{method.lower()}", "1", [1000]), now()
    with ThreadPoolExecutor(HERD) as pool:
        answers = list(pool.map(lambda _n: tag(host, image, method), range(HERD)))
    assert {answer.headers["Docker-Content-Digest"] for answer in answers} == {image.digest}
    asked = [one for one in upstream.requests(since) if "/manifests/" in one.path]
    assert len(asked) <= 3, asked


def test_herd_on_a_cold_blob(host: Host, upstream: Upstream) -> None:
    image = upstream.push("library/herd-blob", "1", [30_000_000])
    with ThreadPoolExecutor(HERD) as pool:
        list(pool.map(lambda _n: host.mirror.pull_blob(image.repo, image.layers[0]), range(HERD)))
    assert upstream.blob_fetches(image.layers[0].digest) == 1


def test_range_of_a_cold_blob(host: Host, upstream: Upstream) -> None:
    content = bytes(range(256)) * 4000
    image = upstream.push("library/cold-range", "1", [content])
    path = f"/v2/{image.repo}/blobs/{image.layers[0].digest}"
    assert host.mirror.expect(206, "GET", path, headers={"Range": "bytes=5-9"}).content == content[5:10]


def test_client_that_leaves_does_not_end_the_fetch(host: Host, upstream: Upstream) -> None:
    image = upstream.push("library/left", "1", [30_000_000])
    layer = image.layers[0]
    path = f"/v2/{image.repo}/blobs/{layer.digest}"
    host.mirror.expect(200, "GET", path, stream=True).close()
    # The proxy stores it once a client has all of it.
    assert digest(host.mirror.expect(200, "GET", path).content) == layer.digest
    stored = f"/var/lib/registry/proxy/docker/registry/v2/blobs/sha256/{layer.digest[7:9]}/{layer.digest[7:]}/data"
    wait_until(lambda: None if host.exec("test", "-e", stored).code == 0 else "not yet", 20, "the blob in the store")
    assert upstream.blob_fetches(layer.digest) == 1


@pytest.mark.usefixtures("fresh_for_long")
def test_credentials_of_a_client_change_nothing(host: Host, upstream: Upstream) -> None:
    image = cached(host, upstream, "credentials")
    headers = {"Accept": ACCEPT, "Authorization": "Bearer stolen"}
    answer = host.mirror.request("GET", f"/v2/{image.repo}/manifests/1", headers=headers)
    assert (answer.status_code, answer.headers["X-Cache"]) == (200, "HIT")


def test_restarts_lose_nothing(host: Host, upstream: Upstream) -> None:
    image = cached(host, upstream, "restarts")
    for services in ((EDGE,), (PROXY,), (REDIS,), (REDIS, EDGE, PROXY)):
        host.restart(*services)
        since = now()
        host.mirror.pull(image.repo, image.digest)
        assert [one for one in upstream.requests(since) if image.repo in one.path] == []


@pytest.mark.usefixtures("fresh_for_long")
def test_flood_of_hits_does_not_flood_the_log(host: Host, upstream: Upstream) -> None:
    """Beyond a burst of 1000 and 100 a second they are only counted; what is no hit is always a line."""
    image, asked = cached(host, upstream, "flood"), 5000
    # One client that does nothing else: on a busy machine many threads of ours are no flood.
    url = f"https://{host.address(EDGE)}:8443/v2/{image.repo}/manifests/1#[1-{asked}]"
    before, started = hits(host), time.monotonic()
    done = host.exec("curl", "-skf", "-o", "/dev/null", "-H", f"Accept: {ACCEPT}", url)
    seconds = time.monotonic() - started
    assert done.code == 0
    assert tag(host, replace(image, repo="library/missing")).status_code == 404
    wait_until(lambda: None if "/v2/library/missing/" in host.log(EDGE) else "not yet", 10, "the line of the 404")
    wait_until(lambda: None if hits(host) - before == asked else str(hits(host)), 10, "the count of all of them")
    lines = host.log(EDGE).count(f"GET /v2/{image.repo}/manifests/1 200")
    assert 1000 <= lines <= min(asked - 1, 1000 + 100 * (seconds + 5)), seconds


def hits(host: Host) -> int:
    """Of tags, as counted."""
    return host.read("/run/registry/access/log").count("mirror|default|tag|hit|200")
