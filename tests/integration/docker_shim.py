"""The engine as the host's scripts see it: their `docker` commands, done to this run's containers instead."""

import json
import socketserver
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from testcontainers.core.container import DockerContainer

from registry_stack.docker.exec import run
from tests.integration.docker_run import Surroundings, UnknownArgumentError, container_name, translate
from tests.integration.session import start

# As `docker run` itself: the engine refused, or the command is none.
REFUSED, NO_SUCH_COMMAND = 125, 127


@dataclass(frozen=True)
class Answer:
    """What `docker` says and returns."""

    code: int = 0
    out: str = ""
    err: str = ""


class DockerFakeUpstream:
    """Answers the `docker` of one setup container, over a socket in a folder that is mounted there.

    A container that belongs to a service is left running in the background, as systemd's is; any other is waited for.
    """

    def __init__(self, client: docker.DockerClient, around: Surroundings, services: Sequence[str]) -> None:
        self.client, self.around, self.services = client, around, services
        self.containers: dict[str, DockerContainer] = {}
        self._commands: dict[str, Callable[[Sequence[str]], Answer]] = {
            "run": self._run,
            "rm": self._rm,
            "exec": self._exec,
            "kill": self._kill,
            "image": self._image,
            "inspect": self._inspect,
            "ps": self._ps,
        }
        self._server: socketserver.BaseServer | None = None

    def listen(self, socket: Path) -> None:
        """Answer in the background until `close`."""
        answer = self.answer

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                given = answer(json.loads(self.rfile.readline()))
                self.wfile.write(json.dumps(asdict(given)).encode() + b"\n")

        self._server = socketserver.ThreadingUnixStreamServer(str(socket), Handler)
        socket.chmod(0o666)
        threading.Thread(target=self._server.serve_forever, args=[0.1], daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, command: Sequence[str]) -> Answer:
        """Do one command."""
        act = self._commands.get(command[0])
        if act is None:
            return Answer(NO_SUCH_COMMAND, err=f"docker_stand_in.py does not know `docker {command[0]}`\n")
        try:
            return act(command[1:])
        except (APIError, UnknownArgumentError, KeyError) as error:
            return Answer(REFUSED, err=f"docker: {error}\n")

    def _run(self, arguments: Sequence[str]) -> Answer:
        name, container = container_name(arguments), translate(arguments, self.around)
        self.containers[name] = container
        start(container)
        if name.startswith(tuple(self.services)) and name not in ("docker-registry-gc",):
            return Answer()
        code = container.wait()
        out, err = container.get_logs()
        self._rm([name])
        return Answer(code, out.decode(errors="replace"), err.decode(errors="replace"))

    def _rm(self, arguments: Sequence[str]) -> Answer:
        container = self.containers.pop(arguments[-1], None)
        if container is None:
            return Answer(1, err=f"Error: No such container: {arguments[-1]}\n")
        with suppress(NotFound):
            container.get_wrapped_container().remove(force=True, v=True)
        return Answer()

    def _exec(self, arguments: Sequence[str]) -> Answer:
        name = str(self.containers[arguments[0]].get_wrapped_container().name)
        result = run(self.client, name, list(arguments[1:]), None, None)
        return Answer(result.code, result.out, result.err)

    def _kill(self, arguments: Sequence[str]) -> Answer:
        _option, signal, name = arguments
        self.containers[name].get_wrapped_container().kill(signal)
        return Answer()

    def _image(self, arguments: Sequence[str]) -> Answer:
        """`image inspect` only."""
        with suppress(ImageNotFound):
            self.client.images.get(arguments[-1])
            return Answer()
        return Answer(1, err=f"Error: No such image: {arguments[-1]}\n")

    def _inspect(self, arguments: Sequence[str]) -> Answer:
        """The one question that is asked: the address of a container."""
        _option, template, name = arguments
        if "IPAddress" not in template:
            return Answer(NO_SUCH_COMMAND, err=f"docker_stand_in.py does not know --format {template}\n")
        container = self.containers[name].get_wrapped_container()
        container.reload()
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        return Answer(out="".join(network["IPAddress"] for network in networks) + "\n")

    def _ps(self, arguments: Sequence[str]) -> Answer:
        """The one question that is asked: does a container of this name run?"""
        name = arguments[-1].removeprefix("name=^").removesuffix("$")
        return Answer(out=f"{name}\n" if name in self.containers else "")
