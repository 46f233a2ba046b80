"""The mirror on :443: pulls through, takes no pushes, answers only for the registry it mirrors."""

import secrets

import pytest

from tests.support.deadlines import wait_until
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

WRITES = [
    ("POST", "/v2/library/check/blobs/uploads/"),
    ("PATCH", "/v2/library/check/blobs/uploads/1"),
    ("PUT", "/v2/library/check/blobs/uploads/1"),
    ("PUT", "/v2/library/check/manifests/1.0"),
    ("DELETE", "/v2/library/check/manifests/1.0"),
    ("DELETE", f"/v2/library/check/blobs/sha256:{'0' * 64}"),
]


def test_pulls_through_once(mirror: OciClient, upstream: Upstream) -> None:
    """Behind a login and a token service, as Docker Hub is; the second pull fetches no blob there."""
    image = upstream.push("library/once", "1", [100_000, 3_000_000])
    for _time in range(2):
        assert mirror.pull("library/once", "1").digest == image.digest
    assert mirror.pull("library/once", image.digest).digest == image.digest
    assert all(upstream.blob_fetches(blob.digest) >= 1 for blob in image.blobs)
    before = upstream.blob_fetches()
    mirror.pull("library/once", "1")
    assert upstream.blob_fetches() == before


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_refuses_writes(mirror: OciClient, method: str, path: str) -> None:
    answer = mirror.expect(405, method, path, data=b"x")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.json()["errors"] == [
        {"code": "UNSUPPORTED", "message": "this is a pull-through mirror: push to port 5000"}
    ]


def test_catalog_lists_what_was_pulled(mirror: OciClient, upstream: Upstream) -> None:
    repo = f"library/listed-{secrets.token_hex(4)}"
    upstream.push(repo, "1", [1000])
    assert repo not in mirror.catalog()
    mirror.pull(repo, "1")
    # The proxy stores the layers once the client has them.
    wait_until(lambda: None if repo in mirror.catalog() else "not listed", 30, "the repository in the catalog")


@pytest.mark.parametrize("namespace", ["docker.io", "its own name"])
def test_serves_its_own_namespace(mirror: OciClient, upstream: Upstream, namespace: str) -> None:
    image = upstream.push("library/namespace", "1", [1000])
    namespace = namespace if namespace == "docker.io" else upstream.authority
    assert mirror.pull("library/namespace", "1", ns=namespace).digest == image.digest


@pytest.mark.parametrize("namespace", ["ghcr.io", "docker.io.example", "upstream.test"])
def test_refuses_another_namespace(mirror: OciClient, upstream: Upstream, namespace: str) -> None:
    """It would hand out the image of that name from the wrong registry."""
    upstream.push("library/namespace", "1", [1000])
    answer = mirror.expect(404, "GET", "/v2/library/namespace/manifests/1", params={"ns": namespace})
    assert answer.json()["errors"][0]["message"] == "this mirror does not serve the registry named by ns="


def test_unknown_image_is_not_found(mirror: OciClient) -> None:
    answer = mirror.expect(404, "GET", "/v2/library/nothing/manifests/1")
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"
    assert answer.elapsed.total_seconds() < 5
