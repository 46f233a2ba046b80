"""An upstream registry in a container, for the demo and the tests."""

from collections.abc import Mapping

import docker

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.docker.run_once import run_once
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.images.service import service_image
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

PORT = 5000
# A name without a dot is not passed on by the resolver that Docker gives the containers inside the host.
ALIAS = "upstream.test"
IMAGE = "registry:2.8.3"


def upstream_registry(
    client: docker.DockerClient,
    name: str,
    network: str,
    labels: Mapping[str, str],
    report: ProgressCallback = no_progress,
) -> Machine:
    """An empty registry that answers, by plain HTTP, on port 5000 of `network` as `ALIAS`.

    It is published on a free port of 127.0.0.1, which an engine trusts without TLS, so that it can be filled.
    """
    spec = MachineSpec(
        image=service_image(client, IMAGE, "registry", report),
        name=name,
        labels=labels,
        network=network,
        aliases=(ALIAS,),
        ports={PORT: ("127.0.0.1", None)},
        environment={"REGISTRY_STORAGE_DELETE_ENABLED": "true"},
    )
    machine = Machine.boot(client, spec, report)
    wait_until(lambda: _answers(machine), 30, f"the registry {name}", log=machine.logs)
    return machine


def limit_rate(client: docker.DockerClient, machine: Machine, megabits: float | None, image: str = "client") -> None:
    """Limit what a machine sends, to all clients together, to `megabits` per second (tc-tbf(8)), or no longer (None).

    Set from a container in the same network name space, as the machine itself has neither tc nor the right to use it;
    `image` is a project image that has tc.
    """
    shape = "tc qdisc delete dev eth0 root 2>/dev/null || true"
    if megabits is not None:
        shape = f"tc qdisc replace dev eth0 root tbf rate {megabits:g}mbit burst 256kb latency 400ms"
    run_once(
        client,
        ensure_project_image(client, image),
        ["-c", shape],
        entrypoint=["sh"],
        network_mode=f"container:{machine.name}",
        cap_add=["NET_ADMIN"],
        labels=dict(machine.container.labels),
    )


def fill(client: docker.DockerClient, machine: Machine, image: str, repository: str, tag: str) -> str:
    """Push an image of the engine's store to the upstream; return its digest there."""
    target = f"127.0.0.1:{machine.port(PORT)}/{repository}"
    client.images.get(image).tag(target, tag)
    try:
        lines = list(client.images.push(target, tag, stream=True, decode=True))
    finally:
        client.images.remove(f"{target}:{tag}", force=True)
    digests = [line["aux"]["Digest"] for line in lines if "Digest" in line.get("aux", {})]
    if not digests:
        # The engine says so in the answer, not by its status.
        reasons = [str(line["error"]) for line in lines if "error" in line] or ["no digest came back"]
        raise RegistryStackError(f"{image} cannot be pushed to {machine.name}: {reasons[-1]}")
    return str(digests[-1])


def _answers(machine: Machine) -> str | None:
    """A probe: the API's root, asked from inside."""
    result = machine.exec(["wget", "-q", "-O", "-", f"http://127.0.0.1:{PORT}/v2/"], check=False, timeout=5)
    return None if result.code == 0 else result.tail(1)
