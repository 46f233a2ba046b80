"""One host out of the cloud-config: its files in a folder, its scripts in a setup container, its services beside."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from registry_stack.docker.exec import ExecResult, run
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.images.service import service_image
from registry_stack.polling import wait_until
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.targets.local.host import LOCAL_DEFAULTS, render
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.host_files import host_files
from tests.integration.client import PushClient, insecure_get
from tests.integration.docker_run import Surroundings
from tests.integration.docker_shim import DockerFakeUpstream
from tests.integration.session import Run, start
from tests.integration.systemd_units import read_units, start_order, unit_of
from tests.support.oci import OciClient

REDIS, REGISTRY, EDGE, PROXY = SERVICES = (
    "docker-redis",
    "docker-registry",
    "docker-registry-edge",
    "docker-registry-proxy",
)
# The unit that makes the network, and firewall rules: here testcontainers makes it.
NETWORK = "registry-network"
MIRROR_PORT, REGISTRY_PORT = 8443, 5443
DEADLINE_S = 45
ENVIRONMENT = "/etc/docker-registry/environment"
CERTIFICATES = "/home/root/registry_certs"
# What of the host the setup container shares with the folder that stands for its disk.
SHARED = ("/etc/docker-registry", "/opt/registry", "/run/registry", "/var/lib/registry", CERTIFICATES)
_SETUP = Path(__file__).parent / "setup"
_PATH = "/setup:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Host:
    """A host with the given parameters. Nothing runs before `start`."""

    def __init__(self, this_run: Run, name: str, **parameters: Any) -> None:
        self.run, self.name = this_run, name
        self.values = resolved_values(this_run, parameters)
        files = host_files(render(self.values))
        self.units = read_units(files)
        self.root = this_run.folder / name
        for path, file in files.items():
            self._write(path, file.content, file.mode)
        self.network = this_run.network(name)
        self._done: set[str] = set()
        prefix = f"{this_run.prefix}-{name}"
        around = Surroundings(self.root, self.network, prefix, this_run.labels, self.read)
        self.engine = DockerFakeUpstream(this_run.client, around, SERVICES)
        self.setup = self._start_setup()

    def start(self, *services: str) -> "Host":
        """Start services, and first what they need, by their units' own commands; wait until they answer."""
        for name in start_order(self.units, services):
            self._start(name)
        for name in services:
            wait_until(partial(self._status, name), DEADLINE_S, name, log=partial(self.log, name))
        return self

    def stop(self, service: str) -> None:
        """Stop a service as `docker kill` does: at once, and its name is unknown afterwards."""
        self.engine.answer(["rm", "--force", service.replace("@", "-")])

    def restart(self, *services: str) -> None:
        """`systemctl restart`: the unit's commands again."""
        for service in services:
            self.stop(service)
        self.start(*services)

    @contextmanager
    def changed(self, **parameters: Any) -> Iterator[None]:
        """Other parameters in the environment file for a while; services take them when they are restarted."""
        before = self.values
        self.values = before | parameters
        self._write_environment()
        try:
            yield
        finally:
            self.values = before
            self._write_environment()

    def container(self, service: str) -> Container:
        """The container of a service."""
        return self.engine.containers[service.replace("@", "-")].get_wrapped_container()

    def log(self, service: str) -> str:
        """What a service has written."""
        if service not in self.engine.containers:
            return ""
        return bytes(self.container(service).logs()).decode(errors="replace")

    def exec(self, *command: str, **environment: str) -> ExecResult:
        """Run a command on the host, whatever its exit code."""
        assignments = [f"{name}={value}" for name, value in environment.items()]
        setup = str(self.setup.get_wrapped_container().name)
        return run(self.run.client, setup, ["env", *assignments, *command], None, 120)

    def exec_in(self, service: str, *command: str) -> str:
        """What a command says inside the container of a service."""
        answer = self.engine.answer(["exec", service, *command])
        return answer.out + answer.err

    def read(self, path: str) -> str:
        """A file of the host."""
        return self.exec("cat", path).out

    def url(self, port: int) -> str:
        """Where the edge's port is reached from here. A restarted edge is somewhere else."""
        return f"https://localhost:{self.engine.containers[EDGE].get_exposed_port(port)}"

    @property
    def ca_file(self) -> str:
        """The CA of the host, in a file here: the host's own is for root only."""
        copy = self.root / "ca.crt"
        if not copy.exists():
            copy.write_text(self.read(f"{CERTIFICATES}/ca.crt"))
        return str(copy)

    @property
    def login(self) -> tuple[str, str]:
        """Who may push."""
        return self.values["registry_username"], self.values["registry_password"]

    @property
    def mirror(self) -> OciClient:
        """A client of the mirror."""
        return OciClient(self.url(MIRROR_PORT), None, self.ca_file)

    @property
    def registry(self) -> PushClient:
        """A client of the push registry, logged in."""
        return PushClient(self.url(REGISTRY_PORT), self.login, self.ca_file)

    def close(self) -> None:
        """Stop answering the setup container; its run removes the rest."""
        self.engine.close()

    def _start_setup(self) -> Any:
        """The setup container, with the host's folders where the scripts expect them."""
        shared = self.root / "setup"
        shared.mkdir()
        (shared / "docker").write_bytes((_SETUP / "docker").read_bytes())
        (shared / "docker").chmod(0o755)
        self.engine.listen(shared / "socket")
        setup = self.run.container(
            ensure_project_image(self.run.client, "host"),
            f"{self.name}-setup",
            entrypoint=["sleep"],
            env={"PATH": _PATH},
            network=self.network,
            init=True,
        ).with_command(["infinity"])
        for path in (*SHARED, "/setup"):
            folder = self.root / path.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            # As on a server, whatever the umask here is.
            folder.chmod(0o755)
            setup.with_volume_mapping(f"{self.root}{path}", path, "rw")
        return start(setup)

    def _write_environment(self) -> None:
        file = host_files(render(self.values))[ENVIRONMENT]
        self._write(ENVIRONMENT, file.content, file.mode)

    def _write(self, path: str, content: bytes, mode: int) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)

    def _start(self, name: str) -> None:
        """What systemd does to start a unit, short of supervising it."""
        unit = unit_of(self.units, name)
        if name in {*self._done, *self.engine.containers, NETWORK}:
            return
        # A start by hand does not wait for an earlier crash.
        self.exec("rm", "-f", f"/run/registry/backoff/{name}")
        for line, counts in unit.commands:
            result = self.exec("bash", "-c", _systemd_line(unit.settings, line))
            assert result.code == 0 or not counts, f"{name}: {line.split()[0]}: {result.tail()}"
        if unit.oneshot:
            self._done.add(name)

    def _status(self, service: str) -> str | None:
        """A probe: a real request to the service, from where its clients are."""
        container = self.container(service)
        container.reload()
        if container.status != "running":
            raise RegistryStackError(f"{service} is {container.status}: {self.log(service)[:1000]}")
        if service == REDIS:
            said = self.exec_in(REDIS, "redis-cli", "ping")
            return None if said == "PONG\n" else said
        if service.startswith(f"{PROXY}@"):
            return self._answers(f"proxy-{service.partition('@')[2]}.sock")
        if service == EDGE:
            return insecure_get(f"{self.url(REGISTRY_PORT)}/", 404)
        return self._answers("registry.sock" if service == REGISTRY else "proxy.sock")

    def _answers(self, name: str) -> str | None:
        """A probe of a registry at its socket."""
        socket = f"/run/registry/sockets/{name}"
        asked = self.exec("curl", "-sSf", "-m", "5", "-o", "/dev/null", "--unix-socket", socket, "http://localhost/v2/")
        return asked.err or None


# Makes a host of a name, with these parameters.
MakeHost = Callable[..., Host]


def _systemd_line(settings: Mapping[str, tuple[str, ...]], line: str) -> str:
    """A unit's command for bash: variables of EnvironmentFile= are put in as one word each, as systemd does."""
    files = "".join(_sourced(path) for path in settings.get("EnvironmentFile", ()))
    return f"set -f; IFS=; {files}exec {line}"


def _sourced(path: str) -> str:
    """A dash before the path: the file need not be there."""
    name = path.removeprefix("-")
    return f"[ ! -e {name} ] || . {name}; " if path != name else f". {name}; "


def resolved_values(this_run: Run, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the template, with images that are in the engine's store."""
    given = {name: SourcedValue(value, "the test") for name, value in parameters.items()}
    values = resolve_parameters(load_template(TEMPLATE), Environment(given, {}), LOCAL_DEFAULTS)
    values |= {name: service_image(this_run.client, values[name], kind) for name, kind in IMAGE_PARAMETERS.items()}
    values["registry_password"] = values["registry_password"] or secrets.token_hex(16)
    return values
