"""The caches within their limits: what was not asked for longest goes; a full disk is passed by."""

from collections.abc import Iterator, Sequence

import pytest

from tests.integration.cache import warm
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.oci import Blob, ImageRef
from tests.support.upstream import Upstream

LOOK = ("/opt/registry/registry-cache", "--once")
FULL = "/run/registry/cache/full"
BLOBS = "/var/lib/registry/proxy/docker/registry/v2/blobs/sha256"
REPOSITORIES = "/var/lib/registry/proxy/docker/registry/v2/repositories"
MB = 1_000_000
MANY_BLOBS = 120
# MANY_BLOBS of 68 KiB in a directory, with digests of two digits and a number: each was used later than the one before.
MANY = """mkdir -p "$1" && cd "$1"
names=("$2"{1000..1119})
mkdir "${names[@]}"
head -c 69632 /dev/zero | tee "${names[@]/%//data}" > /dev/null
for name in "${names[@]}"; do touch --date "@$((1600000000 + ${name#"$2"}))" "$name"; done"""
# Enforces the limits, and prints how many processes did the work.
COUNTED = """tools=$(mktemp -d)
for name in stat find rm touch du awk; do
  printf '#!/bin/sh\\necho >> %s/log\\nexec %s "$@"\\n' "$tools" "$(command -v $name)" > "$tools/$name"
  chmod +x "$tools/$name"
done
PATH=$tools:$PATH /opt/registry/registry-cache --once
wc -l < "$tools/log" """


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    url = "http://upstream.test:5000"
    return make_host("limits", upstream_url=url, cache_min_free_percent=0).start(REDIS, EDGE, FETCH, PROXY)


@pytest.fixture(scope="module")
def upstream(this_run: Run, host: Host) -> Upstream:
    return Upstream.start(this_run.client, host.network.name, this_run.labels)


@pytest.fixture
def no_space(host: Host) -> Iterator[None]:
    """A floor that no disk here can keep."""
    with host.changed(cache_min_free_percent=90):
        yield
    host.exec(*LOOK)
    assert host.exec("test", "-e", FULL).code == 1


@pytest.fixture
def no_store(host: Host) -> Iterator[None]:
    """The test makes a store of its own."""
    host.stop(EDGE, PROXY)
    host.exec("rm", "-rf", "/var/lib/registry/proxy")
    yield
    host.start_empty(REDIS, EDGE, PROXY)


def directory(blob: Blob) -> str:
    return f"{BLOBS}/{blob.digest[7:9]}/{blob.digest[7:]}"


def stored(host: Host, blob: Blob) -> bool:
    return host.exec("test", "-e", f"{directory(blob)}/data").code == 0


def linked(blob: Blob, links: str) -> bool:
    return f"/{blob.digest.removeprefix('sha256:')}/link" in links


def filled(host: Host, upstream: Upstream, name: str, layers: list[bytes | int]) -> ImageRef:
    image = upstream.push(f"library/{name}", "1", [*layers])
    warm(host, image)
    return image


def test_least_recently_used_blob_is_evicted(host: Host, upstream: Upstream) -> None:
    images = [filled(host, upstream, f"lru-{number}", [4 * MB]) for number in range(3)]
    # The oldest is asked for again, and is the newest then. The edge writes that down within 2 s.
    host.exec("sleep", "1")
    host.mirror.pull(images[0].repo, images[0].reference)
    host.exec("sleep", "3")
    assert "evicted" in host.exec(*LOOK, CACHE_LIMIT_BYTES=str(10 * MB)).out
    assert [stored(host, image.layers[0]) for image in images] == [True, False, True]
    assert all(stored(host, image.config) for image in images)
    # Gone from the store, and from what redis knows.
    for image in images:
        assert host.mirror.pull(image.repo, image.reference).digest == image.digest


def test_links_to_evicted_blobs_are_removed(host: Host, upstream: Upstream) -> None:
    """They would outlive every eviction, and a disk has only so many inodes."""
    old, new = (filled(host, upstream, f"linked-{age}", [4 * MB]) for age in ("old", "new"))
    host.exec("touch", "--date", "2 days ago", directory(old.layers[0]))
    host.exec("touch", "--date", "tomorrow", directory(new.layers[0]))
    assert "evicted" in host.exec(*LOOK, CACHE_LIMIT_BYTES=str(6 * MB)).out
    links = host.exec("find", REPOSITORIES, "-path", "*/_layers/*", "-name", "link").out
    assert [linked(image.layers[0], links) for image in (old, new)] == [False, True]
    assert linked(old.config, links)


@pytest.mark.usefixtures("no_store")
@pytest.mark.parametrize(
    "prefixes", [("3a",), [f"{digit:x}0" for digit in range(16)]], ids=["all at once", "in sixteenths"]
)
def test_many_blobs_are_evicted_without_a_process_for_each(host: Host, prefixes: Sequence[str]) -> None:
    """The least recently used go first; in a large store, of each first digit of the digests."""
    for prefix in prefixes:
        host.exec("bash", "-c", MANY, "bash", f"{BLOBS}/{prefix}", prefix)
    total = len(prefixes) * MANY_BLOBS * 72 * 1024
    done = host.exec("bash", "-c", COUNTED, "bash", CACHE_LIMIT_BYTES=str(total * 3 // 4))
    assert "evicted" in done.out
    started = int(done.out.splitlines()[-1])
    assert started < MANY_BLOBS
    for prefix in prefixes:
        left = sorted(int(name[2:]) for name in host.exec("ls", f"{BLOBS}/{prefix}").out.split())
        # A quarter, and 5 % of the cache more.
        assert MANY_BLOBS * 0.65 < len(left) < MANY_BLOBS * 0.75
        assert left == list(range(1000 + MANY_BLOBS - len(left), 1000 + MANY_BLOBS))


def test_nothing_is_evicted_within_the_limits(host: Host, upstream: Upstream) -> None:
    image = filled(host, upstream, "small", [MB])
    assert host.exec(*LOOK).out == ""
    assert stored(host, image.layers[0])


def test_size_limit_ignores_missing_stores(host: Host, upstream: Upstream) -> None:
    """Here the store of an upstream that nobody has used: for du that is an error."""
    image = filled(host, upstream, "beside-nothing", [4 * MB])
    with host.changed(upstreams="unused=http://unused.test"):
        done = host.exec(*LOOK, CACHE_LIMIT_BYTES=str(MB))
    assert (done.code, done.err) == (0, "")
    assert "evicted" in done.out
    assert not stored(host, image.layers[0])


@pytest.mark.usefixtures("no_space")
def test_full_disk_bypasses_the_cache(host: Host, upstream: Upstream) -> None:
    kept = filled(host, upstream, "kept", [10_000])
    assert "the disk of the cache is full" in host.exec(*LOOK).err
    assert host.exec("test", "-e", FULL).code == 0
    cold = upstream.push("library/passed", "1", [5 * MB])
    for image in (cold, kept, cold):
        assert host.mirror.pull(image.repo, image.reference).digest == image.digest
    # Nor does the proxy get it.
    assert not stored(host, cold.layers[0])
