"""A host with the files of the cloud-config and real systemd and Docker, of which each test starts the services it is
about. What cloud-init does to it is for tests/host."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any

from registry_stack.docker.exec import ExecResult
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.archive import save_images
from registry_stack.images.project import ensure_project_image
from registry_stack.images.service import service_image
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.targets.local.host import LOCAL_DEFAULTS, render
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.host_files import HostFile, host_files
from tests.integration.client import PushClient
from tests.integration.session import Run
from tests.support.deadlines import wait_until
from tests.support.oci import OciClient

REDIS, REGISTRY, EDGE, FETCH, PROXY = (
    "docker-redis",
    "docker-registry",
    "docker-registry-edge",
    "docker-registry-fetch",
    "docker-registry-proxy",
)
MIRROR_PORT, REGISTRY_PORT = 443, 5000
DEADLINE_S = 60
CERTIFICATES = "/home/root/registry_certs"
_IMAGES = "/var/lib/registry-stack/images"


class Host:
    """A booted host with the given parameters. None of its services runs before `start`."""

    def __init__(self, this_run: Run, name: str, **parameters: Any) -> None:
        self.values = resolved_values(this_run, parameters)
        self.network = this_run.network(name)
        self._files = files_of(self.values)
        archives = save_images(this_run.client, sorted({self.values[image] for image in IMAGE_PARAMETERS}))
        spec = MachineSpec(
            image=ensure_project_image(this_run.client, "host"),
            name=f"{this_run.prefix}-{name}",
            labels=this_run.labels,
            network=self.network.name,
            hostname=self.values["hostname"],
            ports=dict.fromkeys((MIRROR_PORT, REGISTRY_PORT), ("127.0.0.1", None)),
            files={
                **{path: (file.content, file.mode) for path, file in self._files.items()},
                **{f"{_IMAGES}/{archive.name}": (archive, 0o600) for archive in archives},
                "/etc/cloud/cloud-init.disabled": (b"", 0o644),
            },
            systemd=True,
            docker=True,
        )
        self._ca_file, self._ca_lock = this_run.folder / f"{name}.crt", Lock()
        self.machine = Machine.boot(this_run.client, spec)
        wait_until(self._images_loaded, DEADLINE_S, f"the images in {name}", log=self.machine.logs)

    def start(self, *services: str) -> "Host":
        """Start services; returns when they answer, which is what their units wait for."""
        # The unit would count a restart by a test as a crash, and wait ever longer before the next.
        done = self.exec("sh", "-c", 'rm -f /run/registry/backoff/*; systemctl start "$@"', "sh", *services)
        assert done.code == 0, "\n".join([done.err, *(self.log(service)[-2000:] for service in services)])
        return self

    def stop(self, *services: str) -> None:
        """Stop services."""
        assert self.exec("systemctl", "stop", *services).code == 0

    def restart(self, *services: str) -> None:
        """Restart services, in the order that their units give."""
        self.stop(*services)
        self.start(*services)

    def start_empty(self, *services: str) -> "Host":
        """Start services as on a new host: nothing is cached, nothing is known of the upstream."""
        # With all that needs it.
        self.stop("registry-storage")
        assert self.exec("sh", "-c", "rm -rf /var/lib/registry/edge /var/lib/registry/prox*").code == 0
        return self.start(*services)

    @contextmanager
    def changed(self, **parameters: Any) -> Iterator[None]:
        """Change parameters in the files of the host for a while; a service reads them when it is restarted."""
        before = self.values
        self._apply(before | parameters)
        try:
            yield
        finally:
            self._apply(before)

    @contextmanager
    def restarted_with(self, *services: str, **parameters: Any) -> Iterator[None]:
        """Run services with other parameters for a while."""
        try:
            with self.changed(**parameters):
                self.restart(*services)
                yield
        finally:
            self.restart(*services)

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker says about the container of a service."""
        found: list[dict[str, Any]] = json.loads(self.exec("docker", "inspect", container_of(service)).out)
        return found[0]

    def address(self, service: str) -> str:
        """The address of a service on the private network of the containers."""
        (network,) = self.inspect(service)["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def log(self, service: str) -> str:
        """What a service has written to the journal."""
        return self.exec("journalctl", "--no-pager", "--quiet", "--output", "cat", "--unit", service).out

    def exec(self, *command: str, **environment: str) -> ExecResult:
        """Run a command on the host, whatever its exit code."""
        assignments = [f"{name}={value}" for name, value in environment.items()]
        return self.machine.exec(["env", *assignments, *command], check=False, timeout=120)

    def exec_in(self, service: str, *command: str) -> str:
        """What a command prints inside the container of a service."""
        done = self.exec("docker", "exec", container_of(service), *command)
        return done.out + done.err

    def read(self, path: str) -> str:
        """A file of the host."""
        return self.exec("cat", path).out

    def url(self, port: int) -> str:
        """Where one of the two ports is reached from here."""
        return f"https://localhost:{self._ports[port]}"

    @property
    def ca_file(self) -> str:
        """The CA of the host, in a file here."""
        with self._ca_lock:
            if not self._ca_file.exists():
                self._ca_file.write_text(self.read(f"{CERTIFICATES}/ca.crt"))
        return str(self._ca_file)

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

    @cached_property
    def _ports(self) -> dict[int, int]:
        return {port: self.machine.port(port) for port in (MIRROR_PORT, REGISTRY_PORT)}

    def _apply(self, values: dict[str, Any]) -> None:
        """Write the files that these parameters change."""
        files = files_of(values)
        for path, file in files.items():
            if path not in self._files or file.content != self._files[path].content:
                self.machine.put(path, file.content, file.mode)
        self.values, self._files = values, files

    def _images_loaded(self) -> str | None:
        """A probe."""
        done = self.exec("systemctl", "is-active", "load-images")
        assert done.out.strip() != "failed", self.log("load-images")
        return None if done.code == 0 else done.out + done.err


# Boots a host of a name, with these parameters.
MakeHost = Callable[..., Host]


def files_of(values: Mapping[str, Any]) -> dict[str, HostFile]:
    """The files of a host with these parameters, by path."""
    return host_files(render(values))


def container_of(service: str) -> str:
    """The name of the container of a service, which may be an instance of a template unit."""
    return service.replace("@", "-")


def resolved_values(this_run: Run, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the template, with images that are in the engine's store."""
    given = {name: SourcedValue(value, "the test") for name, value in parameters.items()}
    values = resolve_parameters(load_template(TEMPLATE), Environment(given, {}), LOCAL_DEFAULTS)
    values |= {name: service_image(this_run.client, values[name], kind) for name, kind in IMAGE_PARAMETERS.items()}
    values["registry_password"] = values["registry_password"] or secrets.token_hex(16)
    return values
