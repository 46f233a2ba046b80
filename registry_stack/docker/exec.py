"""Bytes and commands in and out of a container, over the engine's API alone."""

import contextlib
import io
import struct
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError
from docker.utils.socket import STDERR

from registry_stack.errors import RegistryStackError

# The content of a file: bytes, or a file on this machine, which may be large.
Content = bytes | Path
_IN_MEMORY = 32 << 20
_TIMED_OUT = 124
_HEADER = struct.Struct(">BxxxL")


@dataclass(frozen=True)
class Result:
    """What became of a command: exit code, standard output as bytes, standard error as text."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode(errors="replace")

    def tail(self, lines: int = 5) -> str:
        """The end of what it said, on one line."""
        text = self.err.strip() or self.out.strip()
        return " / ".join(text.splitlines()[-lines:]) or "it said nothing"


def run(
    client: docker.DockerClient, container: str, cmd: list[str], data: bytes | None, timeout: float | None
) -> Result:
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
        raise RegistryStackError(f"{container}: `{' '.join(cmd)}` was not done after {timeout:g} s")
    return Result(code, out, err.decode(errors="replace"))


def _converse(client: docker.DockerClient, created: str, data: bytes | None) -> tuple[bytes, bytes]:
    """Start the command, write its input, and read both outputs to their ends.

    docker-py reads from the bare socket, below the buffer that the answer's headers were read with: output that came
    in the same packet is lost to it. So the frames are read here, from that buffer.
    """
    stream: Any = client.api.exec_start(created, socket=True)
    raw = getattr(stream, "_sock", stream)
    raw.settimeout(None)
    outputs = {False: bytearray(), True: bytearray()}
    with contextlib.closing(stream):
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


def pack(files: Mapping[str, tuple[Content, int]]) -> IO[bytes]:
    """A tar of {absolute path: (content, mode)}, everything owned by root. Parent folders are implied."""
    stream: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller reads it
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, (content, mode) in files.items():
            _add(tar, path.lstrip("/"), content, mode)
    stream.seek(0)
    return stream


def _add(tar: tarfile.TarFile, name: str, content: Content, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.mode = mode
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    member.size = content.stat().st_size
    with content.open("rb") as source:
        tar.addfile(member, source)


def unpack(stream: Iterable[bytes]) -> bytes:
    """The one file in a tar, as the engine sends it."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        members = [tar.extractfile(member) for member in tar.getmembers() if member.isfile()]
        if len(members) != 1 or members[0] is None:
            raise RegistryStackError("what was asked for is not a regular file")
        return members[0].read()
