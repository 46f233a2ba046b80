"""A Docker host that pulls and pushes as a user's would: for the demo and the tests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker

from registry_stack.client_config import client_configuration
from registry_stack.deployment import Deployment, Member
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.project import ensure_project_image
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress


@dataclass(frozen=True)
class ClientNetwork:
    """A client's network, and how it resolves the deployment's name: by Docker, by `dns` or by `hosts`."""

    network: str
    dns: Sequence[str] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)


def docker_client(
    client: docker.DockerClient,
    name: str,
    place: ClientNetwork,
    labels: Mapping[str, str],
    deployment: Deployment,
    host: str,
    report: ProgressCallback = no_progress,
    suite: str = "",
    members: Sequence[str] = (),
) -> Machine:
    """A machine with Docker, configured as `tox -e client-config -- docker` prints it.

    `host` is the deployment's name at that place, where it listens on the standard ports, of a group `members` are the
    names of its hosts; `suite` is the Debian whose clients it has, the oldest that is supported unless given.
    """
    spec = MachineSpec(
        image=ensure_project_image(client, "client", report, suite),
        name=name,
        labels=labels,
        network=place.network,
        dns=place.dns,
        hosts=place.hosts,
        docker=True,
    )
    machine = Machine.boot(client, spec, report)
    machine.wait_for_docker()
    configure(machine, "docker", deployment, host, members)
    return machine


def configure(machine: Machine, kind: str, deployment: Deployment, host: str, members: Sequence[str] = ()) -> None:
    """Run the commands that `client-config` prints, as far as they need nobody to type a password."""
    there = [Member(name, f"https://{name}", f"https://{name}:5000") for name in members]
    seen = replace(deployment, mirror_url=f"https://{host}", registry_url=f"https://{host}:5000", members=there)
    lines = client_configuration(kind, seen).splitlines()
    script = "\n".join(line for line in lines if " login " not in line and not line.startswith("systemctl"))
    machine.put("/root/ca.crt", Path(deployment.ca_file))
    machine.exec(["sh", "-euc", f"cd /root\n{script}"])
    if kind == "docker":
        # What `systemctl reload docker` does elsewhere: the engine is this machine's first process.
        machine.container.kill(signal="SIGHUP")
        mirror = seen.mirror_urls[0]
        wait_until(lambda: _mirror_status(machine, mirror), 30, f"{machine.name} to use the mirror")


def _mirror_status(machine: Machine, url: str) -> str | None:
    """A probe: the engine itself says which mirrors it uses."""
    mirrors = machine.exec(["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}"], check=False).out
    return None if f'"{url}/"' in mirrors else f"its mirrors are {mirrors.strip()}"


def login(machine: Machine, deployment: Deployment, host: str) -> None:
    """`docker login` at the push registry."""
    command = ["docker", "login", "--username", deployment.registry_username, "--password-stdin", f"{host}:5000"]
    machine.exec(command, input=deployment.password.encode())


def image_digest(machine: Machine, reference: str) -> str:
    """The digest under which an image was pulled."""
    found = json.loads(machine.exec(["docker", "image", "inspect", reference]).out)[0]["RepoDigests"]
    return str(found[0]).rsplit("@", 1)[1]
