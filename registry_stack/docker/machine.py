"""A container that acts as a server: it is booted, runs commands, is restarted and removed.

Nothing is mounted from this file system, so that a remote engine works too: files are copied in before the first
start.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container

from registry_stack.docker.archive import Content, pack, unpack
from registry_stack.docker.exec import ExecResult, run
from registry_stack.docker.privileges import machine_privileges
from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

PROJECT_LABEL = "org.registry-stack.project"
PROJECT = "docker-registry-stack"
# File systems that the container mounts at its start: they would hide files that were copied in before.
_TMPFS = ("/run/", "/tmp/", "/var/run/")
_STOP_S = 30
# systemd says nothing where it cannot watch a single file; a machine takes seven or more of the 128 that are usual.
_SYSTEMD_GAVE_UP = 255
_UNWATCHED = (
    "its console is empty: too many files may be watched on the engine's machine already; allow more there with "
    "`sysctl fs.inotify.max_user_instances=1024`"
)
_EVERY_LOG = """docker ps --all --format '{{.Names}}' | while read -r name; do
    echo "=== $name"
    docker logs --tail 2000 "$name" 2>&1
done"""
# Diagnostics: file name -> command.
_DIAGNOSTICS = {
    "journal.log": ["journalctl", "--no-pager", "-o", "short-precise"],
    "units.txt": ["systemctl", "list-units", "--all", "--no-pager", "--plain"],
    "cloud-init.log": ["cat", "/var/log/cloud-init.log"],
    "cloud-init-output.log": ["cat", "/var/log/cloud-init-output.log"],
    "docker-ps.txt": ["docker", "ps", "--all"],
    "containers.log": ["sh", "-c", _EVERY_LOG],
}


@dataclass(frozen=True)
class MachineSpec:
    """What to boot. `systemd` and `docker` say what runs inside and so what the container must be allowed.

    ports: {port inside: (address outside, port outside or None for any free one)};
    volumes: {path inside: volume name}; files: {path inside: (content or file here, mode)};
    address: a fixed one on the network; more_networks: {network: fixed address there};
    dns: name servers for what the network itself has no name for;
    hosts: addresses of names that neither knows;
    devices: paths on the engine's machine, the same inside;
    restarts_with_engine: it comes back after a restart of the engine or of its machine, unless it was stopped.
    """

    image: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    aliases: Sequence[str] = ()
    hostname: str | None = None
    ports: Mapping[int, tuple[str, int | None]] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[Content, int]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    address: str | None = None
    more_networks: Mapping[str, str] = field(default_factory=dict)
    dns: Sequence[str] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[str] = ()
    cpu_shares: int | None = None
    systemd: bool = False
    docker: bool = False
    restarts_with_engine: bool = False


class Machine:
    """A booted machine. Get one from `Machine.boot` or `Machine.find`."""

    def __init__(self, client: docker.DockerClient, container: Container) -> None:
        """Wrap an existing container."""
        self.client = client
        self.container = container

    @classmethod
    def boot(cls, client: docker.DockerClient, spec: MachineSpec, report: ProgressCallback = no_progress) -> "Machine":
        """Create the container, copy its files in and start it; remove it again if that fails."""
        report(f"booting {spec.name} ({spec.image})")
        machine = cls(client, _create(client, spec))
        try:
            for network, address in spec.more_networks.items():
                client.networks.get(network).connect(machine.container, ipv4_address=address)
            if spec.files:
                machine.container.put_archive("/", pack(spec.files))
            start_container(machine.container, picked=not any(port for _address, port in spec.ports.values()))
        except APIError as error:
            machine.remove()
            raise RegistryStackError(_refusal(spec, error)) from error
        return machine

    @classmethod
    def find(cls, client: docker.DockerClient, name: str) -> "Machine | None":
        """The machine of that name, running or not; None if it does not exist."""
        try:
            return cls(client, client.containers.get(name))
        except NotFound:
            return None

    @classmethod
    def existing(cls, client: docker.DockerClient, name: str) -> "Machine":
        """The machine of that name; raises RegistryStackError if it does not exist."""
        machine = cls.find(client, name)
        if machine is None:
            raise RegistryStackError(f"{name} has been removed")
        return machine

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.container.name)

    @property
    def running(self) -> bool:
        """Whether it is running at this moment."""
        self.container.reload()
        return str(self.container.status) == "running"

    @property
    def address(self) -> str:
        """Its address on its (first) network."""
        self.container.reload()
        networks: dict[str, Any] = self.container.attrs["NetworkSettings"]["Networks"]
        found = next((str(one["IPAddress"]) for one in networks.values() if one["IPAddress"]), "")
        if not found:
            raise RegistryStackError(f"{self.name} has no address: it is {self.container.status}")
        return found

    @property
    def published_ports(self) -> set[int]:
        """The ports outside that it has at this moment."""
        self.container.reload()
        bindings: dict[str, Any] = self.container.attrs["NetworkSettings"]["Ports"]
        return {int(one["HostPort"]) for some in bindings.values() for one in some or ()}

    def port(self, inside: int) -> int:
        """The port outside at which a published port inside is reached."""
        self.container.reload()
        bindings = self.container.attrs["NetworkSettings"]["Ports"].get(f"{inside}/tcp")
        if not bindings:
            raise RegistryStackError(f"{self.name} does not publish port {inside}, or is not running")
        return int(bindings[0]["HostPort"])

    def exec(
        self, cmd: Sequence[str], input: bytes | None = None, check: bool = True, timeout: float | None = None
    ) -> ExecResult:
        """Run a command inside; with `check`, a failure is a RegistryStackError with the end of its output.

        Where the machine does not run any more, the error has the end of its console.
        """
        try:
            result = run(self.client, self.name, list(cmd), input, timeout)
        except RegistryStackError as error:
            if self.running:
                raise
            raise self._stopped() from error
        if check and result.code != 0:
            raise RegistryStackError(f"{self.name}: `{' '.join(cmd)}` failed with {result.code}: {result.tail()}")
        return result

    def put(self, path: str, data: Content, mode: int = 0o644) -> None:
        """Write a file inside, owned by root, with its parent folders."""
        if path.startswith(_TMPFS):
            content = data if isinstance(data, bytes) else data.read_bytes()
            script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
            self.exec(["sh", "-c", script, "put", path, f"{mode:o}"], input=content)
        else:
            self.container.put_archive("/", pack({path: (data, mode)}))

    def read(self, path: str) -> bytes:
        """The bytes of a file inside."""
        if path.startswith(_TMPFS):
            return self.exec(["cat", path]).raw
        try:
            stream, _stat = self.container.get_archive(path)
        except NotFound as error:
            raise RegistryStackError(f"{self.name} has no file {path}") from error
        return unpack(stream)

    def logs(self, this_boot: bool = False) -> str:
        """What the container's first process has written, ever or since it was started last."""
        since: dict[str, Any] = {}
        if this_boot:
            self.container.reload()
            since["since"] = datetime.fromisoformat(self.container.attrs["State"]["StartedAt"]).timestamp()
        return bytes(self.container.logs(**since)).decode(errors="replace")

    def wait_for_docker(self, deadline_s: float = 60) -> float:
        """Wait until the Docker engine inside answers; return the seconds waited."""
        return wait_until(self._docker_status, deadline_s, f"the Docker engine in {self.name}", log=self.logs)

    def collect(self, folder: Path) -> None:
        """Write the journal, cloud-init's logs and the inner containers' state and logs into `folder`, if available."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "console.log").write_text(self.logs())
        if not self.running:
            return
        for name, command in _DIAGNOSTICS.items():
            with contextlib.suppress(RegistryStackError):
                result = self.exec(command, check=False, timeout=30)
                if result.raw:
                    (folder / name).write_bytes(result.raw)

    def start(self) -> None:
        """Boot it again after it was stopped."""
        try:
            self.container.start()
        except APIError as error:
            raise RegistryStackError(f"{self.name} could not be started: {error.explanation or error}") from error

    def restart(self) -> None:
        """Reboot: orderly stop, then start with the same disk and volumes."""
        self.container.restart(timeout=_STOP_S)

    def remove(self, volumes: bool = True) -> None:
        """Remove the container, running or not, and its anonymous volumes."""
        try:
            self.container.remove(force=True, v=volumes)
        except NotFound:
            return

    def _stopped(self) -> RegistryStackError:
        """What to raise where it does not run any more: the end of its console, or what a silent end means."""
        code = self.container.attrs["State"]["ExitCode"]
        console = self.logs()[-2000:] or (_UNWATCHED if code == _SYSTEMD_GAVE_UP else "its console is empty")
        return RegistryStackError(f"{self.name} has stopped with exit code {code}: {console}")

    def _docker_status(self) -> str | None:
        """A probe: `docker version` of the server; `docker info` of Docker 26.1 succeeds without one."""
        if not self.running:
            raise self._stopped()
        result = self.exec(["docker", "version", "--format", "{{.Server.Version}}"], check=False, timeout=10)
        return None if result.code == 0 else result.tail()


def start_container(container: Container, picked: bool, tries: int = 3) -> None:
    """Start it, again if another process takes the free port that the engine has picked before the engine binds it."""
    for left in reversed(range(tries)):
        try:
            container.start()
            return
        except APIError as error:
            if not (picked and left and "address already in use" in str(error)):
                raise


def _create(client: docker.DockerClient, spec: MachineSpec) -> Container:
    """Create the container with its labels, network, volumes and rights."""
    labels = {PROJECT_LABEL: PROJECT, **spec.labels}
    for volume in spec.volumes.values():
        client.volumes.create(name=volume, labels=labels)
    arguments: dict[str, Any] = {
        "image": spec.image,
        "name": spec.name,
        "labels": labels,
        "detach": True,
        "environment": dict(spec.environment),
        "ports": {f"{port}/tcp": to for port, to in spec.ports.items()},
        "volumes": {volume: {"bind": path, "mode": "rw"} for path, volume in spec.volumes.items()},
        "devices": [f"{device}:{device}:rwm" for device in spec.devices],
        "hostname": spec.hostname,
        "dns": list(spec.dns) or None,
        "extra_hosts": dict(spec.hosts),
        "entrypoint": list(spec.entrypoint) if spec.entrypoint else None,
        "command": list(spec.command) if spec.command else None,
        "cpu_shares": spec.cpu_shares,
        "restart_policy": {"Name": "unless-stopped"} if spec.restarts_with_engine else None,
        **_network(client, spec),
        **(machine_privileges(client, spec.image) if spec.systemd or spec.docker else {}),
    }
    try:
        return client.containers.create(**arguments)
    except ImageNotFound as error:
        raise RegistryStackError(f"{spec.name}: there is no image {spec.image}") from error
    except APIError as error:
        raise RegistryStackError(_refusal(spec, error)) from error


def _network(client: docker.DockerClient, spec: MachineSpec) -> dict[str, Any]:
    """The network, and the names and the address the machine has on it."""
    if spec.network is None:
        return {}
    endpoint = client.api.create_endpoint_config(aliases=list(spec.aliases), ipv4_address=spec.address)
    return {"network": spec.network, "networking_config": {spec.network: endpoint}}


def _refusal(spec: MachineSpec, error: APIError) -> str:
    """Why the engine did not create or start it, with what to do where that is known."""
    reason = str(error.explanation or error)
    if "already allocated" in reason or "address already in use" in reason:
        wanted = ", ".join(f"{address}:{port}" for address, port in spec.ports.values() if port)
        return f"{spec.name}: a port it needs is taken on this machine (it needs {wanted}): {reason}"
    if error.status_code == 409:
        return f"{spec.name}: a container of that name is already there: {reason}"
    return f"{spec.name} could not be started: {reason}"


def remove_labelled(client: docker.DockerClient, label: str, volumes: bool = True, networks: bool = True) -> list[str]:
    """Remove containers, networks and volumes with `label` (`name` or `name=value`); return their names."""
    wanted: dict[str, Any] = {"label": label}
    gone: list[str] = []
    for container in client.containers.list(all=True, filters=wanted):
        Machine(client, container).remove()
        gone.append(str(container.name))
    for network in client.networks.list(filters=wanted) if networks else []:
        network.remove()
        gone.append(str(network.name))
    for volume in client.volumes.list(filters=wanted) if volumes else []:
        volume.remove(force=True)
        gone.append(str(volume.name))
    return gone
