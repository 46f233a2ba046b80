"""What a loader makes of user-data: a cloud-config, and the files that it writes."""

import base64
import binascii
import gzip
import lzma
import re
import zlib
from dataclasses import dataclass
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.yaml_loader import parse_yaml
from registry_stack.userdata import armour

# The script of the packed user-data that writes most of the files: see registry_stack/userdata/build.py.
BUNDLE = "/opt/registry/unpack-files"
PACKED = re.compile(r"(?<=<<< ')[^\s']+(?=' \| unpack\)\n)")
BUNDLED = re.compile(r"^put (0[0-7]{3}) (\S+) <<'@'\n(.*?)^@$", re.MULTILINE | re.DOTALL)
_BASE64 = frozenset({"b64", "base64"})
# As cloud-init's cc_write_files.py and coreos-cloudinit's config/decode.go name them.
_GZIP = frozenset({"gz+b64", "gz+base64", "gzip+b64", "gzip+base64"})


@dataclass(frozen=True)
class HostFile:
    """A file that the loader writes on the host: one entry of `write_files`."""

    path: str
    content: bytes
    mode: int
    owner: str
    encoding: str


def host_files(user_data: str) -> dict[str, HostFile]:
    """The files of `write_files` by path, decoded, and those that the bundle writes.

    Raises RegistryStackError for a text that is no cloud-config, and for an entry that a loader would not write.
    """
    files: dict[str, HostFile] = {}
    for entry in cloud_config(user_data).get("write_files") or []:
        file = _host_file(entry)
        for one in (file, *bundled(file)):
            if one.path in files:
                raise RegistryStackError(f"user-data: write_files has {one.path} twice")
            files[one.path] = one
    return files


def bundled(file: HostFile) -> list[HostFile]:
    """The files that the bundle writes when it runs; none for any other file."""
    if file.path != BUNDLE:
        return []
    packed = PACKED.search(file.content.decode())
    if not packed:
        raise RegistryStackError(f"user-data: {BUNDLE} has no packed files")
    found = BUNDLED.findall(unpacked(packed[0]))
    return [HostFile(path, text.encode(), int(mode, 8), "root:root", "text/plain") for mode, path, text in found]


def unpacked(packed: str) -> str:
    """The script that the bundle has packed; raises RegistryStackError when that is damaged."""
    try:
        return lzma.decompress(armour.decode(packed).rstrip(b"\0"), lzma.FORMAT_XZ).decode()
    except (ValueError, lzma.LZMAError) as error:
        raise RegistryStackError(f"user-data: {BUNDLE} is damaged: {error}") from None


def cloud_config(user_data: str) -> dict[str, Any]:
    """The user-data as a mapping; raises RegistryStackError when no loader would recognise a cloud-config."""
    if not user_data.startswith("#cloud-config\n"):
        raise RegistryStackError('user-data: the first line must be "#cloud-config"')
    document = parse_yaml(user_data, "user-data")
    if not isinstance(document, dict):
        raise RegistryStackError("user-data: a cloud-config is a mapping")
    return document


def _host_file(entry: Any) -> HostFile:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise RegistryStackError('user-data: every entry of write_files needs a "path"')
    encoding = str(entry.get("encoding", "text/plain"))
    return HostFile(
        path=entry["path"],
        content=_decoded(entry["path"], str(entry.get("content", "")), encoding),
        mode=_mode(entry["path"], entry.get("permissions", "0644")),
        owner=str(entry.get("owner", "root:root")),
        encoding=encoding,
    )


def _decoded(path: str, content: str, encoding: str) -> bytes:
    if encoding == "text/plain":
        return content.encode()
    if encoding not in _BASE64 | _GZIP:
        raise RegistryStackError(
            f'user-data: {path}: encoding "{encoding}" is not one both loaders take; use b64 or gzip+base64'
        )
    try:
        decoded = base64.b64decode("".join(content.split()), validate=True)
    except binascii.Error as error:
        raise RegistryStackError(f"user-data: {path}: the content is not base64: {error}") from None
    return _unzipped(path, decoded) if encoding in _GZIP else decoded


def _unzipped(path: str, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise RegistryStackError(f"user-data: {path}: the content is not gzip: {error}") from None


def _mode(path: str, permissions: Any) -> int:
    try:
        return permissions if isinstance(permissions, int) else int(permissions, 8)
    except (ValueError, TypeError):
        raise RegistryStackError(f'user-data: {path}: permissions "{permissions}" are not an octal number') from None
