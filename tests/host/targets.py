"""One class per target: a handle on the booted host and all that differs between targets. Servers of a cloud, over SSH,
are in stack_targets.py."""

import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import docker
from testinfra.host import Host

from registry_stack.deployment import Deployment
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.errors import RegistryStackError
from registry_stack.machines.client import ClientNetwork, docker_client
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from tests.host.backend import testinfra_host
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import Auth, OciClient
from tests.support.upstream import PASSWORD, USERNAME, Upstream, ensure_network

RUN_LABEL = "org.registry-stack.test-run"
HOST_NAME, DOMAIN = "registry", "hosttest.example"
CHECK_REPO, CHECK_TAG = "library/check", "1.0"
# Values that must never be seen where others can read. Those of Swift and S3 are not used, but on the host.
PARAMETERS = {
    "hostname": HOST_NAME,
    "domain": DOMAIN,
    "os_password": "os-Secret-5e1f'\"$x",
    "s3_secret_key": "s3-Secret-71d0",
    "upstream_username": USERNAME,
    "upstream_password": PASSWORD,
    "upstream_check_image": f"{CHECK_REPO}:{CHECK_TAG}",
    "require_upstream": "true",
}
METADATA = "169.254.169.254"
_READY_S = 300


def hidden_values() -> list[str]:
    """Those of the parameters that are secrets."""
    return [value for name, value in PARAMETERS.items() if name.endswith(("password", "secret_key"))]


class Target(ABC):
    """A booted host, and what differs between the places where it can be."""

    host: Host
    deployment: Deployment
    upstream: Upstream
    # Sockets that the image brings along, as ("tcp", 22).
    own_sockets: set[tuple[str, int]]
    # Every secret that was given to it or made for it.
    secrets: list[str]
    # The Docker engine here, which the host's clients run on, and what all of this run is labelled with there.
    engine: docker.DockerClient
    labels: dict[str, str]
    ready_s: float = 120
    hint: str = ""

    @property
    @abstractmethod
    def place(self) -> ClientNetwork:
        """Where its clients are."""

    @property
    @abstractmethod
    def fqdn(self) -> str:
        """Its name for its clients, who reach it on the standard ports."""

    @property
    @abstractmethod
    def addresses(self) -> list[str]:
        """Its addresses, by which a client may call it."""

    @property
    @abstractmethod
    def reached_as(self) -> str:
        """The host in the URLs that it is reached by from here."""

    @abstractmethod
    def start(self) -> None:
        """Bring it up, with all that it needs."""

    @abstractmethod
    def authority(self, inside: int) -> str:
        """Where 443 or 5000 is reached from here, as `host:port`. A reboot may change it."""

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write a file that only root can read; the content is on no command line."""

    @abstractmethod
    def reboot(self) -> None:
        """Restart it; returns when it has proved again that it works."""

    @abstractmethod
    def metadata_server(self) -> AbstractContextManager[None]:
        """Run a web server at the metadata address of the host's network."""

    @abstractmethod
    def collect(self, folder: Path) -> None:
        """Keep the evidence: journal, cloud-init's logs, the containers' logs."""

    @abstractmethod
    def remove(self) -> None:
        """Remove all of it; raises when something is left."""

    def client(self, name: str) -> Machine:
        """A fresh Docker host at the place of its clients, configured for it."""
        name = f"{self.labels[RUN_LABEL]}-{name}"
        old = Machine.find(self.engine, name)
        if old is not None:
            old.remove()
        return docker_client(self.engine, name, self.place, self.labels, self.deployment, self.fqdn)

    def mirror(self) -> OciClient:
        """A client of the mirror, verifying its certificate."""
        return OciClient(f"https://{self.authority(443)}", verify=self.deployment.ca_file)

    def registry(self, auth: Auth = None) -> OciClient:
        """A client of the push registry, logged in unless another login is given."""
        login = auth or (self.deployment.registry_username, self.deployment.password)
        return OciClient(f"https://{self.authority(5000)}", login, self.deployment.ca_file)

    def wait_until_ready(self) -> None:
        """Wait for the host's own proof that it works."""
        wait_until(self._readiness, self.ready_s, "registry-ready", hint=self.hint)

    def _readiness(self) -> str | None:
        """A probe: the verdict of registry-ready, which a failure ends the wait with."""
        state = self.host.run("systemctl show --property ActiveState --value registry-ready").stdout.strip()
        if state == "failed":
            raise RegistryStackError(f"registry-ready: {self.host.run('cat /run/registry/ready.json').stdout}")
        return None if state == "active" else state or "systemd does not answer"


class LocalTarget(Target):
    """The host in a container on the Docker engine here, with an upstream of the project's own."""

    def __init__(self, state: Path, keep: str = "") -> None:
        self.state = state
        self.kept = bool(keep)
        self.own_sockets = {("tcp", 22), ("tcp", 53), ("udp", 53)}
        run = keep or f"hosttest-{secrets.token_hex(4)}"
        self.labels = {RUN_LABEL: run}
        self.engine = engine()
        self.options = LocalOptions(name=run, mirror_port=None, registry_port=None, labels=self.labels)

    def start(self) -> None:
        """Bring it up, upstream first."""
        ensure_network(self.engine, self.options.network, self.options.all_labels)
        name = f"{self.options.name}-upstream"
        self.upstream = Upstream.find(self.engine, name) or Upstream.start(
            self.engine, self.options.network, self.labels, name=name, auth="token"
        )
        self.upstream.push(CHECK_REPO, CHECK_TAG, [1000])
        parameters = PARAMETERS | {
            "upstream_url": self.upstream.url,
            "ready_timeout_seconds": str(round(scaled(_READY_S))),
        }
        given = read_environment([], [f"{name}={value}" for name, value in parameters.items()])
        self.deployment = local.deploy(self.options, given)
        self.machine = local.find_host(self.options.name)
        self.hint = f"look with `docker exec {self.machine.name} journalctl -b`"
        self.host = testinfra_host(self.machine)
        self.secrets = [self.deployment.password, *hidden_values()]

    @property
    def place(self) -> ClientNetwork:
        return ClientNetwork(self.options.network)

    @property
    def fqdn(self) -> str:
        return f"{HOST_NAME}.{DOMAIN}"

    @property
    def addresses(self) -> list[str]:
        return [self.machine.address]

    @property
    def reached_as(self) -> str:
        return "localhost"

    def authority(self, inside: int) -> str:
        return f"localhost:{self.machine.port(inside)}"

    def write(self, path: str, content: bytes) -> None:
        self.machine.exec(["sh", "-euc", 'umask 077; cat > "$1"', "sh", path], input=content)

    def reboot(self) -> None:
        """Restart the host's container; returns when the host has proved again that it works."""
        self.machine.restart()
        self.wait_until_ready()

    @contextmanager
    def metadata_server(self) -> Iterator[None]:
        """With a web server on the host's network that has the metadata address as well as its own."""
        script = f"ip address add {METADATA}/32 dev eth0 && exec python3 -u -m http.server 80"
        image = str(self.machine.container.attrs["Config"]["Image"])
        server = self.engine.containers.run(
            image,
            ["-c", script],
            entrypoint=["sh"],
            cap_add=["NET_ADMIN"],
            working_dir="/srv",
            network=self.options.network,
            labels=self.labels,
            detach=True,
        )
        try:
            self.host.check_output(f"ip route replace {METADATA}/32 dev eth0")
            yield
        finally:
            self.host.run(f"ip route delete {METADATA}/32 dev eth0")
            server.remove(force=True, v=True)

    def collect(self, folder: Path) -> None:
        """Keep the evidence: of the host, of clients and upstream."""
        host = Machine.find(self.engine, self.options.name)
        if host is not None:
            host.collect(folder)
        collect_logs(self.engine, self._ours["label"], folder, but=self.options.name)

    def remove(self) -> None:
        if self.kept:
            return
        remove_labelled(self.engine, self._ours["label"])
        # By name: what the label is missing from is what would be left.
        named: dict[str, Any] = {"name": self.options.name}
        left = [
            *(one.name for one in self.engine.containers.list(all=True, filters=named)),
            *(one.name for one in self.engine.networks.list(filters=named)),
            *(one.name for one in self.engine.volumes.list(filters=named)),
        ]
        if left:
            raise AssertionError(f"left behind by the tests: {', '.join(map(str, left))}")

    @property
    def _ours(self) -> dict[str, Any]:
        return {"label": f"{RUN_LABEL}={self.options.name}"}


def collect_logs(client: docker.DockerClient, label: str, folder: Path, but: str = "") -> None:
    """What the containers with that label have written, a file each; `but` names one that is left out."""
    for container in client.containers.list(all=True, filters={"label": label}):
        if container.name != but:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{container.name}.log").write_bytes(bytes(container.logs(tail=2000)))


def collect_deployments(state: Path, folder: Path) -> None:
    """The evidence of other deployments that are remembered in `state`, and of attempts that failed."""
    for known in (path for path in state.iterdir() if path.is_dir()):
        if (known / "failed").exists():
            shutil.copytree(known / "failed", folder / known.name / "failed", dirs_exist_ok=True)
        machine = Machine.find(engine(), known.name)
        if machine is not None and RUN_LABEL not in machine.container.labels:
            machine.collect(folder / known.name)
