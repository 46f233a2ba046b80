"""The local target: the cloud-config, booted by cloud-init and systemd in one container on a Docker engine."""

from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError

from registry_stack.deployment import Deployment, State
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.docker.ports import check_ports
from registry_stack.errors import RegistryStackError
from registry_stack.images.reference import check_reference
from registry_stack.images.service import service_image
from registry_stack.machines.swift import swift_machine
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE, command_line
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local.host import INPUTS_LABEL, fallback_values, host_spec, plan_host
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, LocalOptions
from registry_stack.targets.local.rollout import (
    read_readiness_report,
    recover_interrupted_rollout,
    replace_with_rollback,
    wait_until_ready,
)
from registry_stack.template.environment import Environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.upstreams import parse_upstreams


def deploy(options: LocalOptions, environment: Environment, report: ProgressCallback = no_progress) -> Deployment:
    """Bring the host up, or up to date, and return how to reach it; nothing is done when it is already so.

    Raises RegistryStackError: bad parameters, a taken port, or the reason why the host does not work, after which
    what was there before is back.
    """
    values = resolve_parameters(load_template(TEMPLATE), environment, fallback_values(options))
    for name in IMAGE_PARAMETERS:
        check_reference(values[name], name)
    client, state = engine(report), State(options.name)
    recover_interrupted_rollout(client, options)
    _check_ports(client, options)
    values |= {name: service_image(client, values[name], kind, report) for name, kind in IMAGE_PARAMETERS.items()}
    values["registry_password"] = values["registry_password"] or state.secret("generated-password")
    plan = plan_host(client, options, values, report)
    prepare_network(client, options)
    if options.swift:
        swift_machine(client, options.name, options.network, options.all_labels, state, report)
    deadline_s = float(values["ready_timeout_seconds"])
    host = Machine.find(client, options.name)
    if host is None or host.container.labels.get(INPUTS_LABEL) != plan.digest:
        host = replace_with_rollback(client, options, host_spec(client, options, plan, report), deadline_s, report)
    else:
        _ensure_running(host, deadline_s, report)
    return _remember(host, options, values, state)


def _ensure_running(host: Machine, deadline_s: float, report: ProgressCallback) -> None:
    """Start a host that is as it should be but for that, and wait until it works."""
    if host.running:
        report(f"{host.name} is running with these parameters")
    else:
        report(f"{host.name} has these parameters but is stopped: starting it")
        host.start()
    wait_until_ready(host, report, deadline_s, hint=f"look with `docker exec {host.name} journalctl -b`")


def find_host(name: str) -> Machine:
    """The running host of a deployment."""
    machine = Machine.find(engine(), name)
    if machine is None or not machine.running:
        raise RegistryStackError(f'the host "{name}" is not running: run `{command_line("deploy")}`')
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
    # What docker-py calls an engine behind a socket here.
    if not client.api.base_url.startswith("http+docker://"):
        return
    host = Machine.find(client, options.name)
    ours = host.published_ports if host else set()
    wanted = {"--mirror-port": options.mirror_port, "--registry-port": options.registry_port}
    check_ports(options.address, {option: port for option, port in wanted.items() if port not in ours})


def prepare_network(client: docker.DockerClient, options: LocalOptions) -> None:
    """The network of the host, its Swift and its clients."""
    if client.networks.list(names=[f"^{options.network}$"]):
        return
    try:
        client.networks.create(options.network, driver="bridge", labels=dict(options.all_labels))
    except APIError as error:
        raise RegistryStackError(
            f"Docker cannot create the network {options.network}: {error.explanation or error}: if it has no addresses "
            "left, remove networks that nothing uses (`docker network prune`)"
        ) from error
