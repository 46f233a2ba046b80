"""Commands in a container, over the engine's API alone."""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import docker
from docker.errors import APIError
from docker.utils.socket import STDERR

from registry_stack.errors import RegistryStackError

_TIMED_OUT = 124
_HEADER = struct.Struct(">BxxxL")


@dataclass(frozen=True)
class ExecResult:
    """The result of a command: exit code, standard output as bytes, standard error as text."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode(errors="replace")

    def tail(self, lines: int = 5) -> str:
        """The last lines of its output, on one line."""
        text = self.err.strip() or self.out.strip()
        return " / ".join(text.splitlines()[-lines:]) or "no output"


def run(
    client: docker.DockerClient, container: str, cmd: list[str], data: bytes | None, timeout: float | None
) -> ExecResult:
    """Run a command in a running container, with `data` on its standard input."""
    if timeout is not None:
        cmd = ["timeout", "-k", "2", f"{timeout:g}", *cmd]
    if data is not None:
        # The command must see the end of its input, and not every transport can close one direction only.
        cmd = ["sh", "-c", 'size=$1; shift; head -c "$size" | "$@"', "sh", str(len(data)), *cmd]
    try:
        created = client.api.exec_create(container, cmd, stdin=data is not None)["Id"]
        out, err = _converse(client, created, data)
    except APIError as error:
        reason = error.explanation or error
        raise RegistryStackError(f"{container}: cannot run `{' '.join(cmd)}`: {reason}") from error
    code = int(client.api.exec_inspect(created)["ExitCode"])
    if timeout is not None and code == _TIMED_OUT:
        raise RegistryStackError(f"{container}: `{' '.join(cmd)}` did not finish within {timeout:g} s")
    return ExecResult(code, out, err.decode(errors="replace"))


def _converse(client: docker.DockerClient, created: str, data: bytes | None) -> tuple[bytes, bytes]:
    """Start the command, write its input, and read both outputs to their ends.

    docker-py reads from the bare socket, below the buffer that the answer's headers were read with: output that came
    in the same packet is lost to it. So the frames are read here, from that buffer. The response is what is closed at
    the end, and with it the socket: closing the socket under its reader makes Python 3.13 and later complain.
    """
    stream: Any = client.api.exec_start(created, socket=True)
    raw = getattr(stream, "_sock", stream)
    raw.settimeout(None)
    outputs = {False: bytearray(), True: bytearray()}
    with contextlib.closing(stream._response):
        if data:
            raw.sendall(data)
        for kind, chunk in _frames(stream._response.raw._fp.fp):
            outputs[kind == STDERR] += chunk
    return bytes(outputs[False]), bytes(outputs[True])


def _frames(reader: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(stream, bytes) of each frame: docs.docker.com, Engine API, "Stream format" of attach."""
    while len(header := reader.read(_HEADER.size)) == _HEADER.size:
        kind, size = _HEADER.unpack(header)
        yield kind, reader.read(size)
