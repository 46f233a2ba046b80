"""Images of realistic sizes, the same bytes for the same name and tag, as the files of a static registry.

    tree = Tree()
    image = tree.add(Recipe("library/nginx", "1.27", (29.2, 43.9, 0.1)))
    tree.files()            # blobs/sha256:…, manifests/sha256:….index, images.conf: below any folder

Each is an index with two platforms, as Docker's official images are; amd64 is the one that is pulled.
"""

import hashlib
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# What Docker accepts.
ACCEPT = ", ".join(
    (
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_MB = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """What to make: the sizes of the layers are in MB (10^6 bytes), as a client downloads them."""

    repo: str
    tag: str
    layers_mb: tuple[float, ...]

    @property
    def name(self) -> str:
        """`repo:tag`."""
        return f"{self.repo}:{self.tag}"

    def scaled(self, factor: float) -> "Recipe":
        """The same image, smaller."""
        return Recipe(self.repo, self.tag, tuple(size * factor for size in self.layers_mb))


# Compressed sizes as Docker Hub lists them for linux/amd64 (late 2024), most pulled first; large layers rounded.
POPULAR = (
    Recipe("library/alpine", "3.20", (3.6,)),
    Recipe("library/nginx", "1.27", (29.1, 43.8, 0.1, 0.1)),
    Recipe("library/redis", "7.4", (29.1, 0.9, 16.5)),
    Recipe("library/busybox", "1.36", (2.2,)),
    Recipe("library/python", "3.12-slim", (29.1, 3.5, 13.5)),
    Recipe("library/postgres", "16", (29.1, 8.1, 1.2, 112.0)),
    Recipe("library/node", "22-slim", (28.2, 3.3, 49.0, 1.7)),
    Recipe("library/golang", "1.23-alpine", (3.6, 0.3, 72.0)),
)


@dataclass(frozen=True)
class Image:
    """An image that was made. `digest` is its index's; `blobs` are (digest, bytes) of amd64, the config first."""

    repo: str
    tag: str
    digest: str
    manifest_digest: str
    blobs: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """`repo:tag`."""
        return f"{self.repo}:{self.tag}"

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(size for _digest, size in self.blobs)


class Tree:
    """The files of a static registry: grows by images, each blob once."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self._blobs: dict[str, tuple[str, int]] = {}
        self._manifests: dict[str, bytes] = {}
        self._uris: dict[str, tuple[str, str]] = {}

    def add(self, recipe: Recipe) -> Image:
        """Make an image. Layers of the same size and repository name are the same layer, as of a common base."""
        layers = [self._layer(f"{recipe.name}:{place}", size) for place, size in enumerate(recipe.layers_mb)]
        manifest, config = self._platform(recipe, layers, "amd64")
        other, _config = self._platform(recipe, layers[:1], "arm64")
        index = json.dumps(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_entry(manifest, "amd64"), _entry(other, "arm64")]}
        ).encode()
        digest = self._manifest(recipe.repo, index, "index", recipe.tag)
        image = Image(recipe.repo, recipe.tag, digest, sha256(manifest), (config, *layers))
        self.images.append(image)
        return image

    def files(self, known: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
        """(path, content) of every file but the `known` blobs; one blob at a time is in memory."""
        for digest, (seed, size) in self._blobs.items():
            if digest not in known:
                yield f"blobs/{digest}", _layer_bytes(seed, size) if size else seed.encode()
        for path, content in self._manifests.items():
            yield f"manifests/{path}", content
        yield "images.conf", self.conf().encode()

    @property
    def blobs(self) -> set[str]:
        """The digests of all blobs."""
        return set(self._blobs)

    def conf(self) -> str:
        """For nginx: which file a manifest's URI means, and its digest."""
        files = "".join(f'  "{uri}" "/manifests/{path}";\n' for uri, (path, _digest) in self._uris.items())
        digests = "".join(f'  "{uri}" "{digest}";\n' for uri, (_path, digest) in self._uris.items())
        return (
            "map_hash_bucket_size 256;\n"
            f'map $uri $manifest_file {{\n  default "/none";\n{files}}}\n'
            f'map $uri $manifest_digest {{\n  default "";\n{digests}}}\n'
        )

    def _layer(self, seed: str, size_mb: float) -> tuple[str, int]:
        size = max(int(size_mb * _MB), 1)
        content = _layer_bytes(seed, size)
        digest = sha256(content)
        self._blobs[digest] = (seed, size)
        return digest, len(content)

    def _platform(
        self, recipe: Recipe, layers: list[tuple[str, int]], architecture: str
    ) -> tuple[bytes, tuple[str, int]]:
        """The manifest for one platform, and its config's digest and size."""
        config = json.dumps(_config(recipe, layers, architecture))
        digest = sha256(config.encode())
        # Size 0 marks what is kept as it is.
        self._blobs[digest] = (config, 0)
        manifest = json.dumps(_manifest(digest, len(config), layers)).encode()
        self._manifest(recipe.repo, manifest, "manifest")
        return manifest, (digest, len(config))

    def _manifest(self, repo: str, content: bytes, kind: str, tag: str = "") -> str:
        digest = sha256(content)
        self._manifests[f"{digest}.{kind}"] = content
        for reference in filter(None, (digest, tag)):
            self._uris[f"/v2/{repo}/manifests/{reference}"] = (f"{digest}.{kind}", digest)
        return digest


def zipf(images: Sequence[str], exponent: float) -> str:
    """One of them by Zipf's law, the first ones most often; 0: all the same."""
    return random.choices(images, [1 / (place + 1) ** exponent for place in range(len(images))])[0]


def sha256(content: bytes) -> str:
    """A digest as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer_bytes(seed: str, size: int) -> bytes:
    """A tar of one file of `size` bytes that do not compress, so that real clients can unpack it."""
    member = tarfile.TarInfo(f"data-{hashlib.sha256(seed.encode()).hexdigest()[:12]}")
    member.size = size
    padding = bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
    return member.tobuf() + random.Random(seed).randbytes(size) + padding


def _config(recipe: Recipe, layers: list[tuple[str, int]], architecture: str) -> Mapping[str, Any]:
    """A layer's digest is its diff id too: it is not compressed."""
    return {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/none"], "Labels": {"image": recipe.name}},
        "rootfs": {"type": "layers", "diff_ids": [digest for digest, _size in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "load tests"} for _layer in layers],
    }


def _manifest(config: str, size: int, layers: list[tuple[str, int]]) -> Mapping[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config, "size": size},
        "layers": [{"mediaType": LAYER, "digest": digest, "size": length} for digest, length in layers],
    }


def _entry(manifest: bytes, architecture: str) -> Mapping[str, Any]:
    return {
        "mediaType": MANIFEST,
        "digest": sha256(manifest),
        "size": len(manifest),
        "platform": {"architecture": architecture, "os": "linux"},
    }
