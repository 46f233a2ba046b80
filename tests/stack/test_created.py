"""CREATE_COMPLETE: what the stack is from outside, by the user's own steps."""

import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dns.resolver
import pytest

from registry_stack.lab import settings
from registry_stack.machines.client import image_digest, login
from tests.stack.openstack import openstack, stack_update
from tests.stack.stack_under_test import StackUnderTest, answers
from tests.stack.traffic import traffic
from tests.support.certificates import presented
from tests.support.commands import run
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import ImageRef

OPEN = {22, 443, 5000}
# What listens inside the host's containers, and a port that a test has the host listen on.
INSIDE, TRIED = (5001, 5443, 6379, 8080, 8443, 9180), 8081
SCANNED = (*range(1, 1025), 2375, 2376, 5000, *INSIDE, TRIED)
SCAN_S = 3


@pytest.fixture(scope="session")
def image(deployed: StackUnderTest) -> ImageRef:
    """An image at the upstream."""
    return deployed.upstream.push("library/scenario", "1", [100_000, 4_000_000])


def test_interrupted_deploy_is_resumed(deployed: StackUnderTest) -> None:
    """Ctrl-C leaves a stack that the next deploy waits for: nothing is made twice."""
    assert deployed.interrupted is not None
    assert deployed.resumed is not None
    assert (deployed.interrupted.code, deployed.interrupted.error) == (130, "error: interrupted")
    assert "deploy again to wait for it, destroy to remove it" in deployed.interrupted.err
    assert f"stack {deployed.name} is CREATE_IN_PROGRESS: waiting for that to end" in deployed.resumed.err
    assert f"creating stack {deployed.name}" not in deployed.resumed.err
    assert "settings CREATE_COMPLETE" in deployed.resumed.err, "events are shown as they come"
    found = deployed.stack.get()
    assert found is not None
    assert found.stack_status == "CREATE_COMPLETE"


def test_created_stack_serves_pull_and_push(deployed: StackUnderTest, image: ImageRef) -> None:
    assert deployed.mirror().pull("library/scenario", "1").digest == image.digest
    pushed = deployed.registry().push("created/first", "1", [10_000])
    assert deployed.registry().pull("created/first", "1").digest == pushed.digest
    deployed.registry(("docker", "wrong")).expect(401, "GET", "/v2/")


def test_second_deploy_changes_nothing(deployed: StackUnderTest) -> None:
    server = deployed.server
    done = deployed.deploy()
    assert done.code == 0, done.err
    assert f"stack {deployed.name} is up to date" in done.err
    assert done.seconds < scaled(60)
    assert deployed.server == server


def test_status_shows_the_endpoints(deployed: StackUnderTest) -> None:
    done = run("status", "--name", deployed.name, "--json")
    assert done.code == 0, done.err
    known = json.loads(done.out)
    assert known["mirror_url"] == f"https://{deployed.fqdn}"
    assert known["healthy"]


def test_outputs(deployed: StackUnderTest) -> None:
    """Each is what it says, as the ordinary command shows it."""
    shown = openstack(deployed.lab, "stack", "output", "show", deployed.name, "--all")
    outputs = {name: output["output_value"] for name, output in shown.items()}
    assert outputs["mirror_url"] == f"https://{deployed.fqdn}"
    assert outputs["registry_url"] == f"https://{deployed.fqdn}:5000"
    assert (outputs["registry_username"], outputs["registry_password"]) == ("docker", deployed.deployment.password)
    trusting = ssl.create_default_context(cadata=outputs["ca_certificate"])
    for port in (443, 5000):
        presented(f"{outputs['floating_ip']}:{port}", trusting, deployed.fqdn).close()


def test_name_resolves_to_the_floating_ip(deployed: StackUnderTest) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [settings.ADDRESS]
    answer = resolver.resolve(deployed.fqdn, "A")
    assert [str(record) for record in answer] == [deployed.deployment.address]


def test_docker_pulls_once_and_pushes_to_swift(deployed: StackUnderTest, image: ImageRef) -> None:
    """The user's own scenario. Both Docker hosts are set up by the stack's output and nothing else."""
    shown = openstack(deployed.lab, "stack", "output", "show", deployed.name, "client_configuration")
    first, second = (deployed.client(name, shown["output_value"]) for name in ("first", "second"))
    first.exec(["docker", "pull", "scenario:1"])
    assert image_digest(first, "scenario:1") == image.digest
    before = deployed.upstream.blob_fetches()
    assert before >= len(image.blobs)
    second.exec(["docker", "pull", "scenario:1"])
    assert image_digest(second, "scenario:1") == image.digest
    assert deployed.upstream.blob_fetches() == before
    login(second, deployed.deployment, deployed.fqdn)
    pushed = f"{deployed.fqdn}:5000/scenario/pushed:1"
    second.exec(["docker", "tag", "scenario:1", pushed])
    second.exec(["docker", "push", "--quiet", pushed])
    login(first, deployed.deployment, deployed.fqdn)
    first.exec(["docker", "pull", "--quiet", pushed])
    objects = openstack(deployed.lab, "object", "list", deployed.container)
    names = " ".join(item["Name"] for item in objects)
    for layer in deployed.registry().pull("scenario/pushed", "1").layers:
        assert layer.digest.removeprefix("sha256:") in names


def reachable(address: str, port: int) -> bool:
    """Does anything answer there, if only with a refusal?"""
    try:
        socket.create_connection((address, port), SCAN_S).close()
    except TimeoutError:
        return False
    except ConnectionRefusedError:
        return True
    return True


def test_only_the_three_ports_are_reached(deployed: StackUnderTest) -> None:
    """Seen from outside, while the host itself answers on another one."""
    address, host = deployed.deployment.address, deployed.host
    host.check_output(f"systemd-run --unit tried python3 -m http.server {TRIED}")
    try:
        wait_until(
            lambda: host.run(f"curl -sSf -o /dev/null localhost:{TRIED}").stderr or None, 60, "the server inside"
        )
        with ThreadPoolExecutor(200) as pool:
            found = dict(zip(SCANNED, pool.map(lambda port: reachable(address, port), SCANNED), strict=True))
    finally:
        host.check_output("systemctl stop tried")
    assert {port for port, answers in found.items() if answers} == OPEN


def test_update_in_place(deployed: StackUnderTest) -> None:
    """Who may reach the mirror is changed by Neutron, back and forth."""
    server, address = deployed.server, deployed.deployment.address
    done = deployed.deploy("-P", "mirror_client_cidr=192.0.2.0/24")
    assert done.code == 0, done.err
    assert "mirror_client_cidr: 0.0.0.0/0 -> 192.0.2.0/24" in done.err
    assert f"warning: https://{deployed.fqdn} cannot be reached from here" in done.err
    assert not reachable(address, 443)
    deployed.registry().expect(200, "GET", "/v2/")
    done = deployed.deploy("-P", "ready_timeout_seconds=900")
    assert done.code == 0, done.err
    # What is not applied to a server that stays is still known as asked for.
    assert "is up to date" in deployed.deploy("-P", "ready_timeout_seconds=900").err
    deployed.mirror().expect(200, "GET", "/v2/")
    assert deployed.server == server


def test_settings_are_applied_in_place(deployed: StackUnderTest) -> None:
    """By hand. Failed: why, in one line, and the host goes on as before. Complete: it has them, and works."""
    found, server = deployed.stack.get(), deployed.server
    assert found is not None
    read = "cat /etc/docker-registry/environment"
    with traffic(deployed) as seen:
        done = stack_update(deployed.lab, deployed.name, "--wait", edge_image="upstream.test:5000/nginx:no-such-tag")
        assert "UPDATE_FAILED" in done.stdout + done.stderr
        assert "image upstream.test:5000/nginx:no-such-tag cannot be pulled" in deployed.stack.failure()
        assert "no-such-tag" not in deployed.host.check_output(read)
        # Of no importance to the tests after this one.
        given = {"edge_image": found.parameters["edge_image"], "tag_max_stale_seconds": "1234567"}
        done = stack_update(deployed.lab, deployed.name, "--wait", **given)
        assert done.returncode == 0, done.stderr
    assert "TAG_MAX_STALE_SECONDS='1234567'" in deployed.host.check_output(read)
    assert seen.lost == []
    assert deployed.server == server


@pytest.mark.long
def test_hard_reboot_keeps_images(deployed: StackUnderTest, image: ImageRef) -> None:
    """As after a power failure, with the upstream away: what was cached and what was pushed is there."""
    pushed = deployed.registry().push("created/rebooted", "1", [10_000])
    deployed.mirror().pull("library/scenario", "1")
    deployed.upstream.stop()
    try:
        deployed.reboot()
        for client in (deployed.registry(), deployed.mirror()):
            wait_until(partial(answers, client), 600, client.base_url)
        assert deployed.mirror().pull("library/scenario", "1").digest == image.digest
    finally:
        deployed.upstream.start_again()
    assert deployed.registry().pull("created/rebooted", "1").digest == pushed.digest
