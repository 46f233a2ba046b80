"""Garbage collection of the push registry: what is deleted goes, what is being pushed stays."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import pytest
from requests import Response
from testinfra.host import Host

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.machines.client import login
from tests.host.journal import Journal, journal
from tests.host.targets import Target
from tests.host.waiting import wait_for_file
from tests.support.deadlines import deadline, wait_until
from tests.support.oci import ImageRef, OciClient

READ_ONLY_FILE = "/run/registry/gc/read-only"
PUSHING = "/run/registry/gc/pushing"
DROP_IN = "/run/systemd/system/registry-gc.service.d/test.conf"
CHUNK = 1 << 20
CTR = "ctr --address /run/docker/containerd/containerd.sock --namespace gc images"
# How each pushes the image under a name.
CLIENTS = {
    "docker": "docker push {}",
    "containerd": f'{CTR} push --tlscacert /root/ca.crt --user "$(cat /login)" {{}} docker.io/library/pushed:latest',
    "skopeo": "skopeo copy docker-archive:/pushed.tar docker://{}",
}
READ_ONLY = "the registry is starting, has failed or collects garbage"


@pytest.fixture(scope="module", autouse=True)
def impatient(target: Target, host: Host) -> Iterator[None]:
    """Garbage collection that waits for a second without pushes, not for five minutes."""
    host.check_output(f"mkdir -p $(dirname {DROP_IN})")
    target.write(DROP_IN, b"[Service]\nEnvironment=GC_QUIET=1 GC_PATIENCE=5\n")
    host.check_output("systemctl daemon-reload")
    yield
    host.check_output(f"rm -r $(dirname {DROP_IN}) && systemctl daemon-reload && systemctl reset-failed registry-gc")


def stored(host: Host, image: ImageRef) -> list[str]:
    """The layers of an image that are still in the store of the push registry."""
    digests = (layer.digest.split(":")[1] for layer in image.layers)
    path = "/var/lib/registry/push/docker/registry/v2/blobs/sha256/{}/{}/data"
    return [digest for digest in digests if host.file(path.format(digest[:2], digest)).exists]


def make_garbage(registry: OciClient) -> None:
    """Without any, nothing is collected."""
    registry.delete("gc/garbage", registry.push("gc/garbage", "1", [1000]).digest)


def test_deleted_image_is_gone_and_can_be_pushed_again(host: Host, registry: OciClient) -> None:
    kept = registry.push("gc/kept", "1", [30_000])
    deleted = registry.push("gc/deleted", "1", [40_000, 50_000])
    registry.pull("gc/deleted", "1")
    registry.delete("gc/deleted", deleted.digest)
    assert len(stored(host, deleted)) == 2
    host.check_output("systemctl start registry-gc")
    assert stored(host, deleted) == []
    for blob in deleted.layers:
        registry.expect(404, "HEAD", f"/v2/gc/deleted/blobs/{blob.digest}")
    assert registry.pull("gc/kept", "1").digest == kept.digest
    # A descriptor left in the cache would let the registry believe that it has the blobs.
    assert registry.push("gc/deleted", "1", [40_000, 50_000]).digest == deleted.digest
    assert registry.pull("gc/deleted", "1").layers == deleted.layers


def test_pushes_are_refused_while_it_collects(host: Host, registry: OciClient) -> None:
    make_garbage(registry)
    image = registry.push("gc/meanwhile", "1", [1000])
    refused: list[Response] = []

    def probe() -> str | None:
        answer = registry.request("PUT", "/v2/gc/refused/manifests/1")
        if answer.status_code == 503:
            refused.append(answer)
            assert registry.pull("gc/meanwhile", "1").digest == image.digest
            return None
        return f"PUT answers {answer.status_code}"

    with ThreadPoolExecutor(1) as background:
        collecting = background.submit(host.check_output, "systemctl start registry-gc")
        wait_for_file(host, READ_ONLY_FILE, 30)
        wait_until(probe, 5, "a refused push", poll_s=0.02)
        collecting.result(deadline(host, 60))
    assert int(refused[0].headers["Retry-After"]) > 0
    assert READ_ONLY in refused[0].json()["errors"][0]["message"]
    registry.push("gc/afterwards", "1", [1000])


class SlowBody:
    """An upload that stops in the middle until it is told to go on."""

    def __init__(self) -> None:
        self.half_sent, self.go_on = threading.Event(), threading.Event()

    def __len__(self) -> int:
        return 2 * CHUNK

    def __iter__(self) -> Iterator[bytes]:
        yield bytes(CHUNK)
        self.half_sent.set()
        self.go_on.wait(60)
        yield bytes(CHUNK)


@contextmanager
def slow_upload(registry: OciClient) -> Iterator[None]:
    """An upload that is in progress until the context ends, and complete afterwards."""
    body, location = SlowBody(), registry.start_upload("gc/slow")
    with ThreadPoolExecutor(1) as background:
        upload = background.submit(partial(registry.request, "PATCH", location, data=body))
        try:
            assert body.half_sent.wait(10)
            yield
        finally:
            body.go_on.set()
        sent = upload.result(30)
    assert sent.status_code == 202
    digest = f"sha256:{sha256(bytes(2 * CHUNK)).hexdigest()}"
    registry.expect(201, "PUT", registry.location(sent), params={"digest": digest})


@dataclass(frozen=True)
class Pusher:
    """A Docker host that is logged in, with an image to push."""

    machine: Machine
    registry: str

    def push(self, client: str) -> None:
        """Push the image once, with one of CLIENTS."""
        self.machine.exec(["sh", "-euc", CLIENTS[client].format(self.reference(client))], timeout=400)

    def reference(self, client: str) -> str:
        return f"{self.registry}/gc/by-{client}:latest"


@pytest.fixture
def pusher(target: Target) -> Pusher:
    machine, deployment = target.client("gc"), target.deployment
    login(machine, deployment, target.fqdn)
    machine.exec(["sh", "-c", "tar c /etc/os-release | docker import - pushed && docker save pushed > /pushed.tar"])
    machine.put("/login", f"{deployment.registry_username}:{deployment.password}".encode(), 0o600)
    pusher = Pusher(machine, f"{target.fqdn}:5000")
    machine.exec(["docker", "tag", "pushed", pusher.reference("docker")])
    machine.exec(["sh", "-c", f"{CTR} import /pushed.tar"])
    return pusher


def test_clients_push_while_an_upload_delays_the_collection(host: Host, registry: OciClient, pusher: Pusher) -> None:
    """Out of patience, it lets the upload end; each client waits, and its only try succeeds."""
    since = journal(host)
    make_garbage(registry)
    with ThreadPoolExecutor(len(CLIENTS)) as background:
        with slow_upload(registry):
            host.check_output("systemctl start --no-block registry-gc")
            wait_for_file(host, f"{PUSHING}/gc/slow/_", 30)
            pushing = [background.submit(pusher.push, client) for client in CLIENTS]
        assert since.until("registry-gc", "garbage collected")
        for push in pushing:
            push.result()
    for client in CLIENTS:
        registry.pull(f"gc/by-{client}", "latest")


def waiting(since: Journal) -> str | None:
    """A probe: an upload of each client has waited, and been refused all the same."""
    refused = [line for line in since.lines("docker-registry-edge", "POST /v2/gc/by-") if " 503 " in line]
    left = [client for client in CLIENTS if not any(f"by-{client}/" in line for line in refused)]
    return f"no upload of {', '.join(left)} is refused" if left else None


@pytest.mark.long
def test_clients_push_in_a_window_that_is_longer_than_they_wait(
    host: Host, registry: OciClient, pusher: Pusher
) -> None:
    """Docker goes on trying; the others fail, and the same command succeeds afterwards."""
    since, closed = journal(host), threading.Event()

    def push_until_it_succeeds(client: str) -> None:
        while True:
            try:
                return pusher.push(client)
            except RegistryStackError:
                if client == "docker" or not closed.wait(300):
                    raise

    host.check_output(f"mkdir {PUSHING} && touch {READ_ONLY_FILE}")
    with ThreadPoolExecutor(len(CLIENTS)) as background:
        pushing = [background.submit(push_until_it_succeeds, client) for client in CLIENTS]
        try:
            wait_until(lambda: waiting(since), deadline(host, 120), "refused uploads")
        finally:
            host.check_output(f"rm -r {READ_ONLY_FILE} {PUSHING}")
            closed.set()
        for push in pushing:
            push.result()
    for client in CLIENTS:
        registry.pull(f"gc/by-{client}", "latest")


def test_killed_collection_ends_read_only_mode(host: Host, registry: OciClient) -> None:
    make_garbage(registry)
    with ThreadPoolExecutor(1) as background:
        collecting = background.submit(host.run, "systemctl start registry-gc")
        wait_for_file(host, READ_ONLY_FILE, 30)
        host.check_output("systemctl kill --signal KILL registry-gc")
        assert collecting.result(deadline(host, 60)).failed
    # A client killed while it creates the container leaves one that nobody starts.
    assert not host.check_output("docker ps --quiet --filter name=docker-registry-gc"), "nothing sweeps any more"
    registry.push("gc/after-kill", "1", [1000])


def test_record_of_writes_does_not_fill_the_memory(host: Host) -> None:
    record = "/run/registry/writes/last"
    host.check_output(f"truncate --size 5M {record} && /opt/registry/collect-slow-metrics")
    assert host.file(record).size == 0
