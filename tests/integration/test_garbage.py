"""Delete and garbage collection, on each storage, by the host's own registry-gc."""

import secrets
import threading
from collections.abc import Iterator
from functools import partial

from registry_stack.docker.exec import ExecResult
from tests.integration.client import PushClient, digest
from tests.integration.host import REDIS, REGISTRY, Host
from tests.integration.swift import Swift
from tests.integration.test_swift import CONTAINER, object_of
from tests.support.deadlines import wait_until
from tests.support.oci import Layer

FLAG = "/run/registry/gc/read-only"


def collect(host: Host, **environment: str) -> ExecResult:
    """What the timer starts, without the wait for a pause in the pushes."""
    return host.exec("/opt/registry/registry-gc", **{"GC_QUIET": "0", **environment})


def test_delete_and_collect(push_host: Host) -> None:
    registry, repo = push_host.registry, f"garbage/{secrets.token_hex(4)}"
    shared = Layer(50_000, f"{repo} shared")
    gone, kept = (registry.push(repo, tag, [shared, size]) for tag, size in (("gone", 60_000), ("kept", 70_000)))
    # Into the cache of descriptors, which would go on promising them.
    registry.pull(repo, "gone")
    registry.delete(repo, gone.digest)
    result = collect(push_host)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "garbage collected"
    for blob in {gone.config.digest, gone.layers[1].digest}:
        for method in ("HEAD", "GET"):
            assert registry.status(method, f"/v2/{repo}/blobs/{blob}") == 404, method
    assert registry.pull(repo, "kept").digest == kept.digest
    assert registry.status("GET", f"/v2/{repo}/manifests/gone") == 404
    # The same image again: nothing may believe that its blobs are still there.
    assert registry.push(repo, "gone", [shared, 60_000]).digest
    registry.pull(repo, "gone")


def test_collected_blobs_leave_swift(swift_host: Host, swift: Swift) -> None:
    image = swift_host.registry.push("garbage/objects", "1", [80_000])
    assert swift.head(CONTAINER, object_of(image.layers[0])).status_code == 200
    swift_host.registry.delete("garbage/objects", image.digest)
    assert collect(swift_host).code == 0
    assert swift.head(CONTAINER, object_of(image.layers[0])).status_code == 404


def test_collection_truncates_the_write_record(filesystem_host: Host) -> None:
    record = ("stat", "--format", "%s", "/run/registry/writes/last")
    filesystem_host.registry.push("garbage/recorded", "1", [1000])
    assert int(filesystem_host.exec(*record).out) > 0
    assert collect(filesystem_host).code == 0
    assert filesystem_host.exec(*record).out == "0\n"


def test_only_the_push_registrys_cache_is_forgotten(filesystem_host: Host) -> None:
    redis = partial(filesystem_host.exec_in, REDIS, "redis-cli", "-n")
    redis("1", "SET", "of-the-mirror", "1")
    redis("0", "SET", "of-the-registry", "1")
    assert collect(filesystem_host).code == 0
    assert redis("1", "GET", "of-the-mirror") == "1\n"
    assert redis("0", "DBSIZE") == "0\n"


def test_collects_without_redis(filesystem_host: Host) -> None:
    filesystem_host.stop(REDIS)
    try:
        result = collect(filesystem_host)
    finally:
        filesystem_host.start(REDIS)
    assert result.code == 0
    assert "warning: redis does not answer: its cache will be empty when it restarts" in result.err


def test_failed_collection_clears_the_descriptor_cache(filesystem_host: Host) -> None:
    """Some blobs may be gone by then."""
    filesystem_host.exec_in(REDIS, "redis-cli", "-n", "0", "SET", "of-the-registry", "1")
    with filesystem_host.changed(registry_image="registry-stack/none:1"):
        result = collect(filesystem_host)
    assert result.code == 1
    assert "image registry-stack/none:1 cannot be pulled" in result.err
    assert filesystem_host.exec_in(REDIS, "redis-cli", "-n", "0", "DBSIZE") == "0\n"
    assert filesystem_host.exec("test", "-e", FLAG).code == 1
    filesystem_host.registry.push("garbage/after-failure", "1", [1000])


def test_refused_requests_do_not_delay_collection(filesystem_host: Host) -> None:
    """Or whoever knocks at the door would keep garbage from being collected."""
    record = ("stat", "--format", "%s", "/run/registry/writes/last")
    registry = filesystem_host.registry
    registry.push("garbage/known", "1", [1000])
    before = filesystem_host.exec(*record).out
    knocking = PushClient(registry.base_url, verify=str(registry.session.verify))
    assert knocking.status("POST", "/v2/garbage/known/blobs/uploads/") == 401
    assert knocking.status("POST", "/elsewhere") == 404
    assert filesystem_host.exec(*record).out == before


def test_pushes_are_refused_meanwhile(filesystem_host: Host) -> None:
    registry = filesystem_host.registry
    image = registry.push("garbage/meanwhile", "1", [1000])
    filesystem_host.exec("touch", FLAG)
    try:
        for method, path in (
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/1"),
            ("PATCH", "blobs/uploads/x"),
            ("DELETE", f"manifests/{image.digest}"),
        ):
            answer = registry.expect(503, method, f"/v2/garbage/meanwhile/{path}")
            assert answer.headers["Retry-After"] == "15"
            assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
        assert registry.pull("garbage/meanwhile", "1").digest == image.digest
    finally:
        filesystem_host.exec("rm", FLAG)
    registry.push("garbage/meanwhile", "2", [1000])


def test_never_during_a_push(filesystem_host: Host) -> None:
    """An upload that takes its time is not swept away: the collection gives up instead, and pushes go on."""
    host, body = filesystem_host, SlowBody([b"first half", b", second half"])
    uploading = threading.Thread(target=upload, args=(host.registry, body))
    uploading.start()
    try:
        wait_until(lambda: None if body.started.is_set() else "not yet", 10, "the upload to begin")
        wait_until(lambda: None if "blob_upload_chunk" in in_flight(host) else "none", 10, "the upload to be counted")
        result = collect(host, GC_PATIENCE="2")
    finally:
        body.go_on.set()
        uploading.join(20)
    assert result.code == 1
    assert result.err == "error: pushes have not paused for 0 s: nothing was collected, the timer tries again\n"
    assert host.exec("test", "-e", FLAG).code == 1
    blob = digest(b"first half, second half")
    assert host.registry.status("HEAD", f"/v2/garbage/slow/blobs/{blob}") == 200
    assert collect(host).code == 0


class SlowBody:
    """A request body that stops in its middle until it may go on."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.started, self.go_on = threading.Event(), threading.Event()

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[bytes]:
        yield self.parts[0]
        self.started.set()
        self.go_on.wait(60)
        yield from self.parts[1:]


def upload(registry: PushClient, body: SlowBody) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    sent = registry.expect(202, "PATCH", registry.start_upload("garbage/slow"), data=body, headers=headers)
    registry.expect(201, "PUT", registry.location(sent), params={"digest": digest(b"".join(body.parts))})


def in_flight(host: Host) -> str:
    """The push registry's own count of requests that are not over."""
    metrics = host.exec("curl", "-sf", f"http://{host.address(REGISTRY)}:5001/metrics").out
    return "\n".join(
        line
        for line in metrics.splitlines()
        if line.startswith("registry_http_in_flight_requests") and not line.endswith(" 0")
    )


def test_one_at_a_time(filesystem_host: Host) -> None:
    script = "exec 9> /run/registry/gc.lock; flock 9; GC_QUIET=0 /opt/registry/registry-gc || exit"
    result = filesystem_host.exec("bash", "-c", script)
    assert (result.code, result.err) == (1, "error: another garbage collection is running\n")


def test_waits_for_a_pause(filesystem_host: Host) -> None:
    filesystem_host.registry.push("garbage/recent", "1", [1000])
    result = collect(filesystem_host, GC_QUIET="30", GC_PATIENCE="0")
    assert result.code == 1
    assert "pushes have not paused for 30 s" in result.err
