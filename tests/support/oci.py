"""A registry client on `requests`: pushes generated images, and pulls with every digest verified.

Real clients (docker, podman, skopeo) can pull what it pushes. Large layers are streamed both ways and never held in
memory. What is sent and how it is verified is in loadtests/support/registry.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

import requests

from loadtests.support.registry import protocol
from loadtests.support.registry.content import Blob, ImageRef, Layer
from loadtests.support.registry.media_types import ACCEPT

__all__ = ["ACCEPT", "AnswerError", "Auth", "Blob", "ImageRef", "Layer", "OciClient", "Verify"]
_CHUNK = 1 << 20
# To connect, and between two chunks of a response.
_TIMEOUT_S = (30, 300)

Auth = tuple[str, str] | None
# A requests `verify`: the path of a CA certificate, or False.
Verify = str | bool


class AnswerError(AssertionError):
    """A response with another status than the expected one."""


class OciClient:
    """A client of the registry at `base_url`, as one user."""

    def __init__(self, base_url: str, auth: Auth = None, verify: Verify = False) -> None:
        self.base_url = base_url.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth, self.session.verify = auth, verify

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send any request below the base URL, whatever its response."""
        arguments.setdefault("timeout", _TIMEOUT_S)
        return self.session.request(method, urljoin(f"{self.base_url}/", path), **arguments)

    def expect(self, status: int, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request whose response must have this status."""
        response = self.request(method, path, **arguments)
        if response.status_code != status:
            text = response.text[:300]
            raise AnswerError(f"{method} {response.url}: {response.status_code}, not {status}: {text}")
        return response

    def start_upload(self, repo: str) -> str:
        """Start an upload and return its URL: PATCH chunks to it, then PUT it with `digest=`."""
        return urljoin(f"{self.base_url}/", self._send(protocol.start_upload(repo)).location)

    def location(self, response: requests.Response) -> str:
        """The absolute URL of a Location header."""
        return urljoin(f"{self.base_url}/", response.headers["Location"])

    def push_blob(self, repo: str, content: bytes | Layer) -> Blob:
        """Upload a blob in one stream."""
        return self._drive(protocol.upload_blob(repo, content))

    def push(self, repo: str, tag: str, layers: Sequence[bytes | int | Layer]) -> ImageRef:
        """Push an image. A number is a layer of that many bytes: the same for the same repo, tag and place."""
        contents = [
            Layer(layer, f"{repo}:{tag}:{place}") if isinstance(layer, int) else layer
            for place, layer in enumerate(layers)
        ]
        return self._drive(protocol.push(repo, tag, contents))

    def manifest(self, repo: str, reference: str, **query: str) -> ImageRef:
        """Fetch a manifest and verify its digest."""
        return self._drive(protocol.fetch_manifest(repo, reference), query)

    def pull_blob(self, repo: str, blob: Blob, **query: str) -> None:
        """Fetch a blob in a stream and verify its digest."""
        self._send(protocol.get_blob(repo, blob), query)

    def pull(self, repo: str, reference: str, **query: str) -> ImageRef:
        """Pull an image, every byte verified; `query` goes with each request, as containerd's ns= does."""
        return self._drive(protocol.fetch_image(repo, reference), query)

    def delete(self, repo: str, digest: str) -> None:
        """Delete a manifest by its digest."""
        self.expect(202, "DELETE", f"/v2/{repo}/manifests/{digest}")

    def catalog(self) -> list[str]:
        """The repositories, up to 1000."""
        return list(self.expect(200, "GET", "/v2/_catalog", params={"n": "1000"}).json()["repositories"])

    def tags(self, repo: str) -> list[str]:
        """The tags of a repository."""
        return list(self.expect(200, "GET", f"/v2/{repo}/tags/list").json()["tags"] or [])

    def _drive(self, exchange: protocol.Exchange[protocol.T], query: Mapping[str, str] | None = None) -> protocol.T:
        return protocol.drive(exchange, lambda requests: [self._send(request, query) for request in requests])

    def _send(self, request: protocol.Request, query: Mapping[str, str] | None = None) -> protocol.Response:
        with self.expect(
            request.status,
            request.method,
            request.path,
            headers={"Accept-Encoding": "identity", **request.headers},
            data=request.body,
            params=query,
            stream=True,
        ) as response:
            return protocol.read_response(
                request, response.status_code, response.headers, response.iter_content(_CHUNK)
            )
