"""A locust client that pulls and pushes as Docker does and verifies every byte."""

import ssl
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin

import gevent.local
import gevent.ssl
from gevent.pool import Pool
from geventhttpclient import URL
from geventhttpclient.client import HTTPClient, HTTPClientPool
from locust import FastHttpUser

from loadtests.support.downloads import Downloads
from loadtests.support.metrics import CACHE_HEADERS, Metrics
from loadtests.support.registry import protocol
from loadtests.support.registry.content import ImageRef

TIMEOUT_S = 120


class _TimedPool(HTTPClientPool):
    """Notes when a request asks for its connection: what locust does before costs as much as the mirror's answer."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # A user sends several requests at once.
        self._of_greenlet = gevent.local.local()

    def begin(self) -> None:
        """A request of this greenlet begins."""
        self._of_greenlet.sent = None

    def get_client(self, url: str | URL) -> HTTPClient:
        # Not again where a request is repeated.
        self._of_greenlet.sent = self._of_greenlet.sent or time.perf_counter()
        return super().get_client(url)

    def elapsed_ms(self) -> float:
        """The time since then."""
        return float(time.perf_counter() - self._of_greenlet.sent) * 1000


class RegistryClient:
    """One client of a registry with its own connections, except for layers: `downloads` fetches them.

    Of a group it has the URLs of all members. It asks the first for everything that it pulls and, when that fails, the
    next one, as containerd does. A push stays with its member; the one after a failed push goes to the next.
    """

    def __init__(
        self,
        user: FastHttpUser,
        metrics: Metrics,
        downloads: Downloads,
        urls: Sequence[str],
        ca_file: str,
        login: tuple[str, str] | None,
    ) -> None:
        self.connections = user.client.client.clientpool = _TimedPool(
            concurrency=protocol.MAX_CONCURRENT_DOWNLOADS + 1,
            block_size=protocol.BLOCK,
            network_timeout=TIMEOUT_S,
            connection_timeout=TIMEOUT_S,
            ssl_context_factory=lambda: _ssl_context(ca_file),
        )
        self.session, self.metrics, self.downloads, self.urls = user.client, metrics, downloads, list(urls)
        self.events = user.environment.events
        self.headers = {"Accept-Encoding": "identity"}
        self.authenticated = login is not None
        if login:
            self.headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"

    def pull(self, repo: str, tag: str) -> bool:
        """Pull an image; False when that failed."""
        return self._run("PULL", f"{repo}:{tag}", protocol.pull(repo, tag)) is not None

    def refresh(self, repo: str, tag: str) -> bool:
        """Pull an image of which everything but the tag is known; False when that failed."""
        return self._run("REFRESH", f"{repo}:{tag}", protocol.refresh(repo, tag)) is not None

    def push(self, repo: str, tag: str, layers: list[bytes]) -> bool:
        """Push an image with these layers and read its manifest back; False when that failed."""
        image = self._run("PUSH", "image", protocol.push_and_read_back(repo, tag, layers))
        self.metrics.bytes_sent += image.size if image else 0
        if image is None:
            self.urls.append(self.urls.pop(0))
        return image is not None

    def request(self, request: protocol.Request) -> protocol.Response:
        """Send one request; read, verify and record the response. One that fails everywhere is recorded, and raised."""
        sent, send = time.monotonic(), self._download if request.label == "layer" else self._request
        urls = self.urls[:1] if self.authenticated else self.urls
        asked: list[str] = []
        try:
            return protocol.ask_in_turn(urls, lambda url: send(url, request), asked)
        except protocol.RequestError as error:
            wrong = isinstance(error, protocol.WrongBytesError)
            self.metrics.record_failure(sent, request.label, str(error), wrong, asked)
            raise protocol.RequestError(f"{request.label}: {error}") from error
        finally:
            self.metrics.failovers += len(asked) - 1

    def _request(self, url: str, request: protocol.Request) -> protocol.Response:
        self.connections.begin()
        with self.session.request(
            request.method,
            urljoin(url, request.path),
            # The label only: whether it is a cache hit is known once the response has arrived.
            name=request.label,
            # FastHttpSession sends bytes unchanged, whatever its annotation says.
            data=request.body,  # type: ignore[arg-type]
            headers={**self.headers, **request.headers},
            stream=request.method != "HEAD",
            catch_response=True,
        ) as incoming:
            try:
                response = _read(request, incoming)
            except (OSError, ValueError, HTTPException, protocol.RequestError) as error:
                _close_connection(incoming)
                incoming.failure(error)
                if isinstance(error, protocol.RequestError):
                    raise
                raise protocol.RequestError(str(error) or type(error).__name__) from error
            ms = self.connections.elapsed_ms()
            cache_status = _cache_status(response.headers)
            incoming.request_meta |= {
                "name": f"{request.label} [{cache_status.lower() or '-'}]",
                "response_time": ms,
                "response_length": response.size,
            }
            # The mirror takes no login, so a client with one talks to the registry, which does not cache.
            cacheable = not self.authenticated and request.path != "/v2/" and request.method in ("GET", "HEAD")
            self.metrics.record_response(cache_status if cacheable else None, response.size, ms, request.label)
            incoming.success()
            return response

    def _download(self, url: str, request: protocol.Request) -> protocol.Response:
        outcome = self.downloads.fetch(url, request)
        headers, size, error = outcome.get("headers", {}), outcome.get("size", 0), outcome.get("error")
        cache_status = _cache_status(headers)
        if error is None:
            self.metrics.record_response(cache_status, size, outcome["ms"], request.label)
            self.metrics.layer_first_s.append(outcome["first_s"])
            self.metrics.layer_gap_s.append(outcome["longest_gap_s"])
        kind = protocol.WrongBytesError if outcome.get("wrong") else protocol.RequestError
        failure = None if error is None else kind(error)
        self.events.request.fire(
            request_type=request.method,
            name=f"{request.label} [{cache_status.lower() or '-'}]",
            response_time=outcome["ms"],
            response_length=size,
            exception=failure,
            context={},
        )
        if failure:
            raise failure
        return protocol.Response(headers, outcome["digest"], size, b"")

    def _run(self, kind: str, name: str, exchange: protocol.Exchange[ImageRef]) -> ImageRef | None:
        """Run a whole pull or push and report it to locust; None when it failed."""
        began = time.perf_counter()
        image: ImageRef | None = None
        error: protocol.RequestError | None = None
        try:
            image = protocol.drive(exchange, self._send)
        except protocol.RequestError as failure:
            error = failure
            if isinstance(failure, protocol.ManifestError):
                # No single request failed, so none has been recorded.
                self.metrics.record_failure(time.monotonic(), "manifest", str(failure))
        ms = (time.perf_counter() - began) * 1000
        if image:
            metrics = self.metrics
            {"PULL": metrics.pull_ms, "REFRESH": metrics.refresh_ms, "PUSH": metrics.push_ms}[kind].append(ms)
        size = image.size if image else 0
        self.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=size, exception=error, context={}
        )
        return image

    def _send(self, requests: Sequence[protocol.Request]) -> list[protocol.Response]:
        """Send a batch, a few requests at a time; the first failure is raised once all have ended."""
        if len(requests) == 1:
            return [self.request(requests[0])]
        pool = Pool(protocol.MAX_CONCURRENT_DOWNLOADS)
        try:
            outcomes: list[protocol.Response | protocol.RequestError] = pool.map(self._try, requests)
        finally:
            # Nothing is left unless this user has been stopped.
            pool.kill()
        for outcome in outcomes:
            if isinstance(outcome, protocol.RequestError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, protocol.Response)]

    def _try(self, request: protocol.Request) -> protocol.Response | protocol.RequestError:
        try:
            return self.request(request)
        except protocol.RequestError as error:
            return error


def _read(request: protocol.Request, incoming: Any) -> protocol.Response:
    if incoming.status_code == 0:
        # No response at all: locust puts the error in its place.
        raise protocol.RequestError(f"{type(incoming.error).__name__}: {incoming.error}")
    headers = {str(name): str(value) for name, value in incoming.headers.items()}
    return protocol.read_response(
        request, incoming.status_code, headers, incoming.iter_content(protocol.BLOCK, decode_content=False)
    )


def _cache_status(headers: Mapping[str, str]) -> str:
    return next((headers[name].upper() for name in CACHE_HEADERS if name in headers), "")


def _close_connection(incoming: Any) -> None:
    """Close a connection whose response was not read to its end: it cannot be used again."""
    inner = getattr(incoming, "_response", None)
    if inner is not None:
        inner.release()


@cache
def _ssl_context(ca_file: str) -> ssl.SSLContext:
    context: ssl.SSLContext = gevent.ssl.create_default_context(cafile=ca_file or None)
    return context
