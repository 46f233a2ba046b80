"""The host of a local deployment: its parameters, its user-data, and the container that boots it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from registry_stack.deployment import State
from registry_stack.docker.machine import MachineSpec
from registry_stack.images.archive import save_images
from registry_stack.images.project import ensure_project_image
from registry_stack.machines.swift import swift_parameters
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import READY_DEADLINE_S, LocalOptions
from registry_stack.template.functions import References
from registry_stack.template.template import load_template
from registry_stack.userdata.render import render_user_data
from registry_stack.userdata.upstreams import parse_upstreams

INPUTS_LABEL = "org.registry-stack.inputs"
SEED = "/var/lib/cloud/seed/nocloud"
# What must survive the host: see STATE in lib/paths.sh of the cloud-config.
HOST_STATE = "/var/lib/registry"
# What only a cloud needs, or what differs on one's own machine: weaker than anything the user gives.
LOCAL_DEFAULTS: dict[str, Any] = {
    "hostname": "registry",
    "domain": "localdomain",
    "server_key": "none",
    "server_flavor": "none",
    "server_image": "none",
    "fip_network": "none",
    "os_username": "none",
    "os_password": "none",
    "os_region": "none",
    "os_authurl": "http://localhost:5000/v3",
    "storage_driver": "filesystem",
    "require_upstream": False,
    "fetch_storage_gb": 1,
    "ready_timeout_seconds": READY_DEADLINE_S,
}


@dataclass(frozen=True)
class HostPlan:
    """A host as it is to be; `digest` changes whenever it would come out different."""

    values: Mapping[str, Any]
    user_data: str
    image: str
    digest: str


def fallback_values(options: LocalOptions) -> dict[str, Any]:
    """The parameters that the local target fills in."""
    return LOCAL_DEFAULTS | (swift_parameters(State(options.name)) if options.swift else {})


def render(values: Mapping[str, Any]) -> str:
    """The user-data of the host, as Heat would render it for a stack on this machine: nobody to signal to."""
    references: References = {
        ("floating_ip", "floating_ip_address"): "127.0.0.1",
        ("generated_password", "value"): values["registry_password"],
        ("ready_handle", "endpoint"): "",
        ("ready_handle", "token"): "",
    }
    return render_user_data(load_template(TEMPLATE), {"OS::project_id": "", **values}, references)


def plan_host(
    client: docker.DockerClient, options: LocalOptions, values: Mapping[str, Any], report: ProgressCallback
) -> HostPlan:
    """What to boot for these parameters; the host's own image is built if it is not there."""
    image, user_data = ensure_project_image(client, "host", report), render(values)
    images = [client.images.get(values[name]).id for name in sorted(IMAGE_PARAMETERS)]
    facts = [user_data, images, image, options.address, options.mirror_port, options.registry_port, options.swift]
    return HostPlan(values, user_data, image, hashlib.sha256(json.dumps(facts).encode()).hexdigest())


def host_spec(
    client: docker.DockerClient, options: LocalOptions, plan: HostPlan, report: ProgressCallback
) -> MachineSpec:
    """The host's container, with its user-data as a NoCloud seed and the images it is to run."""
    values = plan.values
    names = (values["hostname"], f"{values['hostname']}.{values['domain']}")
    report("saving the images for the host")
    return MachineSpec(
        image=plan.image,
        name=options.name,
        labels={**options.all_labels, INPUTS_LABEL: plan.digest},
        network=options.network,
        aliases=(*names, *(f"{one}.{name}" for one in parse_upstreams(values["upstreams"]) for name in names)),
        hostname=values["hostname"],
        ports={443: (options.address, options.mirror_port), 5000: (options.address, options.registry_port)},
        volumes={HOST_STATE: options.volume},
        files=_files(client, options, plan),
        systemd=True,
        docker=True,
        restarts_with_engine=True,
    )


def _files(client: docker.DockerClient, options: LocalOptions, plan: HostPlan) -> dict[str, tuple[bytes | Path, int]]:
    """Files to hand over before the first boot."""
    identity = {"instance-id": f"{options.name}-{plan.digest[:12]}", "local-hostname": plan.values["hostname"]}
    images = save_images(client, sorted({plan.values[name] for name in IMAGE_PARAMETERS}))
    return {
        f"{SEED}/user-data": (plan.user_data.encode(), 0o600),
        f"{SEED}/meta-data": (json.dumps(identity).encode(), 0o644),
        **{f"/var/lib/registry-stack/images/{archive.name}": (archive, 0o600) for archive in images},
    }
