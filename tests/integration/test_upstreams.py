"""More upstreams: each by its own ways, and nothing of one under another's name."""

from textwrap import dedent
from typing import Any

import pytest
import requests

from tests.integration.client import digest
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.oci import ACCEPT, ImageRef, OciClient
from tests.support.upstream import PASSWORD, USERNAME, Upstream

REPO = "team/same"
# Names that begin with, or are, words of nginx's own in its maps and its strings.
TWO, THREE = "n-default", "include"
# How a request says that it means the second upstream: by ns=, by the host's name, by its path.
WAYS: dict[str, dict[str, Any]] = {
    # As containerd writes it, with %3A, and as it is.
    "ns": {"params": {"ns": "second.test:5000"}},
    "ns with a colon": {"params": "ns=second.test:5000"},
    "host": {"headers": {"Host": f"{TWO}.registry.localdomain"}},
    "host with port": {"headers": {"Host": f"{TWO}.localhost:443"}},
    "path": {"prefix": "second.test/"},
    "path and ns, as BuildKit": {"prefix": "second.test/", "params": {"ns": "second.test:5000"}},
}


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    parameters = {
        "upstream_url": "http://upstream.test:5000",
        "upstreams": f"{TWO}=http://second.test:5000,{THREE}=http://third.test:5000",
        "upstream_credentials": f"{TWO}={USERNAME}:{PASSWORD}",
        "tag_ttl_seconds": 2,
    }
    return make_host("upstreams", **parameters).start(REDIS, EDGE, FETCH, PROXY, f"{PROXY}@{TWO}", f"{PROXY}@{THREE}")


@pytest.fixture(scope="module")
def first(this_run: Run, host: Host) -> Upstream:
    return Upstream.start(this_run.client, host.network.name, this_run.labels)


@pytest.fixture(scope="module")
def second(this_run: Run, host: Host) -> Upstream:
    name = f"{host.network.name}-second"
    return Upstream.start(
        this_run.client, host.network.name, this_run.labels, name=name, auth="basic", alias="second.test"
    )


@pytest.fixture(scope="module")
def images(first: Upstream, second: Upstream) -> tuple[ImageRef, ImageRef]:
    """Two images of the same name."""
    return first.push(REPO, "1", [b"of the first" * 1000]), second.push(REPO, "1", [b"of the second" * 1000])


def ask(client: OciClient, rest: str, prefix: str = "", **how: Any) -> requests.Response:
    headers = {"Accept": ACCEPT, **how.pop("headers", {})}
    return client.request("GET", f"/v2/{prefix}{REPO}/{rest}", headers=headers, **how)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_leads_to_the_second(host: Host, images: tuple[ImageRef, ImageRef], way: str) -> None:
    image = images[1]
    assert ask(host.mirror, "manifests/1", **WAYS[way]).content == image.manifest
    assert ask(host.mirror, f"manifests/{image.digest}", **WAYS[way]).content == image.manifest
    for _cold_then_warm in range(2):
        layer = ask(host.mirror, f"blobs/{image.layers[0].digest}", **WAYS[way])
        assert digest(layer.content) == image.layers[0].digest


def test_default_upstream_is_the_first(host: Host, images: tuple[ImageRef, ImageRef]) -> None:
    assert host.mirror.pull(REPO, "1").digest == images[0].digest
    assert ask(host.mirror, "manifests/1", prefix="docker.io/").content == images[0].manifest


@pytest.mark.parametrize("way", WAYS)
def test_content_is_not_served_under_another_upstream(host: Host, images: tuple[ImageRef, ImageRef], way: str) -> None:
    """Not by its digest either, and not when it is in the cache."""
    mine, other = images[1], images[0]
    host.mirror.pull(REPO, other.digest)
    ask(host.mirror, f"manifests/{mine.digest}", **WAYS["ns"])
    ask(host.mirror, f"blobs/{mine.layers[0].digest}", **WAYS["ns"])
    for rest in (f"manifests/{other.digest}", f"blobs/{other.layers[0].digest}"):
        assert ask(host.mirror, rest, **WAYS[way]).status_code == 404
    for rest in (f"manifests/{mine.digest}", f"blobs/{mine.layers[0].digest}"):
        assert ask(host.mirror, rest).status_code == 404
        assert ask(host.mirror, rest, params={"ns": "third.test:5000"}).status_code in (404, 500, 502, 503)


def test_repository_named_after_another_registry(host: Host, first: Upstream) -> None:
    """Where ns= names its registry, its first part belongs to its name; without, it selects the registry."""
    inner, plain = first.push("docker.io/team/nested", "1", [1000]), first.push("team/nested", "1", [2000])
    path = "/v2/docker.io/team/nested/manifests/1"
    for params, image in (({"ns": "upstream.test:5000"}, inner), ({}, plain), ({"ns": "docker.io"}, plain)):
        answer = host.mirror.request("GET", path, headers={"Accept": ACCEPT}, params=params)
        assert answer.content == image.manifest, params


def test_unknown_ns_is_refused(host: Host, images: tuple[ImageRef, ImageRef]) -> None:
    for headers in ({}, {"Host": f"{TWO}.registry.localdomain"}):
        answer = ask(host.mirror, "manifests/1", headers=headers, params={"ns": "ghcr.io"})
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["code"] == "NAME_UNKNOWN"


def test_each_upstream_has_its_own_store_database_and_credentials(
    host: Host, images: tuple[ImageRef, ImageRef]
) -> None:
    host.mirror.pull(REPO, "1")
    ask(host.mirror, f"blobs/{images[1].layers[0].digest}", **WAYS["ns"])
    first, second = images
    for database, image, other in ((1, first, second), (2, second, first)):
        keys = host.exec_in(REDIS, "redis-cli", "-n", str(database), "--scan")
        assert image.layers[0].digest in keys
        assert other.layers[0].digest not in keys
    for folder, image in (("proxy", images[0]), (f"proxies/{TWO}", images[1])):
        found = host.exec("find", f"/var/lib/registry/{folder}", "-path", f"*{image.layers[0].digest[7:]}/data").out
        assert found.count("\n") == 1
    for service in (PROXY, f"{PROXY}@{TWO}"):
        assert PASSWORD not in str(host.inspect(service)["Config"]["Env"])


def test_each_upstream_has_its_own_catalog(host: Host, second: Upstream, images: tuple[ImageRef, ImageRef]) -> None:
    second.push("only/second", "1", [1000])
    path = "/v2/only/second/manifests/1"
    host.mirror.expect(200, "GET", path, headers={"Accept": ACCEPT}, params={"ns": "second.test:5000"})
    assert "only/second" not in host.mirror.catalog()


@pytest.mark.usefixtures("images")
def test_docker_hub_as_a_further_upstream(host: Host) -> None:
    """`docker.io` then selects Docker Hub, which cannot be reached from here, and no name that only ends in it does."""
    with host.restarted_with(EDGE, upstreams="hub=https://registry-1.docker.io", upstream_credentials=""):
        assert ask(host.mirror, "manifests/1").status_code == 200
        for way in ({"params": {"ns": "docker.io"}}, {"prefix": "docker.io/"}):
            assert ask(host.mirror, "manifests/1", **way).status_code in (502, 503), way
        assert ask(host.mirror, "manifests/1", params={"ns": "notdocker.io"}).status_code == 404


def test_certificate_names_each(host: Host) -> None:
    certificate = "/home/root/registry_certs/server.crt"
    names = host.exec("openssl", "x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    for name in (f"{TWO}.registry.localdomain", f"{THREE}.registry.localdomain", f"{TWO}.localhost"):
        assert f"DNS:{name}" in names.out


def test_only_a_proxy_without_an_upstream_is_stopped(host: Host) -> None:
    """Whatever the order in which the list and its reader end: asked many times, of the first of many."""
    more = ",".join(f"u{number}=http://u{number}.test" for number in range(12))
    asked = dedent(f"""
        mkdir /tmp/bin && cat > /tmp/bin/systemctl <<'END'
        #!/bin/sh
        if [ "$1" = list-units ]; then
          for name in {TWO} gone; do echo "{PROXY}@$name.service loaded active running"; done
        else
          echo "$*" >> /tmp/bin/done
        fi
        END
        chmod +x /tmp/bin/systemctl
        for _ in $(seq 30); do PATH=/tmp/bin:$PATH /opt/registry/sync-upstream-units || exit; done
        cat /tmp/bin/done""")
    with host.changed(upstreams=f"{host.values['upstreams']},{more}"):
        done = host.exec("bash", "-c", asked)
    assert done.code == 0, done.err
    said = done.out.splitlines()
    assert {line for line in said if line.startswith("stop")} == {f"stop {PROXY}@gone.service"}
    assert sum(f"{PROXY}@{TWO}" in line.split() for line in said if line.startswith("start ")) == 30


def rendered(host: Host, **parameters: Any) -> str:
    """The edge's configuration of the upstreams with other parameters, which nginx accepts."""
    try:
        with host.changed(**parameters):
            done = host.exec("/opt/registry/render-edge-config")
            assert done.code == 0, done.err
            accepted = host.exec("docker", "exec", EDGE, "nginx", "-t", "-c", "/etc/docker-registry/edge/nginx.conf")
            assert accepted.code == 0, accepted.err
            return host.read("/run/registry/edge/upstream.conf")
    finally:
        assert host.exec("/opt/registry/render-edge-config").code == 0


def map_to(variable: str, text: str) -> dict[str, str]:
    """An nginx map: what it gives for each name."""
    body = text.partition(f" ${variable} {{")[2].partition("}")[0]
    pairs = (line.strip(" ;").split(" ", 1) for line in body.splitlines() if line.strip())
    return {name.strip("\\'"): value.strip("'") for name, value in pairs if not name.startswith("default")}


@pytest.mark.usefixtures("images")
def test_presets_and_an_upstream_with_a_path(host: Host) -> None:
    """No name of theirs leads anywhere in this network: what the edge would do says its configuration."""
    text = rendered(host, upstreams="k8s,gitlab,nexus=https://nexus.test:8443/registry/", upstream_credentials="")
    urls = map_to("upstream_url", text)
    assert urls.pop("default") == host.values["upstream_url"]
    assert urls == {
        "k8s": "https://registry.k8s.io",
        "gitlab": "https://registry.gitlab.com",
        "nexus": "https://nexus.test:8443/registry",
    }
    assert map_to("login_hosts", text) == {"default": "", "k8s": "", "gitlab": "gitlab.com", "nexus": ""}
    selected = map_to("by_ns", text)
    assert selected["registry.k8s.io"] == "k8s"
    assert selected["nexus.test:8443"] == selected["nexus.test%3A8443"] == "nexus"
    assert map_to("by_path", text)["nexus.test"] == "nexus"


@pytest.mark.usefixtures("images")
def test_hosts_for_a_login_belong_to_the_registry_not_to_its_name(host: Host) -> None:
    upstreams = "gitlab=https://registry.corp.test,other=https://registry.gitlab.com/"
    text = rendered(host, upstreams=upstreams, upstream_credentials="", upstream_login_hosts="other=login.corp.test")
    assert map_to("login_hosts", text) == {"default": "", "gitlab": "", "other": "login.corp.test gitlab.com"}


def test_unknown_name_alone(host: Host) -> None:
    with host.changed(upstreams="k8s,ghrc"):
        for script in ("render-edge-config", "sync-upstream-units"):
            done = host.exec(f"/opt/registry/{script}")
            assert done.code == 1
            assert done.err.startswith("error: upstreams: no registry is known as ghrc, only ")
