"""Delete and garbage collection, on each storage, by the host's own registry-gc."""

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from registry_stack.docker.exec import ExecResult
from tests.integration.client import PushClient, digest
from tests.integration.host import REDIS, REGISTRY, Host
from tests.integration.swift import Swift
from tests.integration.test_swift import CONTAINER, object_of
from tests.support.deadlines import wait_until
from tests.support.oci import AnswerError, ImageRef, Layer

FLAG = "/run/registry/gc/read-only"
PUSHING = "/run/registry/gc/pushing"
GARBAGE = "/var/lib/registry/push/docker/registry/v2/blobs/sha256/00"
GARBAGE_BLOBS = 5_000
FILL_WITH_GARBAGE = f"""
mkdir -p {GARBAGE} && cd {GARBAGE}
seq -f %064.0f {GARBAGE_BLOBS} | xargs mkdir
seq -f %064.0f/data {GARBAGE_BLOBS} | xargs touch
chown -R 65532:65532 .
"""
COUNT_GARBAGE = f"find {GARBAGE} -path '*/00000000*/data' | wc -l"
# The limit ends the collection by SIGALRM: now, instead of after a while.
REACH_THE_LIMIT_IN_THE_SWEEP = f"""
until (($({COUNT_GARBAGE}) < {GARBAGE_BLOBS})); do :; done
docker pause docker-registry-gc
pkill --signal ALRM --full '^timeout --kill-after'
"""


def collect(host: Host, **environment: str) -> ExecResult:
    """What the timer starts, without the wait for a pause in the pushes."""
    return host.exec("/opt/registry/registry-gc", **{"GC_QUIET": "0", **environment})


def make_garbage(host: Host) -> ImageRef:
    """An image that has been pushed and deleted: without any, nothing is collected."""
    repo = f"garbage/{secrets.token_hex(4)}"
    image = host.registry.push(repo, "1", [1000])
    host.registry.delete(repo, image.digest)
    return image


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
    make_garbage(filesystem_host)
    assert int(filesystem_host.exec(*record).out) > 0
    assert collect(filesystem_host).code == 0
    assert filesystem_host.exec(*record).out == "0\n"


def test_only_the_push_registrys_cache_is_forgotten(filesystem_host: Host) -> None:
    redis = partial(filesystem_host.exec_in, REDIS, "redis-cli", "-n")
    make_garbage(filesystem_host)
    redis("1", "SET", "of-the-mirror", "1")
    redis("0", "SET", "of-the-registry", "1")
    assert collect(filesystem_host).code == 0
    assert redis("1", "GET", "of-the-mirror") == "1\n"
    assert redis("0", "DBSIZE") == "0\n"


def test_collects_without_redis(filesystem_host: Host) -> None:
    make_garbage(filesystem_host)
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


@contextmanager
def window(host: Host) -> Iterator[None]:
    """Refuse writes as registry-gc does while it collects."""
    assert host.exec("sh", "-c", f"mkdir {PUSHING} && touch {FLAG}").code == 0
    try:
        yield
    finally:
        host.exec("rm", "-r", FLAG, PUSHING)


def test_pushes_are_refused_meanwhile(filesystem_host: Host) -> None:
    registry = filesystem_host.registry
    image = registry.push("garbage/meanwhile", "1", [1000])
    with window(filesystem_host):
        for method, path in (
            ("PUT", "manifests/1"),
            ("PATCH", "blobs/uploads/x"),
            ("DELETE", f"manifests/{image.digest}"),
        ):
            answer = registry.expect(503, method, f"/v2/garbage/meanwhile/{path}")
            assert answer.headers["Retry-After"] == "15"
            assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
        assert registry.pull("garbage/meanwhile", "1").digest == image.digest
    registry.push("garbage/meanwhile", "2", [1000])


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


@contextmanager
def slow_upload(host: Host) -> Iterator[SlowBody]:
    """An upload that has begun and not ended."""
    body = SlowBody([b"first half", b", second half"])
    with ThreadPoolExecutor(1) as background:
        uploading = background.submit(upload, host.registry, body)
        try:
            wait_until(lambda: None if body.started.is_set() else "not yet", 10, "the upload to begin")
            wait_until(
                lambda: None if "blob_upload_chunk" in in_flight(host) else "none", 10, "the upload to be counted"
            )
            yield body
        finally:
            body.go_on.set()
        uploading.result(20)


def test_start_of_an_upload_waits_for_the_end_of_a_collection(filesystem_host: Host) -> None:
    """Most clients do not try again. Whoever has no login does not wait."""
    registry, path = filesystem_host.registry, "/v2/garbage/waiting/blobs/uploads/"
    stranger = PushClient(registry.base_url, verify=str(registry.session.verify))
    with ThreadPoolExecutor(1) as background:
        with window(filesystem_host):
            starting = background.submit(registry.request, "POST", path, timeout=60)
            assert stranger.status("POST", path) == 401
            whole = registry.expect(503, "POST", path, params={"digest": digest(b"")}, data=bytes(200_000))
            assert whole.headers["Retry-After"] == "15"
            assert not starting.done()
        assert starting.result(60).status_code == 202


def probe_exists(host: Host, path: str) -> str | None:
    return None if host.exec("test", "-e", path).code == 0 else f"{path} does not exist"


def test_uploads_end_before_collection_and_new_ones_wait(filesystem_host: Host) -> None:
    """Once its patience has ended, a collection lets pushes in progress end: all of their requests, no others."""
    host = filesystem_host
    garbage = make_garbage(host)
    with ThreadPoolExecutor(2) as background:
        with slow_upload(host):
            collecting = background.submit(collect, host, GC_PATIENCE="1")
            wait_until(lambda: probe_exists(host, f"{PUSHING}/garbage/slow/_"), 20, "the end of its patience")
            other = background.submit(host.registry.request, "POST", "/v2/garbage/other/blobs/uploads/", timeout=60)
            # The next layer of the push in progress.
            host.registry.expect(202, "POST", "/v2/garbage/slow/blobs/uploads/")
            assert not other.done()
            assert not collecting.done()
        result = collecting.result(60)
        assert other.result(60).status_code == 202
    assert (result.code, result.out.splitlines()[-1]) == (0, "garbage collected"), result.err
    assert host.registry.status("HEAD", f"/v2/{garbage.repo}/blobs/{garbage.layers[0].digest}") == 404
    assert host.exec("ls", "/run/registry/gc").out == ""
    host.registry.push("garbage/other", "1", [1000])


def test_upload_that_never_ends_does_not_prevent_collection(filesystem_host: Host) -> None:
    """It is no blob yet, so it goes on afterwards."""
    make_garbage(filesystem_host)
    with slow_upload(filesystem_host):
        result = collect(filesystem_host, GC_PATIENCE="0", GC_DRAIN="1")
        assert result.code == 0, result.err
    blob = digest(b"first half, second half")
    assert filesystem_host.registry.status("HEAD", f"/v2/garbage/slow/blobs/{blob}") == 200


def test_collects_although_pushes_never_pause(filesystem_host: Host) -> None:
    """Each push retries what is refused, and all of them are there in the end."""
    host, enough = filesystem_host, threading.Event()
    make_garbage(host)
    with ThreadPoolExecutor(2) as background:
        pushing = [background.submit(push_until, enough, host.registry, f"garbage/busy-{n}") for n in range(2)]
        try:
            result = collect(host, GC_QUIET="30", GC_PATIENCE="3", GC_DRAIN="1")
        finally:
            enough.set()
        tags = [future.result(60) for future in pushing]
    assert result.code == 0, result.err
    for number, count in enumerate(tags):
        assert count > 1
        for tag in range(count):
            host.registry.pull(f"garbage/busy-{number}", str(tag))


def push_until(enough: threading.Event, registry: PushClient, repo: str) -> int:
    """Push one image after another; returns how many. A push that fails begins again, as a user's would."""
    tag = 0
    while not enough.is_set():
        try:
            registry.push(repo, str(tag), [5000])
            tag += 1
        except AnswerError:
            # Refused, or its blobs were collected because no manifest referred to them yet.
            continue
    return tag


def garbage_blobs(host: Host) -> int:
    return int(host.exec("sh", "-c", COUNT_GARBAGE).out)


def test_collection_that_takes_too_long_is_ended_in_its_sweep(filesystem_host: Host) -> None:
    """What it has not deleted yet is garbage for the next one; what is in use is whole."""
    host = filesystem_host
    kept = host.registry.push("garbage/kept", "1", [30_000])
    assert host.exec("sh", "-c", FILL_WITH_GARBAGE).code == 0
    with ThreadPoolExecutor(1) as background:
        stopping = background.submit(host.exec, "bash", "-c", REACH_THE_LIMIT_IN_THE_SWEEP)
        result = collect(host, GC_WINDOW="100")
        assert stopping.result(60).code == 0
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("error: ended after 100 s: garbage is left")
    assert 0 < garbage_blobs(host) < GARBAGE_BLOBS
    assert host.exec("docker", "inspect", "docker-registry-gc").code != 0
    assert host.registry.pull("garbage/kept", "1").digest == kept.digest
    host.registry.push("garbage/after-the-limit", "1", [1000])
    assert collect(host).code == 0
    assert garbage_blobs(host) == 0


def test_no_push_is_refused_where_there_is_no_garbage(filesystem_host: Host) -> None:
    """It looks first: to wait for a pause, it would have the patience of a day here."""
    assert collect(filesystem_host).code == 0
    filesystem_host.registry.push("garbage/none", "1", [1000])
    result = collect(filesystem_host, GC_QUIET="300")
    assert result.code == 0, result.err
    assert result.out.startswith("0 blobs and 0 manifests eligible for deletion, found in ")


def test_no_push_is_refused_where_the_window_would_be_too_short(filesystem_host: Host) -> None:
    result = collect(filesystem_host, GC_WINDOW="0.01", GC_QUIET="300")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("error: a collection takes longer than 0.01 s: nothing was collected, no push refused")
    assert filesystem_host.exec("docker", "inspect", "docker-registry-gc").code != 0


def test_one_at_a_time(filesystem_host: Host) -> None:
    script = "exec 9> /run/registry/gc.lock; flock 9; GC_QUIET=0 /opt/registry/registry-gc || exit"
    result = filesystem_host.exec("bash", "-c", script)
    assert (result.code, result.err) == (1, "error: another garbage collection is running\n")


def test_waits_for_a_pause(filesystem_host: Host) -> None:
    make_garbage(filesystem_host)
    result = filesystem_host.exec("sh", "-c", "timeout 5 /opt/registry/registry-gc; echo $?", GC_QUIET="300")
    assert (result.out.splitlines()[-1], "error" in result.err) == ("124", False)
    assert filesystem_host.exec("ls", "/run/registry/gc").out == ""
