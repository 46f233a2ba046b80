"""Pull and push as generators without I/O: they yield batches of requests and receive the responses.

    image = drive(pull("library/alpine", "3.20"), send)     # send(requests) -> responses in the same order

`send` may do the requests of one batch in parallel: they do not depend on each other. It passes what arrives through
`read_response`, so that every client verifies status, length and digest in the same way.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loadtests.support.registry.content import (
    Blob,
    HashingBody,
    ImageRef,
    Layer,
    encode_config,
    encode_manifest,
    sha256,
)
from loadtests.support.registry.media_types import ACCEPT, OCI_MANIFEST

# dockerd's max-concurrent-downloads.
MAX_CONCURRENT_DOWNLOADS = 3
BLOCK = 1 << 18
_OCTETS = {"Content-Type": "application/octet-stream"}
T = TypeVar("T")


class RequestError(Exception):
    """A request failed, and with it the pull or push that it was part of."""


class WrongBytesError(RequestError):
    """A complete response whose content does not match its digest."""


class ManifestError(RequestError):
    """A manifest arrived intact but cannot be used."""


@dataclass(frozen=True)
class Request:
    """One request and what its response must be.

    `label` names its kind in statistics; `path` may be an absolute URL, as a Location is. An empty `digest` is not
    known beforehand. Without `keep`, the response's content is verified but not kept.
    """

    label: str
    method: str
    path: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | HashingBody | None = None
    digest: str = ""
    keep: bool = True


@dataclass(frozen=True)
class Response:
    """A verified response. The names of `headers` are in lower case; `content` is empty where it was not kept."""

    headers: Mapping[str, str]
    digest: str
    size: int
    content: bytes

    @property
    def location(self) -> str:
        """Where an upload continues."""
        return self.headers["location"]


Exchange = Generator[Sequence[Request], Sequence[Response], T]
Send = Callable[[Sequence[Request]], Sequence[Response]]


def drive(exchange: Exchange[T], send: Send) -> T:
    """Run an exchange to its end with a client's `send` and return its result."""
    try:
        requests = next(exchange)
        while True:
            requests = exchange.send(send(requests))
    except StopIteration as end:
        result: T = end.value
        return result


def ask_in_turn(urls: Iterable[str], ask: Callable[[str], Response], asked: list[str]) -> Response:
    """Ask one member of a group after the other, as containerd does, for the first response that is right.

    `asked` gets the URLs of those that were asked. The last one's error is raised, wrong bytes at once.
    """
    failure: RequestError | None = None
    for url in urls:
        asked.append(url)
        try:
            return ask(url)
        except WrongBytesError:
            raise
        except RequestError as error:
            failure = error
    raise failure or RequestError("there is nobody to ask")


def pull(repo: str, tag: str) -> Exchange[ImageRef]:
    """Pull as Docker does: GET /v2/, HEAD and GET of the tag, the platform's manifest, then all blobs at once."""
    yield [Request("/v2/", "GET", "/v2/")]
    yield [_get_manifest(repo, tag, method="HEAD", label="manifest by tag, HEAD")]
    return (yield from fetch_image(repo, tag))


def refresh(repo: str, tag: str) -> Exchange[ImageRef]:
    """Pull as a Docker host does that has all blobs of the image already."""
    yield [Request("/v2/", "GET", "/v2/")]
    yield [_get_manifest(repo, tag, method="HEAD", label="manifest by tag, HEAD")]
    return (yield from fetch_manifest(repo, tag))


def fetch_image(repo: str, reference: str) -> Exchange[ImageRef]:
    """Fetch a manifest, then all blobs of the image."""
    image = yield from fetch_manifest(repo, reference)
    responses = yield [get_blob(repo, image.config, "config"), *(get_blob(repo, layer) for layer in image.layers)]
    for blob, response in zip(image.blobs, responses, strict=True):
        if response.size != blob.size:
            raise ManifestError(f"{blob.digest} has {response.size} bytes, not the {blob.size} of the manifest")
    return image


def fetch_manifest(repo: str, reference: str) -> Exchange[ImageRef]:
    """Fetch a manifest; where the reference is an index, the manifest for linux/amd64."""
    (found,) = yield [_get_manifest(repo, reference)]
    try:
        document = json.loads(found.content)
        if "manifests" in document:
            (found,) = yield [_get_manifest(repo, _select_platform(document["manifests"]))]
            document = json.loads(found.content)
        config, *layers = (Blob(one["digest"], one["size"]) for one in (document["config"], *document["layers"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ManifestError(f"not a manifest: {error!r}") from error
    return ImageRef(repo, reference, found.digest, config, tuple(layers), found.content)


def push(repo: str, tag: str, layers: Iterable[bytes | Layer]) -> Exchange[ImageRef]:
    """Push an image: its layers one after the other, its config, its manifest."""
    blobs = []
    for layer in layers:
        blobs.append((yield from upload_blob(repo, layer)))
    config = yield from upload_blob(repo, encode_config(blobs))
    manifest = encode_manifest(config, blobs)
    digest, path, headers = sha256(manifest), manifest_path(repo, tag), {"Content-Type": OCI_MANIFEST}
    yield [Request("push manifest", "PUT", path, status=201, headers=headers, body=manifest, digest=digest)]
    return ImageRef(repo, tag, digest, config, tuple(blobs), manifest)


def push_and_read_back(repo: str, tag: str, layers: Iterable[bytes | Layer]) -> Exchange[ImageRef]:
    """Push an image and check that its tag leads to the same manifest."""
    image = yield from push(repo, tag, layers)
    yield [_get_manifest(repo, tag, label="manifest read back", digest=image.digest)]
    return image


def upload_blob(repo: str, content: bytes | Layer) -> Exchange[Blob]:
    """Upload a blob as Docker does: POST, one PATCH with everything, PUT with the digest."""
    (started,) = yield [start_upload(repo)]
    body = content if isinstance(content, bytes) else HashingBody(content)
    (sent,) = yield [Request("push: blob", "PATCH", started.location, status=202, headers=_OCTETS, body=body)]
    digest = sha256(body) if isinstance(body, bytes) else body.digest
    separator = "&" if "?" in sent.location else "?"
    url = f"{sent.location}{separator}digest={digest}"
    yield [Request("push: finish", "PUT", url, status=201, body=b"", digest=digest)]
    return Blob(digest, len(content))


def start_upload(repo: str) -> Request:
    """The request that starts an upload; its response has the upload's location."""
    return Request("push: start", "POST", f"/v2/{repo}/blobs/uploads/", status=202, body=b"")


def get_blob(repo: str, blob: Blob, label: str = "layer") -> Request:
    """The request for a blob, of which only the digest is kept."""
    return Request(label, "GET", f"/v2/{repo}/blobs/{blob.digest}", digest=blob.digest, keep=False)


def manifest_path(repo: str, reference: str) -> str:
    """The path of a manifest, by tag or by digest."""
    return f"/v2/{repo}/manifests/{reference}"


def read_response(
    request: Request, status: int, headers: Mapping[str, str], blocks: Iterable[bytes | memoryview]
) -> Response:
    """Read a response to its end and verify it; a RequestError says what is wrong with it."""
    if status != request.status:
        raise RequestError(f"HTTP {status}")
    named = {name.lower(): value for name, value in headers.items()}
    claimed = named.get("docker-content-digest", "")
    if request.method == "HEAD":
        return Response(named, claimed, 0, b"")
    digest, size, content = _consume(blocks, request.keep)
    if size != int(named.get("content-length", size)):
        raise RequestError(f"cut off after {size} of {named['content-length']} bytes")
    if request.method == "GET":
        expected = request.digest or claimed
    else:
        # The header says what has been stored; the content is of no interest.
        digest, expected = claimed, request.digest
    if expected and digest != expected:
        raise WrongBytesError(f"wrong bytes: {request.label} is {digest or 'without a digest'}, not {expected}")
    return Response(named, digest, size, content)


def _consume(blocks: Iterable[bytes | memoryview], keep: bool) -> tuple[str, int, bytes]:
    """The digest and the size of a body, and its bytes if they are to be kept."""
    found, size, kept = hashlib.sha256(), 0, bytearray()
    for block in blocks:
        found.update(block)
        size += len(block)
        if keep:
            kept += block
    return f"sha256:{found.hexdigest()}", size, bytes(kept)


def _get_manifest(repo: str, reference: str, method: str = "GET", label: str = "", digest: str = "") -> Request:
    by_digest = reference.startswith("sha256:")
    return Request(
        label or f"manifest by {'digest' if by_digest else 'tag'}",
        method,
        manifest_path(repo, reference),
        headers={"Accept": ACCEPT},
        digest=digest or (reference if by_digest else ""),
    )


def _select_platform(manifests: Iterable[Mapping[str, Any]]) -> str:
    """The digest of the manifest for linux/amd64."""
    for entry in manifests:
        platform = entry.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            return str(entry["digest"])
    raise ManifestError("the index has no manifest for linux/amd64")
