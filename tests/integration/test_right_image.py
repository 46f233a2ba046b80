"""Whatever a request looks like, the mirror answers with what the upstream that it means serves, or refuses it.

REGISTRY_STACK_RIGHT_IMAGE_SECONDS is how long requests are made up; REGISTRY_STACK_RIGHT_IMAGE_SEED repeats a run.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from loadtests.support.registry.media_types import ACCEPT
from tests.integration.client import digest
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.oci import OciClient
from tests.support.personalities import Personalities
from tests.support.personality_server import TAGS, config_of, layer_of, manifest_of

SECONDS = float(os.environ.get("REGISTRY_STACK_RIGHT_IMAGE_SECONDS", "45"))
SEED = os.environ.get("REGISTRY_STACK_RIGHT_IMAGE_SEED") or str(random.randrange(10**6))
CLIENTS = 4
# The upstreams: "default" stands for Docker Hub; "hub" is Docker Hub by name; one has a port, one a path.
URLS = {
    "default": "http://first.test:9100",
    "hub": "http://registry-1.docker.io",
    "one": "http://one.test:9102",
    "two": "http://two.test:9103/registry",
    "three": "http://three.one.test:9104",
}
# What ns= or the first part of a path has to be for an upstream to be meant, besides its host.
HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
NAMES = ["app", "library/app", "team/app", "a/b/c/d/e", "manifests", "team/blobs", "tags/list", "team/missing"]
# A client names an upstream in front of a repository's name, and repositories are named after upstreams.
PREFIXES = ["", "", "docker.io", "index.docker.io", "first.test", "one.test", "two.test", "three.one.test", "ghcr.io"]
PREFIXES += ["one", "registry-1.docker.io", "one.test/two.test", "docker.io/docker.io", "blobs", "v2"]
NAMESPACES = ["", *HUB, "ghcr.io", "notdocker.io", "one", "one.test", "DOCKER.IO", "docker.io:443", "one.test:1"]
NAMESPACES += [host for url in URLS.values() for host in (urlsplit(url).netloc, urlsplit(url).netloc.upper())]
HOSTS = [
    "",
    "",
    "",
    *(f"{name}.registry.localdomain" for name in URLS),
    "one.registry",
    "ONE.localhost",
    "six.localhost",
]
REPOSITORIES = sorted(
    {f"{prefix}/{name}".strip("/") for prefix in PREFIXES for name in NAMES} | {"one.test", "docker.io"}
)


def port_of(upstream: str) -> int:
    return urlsplit(URLS[upstream]).port or 80


def hosts_of(upstream: str) -> set[str]:
    """What selects an upstream: its host with its port, as ns=."""
    host = urlsplit(URLS[upstream]).netloc
    return set(HUB) if upstream == "hub" else {host}


def paths_of(upstream: str) -> set[str]:
    """What selects an upstream as the first part of a path, where no port fits."""
    return {host.partition(":")[0] for host in hosts_of(upstream)}


@dataclass(frozen=True)
class Question:
    """A request, as a client may send it."""

    method: str
    repository: str
    kind: str
    reference: str
    ns: str
    host: str
    encoded: bool = field(default=False)

    @property
    def url(self) -> str:
        """Its path and query."""
        ns = self.ns.replace(":", "%3A") if self.encoded else self.ns
        return f"/v2/{self.repository}/{self.kind}/{self.reference}{f'?ns={ns}' if ns else ''}"

    @cached_property
    def meant(self) -> tuple[str, str] | None:
        """The model: which upstream is meant, and which repository there; None if the mirror does not serve that one.

        ns= decides, then the host name, then the first part of the path, if a repository's name follows. That part
        belongs to the name unless it alone selects, or says the same as ns=.
        """
        first, _slash, rest = self.repository.partition("/")
        ns = self.ns.lower()
        by_path = next((name for name in URLS if rest and first in paths_of(name)), "")
        by_host = self.host.lower().partition(".")[0]
        if ns:
            selected = next((name for name in URLS if ns in hosts_of(name)), "")
            strip = bool(by_path) and first == ns.partition(":")[0]
            return (selected, rest if strip else self.repository) if selected else None
        if self.host and by_host in URLS and by_host != "default":
            return by_host, self.repository
        return (by_path, rest) if by_path else ("default", self.repository)


class Upstreams:
    """What each of them serves, asked without a mirror in between."""

    def __init__(self, machine: Personalities) -> None:
        self._address = machine.machine.address
        self.direct = cache(self._direct)

    def _direct(self, upstream: str, path: str) -> tuple[int, bytes, str]:
        """Status, content and digest."""
        url = f"http://{self._address}:{port_of(upstream)}{urlsplit(URLS[upstream]).path}{path}"
        answer = requests.get(url, timeout=30)
        return answer.status_code, answer.content, answer.headers.get("Docker-Content-Digest", "")

    @cached_property
    def blobs(self) -> dict[str, set[str]]:
        """The digests of each upstream's blobs: the mirror finds a blob by its digest, in whatever repository."""
        return {
            name: {digest(blob) for repo in REPOSITORIES for blob in (layer_of(repo), config_of(repo, port_of(name)))}
            for name in URLS
        }


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    further = ",".join(f"{name}={url}" for name, url in URLS.items() if name != "default")
    return make_host("right-image", upstream_url=URLS["default"], upstreams=further, tag_ttl_seconds=2)


@pytest.fixture(scope="module")
def upstreams(this_run: Run, host: Host) -> Upstreams:
    personalities = {name: {"port": port_of(name), "prefix": urlsplit(url).path} for name, url in URLS.items()}
    # A storage of other ports' is not needed; its port is where settings are changed.
    hosts = [urlsplit(url).hostname or "" for url in URLS.values()]
    started = Personalities.start(this_run.client, host.network.name, this_run.labels, personalities, hosts)
    host.start(REDIS, EDGE, FETCH, PROXY, *(f"{PROXY}@{name}" for name in URLS if name != "default"))
    return Upstreams(started)


def question(made_up: random.Random) -> Question:
    """A random one; half of those by digest ask for what another upstream or repository has."""
    repository = made_up.choice(REPOSITORIES)
    kind = made_up.choice(["manifests", "manifests", "manifests", "blobs", "blobs", "tags"])
    ns, host = made_up.choice(NAMESPACES), made_up.choice(HOSTS)
    question = Question("GET", repository, "tags", "list", ns, host)
    upstream, name = question.meant or ("default", repository)
    if made_up.random() < 0.3:
        upstream = made_up.choice(list(URLS))
    port = port_of(upstream)
    reference = {
        "manifests": made_up.choice(["1", "1", TAGS[2], "none", digest(manifest_of(name, port))]),
        "blobs": digest(made_up.choice([layer_of(name), config_of(name, port)])),
        "tags": "list",
    }[kind]
    return Question(
        made_up.choice(["GET", "GET", "HEAD"]), repository, kind, reference, ns, host, made_up.random() < 0.5
    )


def fault_of(asked: Question, answer: requests.Response, upstreams: Upstreams) -> str:
    """Why this answer is wrong; nothing if it is right."""
    if asked.meant is None:
        return "" if answer.status_code == 404 else "answered for a registry that the mirror does not serve"
    upstream, repository = asked.meant
    status, content, _digest = upstreams.direct(upstream, f"/v2/{repository}/{asked.kind}/{asked.reference}")
    if answer.status_code == 200 and asked.kind == "blobs":
        if asked.reference not in upstreams.blobs[upstream]:
            return f"{upstream} does not have this blob"
        wrong = asked.method == "GET" and digest(answer.content) != asked.reference
        return "not the blob of this digest" if wrong else ""
    if answer.status_code != status:
        return f"{upstream} answers {status} to {repository}"
    if status != 200:
        return ""
    if asked.method == "GET" and answer.content != content:
        return f"not what {upstream} has as {repository}"
    if asked.kind == "manifests" and answer.headers["Docker-Content-Digest"] != digest(content):
        return f"not the digest of {upstream}'s {repository}"
    return "" if int(answer.headers["Content-Length"]) == len(content) else "another length"


def ask(mirror: OciClient, upstreams: Upstreams, seed: str, until: float) -> Iterable[tuple[str, str]]:
    """Ask until that time; status and fault of each."""
    made_up = random.Random(seed)
    while time.monotonic() < until:
        asked = question(made_up)
        headers: dict[str, Any] = {"Accept": ACCEPT} | ({"Host": asked.host} if asked.host else {})
        answer = mirror.request(asked.method, asked.url, headers=headers)
        fault = fault_of(asked, answer, upstreams)
        yield (
            f"{asked.kind} {answer.status_code}",
            f"{asked}: HTTP {answer.status_code}, {fault}: {answer.text[:200]}" if fault else "",
        )


def test_right_image(host: Host, upstreams: Upstreams, record_property: Any) -> None:
    # Each writes the CA's file, so they are made before one of them reads it.
    mirrors = [host.mirror for _number in range(CLIENTS)]
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(lambda number: list(ask(mirrors[number], upstreams, f"{SEED}-{number}", until)), number)
            for number in range(CLIENTS)
        ]
        found = [one for client in clients for one in client.result()]
    counts = Counter(status for status, _fault in found)
    print(f"seed {SEED}: {len(found)} requests, {dict(sorted(counts.items()))}")
    faults = [fault for _status, fault in found if fault]
    assert not faults, f"seed {SEED}: {len(faults)} of {len(found)} wrong\n" + "\n".join(faults[:20])
    for kind in ("manifests", "blobs", "tags"):
        assert counts[f"{kind} 200"] > 10, counts
        assert counts[f"{kind} 404"] > 10, counts
