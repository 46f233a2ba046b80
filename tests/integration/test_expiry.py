"""Nothing in the caches expires: a proxy keeps what it has fetched, whatever its list of expiries says."""

import json

import pytest

from tests.integration.host import EDGE, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.deadlines import wait_until
from tests.support.oci import ImageRef, Layer
from tests.support.upstream import Upstream

STORE = "/var/lib/registry/proxy"
LIST = f"{STORE}/scheduler-state.json"
BLOB, MANIFEST = range(2)
DEADLINE_S = 60


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    return make_host("expiry", upstream_url="http://upstream.test:5000")


@pytest.fixture(scope="module")
def images(this_run: Run, host: Host) -> list[ImageRef]:
    """Two images in the cache that share a layer; the upstream they came from does not exist any more."""
    upstream = Upstream.start(this_run.client, host.network.name, this_run.labels)
    shared = Layer(2_000_000, "shared")
    images = [upstream.push(f"library/{name}", "1", [shared, 500_000]) for name in ("one", "two")]
    # After the upstream: a name that is asked for before it exists is unknown for as long as resolvers remember that.
    host.start(REDIS, EDGE, PROXY)
    for image in images:
        host.mirror.pull(image.repo, image.reference)
    wait_until(lambda: missing(host, images), DEADLINE_S, "the images in the store")
    upstream.remove()
    return images


def test_expired_objects_are_kept(host: Host, images: list[ImageRef]) -> None:
    """As after an update from a version that let them expire, or, with a proxy of 2.8, a week after each fetch."""
    before = stored(host)
    host.stop(PROXY)
    host.machine.put(LIST, json.dumps(expired(images)).encode(), 0o644)
    host.exec("chown", "65532:65532", LIST)
    # Without what the edge knows of manifests: the proxy must have them.
    host.exec("sh", "-c", "rm -rf /var/lib/registry/edge/manifests/*")
    host.restart(EDGE, PROXY)
    if " v3." not in host.exec_in(PROXY, "registry", "--version"):
        # It takes an entry off its list once that has expired. Version 3 does not read the list.
        wait_until(lambda: listed(host), DEADLINE_S, "no expiry on the proxy's list")
    assert stored(host) == before
    for _from_the_store_then_from_redis in range(2):
        for image in images:
            assert host.mirror.pull(image.repo, image.digest).digest == image.digest


def expired(images: list[ImageRef]) -> dict[str, dict[str, object]]:
    """A list of expiries, as a proxy writes it, in which everything has expired."""
    keys = {
        **{f"{image.repo}@{image.digest}": MANIFEST for image in images},
        **{f"{image.repo}@{blob.digest}": BLOB for image in images for blob in image.blobs},
    }
    return {
        key: {"Key": key, "ExpiryData": "2020-01-01T00:00:00Z", "EntryType": entry_type}
        for key, entry_type in keys.items()
    }


def missing(host: Host, images: list[ImageRef]) -> str | None:
    """A probe: the digests of images without a blob in the store."""
    digests = {digest for image in images for digest in (image.digest, *(blob.digest for blob in image.blobs))}
    there = "".join(stored(host))
    return ", ".join(digest for digest in digests if f"{digest.removeprefix('sha256:')}/data" not in there) or None


def listed(host: Host) -> str | None:
    """A probe: what is still on the list."""
    return ", ".join(json.loads(host.read(LIST) or "{}")) or None


def stored(host: Host) -> list[str]:
    """Every blob and every link in the store."""
    return sorted(host.exec("find", f"{STORE}/docker", "-type", "f", "-not", "-path", "*/_uploads/*").out.split())
