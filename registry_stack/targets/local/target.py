"""The local target: the cloud-config, booted by cloud-init and systemd in one container on a Docker engine."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

from registry_stack.deployment import Deployment, State, parse_upstreams
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, MachineSpec, remove_labelled
from registry_stack.docker.ports import check_ports
from registry_stack.errors import RegistryStackError
from registry_stack.images.archive import save_images
from registry_stack.images.project import ensure_project_image
from registry_stack.images.reference import check_reference
from registry_stack.images.service import service_image
from registry_stack.machines.swift import swift_machine, swift_parameters
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, LocalOptions
from registry_stack.targets.local.rollout import (
    read_readiness_report,
    recover_interrupted_rollout,
    replace_with_rollback,
    wait_until_ready,
)
from registry_stack.template.environment import Environment
from registry_stack.template.functions import References
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.render import render_user_data

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
}


def deploy(options: LocalOptions, environment: Environment, report: ProgressCallback = no_progress) -> Deployment:
    """Bring the host up, or up to date, and return how to reach it; nothing is done when it is already so.

    Raises RegistryStackError: bad parameters, a taken port, or the reason why the host does not work, after which
    what was there before is back.
    """
    values = resolve_parameters(load_template(TEMPLATE), environment, fallback_values(options))
    for name in IMAGE_PARAMETERS:
        check_reference(values[name], name)
    client = engine(report)
    values |= {name: service_image(client, values[name], kind, report) for name, kind in IMAGE_PARAMETERS.items()}
    recover_interrupted_rollout(client, options)
    state = State(options.name)
    values["registry_password"] = values["registry_password"] or state.secret("generated-password")
    user_data = render(values)
    inputs = _digest(client, options, user_data, values)
    running = Machine.find(client, options.name)
    if running is None or not running.running or running.container.labels.get(INPUTS_LABEL) != inputs:
        _check_ports(client, options)
        prepare_network(client, options)
        if options.swift:
            swift_machine(client, options.name, options.network, options.all_labels, state, report)
        running = replace_with_rollback(
            client, options, _spec(client, options, user_data, values, inputs, report), report
        )
    else:
        report(f"{options.name} is there, with these parameters")
        wait_until_ready(running, report)
    return _remember(running, options, values, state)


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


def find_host(name: str) -> Machine:
    """The running host of a deployment."""
    machine = Machine.find(engine(), name)
    if machine is None or not machine.running:
        raise RegistryStackError(f'the host "{name}" is not running: run `tox -e deploy`')
    return machine


def list_resources(client: docker.DockerClient, name: str) -> list[str]:
    """What a deployment consists of, for people: containers, networks, volumes."""
    wanted: dict[str, str | list[str] | bool] = {"label": f"{DEPLOYMENT_LABEL}={name}"}
    return [
        *(f"container {item.name}" for item in client.containers.list(all=True, filters=wanted)),
        *(f"network {item.name}" for item in client.networks.list(filters=wanted)),
        *(f"volume {item.name}" for item in client.volumes.list(filters=wanted)),
    ]


def destroy(name: str, keep_data: bool = False) -> list[str]:
    """Remove a deployment; with `keep_data` its volumes, secrets and certificates stay for the next one."""
    client = engine()
    label = f"{DEPLOYMENT_LABEL}={name}"
    gone = remove_labelled(client, label, volumes=not keep_data)
    state = State(name)
    if keep_data:
        (state.folder / "deployment.json").unlink(missing_ok=True)
    else:
        state.remove()
    return gone


def _spec(
    client: docker.DockerClient,
    options: LocalOptions,
    user_data: str,
    values: Mapping[str, Any],
    inputs: str,
    report: ProgressCallback,
) -> MachineSpec:
    """The host, with its user-data as a NoCloud seed and the images it is to run."""
    meta_data = json.dumps({"instance-id": f"{options.name}-{inputs[:12]}", "local-hostname": values["hostname"]})
    files: dict[str, tuple[bytes | Path, int]] = {
        f"{SEED}/user-data": (user_data.encode(), 0o600),
        f"{SEED}/meta-data": (meta_data.encode(), 0o644),
    }
    images = sorted({values[name] for name in IMAGE_PARAMETERS})
    for archive in save_images(client, images):
        files[f"/var/lib/registry-stack/images/{archive.name}"] = (archive, 0o600)
    names = (values["hostname"], f"{values['hostname']}.{values['domain']}")
    return MachineSpec(
        image=ensure_project_image(client, "host", report),
        name=options.name,
        labels={**options.all_labels, INPUTS_LABEL: inputs},
        network=options.network,
        aliases=(*names, *(f"{one}.{name}" for one in parse_upstreams(values["upstreams"]) for name in names)),
        hostname=values["hostname"],
        ports={443: (options.address, options.mirror_port), 5000: (options.address, options.registry_port)},
        volumes={HOST_STATE: options.volume},
        files=files,
        systemd=True,
        docker=True,
    )


def _digest(client: docker.DockerClient, options: LocalOptions, user_data: str, values: Mapping[str, Any]) -> str:
    """Changes whenever the host would come out different."""
    images = [client.images.get(values[name]).id for name in sorted(IMAGE_PARAMETERS)]
    facts = [user_data, images, ensure_project_image(client, "host"), options.address, options.mirror_port]
    return hashlib.sha256(json.dumps([*facts, options.registry_port, options.swift]).encode()).hexdigest()


def _remember(machine: Machine, options: LocalOptions, values: Mapping[str, Any], state: State) -> Deployment:
    """Write down how to reach the host, with its CA and password."""
    password = state.write("password", values["registry_password"] + "\n")
    deployment = Deployment(
        target="local",
        name=options.name,
        mirror_url=_url(options, machine.port(443), 443),
        registry_url=_url(options, machine.port(5000), None),
        ca_file=str(state.write("ca.crt", _ca(machine))),
        registry_username=values["registry_username"],
        password_file=str(password),
        warning=read_readiness_report(machine).get("reason", ""),
        upstreams=parse_upstreams(values["upstreams"]),
    )
    state.save(deployment)
    return deployment


def _ca(machine: Machine) -> bytes:
    """What clients must trust; a user's own pair may have come without its CA."""
    certificates = "/home/root/registry_certs"
    script = f"cat {certificates}/ca.crt 2>/dev/null || cat {certificates}/server.crt"
    return machine.exec(["sh", "-c", script]).raw


def _url(options: LocalOptions, port: int, default: int | None) -> str:
    host = "localhost" if options.address in ("127.0.0.1", "0.0.0.0") else options.address
    return f"https://{host}" if port == default else f"https://{host}:{port}"


def _check_ports(client: docker.DockerClient, options: LocalOptions) -> None:
    """Ask before anything is made, unless the ports are ours or those of another machine."""
    ours = Machine.find(client, options.name)
    if (ours is not None and ours.running) or client.api.base_url.startswith(("ssh", "https")):
        return
    wanted = {"--mirror-port": options.mirror_port, "--registry-port": options.registry_port}
    check_ports(options.address, wanted)


def prepare_network(client: docker.DockerClient, options: LocalOptions) -> None:
    """The network of the host, its Swift and its clients."""
    if not client.networks.list(names=[f"^{options.network}$"]):
        client.networks.create(options.network, driver="bridge", labels=dict(options.all_labels))
