"""Runs one command in a new container and removes it with its volumes, which docker-py's run(remove=True) leaves."""

from collections.abc import Sequence
from typing import Any

import docker
from docker.errors import ContainerError


def run_once(client: docker.DockerClient, image: str, command: Sequence[str], **arguments: Any) -> str:
    """Return what the command prints; raise ContainerError when it fails."""
    container = client.containers.create(image, list(command), **arguments)
    try:
        container.start()
        code = int(container.wait()["StatusCode"])
        if code:
            raise ContainerError(container, code, " ".join(command), image, _text(container.logs(stdout=False)))
        return _text(container.logs(stderr=False))
    finally:
        container.remove(force=True, v=True)


def _text(log: bytes) -> str:
    return bytes(log).decode(errors="replace")
