"""The mirror: pull through, cold and warm; what it serves, refuses and survives."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from loadtests.support.registry.content import encode_index
from loadtests.support.registry.media_types import ACCEPT, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.integration.cache import warm
from tests.integration.client import digest
from tests.integration.host import PROXY, REDIS, Host
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import ImageRef, OciClient
from tests.support.upstream import Upstream, now

THREADS = 8
# Within this a client must have what is cached, whatever is broken.
FEW_S = 5
# See conftest.py.
FRESH_S = 2


@pytest.fixture(scope="module")
def warm_image(mirror: Host, upstream: Upstream) -> ImageRef:
    image = upstream.push("library/warm", "1.0", [100_000, 3_000_000])
    warm(mirror, image)
    return image


@pytest.fixture
def client(mirror: Host) -> OciClient:
    return mirror.mirror


def test_cold_pull(client: OciClient, upstream: Upstream) -> None:
    image = upstream.push("library/cold", "1.0", [100, 5_000_000])
    pulled = client.pull("library/cold", "1.0")
    assert pulled.manifest == image.manifest
    assert all(upstream.blob_fetches(blob.digest) for blob in image.blobs)


def test_warm_pull_fetches_nothing(client: OciClient, upstream: Upstream, warm_image: ImageRef) -> None:
    since = now()
    client.pull(warm_image.repo, "1.0")
    client.pull(warm_image.repo, warm_image.digest)
    assert upstream.blob_fetches(since=since) == 0
    # Whether the tag still is what it was is asked, the manifest itself is not fetched again.
    assert not [one for one in upstream.requests(since) if "/manifests/sha256:" in one.path]


def test_moved_tag_is_followed(client: OciClient, upstream: Upstream) -> None:
    first = upstream.push("library/moving", "latest", [1000])
    assert client.pull("library/moving", "latest").digest == first.digest
    second = upstream.push("library/moving", "latest", [2000])
    time.sleep(2 * FRESH_S)
    assert client.pull("library/moving", "latest").digest == second.digest
    assert client.pull("library/moving", first.digest).digest == first.digest


def test_several_platforms(client: OciClient, upstream: Upstream) -> None:
    images = {name: upstream.push("library/multi", name, [1000]) for name in ("amd64", "arm64")}
    index = encode_index({name: image.manifest for name, image in images.items()})
    put(upstream, "library/multi", "latest", index, OCI_INDEX)
    for _cold_then_warm in range(2):
        answer = client.expect(200, "GET", "/v2/library/multi/manifests/latest", headers={"Accept": ACCEPT})
        assert answer.content == index
        assert answer.headers["Content-Type"] == OCI_INDEX
        for image in images.values():
            client.pull("library/multi", image.digest)


def test_docker_manifest(client: OciClient, upstream: Upstream) -> None:
    image = upstream.push("library/docker", "oci", [1000])
    manifest = image.manifest.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    put(upstream, "library/docker", "1", manifest, DOCKER_MANIFEST)
    for _cold_then_warm in range(2):
        answer = client.expect(200, "GET", "/v2/library/docker/manifests/1", headers={"Accept": DOCKER_MANIFEST})
        assert (answer.content, answer.headers["Content-Type"]) == (manifest, DOCKER_MANIFEST)


def put(upstream: Upstream, repo: str, tag: str, content: bytes, media_type: str) -> None:
    upstream.filler.expect(
        201, "PUT", f"/v2/{repo}/manifests/{tag}", data=content, headers={"Content-Type": media_type}
    )


@pytest.mark.parametrize("state", ["cold", "warm"])
def test_head(client: OciClient, mirror: Host, upstream: Upstream, state: str) -> None:
    image = upstream.push(f"library/head-{state}", "1", [5000])
    if state == "warm":
        warm(mirror, image)
    for reference in ("1", image.digest):
        manifest = client.expect(200, "HEAD", f"/v2/{image.repo}/manifests/{reference}", headers={"Accept": ACCEPT})
        assert manifest.headers["Docker-Content-Digest"] == image.digest
        assert int(manifest.headers["Content-Length"]) == len(image.manifest)
    blob = client.expect(200, "HEAD", f"/v2/{image.repo}/blobs/{image.layers[0].digest}")
    assert int(blob.headers["Content-Length"]) == image.layers[0].size


def test_range_of_a_warm_blob(client: OciClient, mirror: Host, upstream: Upstream) -> None:
    content = bytes(range(256)) * 8000
    image = upstream.push("library/range", "1", [content])
    warm(mirror, image)
    for wanted, expected in (("bytes=0-9", content[:10]), ("bytes=2000000-", content[2_000_000:])):
        path = f"/v2/library/range/blobs/{image.layers[0].digest}"
        assert client.expect(206, "GET", path, headers={"Range": wanted}).content == expected


def test_catalog_and_tags(client: OciClient, warm_image: ImageRef) -> None:
    assert warm_image.repo in client.catalog()
    assert "1.0" in client.tags(warm_image.repo)


def test_missing_content_is_not_found(client: OciClient, warm_image: ImageRef) -> None:
    missing = digest(b"none")
    for path in ("library/none/manifests/1", f"{warm_image.repo}/manifests/none", f"{warm_image.repo}/blobs/{missing}"):
        for method in ("GET", "HEAD"):
            assert client.request(method, f"/v2/{path}").status_code == 404, path
    assert client.request("GET", f"/v2/{warm_image.repo}/manifests/{missing}").status_code == 404


def test_pushes_are_refused(client: OciClient, upstream: Upstream, warm_image: ImageRef) -> None:
    repo, since = warm_image.repo, now()
    for path in (
        "/v2/",
        f"/v2/{repo}/manifests/1.0",
        f"/v2/{repo}/manifests/{warm_image.digest}",
        "/v2/library/new/manifests/1",
        f"/v2/{repo}/blobs/{warm_image.layers[0].digest}",
        f"/v2/{repo}/blobs/uploads/",
        f"/v2/{repo}/blobs/uploads/x",
        f"/v2/{repo}/blobs/uploads/?mount={warm_image.layers[0].digest}&from=library/cold",
    ):
        for method in ("PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            answer = client.request(method, path, data=b"{}", headers={"Content-Type": OCI_MANIFEST})
            assert answer.status_code == 405, f"{method} {path}"
            assert answer.headers["Allow"] == "GET, HEAD"
            message = {"code": "UNSUPPORTED", "message": "this is a pull-through mirror: push to port 5000"}
            assert answer.json() == {"errors": [message]}
    # The log of an earlier test's last request may come only now.
    passed_on = [one for one in upstream.requests(since) if one.method not in ("GET", "HEAD") or "/new/" in one.path]
    assert passed_on == []
    assert client.pull(repo, "1.0").manifest == warm_image.manifest
    assert client.request("GET", "/v2/library/new/manifests/1").status_code == 404


def test_big_push_is_refused_at_once(client: OciClient, warm_image: ImageRef) -> None:
    """Not after a gigabyte has been sent, nor by cutting the client off before it has read the answer."""
    body = bytes(20_000_000)
    answer = client.request("PUT", f"/v2/{warm_image.repo}/blobs/uploads/x", data=body)
    assert answer.status_code == 405


@pytest.mark.parametrize("namespace", ["docker.io", "upstream.test:5000", ""])
def test_namespaces_of_the_upstream(client: OciClient, warm_image: ImageRef, namespace: str) -> None:
    client.pull(warm_image.repo, "1.0", ns=namespace)


@pytest.mark.parametrize(
    "namespace", ["ghcr.io", "upstream.test", "upstream.test:5001", "docker.io.example", "DOCKER.IO.", "*"]
)
def test_other_namespaces_are_refused(
    client: OciClient, upstream: Upstream, warm_image: ImageRef, namespace: str
) -> None:
    """Never answered with the upstream's image of the same name, however warm it is."""
    since = now()
    for kind, reference in (("manifests", "1.0"), ("blobs", warm_image.layers[0].digest)):
        path = f"/v2/{warm_image.repo}/{kind}/{reference}"
        answer = client.expect(404, "GET", path, params={"ns": namespace})
        assert answer.json()["errors"][0]["code"] == "NAME_UNKNOWN"
    assert upstream.requests(since) == []


def test_concurrent_cold_pulls(mirror: Host, upstream: Upstream) -> None:
    image = upstream.push("library/crowd", "1", [20_000_000, 1_000_000])
    with ThreadPoolExecutor(THREADS) as pool:
        pulled = list(pool.map(lambda _number: mirror.mirror.pull("library/crowd", "1"), range(THREADS)))
    assert {one.digest for one in pulled} == {image.digest}
    warm(mirror, image)
    since = now()
    mirror.mirror.pull("library/crowd", "1")
    assert upstream.blob_fetches(since=since) == 0


@pytest.fixture(params=["gone", "hanging"])
def without_redis(request: pytest.FixtureRequest, mirror: Host) -> Iterator[None]:
    if request.param == "gone":
        mirror.stop(REDIS)
        yield
        mirror.start(REDIS)
    else:
        mirror.exec("docker", "pause", REDIS)
        yield
        mirror.exec("docker", "unpause", REDIS)


@pytest.mark.usefixtures("without_redis")
def test_without_redis(
    client: OciClient, upstream: Upstream, warm_image: ImageRef, request: pytest.FixtureRequest
) -> None:
    started = time.monotonic()
    client.pull(warm_image.repo, "1.0")
    assert time.monotonic() - started < scaled(FEW_S)
    name = f"library/without-redis-{'gone' if 'gone' in request.node.name else 'hanging'}"
    image = upstream.push(name, "1", [100_000])
    assert client.pull(name, "1").digest == image.digest


def test_hanging_upstream(client: OciClient, mirror: Host, upstream: Upstream, warm_image: ImageRef) -> None:
    """It takes connections and never answers: what is cached comes all the same, and soon."""
    upstream.pause()
    try:
        for restarted in (False, True):
            if restarted:
                mirror.restart(PROXY)
            started = time.monotonic()
            assert client.pull(warm_image.repo, "1.0").digest == warm_image.digest
            assert time.monotonic() - started < scaled(FEW_S)
    finally:
        upstream.unpause()
    wait_until(lambda: unknown(client), 20, "the upstream to be asked again")


def unknown(client: OciClient) -> str | None:
    """A probe: an answer that only the upstream can give."""
    code = client.request("GET", "/v2/library/none/manifests/1").status_code
    return None if code == 404 else f"HTTP {code}"
