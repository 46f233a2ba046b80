"""More upstreams on a whole host, each by the way of the real client that takes it: containerd says ns=, Docker and the
BuildKit in it call the host by the upstream's name, Podman puts the upstream into the path."""

import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from registry_stack.commands.status import status_of
from registry_stack.deployment import Deployment
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.machines.client import ClientNetwork, configure, docker_client
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from tests.host import backend
from tests.host.conftest import MACHINES
from tests.host.journal import journal
from tests.host.targets import CHECK_REPO, CHECK_TAG, DOMAIN, HOST_NAME, RUN_LABEL
from tests.support.deadlines import wait_until
from tests.support.oci import OciClient
from tests.support.upstream import PASSWORD, USERNAME, Upstream, ensure_network

NAME, AUTHORITY = "second", "second.test:5000"
FQDN = f"{HOST_NAME}.{DOMAIN}"
# A folder with a Dockerfile.
BUILD, DOCKERFILE = "/srv/build", b"ARG BASE\nFROM $BASE\nLABEL built=yes\n"
CTR = "ctr --address /run/docker/containerd/containerd.sock --namespace tests images"
# client: (how it pulls the repository, how it forgets it, the path that it asks for).
CLIENTS = {
    "containerd": (
        f"{CTR} pull --snapshotter native --hosts-dir /etc/containerd/certs.d {AUTHORITY}/{{repo}}:1",
        f"{CTR} rm --sync {AUTHORITY}/{{repo}}:1",
        "/v2/{repo}/",
    ),
    "docker": (f"docker pull {NAME}.{FQDN}/{{repo}}:1", f"docker rmi {NAME}.{FQDN}/{{repo}}:1", "/v2/{repo}/"),
    "buildkit": (
        f"env DOCKER_BUILDKIT=1 docker build --pull --tag built --build-arg BASE={NAME}.{FQDN}/{{repo}}:1 {BUILD}",
        "sh -euc 'docker rmi built; docker builder prune --all --force'",
        "/v2/{repo}/",
    ),
    "podman": (
        f"podman pull {AUTHORITY}/{{repo}}:1",
        f"podman rmi {AUTHORITY}/{{repo}}:1",
        "/v2/second.test/{repo}/",
    ),
}


@dataclass(frozen=True)
class StackUnderTest:
    """A host with two upstreams, and a client of it that is configured for each kind."""

    deployment: Deployment
    host: Host
    client: Machine
    first: Upstream
    second: Upstream


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[StackUnderTest]:
    run = f"hosttest-upstreams-{secrets.token_hex(3)}"
    options = LocalOptions(name=run, mirror_port=None, registry_port=None, labels={RUN_LABEL: run})
    network, labels = options.network, options.all_labels
    request.config.stash[MACHINES].append(run)
    ensure_network(engine(), network, labels)
    try:
        first = Upstream.start(engine(), network, labels, name=f"{run}-first")
        second = Upstream.start(
            engine(), network, labels, name=f"{run}-second", alias=AUTHORITY.partition(":")[0], auth="basic"
        )
        first.push(CHECK_REPO, CHECK_TAG, [1000])
        parameters = {
            "hostname": HOST_NAME,
            "domain": DOMAIN,
            "upstream_url": first.url,
            "upstream_check_image": f"{CHECK_REPO}:{CHECK_TAG}",
            "upstreams": f"{NAME}={second.url}",
            "upstream_credentials": f"{NAME}={USERNAME}:{PASSWORD}",
        }
        given = read_environment([], [f"{name}={value}" for name, value in parameters.items()])
        deployment = local.deploy(options, given)
        client = docker_client(engine(), f"{run}-client", ClientNetwork(network), labels, deployment, FQDN)
        for kind in ("containerd", "podman"):
            configure(client, kind, deployment, FQDN)
        client.put(f"{BUILD}/Dockerfile", DOCKERFILE)
        # The BuildKit in Docker 20.10 reads a registry's CA when the engine starts, not when it is reloaded.
        client.restart()
        client.wait_for_docker()
        yield StackUnderTest(deployment, backend.testinfra_host(local.find_host(run)), client, first, second)
    finally:
        remove_labelled(engine(), f"{RUN_LABEL}={run}")


@pytest.mark.parametrize("client", CLIENTS)
def test_real_client_pulls_from_the_second(world: StackUnderTest, client: str) -> None:
    """Once from the upstream, again from the cache; from nowhere else, since nowhere else are these bytes."""
    repo = f"team/{client}"
    pull, forget, path = (shlex.split(text.format(repo=repo)) for text in CLIENTS[client])
    world.first.push(repo, "1", [b"of the first" * 1000])
    image, since = world.second.push(repo, "1", [300_000]), journal(world.host)
    world.client.exec(pull)
    layer = image.layers[0].digest
    (line, *_more) = since.until("docker-registry-edge", f"{path[0]}blobs/{layer} 200", starting="mirror ")
    assert line.endswith(f" {NAME}")
    fetched = world.second.blob_fetches()
    assert world.second.blob_fetches(layer) >= 1
    world.client.exec(forget)
    world.client.exec(pull)
    assert world.second.blob_fetches() == fetched
    assert f"/v2/{repo}/manifests/1" not in {one.path for one in world.first.requests()}


def test_its_proxy_is_among_the_services(world: StackUnderTest) -> None:
    services = {one.unit: one for one in status_of(world.deployment).services}
    assert services[f"docker-registry-proxy@{NAME}"].state == "active"
    assert services[f"docker-registry-proxy@{NAME}"].memory_mib > 0


def test_status_page_shows_both(world: StackUnderTest) -> None:
    mirror = OciClient(world.deployment.mirror_url, verify=world.deployment.ca_file)

    def answering() -> str | None:
        """A probe: the page is made once a minute."""
        page = mirror.expect(200, "GET", "/status.json").json()
        found = {one["name"]: one["answers"] for one in page["upstreams"]}
        return None if found == {"default": True, NAME: True} else str(found)

    wait_until(answering, 90, "both upstreams on the status page")
    assert AUTHORITY in mirror.expect(200, "GET", "/").text
