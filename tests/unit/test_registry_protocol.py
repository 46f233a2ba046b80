"""The registry protocol without a network: an in-memory registry answers what the generators ask."""

import hashlib
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPResponse
from urllib.parse import parse_qs, urlsplit

import pytest

from loadtests.support.registry.content import HashingBody, Layer, describe, encode_index, sha256
from loadtests.support.registry.https import iter_blocks
from loadtests.support.registry.media_types import OCI_MANIFEST
from loadtests.support.registry.protocol import (
    Exchange,
    ManifestError,
    Request,
    RequestError,
    Response,
    WrongBytesError,
    drive,
    fetch_manifest,
    pull,
    push,
    push_and_read_back,
    read_response,
)

_MANIFEST = re.compile(r"/v2/(?P<repo>.+)/manifests/(?P<reference>.+)")


@dataclass
class MemoryRegistry:
    """A registry in memory; `batches` are the requests that it has received."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    upload: bytes = b""

    def send(self, requests: Sequence[Request]) -> list[Response]:
        self.batches.append([f"{request.method} {request.path}" for request in requests])
        return [self._respond(request) for request in requests]

    def _respond(self, request: Request) -> Response:
        status, headers, content = self._serve(request)
        return read_response(request, status, headers, [content])

    def _serve(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        body = b"".join(_chunks(request.body))
        url = urlsplit(request.path)
        if request.method == "POST":
            return 202, {"Location": "https://registry.test/upload?state=1"}, b""
        if request.method == "PATCH":
            self.upload = body
            return 202, {"location": f"{request.path}&part=1"}, b""
        if match := _MANIFEST.fullmatch(url.path):
            if request.method == "PUT":
                self.manifests[match["reference"]] = self.manifests[sha256(body)] = body
                return 201, {"Docker-Content-Digest": sha256(body)}, b""
            content = self.manifests.get(match["reference"])
            if content is None:
                return 404, {}, b""
            return 200, {"Docker-Content-Digest": sha256(content), "Content-Length": str(len(content))}, content
        if request.method == "PUT":
            (digest,) = parse_qs(url.query)["digest"]
            self.blobs[digest] = self.upload
            return 201, {"Docker-Content-Digest": sha256(self.upload)}, b""
        return (200, {}, b"{}") if url.path == "/v2/" else (200, {}, self.blobs[url.path.rsplit("/", 1)[1]])


def _chunks(body: bytes | HashingBody | None) -> Iterable[bytes]:
    return [body or b""] if not isinstance(body, HashingBody) else body


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def test_pushed_image_is_pulled_back(registry: MemoryRegistry) -> None:
    pushed = drive(push("team/app", "1", [b"first", Layer(1000, "second")]), registry.send)
    pulled = drive(pull("team/app", "1"), registry.send)
    assert pulled == pushed
    assert pulled.layers == (describe(b"first"), describe(Layer(1000, "second")))


def test_pull_sends_the_requests_of_docker(registry: MemoryRegistry) -> None:
    image = drive(push("app", "1", [b"one", b"two"]), registry.send)
    registry.batches.clear()
    drive(pull("app", "1"), registry.send)
    assert registry.batches == [
        ["GET /v2/"],
        ["HEAD /v2/app/manifests/1"],
        ["GET /v2/app/manifests/1"],
        [f"GET /v2/app/blobs/{blob.digest}" for blob in image.blobs],
    ]


def test_push_uploads_a_blob_in_one_patch(registry: MemoryRegistry) -> None:
    drive(push_and_read_back("app", "1", [b"one"]), registry.send)
    assert [batch[0].partition("?")[0] for batch in registry.batches] == [
        *["POST /v2/app/blobs/uploads/", "PATCH https://registry.test/upload", "PUT https://registry.test/upload"] * 2,
        "PUT /v2/app/manifests/1",
        "GET /v2/app/manifests/1",
    ]


def test_index_leads_to_amd64(registry: MemoryRegistry) -> None:
    images = {name: drive(push("app", name, [name.encode()]), registry.send) for name in ("arm64", "amd64")}
    registry.manifests["1"] = encode_index({name: image.manifest for name, image in images.items()})
    assert drive(pull("app", "1"), registry.send).digest == images["amd64"].digest


def test_index_without_amd64_is_an_error(registry: MemoryRegistry) -> None:
    image = drive(push("app", "arm64", [b"layer"]), registry.send)
    registry.manifests["1"] = encode_index({"arm64": image.manifest})
    with pytest.raises(ManifestError, match="no manifest for linux/amd64"):
        drive(fetch_manifest("app", "1"), registry.send)


@pytest.mark.parametrize("manifest", [b"<html>", b"[]", b"{}", b'{"config": {}, "layers": []}', b'{"manifests": [1]}'])
def test_unusable_manifest_is_an_error(registry: MemoryRegistry, manifest: bytes) -> None:
    registry.manifests["1"] = manifest
    with pytest.raises(ManifestError, match="not a"):
        drive(pull("app", "1"), registry.send)


def test_changed_blob_is_wrong_bytes(registry: MemoryRegistry) -> None:
    image = drive(push("app", "1", [b"layer"]), registry.send)
    registry.blobs[image.layers[0].digest] = b"Xayer"
    with pytest.raises(WrongBytesError, match=f"wrong bytes: layer is {sha256(b'Xayer')}"):
        drive(pull("app", "1"), registry.send)


def test_failed_request_ends_the_exchange(registry: MemoryRegistry) -> None:
    with pytest.raises(RequestError, match="^HTTP 404$"):
        drive(pull("app", "missing"), registry.send)
    assert registry.batches[-1] == ["HEAD /v2/app/manifests/missing"]


@pytest.mark.parametrize("stored", ["", sha256(b"other")])
def test_upload_stored_under_another_digest_is_wrong_bytes(stored: str) -> None:
    request = Request("push: finish", "PUT", "/", status=201, digest=sha256(b"layer"))
    with pytest.raises(WrongBytesError):
        read_response(request, 201, {"Docker-Content-Digest": stored} if stored else {}, [])


def test_exchange_returns_the_result_of_its_last_response() -> None:
    def exchange() -> Exchange[int]:
        (response,) = yield [Request("/v2/", "GET", "/v2/")]
        return response.size

    assert drive(exchange(), lambda requests: [Response({}, "", 7, b"") for _request in requests]) == 7


def test_hashing_body_starts_again() -> None:
    body = HashingBody(Layer(3_000_001, "seed"))
    once, again = b"".join(body), b"".join(body)
    assert once == again
    assert len(once) == len(body)
    assert body.digest == sha256(once)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    with server, client:
        yield server, client


def answer(sockets: tuple[socket.socket, socket.socket], promised: int) -> HTTPResponse:
    """A response that promises a number of bytes and ends after three."""
    server, client = sockets
    server.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\nabc".encode())
    server.shutdown(socket.SHUT_WR)
    response = HTTPResponse(client)
    response.begin()
    return response


GET = Request("layer", "GET", "/", headers={"Accept": OCI_MANIFEST})


def test_pull_worker_hashes_the_body(sockets: tuple[socket.socket, socket.socket]) -> None:
    incoming = answer(sockets, 3)
    response = read_response(GET, incoming.status, dict(incoming.getheaders()), iter_blocks(incoming))
    assert (response.content, response.digest) == (b"abc", f"sha256:{hashlib.sha256(b'abc').hexdigest()}")


def test_truncated_body_is_not_wrong_bytes(sockets: tuple[socket.socket, socket.socket]) -> None:
    incoming = answer(sockets, 10)
    with pytest.raises(RequestError, match="cut off after 3 of 10 bytes") as raised:
        read_response(GET, incoming.status, dict(incoming.getheaders()), iter_blocks(incoming))
    assert not isinstance(raised.value, WrongBytesError)
