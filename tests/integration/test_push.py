"""The push registry, on each storage: every way to push, what comes back, and what does not."""

import gzip
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loadtests.support.registry.media_types import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)
from tests.integration.client import PushClient, digest
from tests.integration.host import REDIS, REGISTRY, Host
from tests.support.oci import Blob, ImageRef, Layer

THREADS = 8


@pytest.fixture
def registry(push_host: Host) -> PushClient:
    return push_host.registry


@pytest.fixture
def repo() -> str:
    return f"team/{secrets.token_hex(4)}"


def test_push_and_pull(registry: PushClient, repo: str) -> None:
    pushed = registry.push(repo, "1.0", [100, 3_000_000])
    assert registry.pull(repo, "1.0").manifest == pushed.manifest
    assert registry.pull(repo, pushed.digest).blobs == pushed.blobs
    assert repo in registry.catalog()


def test_monolithic_upload(registry: PushClient, repo: str) -> None:
    registry.pull_blob(repo, registry.push_monolithic(repo, secrets.token_bytes(1_000_000)))


def test_chunked_upload(registry: PushClient, repo: str) -> None:
    # Uneven, and more than one of them larger than what the storage drivers write at once.
    chunks = [secrets.token_bytes(size) for size in (5_500_000, 1, 70_000, 11_000_000)]
    registry.pull_blob(repo, registry.push_chunked(repo, chunks))


def test_tiny_blobs(registry: PushClient, repo: str) -> None:
    # What Docker and OCI push for "nothing": an empty archive, and an empty object.
    for content in (gzip.compress(bytes(1024)), b"{}"):
        registry.pull_blob(repo, registry.push_monolithic(repo, content))


def test_upload_with_the_wrong_digest_is_refused(registry: PushClient, repo: str) -> None:
    promised, sent = digest(b"something else"), secrets.token_bytes(1000)
    answer = registry.expect(400, "PUT", registry.start_upload(repo), params={"digest": promised}, data=sent)
    assert answer.json()["errors"][0]["code"] == "DIGEST_INVALID"
    assert registry.status("HEAD", f"/v2/{repo}/blobs/{promised}") == 404
    assert registry.status("HEAD", f"/v2/{repo}/blobs/{digest(sent)}") == 404


def test_upload_goes_on_after_a_restart(filesystem_host: Host, repo: str) -> None:
    """Its state is the client's to keep, and signed: the registry must know its own signature again."""
    registry, content = filesystem_host.registry, secrets.token_bytes(1000)
    headers = {"Content-Type": "application/octet-stream"}
    sent = registry.expect(202, "PATCH", registry.start_upload(repo), data=content, headers=headers)
    filesystem_host.restart(REGISTRY)
    registry.expect(201, "PUT", registry.location(sent), params={"digest": digest(content)})
    registry.pull_blob(repo, Blob(digest(content), len(content)))


def test_cancelled_upload(registry: PushClient, repo: str) -> None:
    url = registry.start_upload(repo)
    registry.expect(204, "DELETE", url)
    assert registry.status("GET", url) == 404


def test_mount_from_another_repository(registry: PushClient, repo: str) -> None:
    blob = registry.push_monolithic(repo, secrets.token_bytes(10_000))
    query = {"mount": blob.digest, "from": repo}
    registry.expect(201, "POST", f"/v2/{repo}-copy/blobs/uploads/", params=query)
    registry.pull_blob(f"{repo}-copy", blob)


def test_mount_of_what_is_not_there_starts_an_upload(registry: PushClient, repo: str) -> None:
    query = {"mount": digest(secrets.token_bytes(9)), "from": repo}
    registry.expect(202, "POST", f"/v2/{repo}/blobs/uploads/", params=query)


def test_manifest_without_its_blobs_is_refused(registry: PushClient, repo: str) -> None:
    missing = {"mediaType": OCI_LAYER, "digest": digest(secrets.token_bytes(9)), "size": 9}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}
    manifest["config"] = missing | {"mediaType": OCI_CONFIG}
    answer = registry.expect(
        400, "PUT", f"/v2/{repo}/manifests/1", data=json.dumps(manifest), headers={"Content-Type": OCI_MANIFEST}
    )
    assert answer.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_image_with_foreign_layers(registry: PushClient, repo: str) -> None:
    """As a Windows image: the layer is not here, the manifest says where it is."""
    image = registry.push(repo, "own", [1000])
    manifest = _as_docker(image)
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(secrets.token_bytes(9)),
        "size": 9,
        "urls": ["https://example.com/layer"],
    }
    manifest["layers"] = [foreign, *manifest["layers"]]
    registry.put_manifest(repo, "windows", json.dumps(manifest).encode(), DOCKER_MANIFEST)


def test_v2_without_a_slash(registry: PushClient) -> None:
    assert registry.status("GET", "/v2", allow_redirects=False) == 200


def test_catalog_of_any_length(registry: PushClient, repo: str) -> None:
    registry.push(repo, "1", [100])
    answer = registry.expect(200, "GET", "/v2/_catalog", params={"n": "100000"})
    assert repo in answer.json()["repositories"]


def test_tags(registry: PushClient, repo: str) -> None:
    image = registry.push(repo, "1.0", [100])
    for tag in ("1", "latest"):
        registry.put_manifest(repo, tag, image.manifest, OCI_MANIFEST)
    assert sorted(registry.tags(repo)) == ["1", "1.0", "latest"]
    moved = registry.push(repo, "latest", [101])
    assert registry.manifest(repo, "latest").digest == moved.digest
    assert registry.manifest(repo, "1").digest == image.digest


def test_docker_manifest_comes_back_as_it_was(registry: PushClient, repo: str) -> None:
    image = registry.push(repo, "oci", [1000])
    manifest = json.dumps(_as_docker(image), indent=3).encode()
    registry.put_manifest(repo, "docker", manifest, DOCKER_MANIFEST)
    answer = registry.expect(200, "GET", f"/v2/{repo}/manifests/docker", headers={"Accept": DOCKER_MANIFEST})
    assert answer.content == manifest
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST
    assert answer.headers["Docker-Content-Digest"] == digest(manifest)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_several_platforms(registry: PushClient, repo: str, media_type: str) -> None:
    platforms = ("amd64", "arm64")
    images = {name: registry.push(repo, name, [1000]) for name in platforms}
    if media_type == DOCKER_LIST:
        for name, image in images.items():
            registry.put_manifest(repo, name, json.dumps(_as_docker(image)).encode(), DOCKER_MANIFEST)
    references = [_reference(registry, repo, name) for name in platforms]
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": references}).encode()
    registry.put_manifest(repo, "latest", index, media_type)
    answer = registry.expect(200, "GET", f"/v2/{repo}/manifests/latest", headers={"Accept": media_type})
    assert answer.content == index
    assert answer.headers["Content-Type"] == media_type
    for reference in answer.json()["manifests"]:
        registry.pull(repo, reference["digest"])


def test_head(registry: PushClient, repo: str) -> None:
    image = registry.push(repo, "1", [5000])
    manifest = registry.expect(200, "HEAD", f"/v2/{repo}/manifests/1", headers={"Accept": OCI_MANIFEST})
    assert manifest.headers["Docker-Content-Digest"] == image.digest
    assert int(manifest.headers["Content-Length"]) == len(image.manifest)
    blob = registry.expect(200, "HEAD", f"/v2/{repo}/blobs/{image.layers[0].digest}")
    assert int(blob.headers["Content-Length"]) == image.layers[0].size
    assert registry.status("HEAD", f"/v2/{repo}/manifests/none") == 404
    assert registry.status("HEAD", f"/v2/{repo}/blobs/{digest(b'none')}") == 404


def test_range(registry: PushClient, repo: str) -> None:
    content = secrets.token_bytes(2_000_000)
    blob = registry.push_monolithic(repo, content)
    for wanted, expected in (("bytes=0-9", content[:10]), ("bytes=1500000-", content[1_500_000:])):
        answer = registry.expect(206, "GET", f"/v2/{repo}/blobs/{blob.digest}", headers={"Range": wanted})
        assert answer.content == expected


def test_delete(registry: PushClient, repo: str) -> None:
    image = registry.push(repo, "1", [1000])
    registry.delete(repo, image.digest)
    assert registry.status("GET", f"/v2/{repo}/manifests/{image.digest}") == 404
    assert registry.status("GET", f"/v2/{repo}/manifests/1") == 404
    registry.expect(202, "DELETE", f"/v2/{repo}/blobs/{image.layers[0].digest}")
    assert registry.status("HEAD", f"/v2/{repo}/blobs/{image.layers[0].digest}") == 404


def test_concurrent_pushes_and_pulls(push_host: Host, repo: str) -> None:
    shared = Layer(2_000_000, f"{repo} shared")

    def push_then_pull(number: int) -> str:
        client = push_host.registry
        pushed = client.push(f"{repo}/{number % 3}", f"v{number}", [shared, 100_000 + number])
        assert client.pull(f"{repo}/{number % 3}", f"v{number}").blobs == pushed.blobs
        return pushed.layers[0].digest

    with ThreadPoolExecutor(THREADS) as pool:
        digests = set(pool.map(push_then_pull, range(THREADS)))
    assert len(digests) == 1
    assert sorted(push_host.registry.tags(f"{repo}/0")) == sorted(f"v{number}" for number in range(0, THREADS, 3))


def test_without_redis(push_host: Host, repo: str) -> None:
    before = push_host.registry.push(repo, "before", [1000])
    push_host.stop(REDIS)
    try:
        push_host.registry.push(repo, "without", [1000])
        assert push_host.registry.pull(repo, "before").digest == before.digest
        push_host.registry.pull(repo, "without")
    finally:
        push_host.start(REDIS)
    push_host.registry.pull(repo, "without")


def _as_docker(image: ImageRef) -> dict[str, Any]:
    """The same image as Docker itself would push it."""
    prefix = "application/vnd.docker"
    config, *layers = (
        {"mediaType": f"{prefix}.{kind}", "digest": blob.digest, "size": blob.size}
        for kind, blob in zip(
            ("container.image.v1+json", *["image.rootfs.diff.tar"] * len(image.layers)), image.blobs, strict=True
        )
    )
    return {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers}


def _reference(registry: PushClient, repo: str, tag: str) -> dict[str, object]:
    """An entry of an index."""
    image = registry.manifest(repo, tag)
    media_type = json.loads(image.manifest)["mediaType"]
    platform = {"os": "linux", "architecture": tag}
    return {"mediaType": media_type, "digest": image.digest, "size": len(image.manifest), "platform": platform}


def test_requests_wait_while_the_registry_is_started_anew(filesystem_host: Host, repo: str) -> None:
    """An upload as well, of which nothing has been read yet. Whoever has no login does not wait."""
    host, registry = filesystem_host, filesystem_host.registry
    stranger = PushClient(registry.base_url, verify=str(registry.session.verify))
    url, flag = registry.start_upload(repo), "/run/registry/restarting"
    with ThreadPoolExecutor(2) as background:
        try:
            host.exec("touch", flag)
            host.stop(REGISTRY)
            uploading = background.submit(registry.request, "PATCH", url, data=bytes(200_000))
            asking = background.submit(registry.request, "GET", "/v2/")
            assert stranger.status("GET", "/v2/") == 401
            host.start(REGISTRY)
            assert not uploading.done()
            assert not asking.done()
        finally:
            host.start(REGISTRY)
            host.exec("rm", flag)
        assert (uploading.result().status_code, asking.result().status_code) == (202, 200)
