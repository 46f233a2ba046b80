"""The push registry behind the edge answers as a bare one of the same version: the same requests, to both."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from loadtests.support.registry.media_types import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)
from registry_stack.docker.machine import Machine, MachineSpec
from tests.integration.client import PushClient, digest
from tests.integration.host import Host
from tests.integration.session import Run
from tests.support.deadlines import wait_until

REPO, OTHER = "compared/app", "compared/other"
# What a client reads in an answer.
HEADERS = (
    *("Content-Type", "Content-Range", "Docker-Content-Digest", "Location", "Range", "Link", "Allow", "ETag"),
    *("Docker-Distribution-Api-Version", "OCI-Subject", "OCI-Filters-Applied", "Accept-Ranges"),
)
LAYER, CONFIG = b"layer" * 2000, b'{"architecture":"amd64","os":"linux"}'
_RANDOM = re.compile(r"[0-9a-f-]{36}|_state=[^&]*|https?://[^/]*|boundary=.*")
_BOUNDARY = re.compile(rb"[0-9a-f]{60}")


@dataclass
class Conversation:
    """Requests to one registry, and what it has answered to each."""

    client: PushClient
    answers: list[tuple[Any, ...]] = field(default_factory=list)

    def ask(self, what: str, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request and note its answer, without what is another each time."""
        answer = self.client.request(method, path, **arguments)
        headers = {name: _RANDOM.sub("*", answer.headers[name]) for name in HEADERS if name in answer.headers}
        try:
            body: Any = [error["code"] for error in answer.json()["errors"]]
        except (ValueError, KeyError, TypeError):
            body = _BOUNDARY.sub(b"*", answer.content) if answer.ok else b""
        self.answers.append((what, method, answer.status_code, headers, body))
        return answer

    def upload(self, what: str) -> str:
        """Start an upload."""
        return self.client.location(self.ask(what, "POST", f"/v2/{REPO}/blobs/uploads/"))

    def put_manifest(self, what: str, reference: str, document: dict[str, Any] | bytes, media_type: str) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        path = f"/v2/{REPO}/manifests/{reference}"
        self.ask(what, "PUT", path, data=content, headers={"Content-Type": media_type})


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": descriptor(OCI_CONFIG, CONFIG),
    "layers": [descriptor(OCI_LAYER, LAYER)],
}
CONTENT = json.dumps(MANIFEST).encode()


def uploads(to: Conversation) -> None:
    """Monolithic, streamed, chunked, cancelled; out of order, with a wrong digest, mounted."""
    octets = {"Content-Type": "application/octet-stream"}
    to.ask("a single POST", "POST", f"/v2/{REPO}/blobs/uploads/?digest={digest(CONFIG)}", data=CONFIG, headers=octets)
    to.ask("monolithic", "PUT", to.upload("start"), params={"digest": digest(CONFIG)}, data=CONFIG, headers=octets)
    streamed = to.ask("streamed", "PATCH", to.upload("start"), data=iter([LAYER[:1], LAYER[1:]]), headers=octets)
    to.ask("status", "GET", to.client.location(streamed))
    to.ask("end", "PUT", to.client.location(streamed), params={"digest": digest(LAYER)})
    for content_range in ("8-9", "bytes 1", "1-0"):
        url = to.upload("start")
        first = to.ask("chunk", "PATCH", url, data=b"0123", headers={**octets, "Content-Range": "0-3"})
        headers = {**octets, "Content-Range": content_range}
        to.ask(f"chunk {content_range}", "PATCH", to.client.location(first), data=b"89", headers=headers)
    url = to.upload("start")
    first = to.ask("chunk", "PATCH", url, data=b"0123", headers={**octets, "Content-Range": "0-3"})
    to.ask("status", "GET", to.client.location(first))
    second = to.ask(
        "chunk", "PATCH", to.client.location(first), data=b"4567", headers={**octets, "Content-Range": "4-7"}
    )
    last = {"params": {"digest": digest(b"0123456789")}, "data": b"89", "headers": {**octets, "Content-Range": "8-9"}}
    to.ask("the last chunk with the end", "PUT", to.client.location(second), **last)
    to.ask("wrong digest", "PUT", to.upload("start"), params={"digest": digest(b"x")}, data=b"y", headers=octets)
    for bad in ("sha256:1", "md5:d41d8cd98f00b204e9800998ecf8427e", "x", ""):
        to.ask(f"digest {bad}", "PUT", to.upload("start"), params={"digest": bad}, data=b"y", headers=octets)
    to.ask("no digest", "PUT", to.upload("start"), data=b"y", headers=octets)
    to.ask("cancel", "DELETE", to.upload("start"))
    to.ask("unknown upload", "GET", f"/v2/{REPO}/blobs/uploads/1f1ac2bd-7a61-4a3c-8e0e-4bdfc7ef0f9e")
    for query in (f"mount={digest(LAYER)}&from={REPO}", f"mount={digest(b'no')}&from={REPO}", f"mount={digest(LAYER)}"):
        to.ask("mount", "POST", f"/v2/{OTHER}/blobs/uploads/?{query}")
    to.ask("expects 100", "PUT", to.upload("start"), params={"digest": digest(b"")}, headers={"Expect": "100-continue"})


def blobs(to: Conversation) -> None:
    """HEAD, ranges, conditions, unknown and invalid digests."""
    path = f"/v2/{REPO}/blobs/{digest(LAYER)}"
    to.ask("head", "HEAD", path)
    to.ask("encoded", "GET", path.replace("sha256:", "sha256%3A"))
    for wanted in ("bytes=0-9", "bytes=5-", "bytes=-5", "bytes=0-0,-1", "bytes=99999-", "bytes=9-1", "lines=1-2"):
        to.ask(wanted, "GET", path, headers={"Range": wanted})
    to.ask("not changed", "GET", path, headers={"If-None-Match": f'"{digest(LAYER)}"'})
    for bad in (digest(b"unknown"), "sha256:1", "sha512:" + "0" * 128, "x", "sha256:" + "G" * 64):
        for method in ("GET", "HEAD", "DELETE"):
            to.ask(bad, method, f"/v2/{REPO}/blobs/{bad}")


def manifests(to: Conversation) -> None:
    """Of each kind, valid and not."""
    for reference in ("1", "2", "latest", digest(CONTENT)):
        to.put_manifest("manifest", reference, CONTENT, OCI_MANIFEST)
    to.put_manifest("wrong digest", digest(b"x"), CONTENT, OCI_MANIFEST)
    to.put_manifest("bad tag", "-bad", CONTENT, OCI_MANIFEST)
    to.put_manifest("long tag", "x" * 129, CONTENT, OCI_MANIFEST)
    for content in (b"", b"{", b"[]", b"{}"):
        to.put_manifest("bad content", "bad", content, OCI_MANIFEST)
    to.put_manifest("unknown media type", "bad", CONTENT, "application/x-unknown")
    to.put_manifest("another media type", "bad", CONTENT, DOCKER_MANIFEST)
    to.put_manifest("unknown blob", "bad", MANIFEST | {"layers": [descriptor(OCI_LAYER, b"no")]}, OCI_MANIFEST)
    foreign = descriptor(OCI_LAYER.replace("layer.", "layer.nondistributable."), b"no") | {"urls": ["https://a.test/b"]}
    to.put_manifest("foreign layer", "foreign", MANIFEST | {"layers": [foreign]}, OCI_MANIFEST)
    signature = MANIFEST | {"artifactType": "application/x", "subject": descriptor(OCI_MANIFEST, CONTENT)}
    to.put_manifest("subject", "signature", signature, OCI_MANIFEST)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST, CONTENT)]}
    to.put_manifest("index", "index", index, OCI_INDEX)
    to.put_manifest("unknown manifest", "bad", index | {"manifests": [descriptor(OCI_MANIFEST, b"no")]}, OCI_INDEX)
    for reference in ("1", digest(CONTENT), "none", digest(b"none"), "sha256:1", "index"):
        for accept in (OCI_MANIFEST, DOCKER_MANIFEST, "*/*", f"{OCI_INDEX}, {OCI_MANIFEST}", "x" * 12_000):
            for method in ("GET", "HEAD"):
                path = f"/v2/{REPO}/manifests/{reference}"
                to.ask(f"{reference} as {accept[:40]}", method, path, headers={"Accept": accept})
    to.ask("not changed", "GET", f"/v2/{REPO}/manifests/1", headers={"If-None-Match": f'"{digest(CONTENT)}"'})
    to.ask("referrers", "GET", f"/v2/{REPO}/referrers/{digest(CONTENT)}")


def lists(to: Conversation) -> None:
    """Tags and repositories, in pages."""
    for query in ("", "n=1", "n=1&last=1", "n=2&last=latest", "n=0", "n=-1", "n=x", "n=100000", "last=zzz"):
        to.ask(f"tags {query}", "GET", f"/v2/{REPO}/tags/list?{query}")
        to.ask(f"catalog {query}", "GET", f"/v2/_catalog?{query}")
        # Only the status: behind the edge there are other tests' repositories as well.
        to.answers[-1] = to.answers[-1][:3]
    to.ask("unknown repository", "GET", "/v2/compared/none/tags/list")


def others(to: Conversation) -> None:
    """The base, names that are none, methods that are not allowed, and deleting."""
    to.ask("base", "GET", "/v2/")
    to.ask("base", "HEAD", "/v2/")
    for method in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS"):
        to.ask("not allowed", method, "/v2/")
        to.ask("not allowed", method, f"/v2/{REPO}/tags/list")
    for name in ("UPPER/case", "a--b/c_d", "a/b/c/d/e/f", "-a", "a" * 250, "blobs/uploads", "manifests"):
        to.ask(name[:20], "GET", f"/v2/{name}/tags/list")
        to.ask(name[:20], "GET", f"/v2/{name}/manifests/1")
    to.ask("no such path", "GET", f"/v2/{REPO}/none")
    for reference in ("2", digest(CONTENT), digest(CONTENT)):
        to.ask("delete a manifest", "DELETE", f"/v2/{REPO}/manifests/{reference}")
    to.ask("deleted", "GET", f"/v2/{REPO}/manifests/1")
    for _time in range(2):
        to.ask("delete a blob", "DELETE", f"/v2/{OTHER}/blobs/{digest(LAYER)}")
    to.ask("deleted", "HEAD", f"/v2/{OTHER}/blobs/{digest(LAYER)}")


@pytest.fixture(scope="module")
def bare(this_run: Run, filesystem_host: Host) -> Iterator[PushClient]:
    """A registry of the same image with the same settings, and nothing in front of it."""
    settings = {"HTTP_NET": "tcp", "HTTP_ADDR": ":5000", "STORAGE_CACHE_BLOBDESCRIPTOR": "inmemory"}
    settings |= {"STORAGE_FILESYSTEM_ROOTDIRECTORY": "/tmp/registry"}
    path = "/etc/docker-registry/registry.yml"
    spec = MachineSpec(
        image=filesystem_host.values["registry_image"],
        name=f"{this_run.prefix}-bare",
        labels=this_run.labels,
        ports={5000: ("127.0.0.1", None)},
        environment={f"REGISTRY_{name}": value for name, value in settings.items()},
        command=["serve", path],
        files={path: (filesystem_host.read(path).encode(), 0o644)},
    )
    machine = Machine.boot(this_run.client, spec)
    client = PushClient(f"http://127.0.0.1:{machine.port(5000)}")

    def probe() -> str | None:
        try:
            return None if client.request("GET", "/v2/").ok else "an error"
        except requests.ConnectionError as error:
            return str(error)

    wait_until(probe, 20, "the bare registry", log=machine.logs)
    yield client
    machine.remove()


def test_answers_are_those_of_a_bare_registry(filesystem_host: Host, bare: PushClient) -> None:
    conversations = [Conversation(bare), Conversation(filesystem_host.registry)]
    for conversation in conversations:
        for chapter in (uploads, blobs, manifests, lists, others):
            chapter(conversation)
    direct, through_the_edge = (conversation.answers for conversation in conversations)
    assert len(direct) > 150
    assert {answer[2] for answer in direct} >= {200, 201, 202, 204, 206, 400, 404, 405, 416}
    differences = [pair for pair in zip(direct, through_the_edge, strict=True) if pair[0] != pair[1]]
    assert not differences, "\n".join(f"bare: {bare}\nedge: {edge}" for bare, edge in differences)


def test_base_without_a_slash(filesystem_host: Host) -> None:
    """A bare registry redirects it."""
    assert filesystem_host.registry.status("GET", "/v2") == 200
