"""The metrics on :9180: what was asked for is counted, once, for whoever may read it."""

import secrets

import pytest
from testinfra.host import Host

from loadtests.support.registry.media_types import OCI_MANIFEST
from tests.host.metrics import metrics_text, settled, total, wait_for
from tests.host.targets import LocalTarget, Target
from tests.host.waiting import wait_until_working
from tests.support.oci import OciClient
from tests.support.upstream import PULLS, PULLS_LEFT, Upstream

pytestmark = pytest.mark.usefixtures("quick_metrics")
ACCEPT = {"Accept": OCI_MANIFEST}
TAGS = {"listener": "mirror", "object": "tag", "code": "200"}


def fresh() -> str:
    """A repository that nobody has asked for yet."""
    return f"library/metrics-{secrets.token_hex(4)}"


def test_every_request_is_counted_once(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    upstream.push(repo := fresh(), "1", [1000])
    manifest = mirror.expect(200, "GET", f"/v2/{repo}/manifests/1", headers=ACCEPT).content
    before = settled(host, "registry_edge_requests_total", **TAGS)
    sent = total(host, "registry_edge_response_bytes_total", **TAGS)
    for _time in range(7):
        mirror.expect(200, "GET", f"/v2/{repo}/manifests/1", headers=ACCEPT)
    assert settled(host, "registry_edge_requests_total", **TAGS) == before + 7
    assert total(host, "registry_edge_response_bytes_total", **TAGS) == sent + 7 * len(manifest)
    durations = {name: value for name, value in TAGS.items() if name != "code"}
    assert total(host, "registry_edge_request_duration_seconds_bucket", **durations, le="+Inf") >= before + 7


def test_bytes_from_the_upstream_are_counted(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    image = upstream.push(repo := fresh(), "1", [500_000])
    labels = {"listener": "upstream", "object": "blob"}
    before = settled(host, "registry_edge_response_bytes_total", **labels)
    mirror.pull(repo, "1")
    fetched = settled(host, "registry_edge_response_bytes_total", **labels) - before
    # Once, or twice where the proxy is a registry 2.8.
    assert sum(blob.size for blob in image.blobs) <= fetched <= 2 * sum(blob.size for blob in image.blobs)


def test_blobs_from_the_store_are_hits(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    image = upstream.push(repo := fresh(), "1", [1000])
    path = f"/v2/{repo}/blobs/{image.layers[0].digest}"
    labels = {"listener": "mirror", "object": "blob", "cache": "hit"}

    def probe() -> str | None:
        mirror.expect(200, "GET", path)
        return None if total(host, "registry_edge_requests_total", **labels) else "no hit"

    wait_for(host, probe, "a hit")


def test_counters_go_on_through_restarts(host: Host, target: Target, registry: OciClient) -> None:
    registry.push("metrics/pushed", "1", [1000])
    before = settled(host, "registry_edge_requests_total", listener="registry")
    host.check_output("systemctl restart docker-registry-edge registry-metrics")
    wait_until_working(target)
    assert settled(host, "registry_edge_requests_total", listener="registry") > before


def test_each_service_is_seen(host: Host) -> None:
    text = metrics_text(host)
    for registry in ("docker-registry", "docker-registry-proxy"):
        assert f'registry_http_requests_total{{registry="{registry}",' in text
    assert total(host, "registry_up", registry="docker-registry") == 1
    assert total(host, "redis_up") == 1
    assert total(host, "nginx_connections_active") >= 1
    assert total(host, "node_systemd_unit_state", name="docker-registry-edge.service", state="active") == 1


def test_metrics_show_a_stopped_service(host: Host, target: Target) -> None:
    host.check_output("systemctl stop docker-redis docker-registry")

    def probe() -> str | None:
        down = [total(host, "redis_up"), total(host, "registry_up", registry="docker-registry")]
        units = [
            total(host, "node_systemd_unit_state", name=f"{name}.service", state="active")
            for name in ("docker-redis", "docker-registry")
        ]
        return None if down == units == [0, 0] else f"{down} {units}"

    try:
        wait_for(host, probe, "redis and the registry to be seen down")
    finally:
        host.check_output("systemctl start docker-redis docker-registry")
        wait_until_working(target)


def test_metrics_show_an_unreachable_upstream(host: Host, upstream: Upstream) -> None:
    def state() -> float:
        return total(host, "registry_edge_upstream_up")

    wait_for(host, lambda: None if state() == 1 else "down", "the upstream to be seen up")
    upstream.stop()
    try:
        wait_for(host, lambda: None if state() == 0 else "up", "the upstream to be seen down")
    finally:
        upstream.start_again()
    wait_for(host, lambda: None if state() == 1 else "down", "the upstream to be seen up again")


def test_the_rate_limit_is_what_the_upstream_says(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    upstream.push("library/limited", "1", [1000])
    mirror.pull("library/limited", "1")
    wait_for(host, lambda: None if total(host, "registry_edge_upstream_ratelimit_limit") else "nothing", "a rate limit")
    assert total(host, "registry_edge_upstream_ratelimit_remaining") == PULLS_LEFT
    assert total(host, "registry_edge_upstream_ratelimit_limit") == PULLS


def test_the_certificate_is_that_in_service(host: Host) -> None:
    command = 'date --date "$(openssl x509 -noout -enddate -in /home/root/registry_certs/server.crt | cut -d= -f2)" +%s'
    end = float(host.check_output(command))
    name = "host_certificate_not_after_timestamp_seconds"
    wait_for(
        host, lambda: None if total(host, name, certificate="server") == end else "not yet", "the certificate's end"
    )


def test_the_ca_before_is_shown_as_long_as_it_is_kept(host: Host) -> None:
    name, before = "host_certificate_not_after_timestamp_seconds", "/var/lib/registry/certs/ca.previous.crt"

    def shown() -> bool:
        return total(host, name, certificate="previous-ca") == total(host, name, certificate="ca") > 0

    host.check_output(f"cp /home/root/registry_certs/ca.crt {before}")
    try:
        wait_for(host, lambda: None if shown() else "not yet", "the CA before")
    finally:
        host.check_output(f"rm {before}")
    wait_for(host, lambda: "still there" if shown() else None, "it to be forgotten")


def test_disk_and_cache_are_measured(host: Host, mirror: OciClient, upstream: Upstream) -> None:
    upstream.push(repo := fresh(), "measured", [1000])
    mirror.pull(repo, "measured")

    def probe() -> str | None:
        counted, there = total(host, "registry_edge_cache_repositories"), mirror.catalog()
        return None if counted == len(there) and repo in there else f"{counted} of {len(there)}"

    wait_for(host, probe, "the repository to be counted")
    wait_for(
        host, lambda: None if total(host, "registry_edge_cache_bytes") > 1000 else "nothing", "the size of the cache"
    )
    columns = host.check_output("df -B1 --output=target,source,fstype,size,avail /var/lib/registry | tail -1").split()
    labels = dict(zip(("mountpoint", "device", "fstype"), columns, strict=False))
    size, free = map(int, columns[3:])
    assert total(host, "node_filesystem_size_bytes", **labels) == size
    assert 0 < total(host, "node_filesystem_avail_bytes", **labels) <= free * 1.5


def readable(target: Target) -> list[bool]:
    """Whether port 9180 answers at each address of the host, without what a cloud keeps out of its network."""
    curl = "curl -sSf -m 5 -o /dev/null http://%s:9180/metrics"
    return [bool(target.host.run(curl, address).succeeded) for address in target.addresses]


def test_metrics_are_private_by_default(host: Host, target: Target) -> None:
    assert metrics_text(host)
    assert True not in readable(target)


def test_metrics_can_be_published(host: Host, target: Target) -> None:
    """What the template writes there for a `metrics_client_cidr`, whose security group keeps others out."""
    file = "/etc/docker-registry/environment"
    environment = host.check_output(f"cat {file}") + "\n"
    assert "METRICS_LISTEN='127.0.0.1:9180'" in environment
    target.write(file, environment.replace("127.0.0.1:9180", "0.0.0.0:9180").encode())
    try:
        host.check_output("systemctl restart docker-registry-edge")
        assert metrics_text(host)
        if isinstance(target, LocalTarget):
            assert readable(target) == [True] * len(target.addresses)
    finally:
        target.write(file, environment.encode())
        host.check_output("systemctl restart docker-registry-edge")
        wait_until_working(target)
    assert True not in readable(target)


def test_unread_access_log_is_bounded(host: Host, mirror: OciClient) -> None:
    """When nothing reads the request log, it fills a small separate file system, and pulls continue."""
    host.check_output("systemctl stop registry-metrics")
    try:
        host.run("head -c 200M /dev/zero > /run/registry/access/filler")
        used = int(host.check_output("df -B1 --output=used /run/registry/access | tail -1"))
        assert 0 < used < 64 << 20
        assert host.check_output("df --output=avail /run/registry/access | tail -1").strip() == "0"
        mirror.expect(200, "GET", "/v2/")
    finally:
        host.check_output("rm /run/registry/access/filler; systemctl start registry-metrics")
