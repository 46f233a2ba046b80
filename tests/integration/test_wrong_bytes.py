"""An upstream that sends other bytes than a digest stands for: found out, not kept, and soon right again."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import requests

from loadtests.support.registry.media_types import ACCEPT
from tests.integration.client import digest
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.deadlines import wait_until
from tests.support.personalities import Personalities, url_of

FORMS = ("other", "longer", "cut")
METRICS = "/run/registry/metrics/metrics"
COUNTER = "registry_edge_wrong_content_total"
DROP = ("/opt/registry/registry-cache", "drop")
STATE = "/var/lib/registry"
DEADLINE_S = 30


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    return make_host("wrong", upstream_url=url_of("plain"))


@pytest.fixture(scope="module")
def running(this_run: Run, host: Host) -> Personalities:
    upstream = Personalities.start(this_run.client, host.network.name, this_run.labels)
    host.start(REDIS, EDGE, FETCH, PROXY)
    return upstream


@pytest.fixture
def upstream(running: Personalities) -> Iterator[Personalities]:
    """It sends wrong bytes for what repositories with such a name have: see personality_server.py."""
    running.set(lies="on")
    yield running
    running.set(lies="")


def pull(host: Host, path: str) -> requests.Response:
    return host.mirror.request("GET", path, headers={"Accept": ACCEPT})


def manifest_of(upstream: Personalities, repo: str) -> bytes:
    """The right one."""
    upstream.set(lies="")
    content = upstream.direct("plain", f"/v2/{repo}/manifests/1").content
    upstream.set(lies="on")
    return content


def layer_of(upstream: Personalities, repo: str) -> str:
    return str(json.loads(manifest_of(upstream, repo))["layers"][0]["digest"])


def kept(host: Host, wanted: str) -> str:
    """Where a blob or a manifest of this digest is, if it is anywhere that outlives a restart."""
    name = wanted.removeprefix("sha256:")
    blobs = host.exec("find", f"{STATE}/proxy/docker/registry/v2/blobs", "-path", f"*{name}/data").out
    return blobs + host.exec("grep", "-rali", f"^docker-content-digest: {wanted}", f"{STATE}/edge/manifests").out


@pytest.mark.parametrize("form", [*FORMS, "broken"])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_manifest(host: Host, upstream: Personalities, form: str, by: str) -> None:
    repo = f"lies_manifests_{form}/{by}"
    right = digest(manifest_of(upstream, repo))
    path = f"/v2/{repo}/manifests/{'1' if by == 'tag' else right}"
    for _again in range(2):
        answer = pull(host, path)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
        if form != "broken":
            assert f"answers {right} with other bytes" in answer.text
    assert not kept(host, right)
    if form != "broken":
        assert f"upstream default: wrong bytes for {path}" in host.log(EDGE)
    upstream.set(lies="")
    answer = pull(host, path)
    assert (answer.status_code, digest(answer.content)) == (200, right)


@pytest.mark.parametrize("form", FORMS)
def test_blob(host: Host, upstream: Personalities, form: str) -> None:
    repo = f"lies_blobs_{form}/layer"
    right = layer_of(upstream, repo)
    path = f"/v2/{repo}/blobs/{right}"
    for _again in range(2):
        # The client's to find out.
        assert digest(pull(host, path).content) != right
    assert not kept(host, right)
    upstream.set(lies="")
    assert digest(pull(host, path).content) == right
    wait_until(lambda: None if kept(host, right) else "nothing", DEADLINE_S, "the blob in the store")


def test_blob_while_the_disk_is_full(host: Host, upstream: Personalities) -> None:
    """No proxy verifies it."""
    repo = "lies_blobs_other/full"
    right = layer_of(upstream, repo)
    host.exec("touch", "/run/registry/cache/full")
    try:
        assert digest(pull(host, f"/v2/{repo}/blobs/{right}").content) != right
        upstream.set(lies="")
        assert digest(pull(host, f"/v2/{repo}/blobs/{right}").content) == right
    finally:
        host.exec("rm", "/run/registry/cache/full")


def test_blob_that_breaks_off(host: Host, upstream: Personalities) -> None:
    repo = "lies_blobs_broken/layer"
    right = layer_of(upstream, repo)
    path = f"/v2/{repo}/blobs/{right}"
    for _again in range(2):
        with suppress(requests.RequestException):
            assert pull(host, path).status_code != 200
    upstream.set(lies="")
    assert digest(pull(host, path).content) == right


def test_wrong_bytes_are_counted(host: Host, upstream: Personalities) -> None:
    repos = {"manifest": "lies_manifests_other/counted", "blob": "lies_blobs_other/counted"}
    pull(host, f"/v2/{repos['manifest']}/manifests/1")
    blob = layer_of(upstream, repos["blob"])
    pull(host, f"/v2/{repos['blob']}/blobs/{blob}")
    quickly = ("--setenv=METRICS_INTERVAL=1", "--setenv=SLOW_METRICS_INTERVAL=1")
    assert host.exec("systemd-run", "--unit=counting", *quickly, "/opt/registry/registry-metrics").code == 0

    def probe() -> str | None:
        # Its log is only read when there is one.
        pull(host, "/v2/plain/app/manifests/1")
        samples = [line for line in host.read(METRICS).splitlines() if line.startswith(COUNTER)]
        found = [kind for kind in repos if any(f'upstream="default",object="{kind}"' in line for line in samples)]
        return None if len(found) == len(repos) else str(samples)

    try:
        wait_until(probe, DEADLINE_S, "both in the metrics")
    finally:
        host.exec("systemctl", "stop", "counting")
    assert f"upstream default: wrong bytes for /v2/{repos['blob']}/blobs/{blob}" in host.log("counting")


def test_drop(host: Host, running: Personalities) -> None:
    """Of every layer: the next pull asks the upstream."""
    repo = "team/drop"
    image = running.direct("plain", f"/v2/{repo}/manifests/1")
    manifest, layer = digest(image.content), image.json()["layers"][0]["digest"]
    paths = {manifest: f"/v2/{repo}/manifests/{manifest}", layer: f"/v2/{repo}/blobs/{layer}"}
    for path in paths.values():
        pull(host, path)
    wait_until(lambda: None if kept(host, layer) else "nothing", DEADLINE_S, "the blob in the store")
    for dropped, path in paths.items():
        pull(host, path)
        done = host.exec(*DROP, dropped)
        assert done.code == 0, done.err
        assert dropped.removeprefix("sha256:") in done.out
        assert not kept(host, dropped)
        # The edge's old processes have ended.
        wait_until(partial(asked, host, running, path), DEADLINE_S, f"{path} from the upstream")


def asked(host: Host, upstream: Personalities, path: str) -> str | None:
    """A probe: a pull makes the mirror ask the upstream."""
    before = upstream.log().count(["plain", "GET", path, "200", "-"])
    assert digest(pull(host, path).content) == path.rpartition("/")[2]
    return None if upstream.log().count(["plain", "GET", path, "200", "-"]) > before else "from a cache"


@pytest.mark.parametrize("bad", ["", "1.0", "sha256:12", f"sha256:{'A' * 64}", f"sha256:{'0' * 64} x"])
def test_drop_of_what_is_no_digest(host: Host, bad: str) -> None:
    done = host.exec(*DROP, bad)
    assert done.code == 1
    assert done.err == f"error: '{bad}' is no digest, sha256:HEX\n"
