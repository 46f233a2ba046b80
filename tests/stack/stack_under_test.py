"""A stack under test on the lab: its names, its upstream, and the ways to it."""

import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from openstack.connection import Connection
from testinfra.host import Host

from registry_stack.deployment import Deployment, current
from registry_stack.docker.machine import Machine, MachineSpec, remove_labelled
from registry_stack.images.project import ensure_project_image
from registry_stack.lab import settings
from registry_stack.product import TEMPLATE
from registry_stack.progress import no_progress
from registry_stack.targets.cloud import target as cloud
from registry_stack.targets.cloud.connection import heat
from registry_stack.targets.cloud.stack import Request, Stack
from tests.support.commands import Done, expect_running, finish, run, start
from tests.support.deadlines import scaled, wait_until
from tests.support.lab import UsedLab
from tests.support.oci import Auth, OciClient
from tests.support.ssh import forget_connection, ssh_host
from tests.support.upstream import Upstream

RUN_LABEL = "org.registry-stack.test-run"
CHECK_REPO, CHECK_TAG = "library/check", "1.0"
# A create or an update with a new server, emulated, on a busy machine.
DEPLOY_S = scaled(1000)


@dataclass
class StackUnderTest:
    """Get one from `World.make`. `interrupted` and `resumed` are what became of the first two deploys."""

    lab: UsedLab
    name: str
    labels: dict[str, str]
    upstream: Upstream
    environment: Path
    interrupted: Done | None = None
    resumed: Done | None = None

    @classmethod
    def make(cls, lab: UsedLab) -> "StackUnderTest":
        """An upstream on the lab's network, and an environment file that names it."""
        name = f"stacktest-{secrets.token_hex(3)}"
        labels = {RUN_LABEL: name}
        upstream = Upstream.start(lab.client, settings.NAME, labels, name=name, alias=f"{name}.upstream.test")
        upstream.push(CHECK_REPO, CHECK_TAG, [1000])
        environment = lab.folder / f"{name}.yaml"
        own = {
            "hostname": name,
            "swift_container": f"{name}-images",
            "upstream_url": upstream.url,
            "upstream_check_image": f"{CHECK_REPO}:{CHECK_TAG}",
        }
        environment.write_text(yaml.safe_dump({"parameters": lab.parameters | own}))
        return cls(lab, name, labels, upstream, environment)

    @property
    def parameters(self) -> dict[str, Any]:
        """What is in its environment file."""
        values: dict[str, Any] = yaml.safe_load(self.environment.read_text())["parameters"]
        return values

    @property
    def stack(self) -> Stack:
        """The stack, there or not."""
        return Stack(heat_of(self.lab), self.name)

    @property
    def server(self) -> str:
        """The id of its server."""
        found = self.stack.resource_id("server")
        assert found is not None
        return found

    @property
    def container(self) -> str:
        """The Swift container of its pushed images."""
        return f"{self.name}-images"

    @property
    def fqdn(self) -> str:
        """The name that its DNS record has."""
        return f"{self.name}.{settings.ZONE.rstrip('.')}"

    @property
    def deployment(self) -> Deployment:
        """As it is remembered."""
        return current(self.name)

    @property
    def host(self) -> Host:
        """Its server, over SSH."""
        return ssh_host(self.deployment.address, self.lab.ssh_key, self.lab.ssh_user)

    def mirror(self) -> OciClient:
        """A client of the mirror at the floating IP, verifying its certificate by the CA in the output."""
        return OciClient(f"https://{self.deployment.address}", verify=self.deployment.ca_file)

    def registry(self, auth: Auth = None) -> OciClient:
        """A client of the push registry, logged in."""
        login = auth or (self.deployment.registry_username, self.deployment.password)
        return OciClient(f"https://{self.deployment.address}:5000", login, self.deployment.ca_file)

    def arguments(self, *more: str) -> list[str]:
        """Of a `deploy`."""
        return ["deploy", "--target", "lab", "--name", self.name, "-e", str(self.environment), *more]

    def deploy(self, *more: str) -> Done:
        """By the command."""
        return run(*self.arguments(*more), timeout_s=DEPLOY_S)

    def deploy_interrupted(self) -> None:
        """Ctrl-C once the server is being made, then once more to the end."""
        started, process = time.monotonic(), start(*self.arguments())

        def probe() -> str | None:
            expect_running(process)
            return None if self.stack.resource_id("server") else "none yet"

        wait_until(probe, 300, "a server")
        process.send_signal(signal.SIGINT)
        self.interrupted = finish(process, started)
        self.resumed = self.deploy()
        assert self.resumed.code == 0, self.resumed.err

    def destroy(self, *more: str) -> Done:
        """By the command."""
        return run("destroy", "--target", "lab", "--name", self.name, "--yes", *more, timeout_s=DEPLOY_S)

    def reboot(self) -> None:
        """By Nova, as if the power had failed; returns when SSH answers again."""
        host = self.host
        before = boot_id(host)
        self.lab.connect().compute.reboot_server(self.server, "HARD")
        forget_connection(host)
        wait_until(lambda: None if boot_id(host) != before else "not rebooted yet", 600, "the server to boot")

    def objects(self, container: str = "") -> list[str]:
        """The names of the objects in its Swift container, or in another one."""
        store = self.lab.connect().object_store
        return [str(item.name) for item in store.objects(container or self.container)]

    def client(self, name: str, script: str) -> Machine:
        """A Docker host on the lab's network on which `script` was run as root, and nothing else."""
        spec = MachineSpec(
            image=ensure_project_image(self.lab.client, "client"),
            name=f"{self.name}-{name}",
            labels=self.labels,
            network=settings.NAME,
            dns=[settings.ADDRESS],
            docker=True,
        )
        machine = Machine.boot(self.lab.client, spec)
        machine.wait_for_docker()
        # The machine's first process is Docker: it is restarted with the machine. The password is the user's to type.
        lines = [line for line in script.splitlines() if not line.startswith(("systemctl ", "docker login "))]
        machine.exec(["bash", "-euc", "\n".join(lines)])
        machine.restart()
        machine.wait_for_docker()
        return machine

    def collect(self, folder: Path) -> None:
        """Keep the evidence: what Heat says, the server's console and journal."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failure.txt").write_text(self.stack.failure() if self.stack.get() else "no stack")
        server = self.stack.resource_id("server")
        if server:
            console = self.lab.connect().compute.get_server_console_output(server)
            (folder / "console.log").write_text(str(console["output"]))
            (folder / "journal.log").write_text(str(self.host.run("journalctl --no-pager -b").stdout))

    def remove(self) -> None:
        """Remove it all, the pushed images too; raises when something is left."""
        try:
            cloud.destroy(self.lab.options(self.name), purge=True)
            connection = self.lab.connect()
            # Swift's S3 API keeps the parts of multipart uploads in a second container.
            ours = {self.container, f"{self.name}-bucket", f"{self.name}-bucket+segments"}
            for container in ours & set(_containers(connection)):
                for item in connection.object_store.objects(container):
                    connection.object_store.delete_object(item, container=container)
                connection.object_store.delete_container(container, ignore_missing=True)
        finally:
            remove_labelled(self.lab.client, f"{RUN_LABEL}={self.name}")
        left = [item for item in (*_containers(connection), *_servers(connection)) if self.name in item]
        assert left == [], f"left behind by the tests: {', '.join(left)}"


class StackBeside:
    """Another stack on the lab, beside the one under test."""

    def __init__(self, world: StackUnderTest, name: str) -> None:
        self.world, self.name = world, name

    @property
    def stack(self) -> Stack:
        """It, whether it is there or not."""
        return Stack(heat_of(self.world.lab), self.name)

    def request(self, **parameters: Any) -> Request:
        """The parameters of the one under test, but for its name and these."""
        return Request.read(self.name, TEMPLATE, [], self.world.parameters | {"hostname": self.name} | parameters)

    def create(self, **parameters: Any) -> None:
        """To the end."""
        self.stack.create(self.request(**parameters), DEPLOY_S)
        self.stack.wait(DEPLOY_S, no_progress)

    def delete(self) -> None:
        """With its server, its address and its login."""
        if self.stack.get() is not None:
            self.stack.delete(no_progress)

    @property
    def address(self) -> str:
        """Its floating IP."""
        return str(self.stack.outputs()["floating_ip"])

    @property
    def host(self) -> Host:
        """Its server, over SSH."""
        return ssh_host(self.address, self.world.lab.ssh_key, self.world.lab.ssh_user)


def heat_of(lab: UsedLab) -> Any:
    """python-heatclient, as the operator."""
    return heat(lab.connect())


def answers(client: OciClient) -> str | None:
    """A probe."""
    status = client.request("GET", "/v2/", timeout=10).status_code
    return None if status == 200 else f"HTTP {status}"


def boot_id(host: Host) -> str:
    """Changes with every boot."""
    return str(host.check_output("cat /proc/sys/kernel/random/boot_id"))


def _containers(connection: Connection) -> list[str]:
    return [str(item.name) for item in connection.object_store.containers()]


def _servers(connection: Connection) -> list[str]:
    return [str(item.name) for item in connection.compute.servers()]
