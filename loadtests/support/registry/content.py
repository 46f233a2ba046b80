"""Generated image content: layers that real clients can unpack, and the documents that describe them.

The same seed makes the same bytes, so an image has the same digests in every run.
"""

import hashlib
import json
import random
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtests.support.registry.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

_CHUNK = 1 << 20
_CREATED = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class Blob:
    """A blob as a registry knows it."""

    digest: str
    size: int


@dataclass(frozen=True)
class ImageRef:
    """An image as it was pushed or pulled. `digest` is that of its manifest."""

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
    """An uncompressed tar with one file of `size` random bytes, generated in chunks and never held in memory."""

    size: int
    seed: str

    def __len__(self) -> int:
        return len(self._header()) + self.size + self._padding

    def __iter__(self) -> Iterator[bytes]:
        source, left = random.Random(self.seed), self.size
        yield self._header()
        while left:
            yield source.randbytes(min(left, _CHUNK))
            left -= min(left, _CHUNK)
        yield bytes(self._padding)

    @property
    def _padding(self) -> int:
        return -self.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE

    def _header(self) -> bytes:
        member = tarfile.TarInfo(f"data-{hashlib.sha256(self.seed.encode()).hexdigest()[:12]}")
        member.size = self.size
        return member.tobuf()


class HashingBody:
    """Content of known length whose digest is computed while it is sent."""

    def __init__(self, content: bytes | Layer) -> None:
        self.content, self._hash = content, hashlib.sha256()

    def __len__(self) -> int:
        return len(self.content)

    def __iter__(self) -> Iterator[bytes]:
        # An HTTP client that has to send a request again starts from the beginning.
        self._hash = hashlib.sha256()
        for chunk in [self.content] if isinstance(self.content, bytes) else self.content:
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The digest of what has been sent."""
        return f"sha256:{self._hash.hexdigest()}"


def sha256(content: bytes) -> str:
    """A digest in a registry's notation."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def describe(content: bytes | Layer) -> Blob:
    """The digest and the size of a blob."""
    body = HashingBody(content)
    size = sum(map(len, body))
    return Blob(body.digest, size)


def encode_config(
    layers: Sequence[Blob], architecture: str = "amd64", labels: Mapping[str, str] | None = None
) -> bytes:
    """The config of an image. The layers are not compressed, so their digests are their diff IDs."""
    return _encode(
        {
            "architecture": architecture,
            "os": "linux",
            "created": _CREATED,
            "config": {"Cmd": ["/none"], "Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": _CREATED, "created_by": "tests"} for _layer in layers],
        }
    )


def encode_manifest(config: Blob, layers: Sequence[Blob]) -> bytes:
    """The manifest of an image for one platform."""
    return _encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(OCI_CONFIG, config),
            "layers": [_descriptor(OCI_LAYER, layer) for layer in layers],
        }
    )


def encode_index(manifests: Mapping[str, bytes]) -> bytes:
    """The index of an image for several platforms: manifests by architecture."""
    entries = [
        _descriptor(OCI_MANIFEST, describe(manifest)) | {"platform": {"architecture": architecture, "os": "linux"}}
        for architecture, manifest in manifests.items()
    ]
    return _encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()
