"""Clients that pull at the same time, each as Docker does: every byte is verified, and none kept.

A program of its own that needs nothing but Python, for the client machine. Not curl into sha256sum: two programs and a
pipe for each layer take more of the processors than the mirror that is measured beside them.
"""

import hashlib
import json
import multiprocessing
import ssl
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

# dockerd's max-concurrent-downloads.
PARALLEL = 3
_BLOCK = 1 << 18


class FailedError(Exception):
    """A pull that was not right."""

    wrong = False


class WrongBytesError(FailedError):
    """Bytes that are all there and are not what their digest says."""

    wrong = True


class Client:
    """One pull: a connection for each thread that asks, as long as it lasts."""

    def __init__(self, asked: Namespace, context: ssl.SSLContext) -> None:
        self.asked, self.context = asked, context
        self.connections: dict[int, HTTPSConnection] = {}

    def pull(self) -> None:
        """/v2/, HEAD and GET of the tag, the platform's manifest, then config and layers; FailedError with a reason."""
        name = f"/v2/{self.asked.repository}"
        try:
            self._ask("GET", "/v2/")
            self._ask("HEAD", f"{name}/manifests/{self.asked.tag}")
            manifest = json.loads(self._ask("GET", f"{name}/manifests/{self.asked.tag}"))
            if "manifests" in manifest:
                digest = _platform(manifest)
                manifest = json.loads(self._ask("GET", f"{name}/manifests/{digest}", digest))
            wanted = [one["digest"] for one in (manifest["config"], *manifest["layers"])]
            with ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(lambda digest: self._ask("GET", f"{name}/blobs/{digest}", digest, keep=False), wanted))
        finally:
            for connection in self.connections.values():
                connection.close()

    def _ask(self, method: str, path: str, digest: str = "", keep: bool = True) -> bytes:
        """The body, of a blob only its verification."""
        try:
            connection = self._connection()
            connection.request(method, path, headers={"Accept": self.asked.accept, "Accept-Encoding": "identity"})
            with connection.getresponse() as response:
                if response.status != 200:
                    raise FailedError(f"{method} {path}: HTTP {response.status}")
                content, found = read_verified(response, keep)
        except (OSError, HTTPException) as error:
            raise FailedError(f"{method} {path}: {error!r}") from error
        if digest and found != digest:
            raise WrongBytesError(f"{method} {path}: {found}")
        return content

    def _connection(self) -> HTTPSConnection:
        me = threading.get_ident()
        if me not in self.connections:
            at = urlsplit(self.asked.url)
            assert at.hostname
            self.connections[me] = HTTPSConnection(
                at.hostname, at.port, timeout=self.asked.patience, context=self.context
            )
        return self.connections[me]


def read_verified(response: HTTPResponse, keep: bool) -> tuple[bytes, str]:
    """Read it to its end: what of it is kept, and its digest; OSError when it was cut off."""
    kept, sha, size = bytearray(), hashlib.sha256(), 0
    # http.client counts it down, and takes an early end for the end; 0 of a HEAD.
    promised = response.length
    block = memoryview(bytearray(_BLOCK))
    while count := response.readinto(block):
        sha.update(block[:count])
        size += count
        if keep:
            kept += block[:count]
    if promised is not None and size != promised:
        raise OSError(f"cut off after {size} of {promised} bytes")
    return bytes(kept), f"sha256:{sha.hexdigest()}"


def _platform(index: dict[str, Any]) -> str:
    for entry in index["manifests"]:
        if entry.get("platform", {}).get("architecture") == "amd64":
            return str(entry["digest"])
    raise FailedError("the index has nothing for amd64")


def _one(asked: Namespace) -> None:
    """Pull once and say how it went: one line, however many processes say something."""
    started = time.monotonic()
    try:
        context = ssl.create_default_context(cafile=asked.ca)
        Client(asked, context).pull()
        said: dict[str, object] = {"seconds": time.monotonic() - started}
    except FailedError as error:
        said = {"failed": str(error), "wrong": error.wrong}
    except (ValueError, LookupError, TypeError) as error:
        said = {"failed": f"not a manifest: {error!r}", "wrong": False}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _again(asked: Namespace) -> None:
    until = time.monotonic() + asked.seconds
    while time.monotonic() < until:
        _one(asked)


def main() -> None:
    """`python3 herd.py --help`."""
    parser = ArgumentParser(
        description='Prints a line for each pull: {"seconds": S} or {"failed": WHY, "wrong": BOOL}.'
    )
    parser.add_argument("--clients", type=int, default=1, help="as many processes")
    parser.add_argument("--pulls", type=int, default=1, help="of all clients together")
    parser.add_argument("--seconds", type=float, help="instead: pull again and again for so long")
    parser.add_argument("--patience", type=float, default=900, help="seconds that a client waits for the next bytes")
    for name in ("url", "ca", "accept", "repository", "tag"):
        parser.add_argument(name)
    asked = parser.parse_args()
    work, count = (_one, asked.pulls) if asked.seconds is None else (_again, asked.clients)
    # Made before the first of them begins, and by fork: a start of Python each would be part of what is measured.
    with multiprocessing.get_context("fork").Pool(asked.clients) as pool:
        pool.map(work, [asked] * count, chunksize=1)


if __name__ == "__main__":
    main()
