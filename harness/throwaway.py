"""One command in a container of its own, of which nothing is left: docker-py's run(remove=True) leaves its volumes."""

from collections.abc import Sequence
from typing import Any

import docker
from docker.errors import ContainerError


def run_throwaway(client: docker.DockerClient, image: str, command: Sequence[str], **arguments: Any) -> str:
    """Return what the command prints; raise ContainerError when it fails."""
    container = client.containers.create(image, list(command), **arguments)
    try:
        container.start()
        code = int(container.wait()["StatusCode"])
        if code:
            raise ContainerError(container, code, " ".join(command), image, bytes(container.logs(stdout=False)))
        return bytes(container.logs(stderr=False)).decode(errors="replace")
    finally:
        container.remove(force=True, v=True)
