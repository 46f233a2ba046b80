"""The cache of a group: each cold blob is one member's to fetch and to keep, whoever is asked for it."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import requests

from tests.group.members import Group
from tests.support.deadlines import wait_until
from tests.support.oci import ImageRef, OciClient
from tests.support.upstream import now

LAYERS = [400_000] * 12
CLIENTS = 12


def fresh(group: Group) -> ImageRef:
    """An image that nobody has asked for yet."""
    return group.upstream.push(f"library/group-{secrets.token_hex(4)}", "1", LAYERS)


def fetched(group: Group, image: ImageRef, since: datetime) -> dict[str, int]:
    """How often each of its blobs was fetched from the upstream."""
    return {blob.digest: group.upstream.blob_fetches(blob.digest, since) for blob in image.blobs}


def once(image: ImageRef) -> dict[str, int]:
    return {blob.digest: 1 for blob in image.blobs}


def pull(client: OciClient, image: ImageRef) -> None:
    assert client.pull(image.repo, image.reference).digest == image.digest


def test_herd_over_both_members_costs_one_fetch_of_each_blob(group: Group) -> None:
    since, image = now(), fresh(group)
    with ThreadPoolExecutor(CLIENTS) as pool:
        pulls = [pool.submit(pull, group.hosts[client % 2].mirror(), image) for client in range(CLIENTS)]
        for one in pulls:
            one.result()
    group.wait_until_stored(*image.blobs)
    assert fetched(group, image, since) == once(image)


def test_each_blob_is_kept_by_one_member(group: Group) -> None:
    since, image = now(), fresh(group)
    pull(group.hosts[0].mirror(), image)
    kept_by = group.wait_until_stored(*image.blobs)
    pull(group.hosts[1].mirror(), image)
    assert group.wait_until_stored(*image.blobs) == kept_by
    assert fetched(group, image, since) == once(image)
    assert {tuple(hosts) for hosts in kept_by.values()} == {(0,), (1,)}
    # What another member has is a hit, and a range of it a range.
    other = next(blob for blob in image.layers if kept_by[blob.digest] == [1])
    path = f"/v2/{image.repo}/blobs/{other.digest}"
    answer = group.hosts[0].mirror().expect(206, "GET", path, headers={"Range": "bytes=10-19"})
    assert (answer.headers["X-Cache"], len(answer.content)) == ("HIT", 10)
    assert answer.headers["Docker-Content-Digest"] == other.digest


@pytest.mark.parametrize("proof", [{}, {"X-Member": "0" * 64}])
def test_stranger_gets_no_answer(group: Group, proof: dict[str, str]) -> None:
    client = group.hosts[0].mirror()
    for method, path in (
        ("GET", "/cache-bytes"),
        ("PUT", "/lease?holder=9"),
        ("GET", f"/v2/a/blobs/sha256:{'0' * 64}"),
    ):
        with pytest.raises(requests.ConnectionError):
            client.request(method, path, headers={"Host": "member", "X-Registry": "default", **proof})
    # To the mirror itself, the header means nothing.
    assert client.request("GET", "/cache-bytes", headers=proof).status_code == 404


def test_every_member_knows_of_the_others(group: Group) -> None:
    for host in group.hosts:
        host.host.check_output("/opt/registry/collect-slow-metrics")
        metrics = host.host.file("/run/registry/metrics/slow.prom").content_string
        assert 'registry_group_member_up{member="0"} 1\n' in metrics
        assert 'registry_group_member_up{member="1"} 1\n' in metrics
        assert 'registry_group_member_cache_bytes{member="1"} ' in metrics

    def members() -> str | None:
        found = group.hosts[0].mirror().expect(200, "GET", "/status.json").json().get("members", [])
        shown = [(one["number"], one["answers"]) for one in found]
        return None if shown == [(0, True), (1, True)] else str(found)

    wait_until(members, 60, "both members on the status page")
    assert "Members of the group" in group.hosts[0].mirror().expect(200, "GET", "/now.html").text


def test_pulls_go_on_without_a_member(group: Group) -> None:
    cached, cold = fresh(group), fresh(group)
    survivor = group.hosts[0]
    pull(survivor.mirror(), cached)
    kept_by = group.wait_until_stored(*cached.blobs)
    own = [blob for blob in cached.blobs if kept_by[blob.digest] == [0]]
    with group.killed(group.hosts[1]):
        for blob in own:
            assert survivor.stores(blob)
            survivor.mirror().pull_blob(cached.repo, blob)
        since = now()
        pull(survivor.mirror(), cached)
        pull(survivor.mirror(), cold)
        assert sum(fetched(group, cold, since).values()) == len(cold.blobs)
        group.wait_until_stored(*cold.blobs)
        assert all(survivor.stores(blob) for blob in cold.blobs)
