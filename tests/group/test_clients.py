"""Real clients with all hosts of a group, as `client-config` tells them, while one host is away."""

import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from loadtests.benchmark.group_faults import bad_certificate, cut_off
from registry_stack.commands.status import status_of
from registry_stack.docker.machine import Machine
from registry_stack.machines.client import ClientNetwork, configure, docker_client, login
from tests.group.members import DOMAIN, SHARED, Group
from tests.support.oci import ImageRef

SHARED_NAME = f"{SHARED}.{DOMAIN}"
CONTAINERD = (
    "ctr --address /run/docker/containerd/containerd.sock --namespace tests images pull --snapshotter native "
    "--hosts-dir /etc/containerd/certs.d"
)


@pytest.fixture(scope="module")
def client(group: Group) -> Iterator[Machine]:
    """A machine with Docker and containerd, which know both hosts."""
    place, name = ClientNetwork(group.options.network), f"{group.options.name}-client"
    members = [f"{SHARED}-{number}.{DOMAIN}" for number in range(group.options.hosts)]
    machine = docker_client(group.engine, name, place, group.labels, group.deployment, SHARED_NAME, members=members)
    configure(machine, "containerd", group.deployment, SHARED_NAME, members)
    login(machine, group.deployment, SHARED_NAME)
    yield machine
    machine.remove()


def cached_image(group: Group, client: Machine) -> ImageRef:
    """One that Docker has pulled through the first of its mirrors, and that no client has."""
    image = group.upstream.push(f"team/{secrets.token_hex(4)}", "1", [200_000] * 6)
    client.exec(["docker", "pull", "--quiet", f"{image.repo}:1"])
    group.wait_until_stored(*image.blobs)
    client.exec(["docker", "rmi", f"{image.repo}:1"])
    return image


def pull(client: Machine, repo: str) -> None:
    """With each client."""
    client.exec(["docker", "pull", "--quiet", f"{repo}:1"])
    client.exec(shlex.split(f"{CONTAINERD} docker.io/{repo}:1"))


def test_clients_go_on_when_the_first_of_their_mirrors_is_killed(group: Group, client: Machine) -> None:
    """The one that they ask first. What it had is fetched again by the other, and pushes go there."""
    image, first = cached_image(group, client), group.hosts[0]
    repo = image.repo
    pushed = f"{SHARED_NAME}:5000/{repo}:1"
    with group.killed(first):
        pull(client, repo)
        client.exec(["docker", "tag", f"{repo}:1", pushed])
        client.exec(["docker", "push", "--quiet", pushed])
        away = [service.host for service in status_of(group.deployment).services if "not running" in service.state]
        assert away == [first.machine.name]
    assert len(first.registry().pull(repo, "1").layers) == len(image.layers)


@pytest.mark.long
@pytest.mark.parametrize("fault", [bad_certificate, cut_off])
def test_clients_go_on_in_spite_of(
    group: Group, client: Machine, fault: Callable[[Machine], AbstractContextManager[None]]
) -> None:
    """They ask the other, or the first does without the other's blobs."""
    image, first = cached_image(group, client), group.hosts[0]
    with fault(first.machine):
        pull(client, image.repo)
    group.wait_until_asked()
