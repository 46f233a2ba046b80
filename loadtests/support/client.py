"""A client that pulls and pushes as Docker does, every byte verified, on locust's FastHttpUser.

A pull: GET /v2/, HEAD and GET of the manifest by tag, of an index the manifest by digest, then config and layers in
parallel, three at a time (dockerd's max-concurrent-downloads).
"""

import hashlib
import json
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import gevent
from gevent.pool import Pool
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser

from loadtests.support.images import ACCEPT, LAYER, MANIFEST, sha256
from loadtests.support.metrics import CACHE_HEADERS, Record

PARALLEL = 3
_BLOCK = 1 << 18
_TIMEOUT_S = 120


class FailedError(Exception):
    """A request failed, and so the pull or push it was part of; it has been recorded."""


@dataclass(frozen=True)
class Answer:
    """What came: `content` only of what is not a blob."""

    digest: str
    size: int
    headers: Mapping[str, str]
    content: bytes


@dataclass
class Exchange:
    """One request: what is asked, and what the answer must be. `digest` empty: not known beforehand."""

    kind: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    body: bytes | None = None
    keep: bool = True
    status: int = 200


class RegistryClient:
    """One client of a registry, with connections of its own."""

    def __init__(
        self, user: FastHttpUser, record: Record, url: str, ca_file: str, login: tuple[str, str] | None
    ) -> None:
        user.client.client.clientpool = HTTPClientPool(
            concurrency=PARALLEL + 1,
            block_size=_BLOCK,
            network_timeout=_TIMEOUT_S,
            connection_timeout=_TIMEOUT_S,
            ssl_context_factory=lambda: _context(ca_file),
        )
        self.session, self.record, self.url = user.client, record, url
        self.events = user.environment.events
        self.basic = {}
        if login:
            token = b64encode(":".join(login).encode()).decode()
            self.basic = {"Authorization": f"Basic {token}"}

    def pull(self, repo: str, tag: str) -> bool:
        """Pull an image; False when that failed."""
        started, size = time.perf_counter(), 0
        try:
            try:
                size = self._pull(repo, tag)
            except (ValueError, LookupError, TypeError) as error:
                self.record.fail(time.monotonic(), "manifest", f"not a manifest: {error!r}")
                raise FailedError(f"{repo}:{tag} has no manifest that can be read: {error!r}") from error
        except FailedError as error:
            self._whole("PULL", f"{repo}:{tag}", started, size, error)
            return False
        self.record.pull_ms.append(self._whole("PULL", f"{repo}:{tag}", started, size))
        return True

    def push(self, repo: str, tag: str, layers: list[bytes]) -> bool:
        """Push an image with these layers and read its manifest back; False when that failed."""
        started, size = time.perf_counter(), sum(map(len, layers))
        try:
            self._push(repo, tag, layers)
        except FailedError as error:
            self._whole("PUSH", "image", started, 0, error)
            return False
        self.record.sent += size
        self.record.push_ms.append(self._whole("PUSH", "image", started, size))
        return True

    def ask(self, exchange: Exchange) -> Answer:
        """Send it, read and verify the answer, record it; a FailedError when it is not what it must be."""
        sent = time.monotonic()
        began = time.perf_counter()
        # Name only for now: whether it was a hit is known when the answer is there.
        with self.session.request(
            exchange.method,
            exchange.path if exchange.path.startswith("https:") else f"{self.url}{exchange.path}",
            name=exchange.kind,
            # Bytes are sent as they are, whatever its annotation says.
            data=exchange.body,  # type: ignore[arg-type]
            headers={"Accept-Encoding": "identity", **self.basic, **exchange.headers},
            stream=exchange.method != "HEAD",
            catch_response=True,
        ) as response:
            try:
                answer = _read(response, exchange)
            except (OSError, ValueError, HTTPException, FailedError) as error:
                _drop(response)
                wrong = isinstance(error, WrongBytesError)
                self.record.fail(sent, exchange.kind, str(error) or type(error).__name__, wrong)
                response.failure(error)
                raise FailedError(f"{exchange.kind}: {error}") from error
            ms = (time.perf_counter() - began) * 1000
            status = next((answer.headers[name].upper() for name in CACHE_HEADERS if name in answer.headers), "")
            response.request_meta |= {
                "name": f"{exchange.kind} [{status.lower() or '-'}]",
                "response_time": ms,
                "response_length": answer.size,
            }
            # Nobody logs in at the mirror.
            cached = not self.basic and exchange.path != "/v2/" and exchange.method in ("GET", "HEAD")
            self.record.answer(status if cached else None, answer.size, ms, exchange.kind != "layer")
            response.success()
            return answer

    def _pull(self, repo: str, tag: str) -> int:
        accept = {"Accept": ACCEPT}
        self.ask(Exchange("/v2/", "GET", "/v2/"))
        by_tag = f"/v2/{repo}/manifests/{tag}"
        promised = self.ask(Exchange("manifest by tag, HEAD", "HEAD", by_tag, accept))
        manifest = self.ask(Exchange("manifest by tag", "GET", by_tag, accept))
        fields = json.loads(manifest.content)
        size = promised.size + manifest.size
        if "manifests" in fields:
            digest = _platform(fields)
            by_digest = f"/v2/{repo}/manifests/{digest}"
            manifest = self.ask(Exchange("manifest by digest", "GET", by_digest, accept, digest))
            fields, size = json.loads(manifest.content), size + manifest.size
        wanted = [Exchange("config", "GET", _blob(repo, fields["config"]), {}, fields["config"]["digest"])]
        wanted += [
            Exchange("layer", "GET", _blob(repo, one), {}, one["digest"], keep=False) for one in fields["layers"]
        ]
        return size + sum(answer.size for answer in self._together(wanted))

    def _together(self, wanted: list[Exchange]) -> list[Answer]:
        """All of them, a few at a time; the first failure is raised when all have ended."""
        pool = Pool(PARALLEL)
        running = [pool.spawn(self._quietly, exchange) for exchange in wanted]
        try:
            pool.join()
        except gevent.GreenletExit:
            pool.kill()
            raise
        found = [one.value for one in running]
        for one in found:
            if isinstance(one, FailedError):
                raise one
        return [one for one in found if isinstance(one, Answer)]

    def _quietly(self, exchange: Exchange) -> Answer | FailedError:
        try:
            return self.ask(exchange)
        except FailedError as error:
            return error

    def _push(self, repo: str, tag: str, layers: list[bytes]) -> None:
        config = json.dumps({"architecture": "amd64", "os": "linux", "created_by": random.random()}).encode()
        for content in (*layers, config):
            self._upload(repo, content)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json"} | _described(config),
                "layers": [{"mediaType": LAYER} | _described(layer) for layer in layers],
            }
        ).encode()
        path = f"/v2/{repo}/manifests/{tag}"
        self.ask(Exchange("push manifest", "PUT", path, {"Content-Type": MANIFEST}, body=manifest, status=201))
        self.ask(Exchange("manifest read back", "GET", path, {"Accept": ACCEPT}, sha256(manifest)))

    def _upload(self, repo: str, content: bytes) -> None:
        """One blob, as Docker does: start, one PATCH, finish."""
        begun = self.ask(Exchange("push: start", "POST", f"/v2/{repo}/blobs/uploads/", body=b"", status=202))
        kind = {"Content-Type": "application/octet-stream"}
        sent = self.ask(Exchange("push: blob", "PATCH", _location(begun), kind, body=content, status=202))
        finish = _location(sent)
        finish += f"{'&' if '?' in finish else '?'}digest={sha256(content)}"
        self.ask(Exchange("push: finish", "PUT", finish, body=b"", status=201))

    def _whole(self, kind: str, name: str, started: float, size: int, error: Exception | None = None) -> float:
        """Report a whole pull or push to locust; return its ms."""
        ms = (time.perf_counter() - started) * 1000
        self.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=size, exception=error, context={}
        )
        return ms


class WrongBytesError(FailedError):
    """An answer that is whole and is not what its digest says."""


def _read(response: Any, exchange: Exchange) -> Answer:
    """Read an answer to its end and verify it."""
    if response.status_code != exchange.status:
        error = getattr(response, "error", None)
        raise FailedError(f"{type(error).__name__}: {error}" if error else f"HTTP {response.status_code}")
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    if exchange.method == "HEAD":
        return Answer(headers.get("docker-content-digest", ""), 0, headers, b"")
    found, size, kept = hashlib.sha256(), 0, []
    for chunk in response.iter_content(_BLOCK, decode_content=False):
        found.update(chunk)
        size += len(chunk)
        if exchange.keep:
            kept.append(bytes(chunk))
    if size != int(headers.get("content-length", size)):
        raise FailedError(f"cut off after {size} of {headers['content-length']} bytes")
    digest = f"sha256:{found.hexdigest()}"
    wanted = exchange.digest or (headers.get("docker-content-digest", "") if exchange.method == "GET" else "")
    if wanted and digest != wanted:
        raise WrongBytesError(f"wrong bytes: {exchange.kind} is {digest}, not {wanted}")
    return Answer(digest, size, headers, b"".join(kept))


def _drop(response: Any) -> None:
    """Close the connection of an answer that was not read to its end."""
    inner = getattr(response, "_response", None)
    if inner is not None:
        inner.release()


def _context(ca_file: str) -> ssl.SSLContext:
    context: ssl.SSLContext = gevent.ssl.create_default_context(cafile=ca_file or None)
    return context


def _platform(index: Mapping[str, Any]) -> str:
    """The digest for linux/amd64, as a server of today asks for it."""
    for entry in index["manifests"]:
        platform = entry.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            return str(entry["digest"])
    return str(index["manifests"][0]["digest"])


def _blob(repo: str, descriptor: Mapping[str, Any]) -> str:
    return f"/v2/{repo}/blobs/{descriptor['digest']}"


def _described(content: bytes) -> dict[str, Any]:
    return {"digest": sha256(content), "size": len(content)}


def _location(answer: Answer) -> str:
    return answer.headers["location"]
