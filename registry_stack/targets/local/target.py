"""The local target: the cloud-config, booted by cloud-init and systemd in one container on a Docker engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import docker
from docker.errors import APIError

from registry_stack.deployment import Deployment, Member, State
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.docker.ports import check_ports
from registry_stack.errors import RegistryStackError
from registry_stack.images.reference import check_reference
from registry_stack.images.service import service_image
from registry_stack.machines.swift import swift_machine
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE, command_line
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local.group import member_values, prepare_peers, refuse_unshared_storage, remove_peers
from registry_stack.targets.local.host import INPUTS_LABEL, HostPlan, fallback_values, host_spec, plan_host
from registry_stack.targets.local.in_place import apply_in_place
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, MOST_HOSTS, LocalOptions
from registry_stack.targets.local.rollout import (
    boot_group,
    prefixed,
    read_readiness_report,
    recover_interrupted_rollout,
    remove_all,
    replace_with_rollback,
    wait_until_ready,
)
from registry_stack.template.environment import Environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.upstreams import parse_upstreams


def deploy(options: LocalOptions, environment: Environment, report: ProgressCallback = no_progress) -> Deployment:
    """Bring the hosts up, or up to date, and return how to reach them; nothing is done when that is so already.

    A running host applies other settings and images by itself; it is replaced when what it is made from has changed.
    Raises RegistryStackError: bad parameters, a taken port, or the reason why the host does not work, after which
    what was there before is back.
    """
    options.refuse_impossible()
    values = resolve_parameters(load_template(TEMPLATE), environment, fallback_values(options))
    for name in IMAGE_PARAMETERS:
        check_reference(values[name], name)
    refuse_unshared_storage(options, values)
    client, state = engine(report), State(options.name)
    members = options.members
    for member in members:
        recover_interrupted_rollout(client, member)
        _check_ports(client, member)
    values |= {name: service_image(client, values[name], kind, report) for name, kind in IMAGE_PARAMETERS.items()}
    values["registry_password"] = values["registry_password"] or state.secret("generated-password")
    deadline_s = float(values["ready_timeout_seconds"])
    if options.hosts == 1:
        plan = plan_host(client, options, values, report)
        _prepare(client, options, state, report)
        host = _bring_up(client, options, plan, deadline_s, report)
        _remove_others(client, options, report)
        return _remember([host], members, values, state)
    fresh = not client.volumes.list(filters={"label": f"{DEPLOYMENT_LABEL}={options.name}"})
    addresses = prepare_peers(client, options)
    plans = [
        plan_host(client, member, values | member_values(member, values, addresses, state), report)
        for member in members
    ]
    _prepare(client, options, state, report)
    # New ones first: those that there are learn of hosts that work. Then one after the other, as in a group of Heat's.
    new = [(one, plan) for one, plan in zip(members, plans, strict=True) if Machine.find(client, one.host) is None]
    try:
        boot_group(client, [(one, host_spec(client, one, plan, report)) for one, plan in new], deadline_s, report)
    except BaseException as error:
        if fresh and not options.keep_on_failure:
            remove_all(client, options, error)
        raise
    booted = {one.host for one, _plan in new}
    for one, plan in zip(members, plans, strict=True):
        if one.host not in booted:
            _bring_up(client, one, plan, deadline_s, prefixed(one.host, report))
    _remove_others(client, options, report)
    return _remember([Machine.existing(client, one.host) for one in members], members, values, state)


def _prepare(client: docker.DockerClient, options: LocalOptions, state: State, report: ProgressCallback) -> None:
    """What is there before the hosts: their network, and Swift."""
    prepare_network(client, options)
    if options.swift:
        swift_machine(client, options.name, options.network, options.all_labels, state, report)


def _bring_up(
    client: docker.DockerClient, options: LocalOptions, plan: HostPlan, deadline_s: float, report: ProgressCallback
) -> Machine:
    """Have a host as planned: in place if that is enough."""
    host = Machine.find(client, options.host)
    if host is None or host.container.labels.get(INPUTS_LABEL) != plan.digest:
        return replace_with_rollback(client, options, host_spec(client, options, plan, report), deadline_s, report)
    _ensure_running(host, deadline_s, report)
    apply_in_place(client, host, plan, report)
    return host


def _remove_others(client: docker.DockerClient, options: LocalOptions, report: ProgressCallback) -> None:
    """Remove the hosts that a larger group had, with their caches."""
    others = {one.host: one for one in replace(options, hosts=MOST_HOSTS).members[options.hosts :]}
    for container in client.containers.list(all=True, filters={"label": f"{DEPLOYMENT_LABEL}={options.name}"}):
        if container.name in others:
            report(f"removing {container.name} with its cache")
            container.stop(timeout=30)
            Machine(client, container).remove()
            client.volumes.get(others[container.name].volume).remove(force=True)
    if options.hosts == 1:
        remove_peers(client, options)


def _ensure_running(host: Machine, deadline_s: float, report: ProgressCallback) -> None:
    """Start a host that is made as it should be, and wait until it works."""
    if not host.running:
        report(f"{host.name} is stopped: starting it")
        host.start()
    wait_until_ready(host, report, deadline_s, hint=f"look with `docker exec {host.name} journalctl -b`")


def find_host(name: str) -> Machine:
    """The running host of a deployment; of a group the first."""
    machine = find_running(name)
    if machine is None:
        raise RegistryStackError(f'the host "{name}" is not running: run `{command_line("deploy")}`')
    return machine


def find_running(host: str) -> Machine | None:
    """A host by the name of its container, if it is running."""
    machine = Machine.find(engine(), host)
    return machine if machine is not None and machine.running else None


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


def _remember(
    hosts: Sequence[Machine], members: Sequence[LocalOptions], values: Mapping[str, Any], state: State
) -> Deployment:
    """Write down how to reach the hosts, with their CA and password."""
    password = state.write("password", values["registry_password"] + "\n")
    reached = [
        Member(one.host, _url(one, machine.port(443), 443), _url(one, machine.port(5000), None))
        for one, machine in zip(members, hosts, strict=True)
    ]
    warnings = [read_readiness_report(machine).get("reason", "") for machine in hosts]
    deployment = Deployment(
        target="local",
        name=members[0].name,
        mirror_url=reached[0].mirror_url,
        registry_url=reached[0].registry_url,
        ca_file=str(state.write("ca.crt", _ca(hosts[0]))),
        registry_username=values["registry_username"],
        password_file=str(password),
        warning="; ".join(dict.fromkeys(filter(None, warnings))),
        upstreams=parse_upstreams(values["upstreams"]),
        members=tuple(reached) if len(reached) > 1 else (),
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
    host = Machine.find(client, options.host)
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
