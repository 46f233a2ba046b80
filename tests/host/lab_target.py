"""The host as a server of the lab's cloud, made by Heat: reached over SSH and at its floating IP."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.client import docker_client
from harness.cloud import target as cloud
from harness.cloud.connection import heat
from harness.cloud.stack import Stack
from harness.lab import settings
from harness.machine import Machine, remove_labelled
from harness.waiting import wait_until
from tests.host.targets import CHECK_REPO, CHECK_TAG, PARAMETERS, RUN_LABEL, FrontDoor, hidden_values
from tests.support.lab import used_lab
from tests.support.ssh import forget_connection, ssh_host, write
from tests.support.upstream import Upstream

# The lab's own registry has the usual name on this network. Credentials stay below one domain: auth.upstream.test.
UPSTREAM = "tested.upstream.test"
_METADATA_API = f"{settings.ADDRESS}:8775"
_EVIDENCE = {
    "journal.log": "journalctl --no-pager -o short-precise",
    "cloud-init-output.log": "cat /var/log/cloud-init-output.log",
    "docker-ps.txt": "docker ps --all",
}


class LabTarget(FrontDoor):
    """A stack of its own on the lab, with an upstream on the lab's network."""

    # Emulated: a boot alone takes more than a minute.
    ready_s = 600

    def __init__(self, keep: str = "") -> None:
        self.kept = bool(keep)
        # sshd, the DHCP client of systemd-networkd, and LLMNR of systemd-resolved.
        self.own_sockets = {("tcp", 22), ("udp", 68), ("tcp", 5355), ("udp", 5355)}
        self.name = keep or f"hosttest-{secrets.token_hex(4)}"
        self.labels = {RUN_LABEL: self.name}
        self._cleanup = ExitStack()

    def start(self) -> None:
        """Bring it up: the lab unless it is, the upstream, the stack."""
        self.lab = self._cleanup.enter_context(used_lab())
        self.engine = self.lab.client
        self.upstream = Upstream.find(self.engine, self.name) or Upstream.start(
            self.engine, settings.NAME, self.labels, name=self.name, auth="token", alias=UPSTREAM
        )
        self.upstream.push(CHECK_REPO, CHECK_TAG, [1000])
        self.options = self.lab.options(self.name, *self._parameters(), keep_on_failure=True)
        self.deployment = cloud.deploy(self.options)
        self.hint = f"look with `ssh -i {self.lab.ssh_key} {settings.SSH_USER}@{self.reached_as} sudo journalctl -b`"
        self.host = ssh_host(self.reached_as, self.lab.ssh_key)
        self.secrets = [self.deployment.password, *hidden_values()]

    @property
    def fqdn(self) -> str:
        """Its name on the network that its clients are on; there it listens on the standard ports."""
        return f"{self.name}.{settings.ZONE.rstrip('.')}"

    @property
    def reached_as(self) -> str:
        """The host in the URLs that it is reached by from here."""
        return self.deployment.address

    @property
    def addresses(self) -> list[str]:
        """Its addresses, by which a client may call it."""
        return [self.deployment.address, str(self.host.check_output("hostname -I")).split()[0]]

    def authority(self, inside: int) -> str:
        """Where 443 or 5000 is reached from here, as `host:port`."""
        return f"{self.reached_as}:{inside}"

    def write(self, path: str, content: bytes) -> None:
        """Write a file that only root can read; the content is on no command line."""
        write(self.host, path, content)

    def reboot(self) -> None:
        """Have Nova restart it; returns when the host has proved again that it works."""
        before = self._boot_id()
        server = self.stack.resource_id("server")
        assert server is not None
        self.lab.connect().compute.reboot_server(server, "SOFT")
        forget_connection(self.host)

        def probe() -> str | None:
            return "not rebooted yet" if self._boot_id() == before else None

        wait_until(probe, self.ready_s, "the server to boot", hint=self.hint)
        self.wait_until_ready()

    def client(self, name: str) -> Machine:
        """A fresh Docker host on the lab's network, configured for it."""
        name = f"{self.name}-{name}"
        old = Machine.find(self.engine, name)
        if old is not None:
            old.remove()
        return docker_client(
            self.engine, name, settings.NAME, self.labels, self.deployment, self.fqdn, dns=[settings.ADDRESS]
        )

    @contextmanager
    def metadata_server(self) -> Iterator[str]:
        """The cloud's own is there already; gives the address at which Nova serves it."""
        yield _METADATA_API

    def collect(self, folder: Path) -> None:
        """Keep the evidence: the server's console and journal, the lab's and the upstream's logs."""
        folder.mkdir(parents=True, exist_ok=True)
        server = self.stack.resource_id("server")
        if server:
            console = self.lab.connect().compute.get_server_console_output(server)
            (folder / "console.log").write_text(str(console["output"]))
        if hasattr(self, "host"):
            for name, command in _EVIDENCE.items():
                (folder / name).write_text(str(self.host.run(command).stdout))
        for container in self.engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={self.name}"}):
            (folder / f"{container.name}.log").write_bytes(bytes(container.logs(tail=2000)))

    def remove(self) -> None:
        """Remove all of it; raises when something is left."""
        if self.kept:
            return
        try:
            if hasattr(self, "options"):
                cloud.destroy(self.options, purge=True)
                left = self.stack.get()
                assert left is None, f"left behind by the tests: stack {self.name}"
            if hasattr(self, "engine"):
                remove_labelled(self.engine, f"{RUN_LABEL}={self.name}")
        finally:
            self._cleanup.close()

    @property
    def stack(self) -> Stack:
        """The stack that the host belongs to."""
        return Stack(heat(self.lab.connect()), self.name)

    def _parameters(self) -> list[str]:
        """Those of every target, with what this one must have otherwise."""
        own = {
            "hostname": self.name,
            "domain": settings.ZONE.rstrip("."),
            "storage_driver": "filesystem",
            "upstream_url": self.upstream.url,
        }
        return [f"{name}={value}" for name, value in (PARAMETERS | own).items()]

    def _boot_id(self) -> str:
        return str(self.host.check_output("cat /proc/sys/kernel/random/boot_id"))
