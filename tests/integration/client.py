"""Uploads in ways that Docker does not use today, and requests without verifying TLS."""

import warnings
from collections.abc import Sequence
from typing import Any

import requests
from urllib3 import disable_warnings
from urllib3.exceptions import InsecureRequestWarning

from loadtests.support.registry.content import describe
from loadtests.support.registry.content import sha256 as digest
from tests.support.oci import Blob, OciClient

__all__ = ["PushClient", "digest", "insecure_get"]
_TIMEOUT_S = 5


def insecure_get(url: str, wanted: int) -> str | None:
    """A probe: the status of a GET, whoever signed the certificate."""
    with requests.Session() as session, warnings.catch_warnings():
        disable_warnings(InsecureRequestWarning)
        session.trust_env = False
        status = session.get(url, verify=False, timeout=_TIMEOUT_S).status_code
    return None if status == wanted else f"HTTP {status}"


class PushClient(OciClient):
    """A client that can also upload a blob in one request, or in several chunks."""

    def push_monolithic(self, repo: str, content: bytes) -> Blob:
        """Upload a blob with the PUT that ends the upload."""
        blob = describe(content)
        headers = {"Content-Type": "application/octet-stream"}
        self.expect(201, "PUT", self.start_upload(repo), params={"digest": blob.digest}, data=content, headers=headers)
        return blob

    def push_chunked(self, repo: str, chunks: Sequence[bytes]) -> Blob:
        """Upload a blob with several PATCH requests, each with a Content-Range, as early Docker clients do."""
        url, start = self.start_upload(repo), 0
        for chunk in chunks:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start}-{start + len(chunk) - 1}",
            }
            answer = self.expect(202, "PATCH", url, data=chunk, headers=headers)
            start += len(chunk)
            assert answer.headers["Range"] == f"0-{start - 1}"
            url = self.location(answer)
        blob = Blob(digest(b"".join(chunks)), start)
        self.expect(201, "PUT", url, params={"digest": blob.digest})
        return blob

    def put_manifest(self, repo: str, reference: str, content: bytes, media_type: str) -> str:
        """Push a manifest of any type and return its digest."""
        headers = {"Content-Type": media_type}
        answer = self.expect(201, "PUT", f"/v2/{repo}/manifests/{reference}", data=content, headers=headers)
        return str(answer.headers["Docker-Content-Digest"])

    def status(self, method: str, path: str, **arguments: Any) -> int:
        """The status of any request."""
        return self.request(method, path, **arguments).status_code
