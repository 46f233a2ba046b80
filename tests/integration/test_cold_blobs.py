"""Cold blobs: everyone gets the bytes that are there, of one fetch, whatever happens to the others."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
import requests

from tests.integration.client import digest
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost, container_of
from tests.integration.session import Run
from tests.support.deadlines import scaled, wait_until
from tests.support.personalities import Personalities, url_of

SIZE = 4_000_000
STORAGE = "/run/registry/env/docker-registry-fetch"
STORE = "/var/lib/registry/proxy"
FULL = "/run/registry/cache/full"
FOLLOWERS = 3
DEADLINE_S = 30


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    return make_host("cold", upstream_url=url_of("plain"))


@pytest.fixture(scope="module")
def running(this_run: Run, host: Host) -> Personalities:
    upstream = Personalities.start(this_run.client, host.network.name, this_run.labels)
    host.start(REDIS, EDGE, FETCH, PROXY)
    return upstream


@pytest.fixture
def upstream(running: Personalities) -> Iterator[Personalities]:
    """It holds back the second half of a blob, until it is told to go on."""
    running.set(half="wait")
    yield running
    running.set(half="go")


class ColdBlob:
    """The layer of a repository of this name, which nobody has asked for yet."""

    def __init__(self, host: Host, upstream: Personalities, name: str, size: int = SIZE) -> None:
        self._host, self._upstream = host, upstream
        repo = f"team/half-{name}-size-{size}"
        manifest = upstream.direct("plain", f"/v2/{repo}/manifests/1").json()
        self.digest: str = manifest["layers"][0]["digest"]
        self.size: int = manifest["layers"][0]["size"]
        self.path = f"/v2/{repo}/blobs/{self.digest}"

    def ask(self, method: str = "GET", status: int = 200, **headers: str) -> requests.Response:
        return self._host.mirror.expect(
            status, method, self.path, headers=headers, stream=True, timeout=scaled(DEADLINE_S)
        )

    @property
    def fetches(self) -> int:
        """How often the upstream was asked for it."""
        return len([line for line in self._upstream.log() if line[:3] == ["plain", "GET", self.path]])

    @property
    def stored(self) -> bool:
        """Whether the proxy has it."""
        algorithm, _, name = self.digest.partition(":")
        path = f"{STORE}/docker/registry/v2/blobs/{algorithm}/{name[:2]}/{name}/data"
        return self._host.exec("test", "-e", path).code == 0

    def wait_until_stored(self) -> None:
        wait_until(lambda: None if self.stored else "not yet", DEADLINE_S, "the blob in the store")

    def right(self) -> bool:
        """Whether it comes now, as it should."""
        return digest(self.ask().content) == self.digest


def begun(answer: requests.Response) -> bytes:
    """The first bytes, while there are no more than half of them."""
    return bytes(answer.raw.read(1000))


def rest(begin: bytes, answer: requests.Response) -> str:
    """The digest of all bytes."""
    return digest(begin + b"".join(answer.iter_content(1 << 16)))


def broken(answer: requests.Response) -> bool:
    """Whether a transfer ends before its end."""
    try:
        for _chunk in answer.iter_content(1 << 16):
            pass
    except requests.RequestException:
        return True
    return False


def begun_together(clients: int, blob: ColdBlob, upstream: Personalities) -> set[str]:
    """Digests of what clients get who all have their first bytes before the upstream sends the other half."""
    answers = [blob.ask() for _client in range(clients)]
    begins = [begun(answer) for answer in answers]
    upstream.set(half="go")
    with ThreadPoolExecutor(clients) as pool:
        return set(pool.map(rest, begins, answers))


def test_followers_get_what_is_there(host: Host, upstream: Personalities) -> None:
    blob = ColdBlob(host, upstream, "herd")
    assert begun_together(1 + FOLLOWERS, blob, upstream) == {blob.digest}
    assert blob.fetches == 1
    blob.wait_until_stored()


def test_first_client_leaves(host: Host, upstream: Personalities) -> None:
    blob = ColdBlob(host, upstream, "leaves")
    first = blob.ask()
    begun(first)
    follower = blob.ask()
    begin = begun(follower)
    first.close()
    upstream.set(half="go")
    assert rest(begin, follower) == blob.digest
    assert blob.right()
    blob.wait_until_stored()
    assert blob.fetches == 1


def test_upstream_breaks_off(host: Host, upstream: Personalities) -> None:
    blob = ColdBlob(host, upstream, "breaks")
    answers = [blob.ask() for _client in range(2)]
    for answer in answers:
        begun(answer)
    upstream.set(half="cut")
    with ThreadPoolExecutor(len(answers)) as pool:
        assert list(pool.map(broken, answers)) == [True, True]
    assert not blob.stored
    upstream.set(half="go")
    assert blob.right()
    blob.wait_until_stored()


@pytest.mark.parametrize("end", ["{first}-", "{first}-{last}", "-1000"])
def test_range_and_size_while_it_is_under_way(host: Host, upstream: Personalities, end: str) -> None:
    """A suffix is what lazy pulling asks for first: the table of contents is at the end of a layer."""
    blob = ColdBlob(host, upstream, f"range-{len(end)}")
    wanted = end.format(first=blob.size - 1000, last=blob.size - 1)
    first = blob.ask()
    begin = begun(first)
    assert blob.ask("HEAD").headers["Content-Length"] == str(blob.size)
    early = blob.ask(status=206, Range="bytes=1000-1999").content
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(lambda: blob.ask(status=206, Range=f"bytes={wanted}").content)
        upstream.set(half="go")
        content = begin + b"".join(first.iter_content(1 << 16))
        assert (early, late.result()) == (content[1000:2000], content[-1000:])
    assert blob.fetches == 1


def test_ranges_of_one_connection_do_not_wait_for_the_whole(host: Host, upstream: Personalities) -> None:
    blob, client = ColdBlob(host, upstream, "connection"), host.mirror
    for first in (0, 1000, 500_000):
        answer = client.expect(
            206, "GET", blob.path, headers={"Range": f"bytes={first}-{first + 99}"}, timeout=scaled(10)
        )
        assert len(answer.content) == 100
    upstream.set(half="go")
    blob.wait_until_stored()
    assert blob.fetches == 1


def test_several_ranges_at_once(host: Host, upstream: Personalities) -> None:
    """The whole is a right answer (RFC 9110, 14.2)."""
    blob = ColdBlob(host, upstream, "ranges")
    begun(blob.ask())
    several = blob.ask(Range="bytes=0-99,1000-1099")
    upstream.set(half="go")
    assert digest(several.content) == blob.digest


def test_range_fetches_the_whole(host: Host, upstream: Personalities) -> None:
    blob = ColdBlob(host, upstream, "lazy")
    assert len(blob.ask(status=206, Range="bytes=1000-1999").content) == 1000
    upstream.set(half="go")
    assert blob.right()
    blob.wait_until_stored()
    assert blob.fetches == 1


def test_blob_that_is_too_large_passes(host: Host, upstream: Personalities) -> None:
    before = host.read(STORAGE)
    host.exec("sh", "-c", f"printf 'FETCH_STORAGE=6000000\nLARGEST_BLOB=3000000\n' > {STORAGE}")
    try:
        host.restart(FETCH)
        blob = ColdBlob(host, upstream, "large")
        assert begun_together(2, blob, upstream) == {blob.digest}
        assert blob.fetches > 1
        blob.wait_until_stored()
    finally:
        host.exec("sh", "-c", f"printf '{before}' > {STORAGE}")
        host.restart(FETCH)


@pytest.mark.long
def test_blob_that_is_larger_than_what_is_free_passes(host: Host, upstream: Personalities) -> None:
    """The proxy cannot store it, which no client notices; one of version 3 breaks off its own answer then."""
    host.stop(PROXY, EDGE)
    assert host.exec("mount", "-t", "tmpfs", "-o", "size=1m,mode=700,uid=65532,gid=65532", "tmpfs", STORE).code == 0
    try:
        host.start(EDGE, PROXY)
        blob = ColdBlob(host, upstream, "no-room")
        assert begun_together(2, blob, upstream) == {blob.digest}
        assert blob.right()
        assert blob.fetches == 1
    finally:
        host.stop(PROXY, EDGE)
        assert host.exec("umount", STORE).code == 0
        host.start(EDGE, PROXY)


def test_full_disk_shares_the_fetch_without_storing_it(host: Host, upstream: Personalities) -> None:
    host.exec("touch", FULL)
    try:
        blob = ColdBlob(host, upstream, "full")
        assert begun_together(2, blob, upstream) == {blob.digest}
        assert blob.fetches == 1
        assert not blob.stored
    finally:
        host.exec("rm", FULL)


@pytest.mark.parametrize("service", [EDGE, FETCH, PROXY])
def test_service_is_killed_meanwhile(host: Host, upstream: Personalities, service: str) -> None:
    blob = ColdBlob(host, upstream, f"killed-{service}")
    with ExitStack() as open_answers:
        answers = [open_answers.enter_context(blob.ask()) for _client in range(2)]
        for answer in answers:
            begun(answer)
        host.exec("docker", "kill", container_of(service))
        upstream.set(half="go")
        # Nobody gets it through the proxy.
        expected = [service != PROXY] * len(answers)
        assert [broken(answer) for answer in answers] == expected
        assert service == PROXY or not blob.stored

    def probe() -> str | None:
        """A pull stores a blob that the proxy could not store before."""
        with suppress(requests.RequestException):
            if not blob.right():
                return "other bytes"
            return None if blob.stored else "not stored"
        return "no answer"

    wait_until(probe, DEADLINE_S, "the blob")


@contextmanager
def short_timeouts(host: Host) -> Iterator[None]:
    """Those of a quarter of an hour are five seconds."""
    unit = "/etc/systemd/system/docker-registry-fetch.service"
    files = f"/etc/docker-registry/fetch.vcl /etc/docker-registry/edge/*.conf {unit}"
    script = f"tar -cf /root/before.tar {files}; sed -i 's/\\b15m\\b/5s/g; s/_timeout=900/_timeout=5/g' {files}"
    try:
        assert host.exec("sh", "-euc", f"{script} && systemctl daemon-reload").code == 0
        host.restart(EDGE, FETCH)
        yield
    finally:
        host.exec("sh", "-euc", "tar -xf /root/before.tar -C / && systemctl daemon-reload")
        host.restart(EDGE, FETCH)


@pytest.mark.long
def test_fetch_may_take_longer_than_every_timeout(host: Host, upstream: Personalities) -> None:
    with short_timeouts(host):
        blob = ColdBlob(host, upstream, "drips")
        answers = [blob.ask() for _client in range(2)]
        begins = [begun(answer) for answer in answers]
        upstream.set(half="drip")
        with ThreadPoolExecutor(len(answers)) as pool:
            assert set(pool.map(rest, begins, answers)) == {blob.digest}
        assert blob.right()
        blob.wait_until_stored()
        assert blob.fetches == 1


@pytest.mark.long
def test_client_may_pause(host: Host, upstream: Personalities) -> None:
    """Longer than the minute that nginx waits by itself; the blob is larger than all buffers on its way."""
    upstream.set(half="go")
    blob = ColdBlob(host, upstream, "pauses", size=64_000_000)
    with blob.ask() as answer:
        begin = begun(answer)
        time.sleep(65)
        assert rest(begin, answer) == blob.digest


def test_without_the_service_each_fetches_for_itself(host: Host, upstream: Personalities) -> None:
    host.stop(FETCH)
    try:
        upstream.set(half="go")
        blob = ColdBlob(host, upstream, "alone")
        assert blob.right()
        blob.wait_until_stored()
    finally:
        host.start(FETCH)
