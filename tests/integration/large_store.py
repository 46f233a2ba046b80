"""A push registry's store of many images, written to Swift directly: pushing them would take hours.

The paths are those of distribution's registry/storage/paths.go (2.8.3), below the root that its Swift driver adds.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from loadtests.support.registry.content import Blob, describe, encode_config, encode_manifest, sha256
from tests.integration.swift import Swift

_ROOT = "files/docker/registry/v2"
_FILES_IN_A_REQUEST, _REQUESTS = 500, 2
_BLOBS_OF_AN_IMAGE = 9

File = tuple[str, bytes]


def store_images(swift: Swift, container: str, repositories: int, images: int) -> int:
    """Write that many images of nine blobs each into every repository; returns how many blobs.

    The last one of each repository has the tag `last`, and can be pulled: a collection looks neither at tags nor at the
    links of layers, so the others have none.
    """
    _upload(swift, container, (file for n in range(repositories) for file in _repository(f"large/{n}", images)))
    return repositories * images * _BLOBS_OF_AN_IMAGE


def store_garbage(swift: Swift, container: str, blobs: int) -> list[str]:
    """Write that many blobs that no manifest refers to; returns their objects."""
    files = [_blob(f"garbage {n}".encode())[1] for n in range(blobs)]
    _upload(swift, container, files)
    return [path for path, _content in files]


def _blob(content: bytes) -> tuple[Blob, File]:
    blob = describe(content)
    name = blob.digest.removeprefix("sha256:")
    return blob, (f"{_ROOT}/blobs/sha256/{name[:2]}/{name}/data", content)


def _link(folder: str, digest: str) -> File:
    return f"{_ROOT}/repositories/{folder}/{digest.replace(':', '/')}/link", digest.encode()


def _repository(repo: str, images: int) -> Iterator[File]:
    for number in range(images):
        layers = [_blob(f"{repo} {number} {place}".encode()) for place in range(_BLOBS_OF_AN_IMAGE - 2)]
        config = _blob(encode_config([blob for blob, _file in layers], labels={"image": f"{repo}:{number}"}))
        content = encode_manifest(config[0], [blob for blob, _file in layers])
        manifest = sha256(content)
        yield from (file for _one, file in (*layers, config, _blob(content)))
        yield _link(f"{repo}/_manifests/revisions", manifest)
    yield from (_link(f"{repo}/_layers", blob.digest) for blob, _file in (*layers, config))
    yield f"{_ROOT}/repositories/{repo}/_manifests/tags/last/current/link", manifest.encode()


def _upload(swift: Swift, container: str, files: Iterable[File]) -> None:
    """Upload archives, a few at a time, which Swift unpacks."""
    left = iter(files)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while batch := list(islice(left, _FILES_IN_A_REQUEST * _REQUESTS)):
            parts = (batch[start : start + _FILES_IN_A_REQUEST] for start in range(0, len(batch), _FILES_IN_A_REQUEST))
            list(pool.map(lambda part: swift.extract(container, _archive(part)), parts))


def _archive(files: Iterable[File]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files:
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
