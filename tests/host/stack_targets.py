"""The host as a server that Heat made, on the lab or on any cloud: reached over SSH and at its floating IP."""

import secrets
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from openstack.connection import Connection

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import remove_labelled
from registry_stack.lab import settings
from registry_stack.machines.client import ClientNetwork
from registry_stack.targets.choice import Target as Choice
from registry_stack.targets.choice import cloud_options
from registry_stack.targets.cloud import target as cloud
from registry_stack.targets.cloud.connection import connect, heat
from registry_stack.targets.cloud.options import CloudOptions
from registry_stack.targets.cloud.stack import Stack
from tests.host.listening_ports import listening
from tests.host.targets import (
    CHECK_REPO,
    CHECK_TAG,
    DOMAIN,
    PARAMETERS,
    RUN_LABEL,
    Target,
    collect_logs,
    hidden_values,
)
from tests.support.deadlines import wait_until
from tests.support.lab import used_lab
from tests.support.ssh import forget_connection, ssh_host, write
from tests.support.upstream import Upstream, ensure_network

# The lab's own registry has the usual name on this network. Credentials stay below one domain: auth.upstream.test.
UPSTREAM = "tested.upstream.test"
_EVIDENCE = {
    "journal.log": "journalctl --no-pager -o short-precise",
    "cloud-init-output.log": "cat /var/log/cloud-init-output.log",
    "docker-ps.txt": "docker ps --all",
}


class Cloud(Protocol):
    """Where stacks are made, and the way into their servers."""

    @property
    def ssh_key(self) -> Path:
        """The private half of the key pair that servers are made with."""

    @property
    def ssh_user(self) -> str:
        """Who may log in with it, and become root by sudo."""

    def connect(self) -> Connection:
        """As who makes stacks there."""

    def options(self, name: str, *parameters: str, **more: Any) -> CloudOptions:
        """Of a stack with the parameters that fit this cloud, then `NAME=VALUE`."""


@dataclass(frozen=True)
class GivenCloud:
    """The one that the options of this run, or OS_* variables, name. `here`: an address of ours that servers reach."""

    os_cloud: str | None
    environments: Sequence[Path]
    ssh_key: Path
    ssh_user: str
    here: str

    def connect(self) -> Connection:
        """As who makes stacks there."""
        return connect(self.os_cloud)

    def options(self, name: str, *parameters: str, **more: Any) -> CloudOptions:
        """Of a stack with the parameters that fit this cloud, then `NAME=VALUE`."""
        return cloud_options(
            Choice.cloud,
            self.os_cloud,
            name,
            environments=list(self.environments),
            parameters=list(parameters),
            **more,
        )


class StackTarget(Target):
    """A separate stack with a separate upstream."""

    # Emulated, a boot alone takes more than a minute.
    ready_s = 600
    # What only this target must have, by the name of the parameter.
    parameters: ClassVar[dict[str, str]] = {}
    domain: str
    cloud: Cloud
    upstream: Upstream

    def __init__(self, keep: str = "") -> None:
        self.kept = bool(keep)
        self.name = keep or f"hosttest-{secrets.token_hex(4)}"
        self.labels = {RUN_LABEL: self.name}
        self.engine = engine()
        self._cleanup = ExitStack()

    @abstractmethod
    def enter(self) -> Cloud:
        """Have the cloud ready until `_cleanup` is closed."""

    @abstractmethod
    def start_upstream(self) -> Upstream:
        """Where servers of that cloud reach it."""

    def start(self) -> None:
        """Bring it up: the cloud, the upstream, the stack."""
        self.cloud = self.enter()
        self.upstream = Upstream.find(self.engine, self.name) or self.start_upstream()
        self.upstream.push(CHECK_REPO, CHECK_TAG, [1000])
        own = {
            "hostname": self.name,
            "domain": self.domain,
            "storage_driver": "filesystem",
            "upstream_url": self.upstream.url,
        }
        given = [f"{name}={value}" for name, value in (PARAMETERS | own | self.parameters).items()]
        self.options = self.cloud.options(self.name, *given, keep_on_failure=True)
        self.deployment = cloud.deploy(self.options)
        self.hint = (
            f"look with `ssh -i {self.cloud.ssh_key} {self.cloud.ssh_user}@{self.reached_as} sudo journalctl -b`"
        )
        self.host = ssh_host(self.reached_as, self.cloud.ssh_key, self.cloud.ssh_user)
        self.secrets = [self.deployment.password, *hidden_values()]

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{self.domain}"

    @property
    def reached_as(self) -> str:
        return self.deployment.address

    @property
    def addresses(self) -> list[str]:
        return [self.deployment.address, str(self.host.check_output("hostname -I")).split()[0]]

    def authority(self, inside: int) -> str:
        return f"{self.reached_as}:{inside}"

    def write(self, path: str, content: bytes) -> None:
        write(self.host, path, content)

    def reboot(self) -> None:
        """Have Nova restart it; returns when the host has proved again that it works."""
        before = self._boot_id()
        server = self.stack.resource_id("server")
        assert server is not None
        self.cloud.connect().compute.reboot_server(server, "SOFT")
        forget_connection(self.host)

        def probe() -> str | None:
            return "not rebooted yet" if self._boot_id() == before else None

        wait_until(probe, self.ready_s, "the server to boot", hint=self.hint)
        self.wait_until_ready()

    @contextmanager
    def metadata_server(self) -> Iterator[None]:
        """The cloud's own is there already."""
        yield

    def collect(self, folder: Path) -> None:
        """Keep the evidence: the server's console and journal, the upstream's and the clients' logs."""
        folder.mkdir(parents=True, exist_ok=True)
        server = self.stack.resource_id("server")
        if server:
            console = self.cloud.connect().compute.get_server_console_output(server)
            (folder / "console.log").write_text(str(console["output"]))
        if hasattr(self, "host"):
            for name, command in _EVIDENCE.items():
                (folder / name).write_text(str(self.host.run(command).stdout))
        collect_logs(self.engine, f"{RUN_LABEL}={self.name}", folder)

    def remove(self) -> None:
        if self.kept:
            return
        try:
            if hasattr(self, "options"):
                cloud.destroy(self.options, purge=True)
                left = self.stack.get()
                assert left is None, f"left behind by the tests: stack {self.name}"
            remove_labelled(self.engine, f"{RUN_LABEL}={self.name}")
        finally:
            self._cleanup.close()

    @property
    def stack(self) -> Stack:
        """The stack that the host belongs to."""
        return Stack(heat(self.cloud.connect()), self.name)

    def _boot_id(self) -> str:
        return str(self.host.check_output("cat /proc/sys/kernel/random/boot_id"))


class LabTarget(StackTarget):
    """On the lab, which is brought up unless it is, with an upstream on the lab's network."""

    domain = settings.ZONE.rstrip(".")

    def __init__(self, keep: str = "") -> None:
        super().__init__(keep)
        # sshd, the DHCP client of systemd-networkd, and LLMNR of systemd-resolved.
        self.own_sockets = {("tcp", 22), ("udp", 68), ("tcp", 5355), ("udp", 5355)}

    def enter(self) -> Cloud:
        """The lab."""
        return self._cleanup.enter_context(used_lab())

    def start_upstream(self) -> Upstream:
        """With a token service, as Docker Hub has one."""
        return Upstream.start(self.engine, settings.NAME, self.labels, name=self.name, auth="token", alias=UPSTREAM)

    @property
    def place(self) -> ClientNetwork:
        """The lab's network and its name server."""
        return ClientNetwork(settings.NAME, dns=[settings.ADDRESS])


class CloudTarget(StackTarget):
    """On the cloud that was given, with an upstream here that its servers reach, and clients here."""

    domain = DOMAIN
    # Nobody's zone has that domain.
    parameters: ClassVar[dict[str, str]] = {"dns_zone": ""}

    def __init__(self, given: GivenCloud, keep: str = "") -> None:
        super().__init__(keep)
        self.given = given
        self.network = f"{self.name}-net"

    def enter(self) -> Cloud:
        """It is there."""
        return self.given

    def start_upstream(self) -> Upstream:
        """With a plain login: a token service would need a name in the upstream's domain, and addresses have none."""
        ensure_network(self.engine, self.network, self.labels)
        return Upstream.start(
            self.engine, self.network, self.labels, name=self.name, auth="basic", published=self.given.here
        )

    def start(self) -> None:
        """Bring it up; whatever image it is, what listens there and is no port that Docker publishes is its own."""
        super().start()
        self.own_sockets = listening(self.host, without="docker-proxy")

    @property
    def place(self) -> ClientNetwork:
        """A network here, from which the floating IP is reached."""
        return ClientNetwork(self.network, hosts={self.fqdn: self.deployment.address})
