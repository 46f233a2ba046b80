"""The local target: the cloud-config, booted by cloud-init and systemd in one container on a Docker engine."""

import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker

from harness.deployment import DEFAULT_NAME, Deployment, State
from harness.engine import Report, engine, silent
from harness.errors import HarnessError
from harness.hot.environment import Environment
from harness.hot.parameters import resolve_parameters
from harness.hot.template import load_template
from harness.hot.userdata import render_user_data
from harness.images.archive import save_images
from harness.images.own import own_image
from harness.images.reference import check_reference
from harness.images.service import Kind, service_image
from harness.machine import Machine, MachineSpec, remove_labelled
from harness.swift import swift_machine, swift_parameters
from harness.waiting import wait_until

TEMPLATE = Path(__file__).resolve().parent.parent / "heat" / "registry.yaml"
DEPLOYMENT_LABEL = "org.registry-stack.deployment"
INPUTS_LABEL = "org.registry-stack.inputs"
SEED = "/var/lib/cloud/seed/nocloud"
# What must survive the host: see STATE in the cloud-config's lib.sh.
HOST_STATE = "/var/lib/registry"
READY = "/run/registry/ready.json"
READY_DEADLINE_S = 300
IMAGE_PARAMETERS: dict[str, Kind] = {
    "redis_image": "redis",
    "registry_image": "registry",
    "proxy_image": "registry",
    "edge_image": "nginx",
}
UNITS = ("docker-redis", "docker-registry", "docker-registry-edge", "docker-registry-proxy")
# What only a cloud needs, or what differs on one's own machine: weaker than anything the user gives.
FALLBACK: dict[str, Any] = {
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


@dataclass(frozen=True)
class LocalOptions:
    """How a local deployment differs from the default one. Port None: any free one."""

    name: str = DEFAULT_NAME
    address: str = "127.0.0.1"
    mirror_port: int | None = 443
    registry_port: int | None = 5000
    swift: bool = False
    keep_on_failure: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """The network of the host, its Swift and its clients."""
        return f"{self.name}-net"

    @property
    def volume(self) -> str:
        """The volume with everything that must survive the host."""
        return f"{self.name}-state"

    @property
    def all_labels(self) -> dict[str, str]:
        """What every part of this deployment is labelled with."""
        return {DEPLOYMENT_LABEL: self.name, **self.labels}


def deploy(options: LocalOptions, environment: Environment, report: Report = silent) -> Deployment:
    """Bring the host up, or up to date, and return how to reach it; nothing is done when it is already so.

    Raises HarnessError: bad parameters, a taken port, or the reason why the host does not work, after which
    what was there before is back.
    """
    values = resolve_parameters(load_template(TEMPLATE), environment, fallback_values(options))
    for name in IMAGE_PARAMETERS:
        check_reference(values[name], name)
    client = engine(report)
    values |= {name: service_image(client, values[name], kind, report) for name, kind in IMAGE_PARAMETERS.items()}
    _settle(client, options)
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
        running = _replace(client, options, _spec(client, options, user_data, values, inputs, report), report)
    else:
        report(f"{options.name} is there, with these parameters")
        _wait_until_ready(running, report)
    return _remember(running, options, values, state)


def fallback_values(options: LocalOptions) -> dict[str, Any]:
    """The parameters that the local target fills in."""
    return FALLBACK | (swift_parameters(State(options.name)) if options.swift else {})


def render(values: Mapping[str, Any]) -> str:
    """The user-data of the host, as Heat would render it for a stack on this machine: nobody to signal to."""
    references = {
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
        raise HarnessError(f'the host "{name}" is not running: run `tox -e deploy`')
    return machine


def parts(client: docker.DockerClient, name: str) -> list[str]:
    """What a deployment consists of, for people: containers, networks, volumes."""
    wanted = {"label": f"{DEPLOYMENT_LABEL}={name}"}
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
    report: Report,
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
    return MachineSpec(
        image=own_image(client, "host", report),
        name=options.name,
        labels={**options.all_labels, INPUTS_LABEL: inputs},
        network=options.network,
        aliases=(values["hostname"], f"{values['hostname']}.{values['domain']}"),
        hostname=values["hostname"],
        ports={443: (options.address, options.mirror_port), 5000: (options.address, options.registry_port)},
        volumes={HOST_STATE: options.volume},
        files=files,
        systemd=True,
        docker=True,
    )


def _digest(
    client: docker.DockerClient, options: LocalOptions, user_data: str, values: Mapping[str, Any]
) -> str:
    """Changes whenever the host would come out different."""
    images = [client.images.get(values[name]).id for name in sorted(IMAGE_PARAMETERS)]
    facts = [user_data, images, own_image(client, "host"), options.address, options.mirror_port]
    return hashlib.sha256(json.dumps([*facts, options.registry_port, options.swift]).encode()).hexdigest()


def _previous(options: LocalOptions) -> str:
    return f"{options.name}-previous"


def _settle(client: docker.DockerClient, options: LocalOptions) -> None:
    """Clean up after a deploy that was killed halfway: the old host comes back unless the new one works."""
    old, new = Machine.find(client, _previous(options)), Machine.find(client, options.name)
    if old is None:
        return
    if new is not None and new.running and _outcome(new).get("status") == "SUCCESS":
        old.remove()
        return
    if new is not None:
        new.remove()
    old.container.rename(options.name)


def _replace(client: docker.DockerClient, options: LocalOptions, spec: MachineSpec, report: Report) -> Machine:
    """Boot the new host in the place of the old one, which comes back if the new one does not work."""
    old = Machine.find(client, options.name)
    fresh = not client.volumes.list(filters={"name": f"^{options.volume}$"})
    if old is not None:
        report("parameters have changed: stopping the host to replace it")
        was_running = old.running
        old.container.stop(timeout=30)
        old.container.rename(_previous(options))
    try:
        machine = Machine.boot(client, spec, report)
        _wait_until_ready(machine, report)
    except BaseException as error:
        _undo(client, options, error, old if old and was_running else None, fresh)
        raise
    if old is not None:
        old.remove()
    return machine


def _undo(
    client: docker.DockerClient, options: LocalOptions, error: BaseException, old: Machine | None, fresh: bool
) -> None:
    """After a failed or interrupted boot: keep its logs, remove it, bring back what there was."""
    failed = Machine.find(client, options.name)
    if failed is not None:
        logs = State(options.name).folder / "failed"
        failed.collect(logs)
        error.add_note(f"its logs are in {logs}")
        if options.keep_on_failure:
            error.add_note(f"it was kept: docker exec -it {options.name} bash")
            return
        failed.remove()
    previous = Machine.find(client, _previous(options))
    if previous is not None:
        previous.container.rename(options.name)
        if old is not None:
            previous.container.start()
    elif fresh:
        remove_labelled(client, f"{DEPLOYMENT_LABEL}={options.name}")


def _wait_until_ready(machine: Machine, report: Report) -> None:
    """Wait for registry-ready's own verdict, naming each unit as it comes up."""
    seen: set[str] = set()

    def probe() -> str | None:
        if not machine.running:
            raise HarnessError(f"{machine.name} has stopped: {machine.logs()[-500:]}")
        up = _units_up(machine)
        for unit in sorted(up - seen):
            report(f"{unit} answers")
        seen.update(up)
        status = _outcome(machine)
        if status.get("status") == "FAILURE":
            raise HarnessError(f"the host does not work: {status['reason']}")
        return None if status else f"{len(up)} of {len(UNITS)} services answer"

    hint = f"look with `docker exec {machine.name} journalctl -b`"
    wait_until(probe, READY_DEADLINE_S, f"a push and a pull on {machine.name}", hint=hint)


def _units_up(machine: Machine) -> set[str]:
    states = machine.exec(["systemctl", "is-active", *UNITS], check=False).out.split()
    return {unit for unit, state in zip(UNITS, states, strict=False) if state == "active"}


def _outcome(machine: Machine) -> dict[str, str]:
    """What registry-ready found: `status` and `reason`, or nothing yet."""
    result = machine.exec(["cat", READY], check=False)
    return dict(json.loads(result.out)) if result.code == 0 else {}


def _remember(machine: Machine, options: LocalOptions, values: Mapping[str, Any], state: State) -> Deployment:
    """Write down how to reach the host, with its CA and password."""
    password = state.write("password", values["registry_password"] + "\n")
    deployment = Deployment(
        target="local",
        name=options.name,
        mirror_url=_url(options, machine.port(443), 443),
        registry_url=_url(options, machine.port(5000), None),
        ca_file=str(state.write("ca.crt", machine.read("/home/root/registry_certs/ca.crt"))),
        registry_username=values["registry_username"],
        password_file=str(password),
        warning=_outcome(machine).get("reason", ""),
    )
    state.save(deployment)
    return deployment


def _url(options: LocalOptions, port: int, default: int | None) -> str:
    host = "localhost" if options.address in ("127.0.0.1", "0.0.0.0") else options.address
    return f"https://{host}" if port == default else f"https://{host}:{port}"


def _check_ports(client: docker.DockerClient, options: LocalOptions) -> None:
    """Raise HarnessError naming every wanted port that somebody else listens on."""
    ours = Machine.find(client, options.name)
    if (ours is not None and ours.running) or client.api.base_url.startswith(("ssh", "https")):
        return
    wanted = {"--mirror-port": options.mirror_port, "--registry-port": options.registry_port}
    taken = {option: port for option, port in wanted.items() if port and _listening(options.address, port)}
    if taken:
        ports = " and ".join(str(port) for port in taken.values())
        are = "are" if len(taken) > 1 else "is"
        raise HarnessError(
            f"port {ports} on {options.address} {are} taken: stop what listens there, "
            f"or choose another with {' and '.join(taken)}"
        )


def _listening(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return False


def prepare_network(client: docker.DockerClient, options: LocalOptions) -> None:
    if not client.networks.list(names=[f"^{options.network}$"]):
        client.networks.create(options.network, driver="bridge", labels=dict(options.all_labels))
