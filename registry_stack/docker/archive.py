"""Files in and out of a container: the tar archives that the engine's API takes and gives."""

import io
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from registry_stack.errors import RegistryStackError

# The content of a file: bytes, or a file on this machine, which may be large.
Content = bytes | Path
_IN_MEMORY = 32 << 20


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
