"""Real clients, configured by what `client-config` prints, pull from a registry of each kind through the mirror.

tests/support/personalities.py says what each kind does. The registries speak no TLS, so that no client can go on to one
by itself; and every image is another, so that each pull is a cold one.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.errors import RegistryStackError
from registry_stack.machines.client import ClientNetwork, configure, docker_client
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from tests.host.conftest import MACHINES
from tests.host.targets import DOMAIN, HOST_NAME, RUN_LABEL
from tests.support.personalities import HABITS, MIRRORED, Personalities, parameters, port_of
from tests.support.personality_server import config_of, digest_of, layer_of, manifest_of
from tests.support.upstream import ensure_network

FQDN = f"{HOST_NAME}.{DOMAIN}"
CTR = "ctr --address /run/docker/containerd/containerd.sock"
# Every object in the store of the engine's containerd.
CONTENT = f"for each in $({CTR} namespaces list --quiet); do {CTR} --namespace $each content list --quiet; done"
# How each client pulls an image and shows the digests of its parts. $REGISTRY is the registry's own name for the image,
# $PATH_OF is below the mirror, and $HOST_OF is at the mirror's name for that registry: README.md, "More upstreams".
CLIENTS = {
    "docker": "docker pull $HOST_OF; docker image inspect $HOST_OF",
    "docker-containerd": f"docker pull $HOST_OF; docker image inspect $HOST_OF; {CONTENT}",
    "containerd": f"{CTR} images pull --snapshotter native --hosts-dir /etc/containerd/certs.d $REGISTRY; {CONTENT}",
    "podman": "podman pull $REGISTRY; podman image inspect $REGISTRY",
    "buildkit": "echo 'ARG BASE\nFROM $BASE AS base\nFROM scratch\nCOPY --from=base /content /copy' > Dockerfile"
    f"; docker build --pull --build-arg BASE=$PATH_OF .; {CONTENT}",
    "skopeo": "skopeo copy docker://$REGISTRY dir:/tmp/skopeo; sha256sum /tmp/skopeo/*",
}
# That of Docker 20.10 and its classic store; the others are newer.
OLD = "docker"
# The one that pulls from all in the gate, and the registries that differ most, from which every client pulls: all
# redirected to a registry that wants a token; a login at a token service elsewhere; blobs redirected by a path.
QUICK, DECISIVE = "containerd", ("lscr", "gitlab", "gar")
REGISTRIES = ["plain", *(name for name in MIRRORED if name != "thief")]


@dataclass(frozen=True)
class Clients:
    """Machines with clients of two ages, of a host that mirrors all registries."""

    old: Machine
    new: Machine


@pytest.fixture(scope="module")
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    run = f"hosttest-kinds-{secrets.token_hex(3)}"
    options = LocalOptions(name=run, mirror_port=None, registry_port=None, labels={RUN_LABEL: run})
    network, labels = options.network, options.all_labels
    request.config.stash[MACHINES].append(run)
    ensure_network(engine(), network, labels)
    try:
        Personalities.start(engine(), network, labels)
        own = {"hostname": HOST_NAME, "domain": DOMAIN, "upstream_check_image": "library/check:1"}
        given = read_environment([], [f"{name}={value}" for name, value in (own | parameters(own_names=True)).items()])
        deployment = local.deploy(options, given)
        place = ClientNetwork(network)
        old = docker_client(engine(), f"{run}-old", place, labels, deployment, FQDN)
        new = docker_client(engine(), f"{run}-new", place, labels, deployment, FQDN, suite="trixie")
        for kind in ("containerd", "podman"):
            configure(new, kind, deployment, FQDN)
        use_containerd_store(new)
        yield Clients(old, new)
    finally:
        remove_labelled(engine(), f"{RUN_LABEL}={run}")


def use_containerd_store(machine: Machine) -> None:
    """Switch the engine of a machine to the image store of containerd."""
    settings = json.loads(machine.read("/etc/docker/daemon.json"))
    settings["features"] = {"containerd-snapshotter": True}
    machine.put("/etc/docker/daemon.json", json.dumps(settings).encode())
    machine.restart()
    machine.wait_for_docker()
    assert "containerd" in machine.exec(["docker", "info", "--format", "{{.DriverStatus}}"]).out


def pull(clients: Clients, client: str, name: str, repo: str) -> str:
    """Pull an image with a client; what the client says about it."""
    authority = f"{name}.test"
    ways = {
        "REGISTRY": f"{authority}:{port_of(name)}/{repo}:1",
        "PATH_OF": f"{FQDN}/{authority}/{repo}:1",
        "HOST_OF": f"{name}.{FQDN}/{repo}:1",
    }
    if name == "plain":
        # In the place of Docker Hub, whose mirror it is for every client.
        ways = dict.fromkeys(ways, f"docker.io/{repo}:1")
    script = f"cd $(mktemp -d); {CLIENTS[client]}"
    machine = clients.old if client == OLD else clients.new
    environment = [f"{way}={reference}" for way, reference in ways.items()]
    return str(machine.exec(["env", *environment, "sh", "-euc", script], timeout=120).out)


def parts_of(name: str, repo: str) -> dict[str, str]:
    """The digests of an image of a registry, without `sha256:`."""
    answers = port_of(HABITS[name].get("redirect") or HABITS[name].get("manifests") or name)
    parts = {"manifest": manifest_of(repo, answers), "config": config_of(repo, answers), "layer": layer_of(repo)}
    return {part: digest_of(content).removeprefix("sha256:") for part, content in parts.items()}


def cases() -> list[Any]:
    """All clients with all registries, most of them for a long run."""
    return [
        pytest.param(client, name, marks=[] if client == QUICK or name in DECISIVE else [pytest.mark.long])
        for client in CLIENTS
        for name in REGISTRIES
    ]


@pytest.mark.parametrize(("client", "name"), cases())
def test_client_pulls_from_a_registry_of_each_kind(clients: Clients, client: str, name: str) -> None:
    repo = f"{client}/{name}"
    expected = parts_of(name, repo)
    said = pull(clients, client, name, repo)
    assert {part for part, digest in expected.items() if digest not in said} == set(), said


def test_client_does_not_pull_what_the_registry_refuses(clients: Clients) -> None:
    """The mirror's login is not for the token service to which this registry sends its clients."""
    with pytest.raises(RegistryStackError, match="403|denied|refuses"):
        pull(clients, OLD, "thief", "docker/thief")
