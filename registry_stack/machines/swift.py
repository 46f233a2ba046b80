"""OpenStack Swift with Keystone in a container, for a local host."""

from collections.abc import Mapping
from typing import Any

import docker

from registry_stack.deployment import State
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

# Its name on the network of the deployment; with a dot, as Docker does not pass on others to outside.
ALIAS = "swift.test"
USERNAME = PROJECT = "registry"
REGION = "RegionOne"
DATA = "/srv"
DEADLINE_S = 120
READY = "swift is ready"


def swift_name(name: str) -> str:
    """The container of a deployment's Swift."""
    return f"{name}-swift"


def swift_parameters(state: State) -> dict[str, Any]:
    """The parameters of the template for this Swift."""
    return {
        "storage_driver": "swift",
        "os_username": USERNAME,
        "os_password": state.secret("swift-password"),
        "os_project_name": PROJECT,
        "os_region": REGION,
        "os_authurl": f"http://{ALIAS}:5000/v3",
    }


def swift_machine(
    client: docker.DockerClient,
    name: str,
    network: str,
    labels: Mapping[str, str],
    state: State,
    report: ProgressCallback = no_progress,
) -> Machine:
    """The Swift of a deployment, booted unless it is running: its user can write to it."""
    machine = Machine.find(client, swift_name(name))
    if machine is None:
        spec = MachineSpec(
            image=ensure_project_image(client, "swift", report),
            name=swift_name(name),
            labels=labels,
            network=network,
            aliases=(ALIAS,),
            volumes={DATA: f"{name}-swift"},
            environment={
                "SWIFT_USERNAME": USERNAME,
                "SWIFT_PASSWORD": state.secret("swift-password"),
                "SWIFT_PROJECT": PROJECT,
                "REGION": REGION,
                "PUBLIC_HOST": ALIAS,
            },
            restarts_with_engine=True,
        )
        machine = Machine.boot(client, spec, report)
    elif not machine.running:
        machine.start()
    waited = wait_until(lambda: _status(machine), DEADLINE_S, f"Swift in {machine.name}", log=machine.logs)
    report(f"Swift answers after {waited:.1f} s")
    return machine


def _status(machine: Machine) -> str | None:
    """A probe: the container says so when its user has got a token and made a container."""
    if not machine.running:
        raise RegistryStackError(f"{machine.name} has stopped: {machine.logs().strip().splitlines()[-1]}")
    return None if READY in machine.logs(this_boot=True) else "its user cannot use it yet"
