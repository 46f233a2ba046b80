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
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE, UNPACK_FILES
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import READY_DEADLINE_S, LocalOptions
from registry_stack.template.functions import References
from registry_stack.template.template import load_template
from registry_stack.userdata.build import with_group_files
from registry_stack.userdata.host_files import host_files
from registry_stack.userdata.render import render_user_data
from registry_stack.userdata.upstreams import parse_upstreams

INPUTS_LABEL = "org.registry-stack.inputs"
SEED = "/var/lib/cloud/seed/nocloud"
# Of the host: its settings, what user-data makes of them, and the images that were handed over, with their ids here.
ENVIRONMENT = "/etc/docker-registry/environment"
USER_DATA_ENVIRONMENT = f"{ENVIRONMENT}.user-data"
IMAGE_FOLDER = "/var/lib/registry-stack/images"
IMAGE_IDS = "/var/lib/registry-stack/image-ids.json"
# The settings that registry-apply does not change: see merge-settings.awk.
_SERVER_SETTINGS = ("HOST_NAME=", "HOST_DOMAIN=", "FLOATING_IP=", "CACHE_VOLUME_ID=")
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
    # There is no Heat to bring them.
    "settings_transport": "user_data",
}


@dataclass(frozen=True)
class HostPlan:
    """A host as it is to be; `settings` can be changed while it runs, a change of `digest` takes another host."""

    values: Mapping[str, Any]
    user_data: str
    settings: str
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
    text = render_user_data(load_template(TEMPLATE), {"OS::project_id": "", **values}, references)
    if values["group_members"] or values["ca_certificate_key"]:
        # What Nova would have no room for.
        text = with_group_files(text, UNPACK_FILES.read_text(encoding="utf-8"))
    return text


def plan_host(
    client: docker.DockerClient, options: LocalOptions, values: Mapping[str, Any], report: ProgressCallback
) -> HostPlan:
    """What to boot for these parameters; the host's own image is built if it is not there."""
    image, user_data = ensure_project_image(client, "host", report), render(values)
    files = {path: [file.content.decode(), file.mode] for path, file in host_files(user_data).items()}
    settings = str(files.pop(USER_DATA_ENVIRONMENT)[0])
    own = [line for line in settings.splitlines() if line.startswith(_SERVER_SETTINGS)]
    facts = [files, own, image, options.address, options.mirror_port, options.registry_port, options.swift]
    if peers := _own_address(values):
        facts.append(peers)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return HostPlan(values, user_data, settings, image, digest)


def image_ids(client: docker.DockerClient, values: Mapping[str, Any]) -> dict[str, str]:
    """The images that the host runs, with what they are here now."""
    return {values[name]: str(client.images.get(values[name]).id) for name in sorted(IMAGE_PARAMETERS)}


def host_spec(
    client: docker.DockerClient, options: LocalOptions, plan: HostPlan, report: ProgressCallback
) -> MachineSpec:
    """The host's container, with its user-data as a NoCloud seed and the images it is to run."""
    values = plan.values
    # All hosts of a group have the name that they share: a resolver gives the address of each.
    hosts = [name for name in (values["hostname"], values.get("shared_hostname")) if name]
    names = [name for host in hosts for name in (host, f"{host}.{values['domain']}")]
    peers = _own_address(values)
    report("saving the images for the host")
    return MachineSpec(
        image=plan.image,
        name=options.host,
        labels={**options.all_labels, INPUTS_LABEL: plan.digest},
        network=options.network,
        aliases=(*names, *(f"{one}.{name}" for one in parse_upstreams(values["upstreams"]) for name in names)),
        hostname=values["hostname"],
        ports={443: (options.address, options.mirror_port), 5000: (options.address, options.registry_port)},
        volumes={HOST_STATE: options.volume},
        more_networks={options.peers: peers} if peers else {},
        files=_files(client, options, plan),
        systemd=True,
        docker=True,
        restarts_with_engine=True,
    )


def _own_address(values: Mapping[str, Any]) -> str:
    """Where the other hosts of its group reach a host; empty when it is alone."""
    addresses = str(values.get("group_members", "")).split(",")
    return addresses[int(values.get("group_member", 0))]


def _files(client: docker.DockerClient, options: LocalOptions, plan: HostPlan) -> dict[str, tuple[bytes | Path, int]]:
    """Files to hand over before the first boot."""
    identity = {"instance-id": f"{options.host}-{plan.digest[:12]}", "local-hostname": plan.values["hostname"]}
    ids = image_ids(client, plan.values)
    return {
        f"{SEED}/user-data": (plan.user_data.encode(), 0o600),
        f"{SEED}/meta-data": (json.dumps(identity).encode(), 0o644),
        IMAGE_IDS: (json.dumps(ids).encode(), 0o644),
        **{f"{IMAGE_FOLDER}/{archive.name}": (archive, 0o600) for archive in save_images(client, sorted(ids))},
    }
