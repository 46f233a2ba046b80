"""The registry of a group: any member takes any push, and one of them collects garbage while all refuse writes."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from testinfra.host import Host

from tests.group.members import Group, HostOfGroup
from tests.support.deadlines import wait_until
from tests.support.oci import OciClient

LEASE = "/run/registry/writes/lease"
# registry-gc starts a collection by the script beside itself. This one finds garbage, and then collects for a minute.
SLOW_RUN_CONTAINER = """#!/bin/bash
if [[ $* == *dry-run* ]]; then
  echo "2 blobs marked, 1 blobs and 0 manifests eligible for deletion"
else
  image=$(docker inspect -f '{{.Image}}' docker-registry-edge)
  exec docker run --rm --name docker-registry-gc --entrypoint sleep "$image" 60
fi
"""
ENVIRONMENT = "GC_QUIET=0 GC_PATIENCE=3 GC_DRAIN=0"
GC = f"{ENVIRONMENT} /opt/registry/registry-gc"


def fresh() -> str:
    return f"group/{secrets.token_hex(4)}"


def at(client: OciClient, url: str) -> str:
    """The same place at another member."""
    parts = urlsplit(url)
    return f"{client.base_url}{parts.path}?{parts.query}"


def test_upload_begun_at_one_member_is_completed_at_another(group: Group) -> None:
    first, second = (host.registry() for host in group.hosts)
    repo, halves = fresh(), [secrets.token_bytes(100_000) for _half in range(2)]
    upload = first.start_upload(repo)
    for client, half in ((second, halves[0]), (first, halves[1])):
        upload = client.location(client.expect(202, "PATCH", at(client, upload), data=half))
    digest = f"sha256:{sha256(b''.join(halves)).hexdigest()}"
    second.expect(201, "PUT", at(second, upload), params={"digest": digest})
    assert first.expect(200, "GET", f"/v2/{repo}/blobs/{digest}").content == b"".join(halves)


def test_what_one_member_deletes_no_other_promises(group: Group) -> None:
    first, second = (host.registry() for host in group.hosts)
    image = first.push(repo := fresh(), "1", [50_000])
    assert second.pull(repo, "1").digest == image.digest
    path = f"/v2/{repo}/blobs/{image.layers[0].digest}"
    second.expect(200, "HEAD", path)
    first.delete(repo, image.digest)
    first.expect(202, "DELETE", path)
    second.expect(404, "HEAD", path)
    second.expect(404, "GET", f"/v2/{repo}/manifests/{image.digest}")
    # So whoever pushes it again sends the bytes.
    assert second.push(repo, "1", [50_000]).digest == image.digest
    assert first.pull(repo, "1").layers == image.layers


def make_garbage(group: Group) -> str:
    """The path of a layer that no manifest refers to any more."""
    registry = group.hosts[0].registry()
    image = registry.push(repo := fresh(), "1", [10_000])
    registry.delete(repo, image.digest)
    path = f"/v2/{repo}/blobs/{image.layers[0].digest}"
    # Its repository still knows the layer: 404 is the work of the collection.
    registry.expect(200, "HEAD", path)
    return path


def refused(host: HostOfGroup) -> bool:
    """Whether a write is: another error than 503 is the registry's own."""
    answer = host.registry().request("PUT", f"/v2/{fresh()}/manifests/1")
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def until_refused(host: HostOfGroup) -> None:
    wait_until(
        lambda: None if refused(host) else "accepted", 30, f"writes to {host.machine.name} to be refused", poll_s=0.1
    )


def until_accepted(group: Group) -> None:
    def probe() -> str | None:
        return ", ".join(host.machine.name for host in group.hosts if refused(host)) or None

    wait_until(probe, 60, "all members to accept writes")


@contextmanager
def slow_collection(group: Group, number: int) -> Iterator[Host]:
    """A collection by that member which takes a minute; the handle on its host."""
    host = group.hosts[number].host
    host.check_output("mkdir /tmp/slow && cp /opt/registry/registry-gc /tmp/slow/")
    group.hosts[number].machine.put("/tmp/slow/run-container", SLOW_RUN_CONTAINER.encode(), 0o755)
    command = f"echo $$ > /tmp/slow/pid; {ENVIRONMENT} exec bash /tmp/slow/registry-gc > /tmp/slow/log 2>&1"
    with ThreadPoolExecutor(1) as background:
        run = background.submit(host.run, command)
        try:
            yield host
        finally:
            host.run("kill $(cat /tmp/slow/pid)")
            host.run("docker rm --force docker-registry-gc")
            run.result()
            # A child of it may have the lock for some seconds more.
            host.check_output("flock --timeout 60 /run/registry/gc.lock true")
            host.run("rm -r /tmp/slow")
            until_accepted(group)


def test_one_member_collects_while_all_refuse_writes(group: Group) -> None:
    collector, other = group.hosts
    garbage = make_garbage(group)
    with ThreadPoolExecutor(1) as background:
        collecting = background.submit(collector.host.run, GC)
        until_refused(other)
        assert other.host.file(LEASE).content_string.split()[1] == "0"
        done = collecting.result()
    assert done.stdout.endswith("garbage collected\n"), done.stderr
    until_accepted(group)
    for host in group.hosts:
        host.registry().expect(404, "HEAD", garbage)
    other.registry().push(repo := fresh(), "1", [10_000])
    assert collector.registry().pull(repo, "1")


def test_second_collector_gets_no_lease(group: Group) -> None:
    make_garbage(group)
    with slow_collection(group, 0):
        until_refused(group.hosts[1])
        done = group.hosts[1].host.run(GC)
        assert done.failed
        assert "refuses writes for another: nothing was collected" in done.stderr
        assert refused(group.hosts[0])


@contextmanager
def partitioned(group: Group) -> Iterator[None]:
    """The second member is away for the first, not for its clients."""
    network = group.engine.networks.get(group.options.peers)
    machine = group.hosts[1].machine
    machine.container.reload()
    address = machine.container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    network.disconnect(machine.container)
    try:
        yield
    finally:
        network.connect(machine.container, ipv4_address=address)


def test_nothing_is_collected_without_all_members(group: Group) -> None:
    make_garbage(group)
    with partitioned(group):
        done = group.hosts[0].host.run(GC)
        assert done.failed
        assert "nothing was collected" in done.stderr
        until_accepted(group)
        # Both go on by themselves.
        for host in group.hosts:
            host.registry().push(fresh(), "1", [1000])


@pytest.mark.long
def test_collection_ends_when_a_lease_cannot_be_renewed(group: Group) -> None:
    with slow_collection(group, 0) as host:
        until_refused(group.hosts[1])
        wait_until(
            lambda: None if host.run("docker inspect docker-registry-gc").succeeded else "not yet", 30, "the collection"
        )
        with partitioned(group):
            wait_until(
                lambda: "running" if host.run("docker inspect docker-registry-gc").succeeded else None, 25, "its end"
            )
            # The member that was lost still keeps its word.
            assert refused(group.hosts[1])
        assert "a member does not renew its lease" in host.file("/tmp/slow/log").content_string


@pytest.mark.long
def test_leases_of_a_dead_collector_end(group: Group) -> None:
    with slow_collection(group, 1) as host:
        until_refused(group.hosts[0])
        host.check_output("pkill --signal KILL --full /tmp/slow/[r]egistry-gc")
        host.check_output("docker rm --force docker-registry-gc")
        assert refused(group.hosts[0])
        until_accepted(group)


@pytest.mark.long
@pytest.mark.parametrize("broken", [f"rm {LEASE}", f"echo nonsense > {LEASE}"])
def test_member_that_cannot_know_does_not_write(group: Group, broken: str) -> None:
    host = group.hosts[1]
    kept = host.host.file(LEASE).content_string
    host.host.check_output(broken)
    try:
        assert refused(host)
        assert not refused(group.hosts[0])
    finally:
        host.machine.put(LEASE, kept.encode())
    until_accepted(group)


@pytest.mark.long
def test_reboot_does_not_forget_a_lease(group: Group) -> None:
    """What was promised before it nobody knows, so nothing is written for as long as a lease lasts."""
    host = group.hosts[1]
    host.machine.restart()
    wait_until(lambda: None if host.host.run(f"grep boot {LEASE}").succeeded else "not yet", 60, "a lease of nobody")
    host.wait_until_ready()
    until_accepted(group)


def test_upload_waits_for_the_end_of_a_lease(group: Group) -> None:
    host = group.hosts[1]
    kept = host.host.file(LEASE).content
    uptime = float(host.host.check_output("cut -d ' ' -f 1 /proc/uptime"))
    host.machine.put(LEASE, f"{uptime + 30:.2f} 0\n".encode())
    with ThreadPoolExecutor(1) as background:
        upload = background.submit(host.registry().start_upload, fresh())
        until_refused(host)
        # The edge looks every half second.
        with pytest.raises(TimeoutError):
            upload.result(3)
        host.machine.put(LEASE, kept)
        assert upload.result()
