"""One run of this suite: all that it starts carries one label, is looked into on failure, and is gone afterwards."""

import re
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from registry_stack.docker.machine import PROJECT, PROJECT_LABEL, Machine, remove_labelled, start_container

LABEL = "org.registry-stack.integration-run"


def start(container: DockerContainer) -> DockerContainer:
    """Start a container; where the engine has picked a port that is taken, again."""
    try:
        return container.start()
    except APIError as error:
        if "address already in use" not in str(error):
            raise
        start_container(container.get_wrapped_container(), picked=True)
        return container


class Run:
    """What this run has started, and where it keeps its files."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.id = secrets.token_hex(3)
        self.prefix = f"integration-{self.id}"
        self.label = f"{LABEL}={self.id}"
        self.labels = {PROJECT_LABEL: PROJECT, LABEL: self.id}
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.evidence = Path(tempfile.gettempdir()) / f"{self.prefix}-logs"

    @property
    def _wanted(self) -> dict[str, str | list[str] | bool]:
        """A filter for all that is ours."""
        return {"label": self.label}

    def network(self, name: str) -> Network:
        """A network of this run."""
        network = Network(docker_network_kw={"labels": self.labels})
        network.name = f"{self.prefix}-{name}"
        return network.create()

    def remove_network(self, network: Network) -> None:
        """Remove a network, and the containers of this run that are on no other one."""
        for container in self.containers():
            names = set(container.attrs["NetworkSettings"]["Networks"])
            if names == {network.name}:
                Machine(self.client, container).remove()
            elif network.name in names:
                self.client.networks.get(network.name).disconnect(container)
        network.remove()

    def container(self, image: str, name: str, **arguments: Any) -> DockerContainer:
        """A container of this run, to be configured and started."""
        return DockerContainer(image, name=f"{self.prefix}-{name}", labels=self.labels, **arguments)

    def containers(self) -> list[Container]:
        """Every container of this run, running or not."""
        return list(self.client.containers.list(all=True, filters=self._wanted))

    def collect(self, test: str) -> Path:
        """Write the logs and the state of all containers into a folder named after a test."""
        folder = self.evidence / re.sub(r"[^\w.-]+", "-", test, flags=re.ASCII)
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.containers():
            try:
                log = bytes(container.logs(timestamps=True, tail=5000))
            except APIError as error:
                log = str(error).encode()
            name = str(container.name).removeprefix(f"{self.prefix}-")
            (folder / f"{name}.log").write_bytes(f"# {name}: {container.status}\n".encode() + log)
            if container.attrs["Config"]["Cmd"] == ["/sbin/init"]:
                Machine(self.client, container).collect(folder / name)
        return folder

    def remove(self) -> None:
        """Remove everything, and make sure that nothing is left."""
        volumes = {
            mount["Name"]
            for container in self.containers()
            for mount in container.attrs["Mounts"]
            if mount["Type"] == "volume"
        }
        # One after the other takes long: there are dozens, and the engine waits for the disk each time.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda container: Machine(self.client, container).remove(), self.containers()))
        remove_labelled(self.client, self.label)
        shutil.rmtree(self.folder)
        assert not self.left(volumes), f"left behind: {', '.join(self.left(volumes))}"

    def left(self, volumes: set[str]) -> list[str]:
        """What there still is of this run; `volumes` had no names and so have no labels."""
        return [
            *(str(one.name) for one in self.containers()),
            *(str(one.name) for one in self.client.networks.list(filters=self._wanted)),
            *(str(one.name) for one in self.client.volumes.list(filters=self._wanted)),
            *(name for name in volumes if self._volume_exists(name)),
        ]

    def _volume_exists(self, name: str) -> bool:
        try:
            self.client.volumes.get(name)
        except NotFound:
            return False
        return True
