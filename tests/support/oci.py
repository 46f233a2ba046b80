"""A small OCI client on `requests`: pushes generated images, pulls with every digest verified.

A layer is a tar of one file of incompressible bytes, so that real clients (docker, podman, skopeo) can pull
what was pushed here. Large layers are streamed both ways and never held in memory.
"""

import hashlib
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ACCEPT = ", ".join(
    (
        MANIFEST,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_CHUNK = 1 << 20
# To connect, and between two chunks of an answer.
_TIMEOUT_S = (30, 300)

Auth = tuple[str, str] | None
# A requests `verify`: the path of a CA certificate, or False.
Verify = str | bool


class AnswerError(AssertionError):
    """An answer with another status than the one it should have had."""


class DigestError(AssertionError):
    """What was received is not what was asked for."""


@dataclass(frozen=True)
class Blob:
    """A blob that is in a registry."""

    digest: str
    size: int


@dataclass(frozen=True)
class ImageRef:
    """An image as it was pushed or pulled. `digest` is its manifest's."""

    repo: str
    reference: str
    digest: str
    config: Blob
    layers: tuple[Blob, ...]
    manifest: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """`repo:tag`, or `repo@digest`."""
        return f"{self.repo}{'@' if ':' in self.reference else ':'}{self.reference}"

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """The config and the layers."""
        return (self.config, *self.layers)

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Layer:
    """A tar of one file of `size` random bytes; the same seed makes the same bytes."""

    size: int
    seed: str

    def __len__(self) -> int:
        return len(self._head()) + self.size + self._padding

    def __iter__(self) -> Iterator[bytes]:
        source, left = random.Random(self.seed), self.size
        yield self._head()
        while left:
            yield source.randbytes(min(left, _CHUNK))
            left -= min(left, _CHUNK)
        yield bytes(self._padding)

    @property
    def _padding(self) -> int:
        return -self.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE

    def _head(self) -> bytes:
        member = tarfile.TarInfo(f"data-{hashlib.sha256(self.seed.encode()).hexdigest()[:12]}")
        member.size = self.size
        return member.tobuf()


class OciClient:
    """A registry at `base_url`, spoken to as one user."""

    def __init__(self, base_url: str, auth: Auth = None, verify: Verify = False) -> None:
        self.base_url = base_url.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth, self.session.verify = auth, verify

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Any request below the base URL, whatever its answer."""
        arguments.setdefault("timeout", _TIMEOUT_S)
        return self.session.request(method, urljoin(f"{self.base_url}/", path), **arguments)

    def expect(self, status: int, method: str, path: str, **arguments: Any) -> requests.Response:
        """A request whose answer must have this status."""
        response = self.request(method, path, **arguments)
        if response.status_code != status:
            text = response.text[:300]
            raise AnswerError(f"{method} {response.url}: {response.status_code}, not {status}: {text}")
        return response

    def start_upload(self, repo: str) -> str:
        """Begin an upload and return its URL: PATCH chunks to it, then PUT it with `digest=`."""
        return self.location(self.expect(202, "POST", f"/v2/{repo}/blobs/uploads/"))

    def location(self, response: requests.Response) -> str:
        """The absolute URL of a Location header."""
        return urljoin(f"{self.base_url}/", response.headers["Location"])

    def push_blob(self, repo: str, content: bytes | Layer) -> Blob:
        """Upload a blob in one stream; its digest is computed on the way."""
        body = _Hashed(content)
        headers = {"Content-Type": "application/octet-stream"}
        sent = self.expect(202, "PATCH", self.start_upload(repo), data=body, headers=headers)
        blob = Blob(f"sha256:{body.hash.hexdigest()}", len(content))
        done = self.expect(201, "PUT", self.location(sent), params={"digest": blob.digest})
        _same(done.headers.get("Docker-Content-Digest"), blob.digest, "upload")
        return blob

    def push(self, repo: str, tag: str, layers: Sequence[bytes | int | Layer]) -> ImageRef:
        """Push an image. A number is a layer of so many bytes: the same for the same repo, tag and place."""
        contents = [
            Layer(layer, f"{repo}:{tag}:{place}") if isinstance(layer, int) else layer
            for place, layer in enumerate(layers)
        ]
        blobs = tuple(self.push_blob(repo, content) for content in contents)
        config = self.push_blob(repo, _config(blobs))
        manifest = _manifest(config, blobs)
        answer = self.expect(
            201, "PUT", f"/v2/{repo}/manifests/{tag}", data=manifest, headers={"Content-Type": MANIFEST}
        )
        digest = _digest(manifest)
        _same(answer.headers.get("Docker-Content-Digest"), digest, "manifest")
        return ImageRef(repo, tag, digest, config, blobs, manifest)

    def manifest(self, repo: str, reference: str, **query: str) -> ImageRef:
        """Fetch a manifest and check it against the digest asked for and the one promised."""
        answer = self.expect(200, "GET", f"/v2/{repo}/manifests/{reference}", headers={"Accept": ACCEPT}, params=query)
        digest = _digest(answer.content)
        _same(answer.headers.get("Docker-Content-Digest"), digest, f"manifest of {repo}:{reference}")
        if reference.startswith("sha256:"):
            _same(digest, reference, f"manifest of {repo}")
        fields = json.loads(answer.content)
        config, *layers = (Blob(one["digest"], one["size"]) for one in (fields["config"], *fields["layers"]))
        return ImageRef(repo, reference, digest, config, tuple(layers), answer.content)

    def pull_blob(self, repo: str, blob: Blob, **query: str) -> None:
        """Fetch a blob in a stream and check its size and digest."""
        with self.expect(200, "GET", f"/v2/{repo}/blobs/{blob.digest}", stream=True, params=query) as answer:
            found, size = hashlib.sha256(), 0
            for chunk in answer.iter_content(_CHUNK):
                found.update(chunk)
                size += len(chunk)
        _same(str(size), str(blob.size), f"size of {blob.digest}")
        _same(f"sha256:{found.hexdigest()}", blob.digest, "blob")

    def pull(self, repo: str, reference: str, **query: str) -> ImageRef:
        """Pull an image, every byte verified; `query` goes with each request, as containerd's ns= does."""
        image = self.manifest(repo, reference, **query)
        for blob in image.blobs:
            self.pull_blob(repo, blob, **query)
        return image

    def delete(self, repo: str, digest: str) -> None:
        """Delete a manifest by its digest."""
        self.expect(202, "DELETE", f"/v2/{repo}/manifests/{digest}")

    def catalog(self) -> list[str]:
        """The repositories, up to 1000."""
        return list(self.expect(200, "GET", "/v2/_catalog", params={"n": "1000"}).json()["repositories"])

    def tags(self, repo: str) -> list[str]:
        """The tags of a repository."""
        return list(self.expect(200, "GET", f"/v2/{repo}/tags/list").json()["tags"] or [])


class _Hashed:
    """A request body of known length that is hashed while it is sent."""

    def __init__(self, content: bytes | Layer) -> None:
        self.content, self.hash = content, hashlib.sha256()

    def __len__(self) -> int:
        return len(self.content)

    def __iter__(self) -> Iterator[bytes]:
        self.hash = hashlib.sha256()
        for chunk in [self.content] if isinstance(self.content, bytes) else self.content:
            self.hash.update(chunk)
            yield chunk


def _config(layers: Sequence[Blob]) -> bytes:
    """The config of an image with these layers, whose digests are their diff ids: they are not compressed."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/none"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "tests"} for _layer in layers],
        }
    ).encode()


def _manifest(config: Blob, layers: Sequence[Blob]) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    ).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _same(found: str | None, wanted: str, what: str) -> None:
    if found != wanted:
        raise DigestError(f"{what}: {found} was received, {wanted} expected")
