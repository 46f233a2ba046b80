"""Images of realistic sizes, as the files of a registry that nginx can serve.

    files = RegistryFiles()
    image = files.add(Recipe("library/nginx", "1.27", (29.2, 43.9, 0.1)))
    files.items()           # blobs/sha256:…, manifests/sha256:….index, images.conf: relative to any folder

Each image is an index with two platforms, as Docker's official images are; clients pull amd64.
"""

import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from loadtests.support.registry.content import (
    Blob,
    ImageRef,
    Layer,
    describe,
    encode_config,
    encode_index,
    encode_manifest,
    sha256,
)
from loadtests.support.registry.protocol import manifest_path

_MB = 1_000_000
# How the size of a large image is divided among its layers.
LAYER_SHARES = (0.5, 0.3, 0.15, 0.05)
CATALOG = "images.json"


@dataclass(frozen=True)
class Recipe:
    """An image to generate, with the sizes of its layers in MB (10^6 bytes) as a client downloads them."""

    repo: str
    tag: str
    layers_mb: tuple[float, ...]

    @classmethod
    def of_size(cls, repo: str, size_mb: float) -> "Recipe":
        """An image of this size in four layers, tagged `1`."""
        return cls(repo, "1", tuple(size_mb * share for share in LAYER_SHARES))

    @property
    def name(self) -> str:
        """`repo:tag`."""
        return f"{self.repo}:{self.tag}"

    def scaled(self, factor: float) -> "Recipe":
        """The same image with the sizes multiplied by a factor."""
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
class Image(ImageRef):
    """A generated image. Everything but `index_digest` is that of linux/amd64."""

    index_digest: str


class RegistryFiles:
    """The files of a static registry. It grows by images; a blob that several images share is there once."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self._blobs: dict[str, bytes | Layer] = {}
        self._manifests: dict[str, bytes] = {}
        # By URI: the manifest's file and its digest.
        self._uris: dict[str, tuple[str, str]] = {}

    def add(self, recipe: Recipe) -> Image:
        """Generate an image."""
        layers = [
            self._add_blob(Layer(max(int(size * _MB), 1), f"{recipe.name}:{place}"))
            for place, size in enumerate(recipe.layers_mb)
        ]
        config, manifest = self._add_platform(recipe, layers, "amd64")
        _config, other = self._add_platform(recipe, layers[:1], "arm64")
        index = encode_index({"amd64": manifest, "arm64": other})
        index_digest = self._add_manifest(recipe.repo, index, "index", recipe.tag)
        image = Image(recipe.repo, recipe.tag, sha256(manifest), config, tuple(layers), manifest, index_digest)
        self.images.append(image)
        return image

    def items(self, known: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
        """(path, content) of every file except the `known` blobs. Only one blob at a time is in memory."""
        for digest, content in self._blobs.items():
            if digest not in known:
                yield f"blobs/{digest}", content if isinstance(content, bytes) else b"".join(content)
        for path, content in self._manifests.items():
            yield f"manifests/{path}", content
        yield "images.conf", self.nginx_maps().encode()
        yield CATALOG, json.dumps([image.name for image in self.images]).encode()

    def write_tar(self, stream: IO[bytes], folder: str, known: Iterable[str] = ()) -> None:
        """Write the files as a tar archive, below `folder`, and rewind the stream."""
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path, content in self.items(known):
                member = tarfile.TarInfo(f"{folder}/{path}".lstrip("/"))
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
        stream.seek(0)

    @property
    def blobs(self) -> set[str]:
        """The digests of all blobs."""
        return set(self._blobs)

    def nginx_maps(self) -> str:
        """The nginx configuration that maps a manifest's URI to its file and its digest."""
        files = "".join(f'  "{uri}" "/manifests/{path}";\n' for uri, (path, _digest) in self._uris.items())
        digests = "".join(f'  "{uri}" "{digest}";\n' for uri, (_path, digest) in self._uris.items())
        return (
            "map_hash_bucket_size 256;\n"
            f'map $uri $manifest_file {{\n  default "/none";\n{files}}}\n'
            f'map $uri $manifest_digest {{\n  default "";\n{digests}}}\n'
        )

    def _add_blob(self, content: bytes | Layer) -> Blob:
        blob = describe(content)
        self._blobs[blob.digest] = content
        return blob

    def _add_platform(self, recipe: Recipe, layers: list[Blob], architecture: str) -> tuple[Blob, bytes]:
        """The config and the manifest for one platform."""
        config = self._add_blob(encode_config(layers, architecture, {"image": recipe.name}))
        manifest = encode_manifest(config, layers)
        self._add_manifest(recipe.repo, manifest, "manifest")
        return config, manifest

    def _add_manifest(self, repo: str, content: bytes, kind: str, tag: str = "") -> str:
        digest = sha256(content)
        self._manifests[f"{digest}.{kind}"] = content
        for reference in filter(None, (digest, tag)):
            self._uris[manifest_path(repo, reference)] = (f"{digest}.{kind}", digest)
        return digest


def choose_zipf(images: Sequence[str], exponent: float) -> str:
    """A random image, popular ones first: Zipf's law with this exponent; 0 makes all equally likely."""
    return random.choices(images, [1 / (place + 1) ** exponent for place in range(len(images))])[0]
