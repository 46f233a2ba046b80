"""One run of this suite: all that it starts carries one label, is looked into on failure, and is gone afterwards."""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from harness.images.own import own_image
from harness.machine import PROJECT, PROJECT_LABEL, remove_labelled

LABEL = "org.registry-stack.integration-run"


class Run:
    """What this run has started, and where it keeps its files."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.id = secrets.token_hex(3)
        self.prefix = f"integration-{self.id}"
        self.labels = {PROJECT_LABEL: PROJECT, LABEL: self.id}
        # Short: the path of a socket has 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.evidence = Path(tempfile.gettempdir()) / f"{self.prefix}-logs"

    @property
    def label(self) -> str:
        """The label of everything, as a filter."""
        return f"{LABEL}={self.id}"

    def network(self, name: str) -> Network:
        """A network of this run."""
        network = Network(docker_network_kw={"labels": self.labels})
        network.name = f"{self.prefix}-{name}"
        return network.create()

    def container(self, image: str, name: str, **arguments: Any) -> DockerContainer:
        """A container of this run, to be configured and started."""
        return DockerContainer(image, name=f"{self.prefix}-{name}", labels=self.labels, **arguments)

    def containers(self) -> list[Container]:
        """Every container of this run, running or not."""
        return list(self.client.containers.list(all=True, filters={"label": self.label}))

    def collect(self, test: str) -> Path:
        """Write the logs and the state of all containers into a folder named after a test."""
        folder = self.evidence / test.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.containers():
            try:
                log = bytes(container.logs(timestamps=True, tail=5000))
            except APIError as error:
                log = str(error).encode()
            name = str(container.name).removeprefix(f"{self.prefix}-")
            (folder / f"{name}.log").write_bytes(f"# {name}: {container.status}\n".encode() + log)
        return folder

    def remove(self) -> None:
        """Remove everything, and make sure that nothing is left."""
        volumes = {
            mount["Name"]
            for container in self.containers()
            for mount in container.attrs["Mounts"]
            if mount["Type"] == "volume"
        }
        remove_labelled(self.client, self.label)
        self._remove_folder()
        assert not self.left(volumes), f"left behind: {', '.join(self.left(volumes))}"

    def left(self, volumes: set[str]) -> list[str]:
        """What there still is of this run; `volumes` had no names and so have no labels."""
        wanted = {"label": self.label}
        found = [
            *self.client.containers.list(all=True, filters=wanted),
            *self.client.networks.list(filters=wanted),
            *self.client.volumes.list(filters=wanted),
        ]
        return [str(one.name) for one in found] + [name for name in volumes if self._volume_exists(name)]

    def _volume_exists(self, name: str) -> bool:
        try:
            self.client.volumes.get(name)
        except NotFound:
            return False
        return True

    def _remove_folder(self) -> None:
        """Containers have written there as users of their own: only root may remove that."""
        cleaner = self.container(own_image(self.client, "host"), "cleaner", entrypoint=["find"])
        cleaner.with_command(["/folder", "-mindepth", "1", "-delete"]).with_volume_mapping(self.folder, "/folder", "rw")
        with cleaner:
            cleaner.wait()
        shutil.rmtree(self.folder)
