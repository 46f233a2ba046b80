"""The user-data as Heat would hand it to Nova, and the files a loader would write from it."""

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.functions import References, Scope, UnknownReferenceError
from registry_stack.template.template import Template
from registry_stack.template.yaml_loader import parse_yaml

# nova/api/openstack/compute/schemas/servers.py: user_data is base64 text of at most this length.
NOVA_LIMIT = 65_535
PLACEHOLDER = re.compile(r"@@[A-Z][A-Z0-9_]*@@")
UNIT_DIRECTORY = "/etc/systemd/system/"
# The script of the packed user-data that writes most of the files: see registry_stack/userdata/build.py.
BUNDLE = "/opt/registry/unpack-files"
BUNDLED = re.compile(r"^put (0[0-7]{3}) (\S+) <<'@'\n(.*?)^@$", re.MULTILINE | re.DOTALL)
_BASE64 = frozenset({"b64", "base64"})
# As cloud-init's cc_write_files.py and coreos-cloudinit's config/decode.go name them.
_GZIP = frozenset({"gz+b64", "gz+base64", "gzip+b64", "gzip+base64"})
_REPLACE = ("str_replace", "str_replace_strict", "str_replace_vstrict")


@dataclass(frozen=True)
class HostFile:
    """One entry of `write_files`: what the loader puts on the host."""

    path: str
    content: bytes
    mode: int
    owner: str
    encoding: str


def render_user_data(template: Template, values: Mapping[str, Any], references: References) -> str:
    """The user-data of the template's one server, rendered by the mapping in the template itself.

    Raises RegistryStackError when a function fails, a placeholder has no param, or the text is too long for Nova.
    """
    name, snippet = _user_data(template)
    where = f"resources.{name}.properties.user_data"
    scope = Scope(template, values, references)
    _refuse_unfilled(scope, snippet, where)
    text = scope.evaluate(snippet, where)
    if not isinstance(text, str):
        raise RegistryStackError(f"{template.path}: {where} must be text, not {type(text).__name__}")
    check_size(text)
    return text


def placeholder_value(template: Template, values: Mapping[str, Any], references: References, placeholder: str) -> Any:
    """What the template's own mapping puts in the place of one placeholder."""
    name, snippet = _user_data(template)
    where = f"resources.{name}.properties.user_data.{placeholder}"
    return Scope(template, values, references).evaluate(_replacement(snippet)["params"][placeholder], where)


def source_text(template: Template) -> str:
    """The user-data before anything is filled in: what the `template:` of its str_replace is."""
    name, snippet = _user_data(template)
    where = f"resources.{name}.properties.user_data"
    arguments = _replacement(snippet)
    source = Scope(template, {}, {}).evaluate(arguments["template"] if arguments else snippet, where)
    return str(source)


def base64_length(text: str) -> int:
    """The length Nova counts."""
    return 4 * -(-len(text.encode()) // 3)


def check_size(text: str) -> None:
    """Raise RegistryStackError when Nova would refuse the user-data for its length."""
    length = base64_length(text)
    if length > NOVA_LIMIT:
        excess = len(text.encode()) - NOVA_LIMIT // 4 * 3
        raise RegistryStackError(
            f"the user-data is {length} base64 characters long, Nova takes {NOVA_LIMIT}: shorten it by {excess} bytes"
        )


def placeholders(text: str) -> set[str]:
    """Every `@@NAME@@` in a text."""
    return set(PLACEHOLDER.findall(text))


def host_files(user_data: str) -> dict[str, HostFile]:
    """The files of `write_files` by path, in order, their content decoded, with those that the bundle writes.

    Raises RegistryStackError when the text is no cloud-config or an entry is not one a loader would write.
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
    found = BUNDLED.findall(file.content.decode())
    return [HostFile(path, text.encode(), int(mode, 8), "root:root", "text/plain") for mode, path, text in found]


def units(user_data: str) -> dict[str, HostFile]:
    """The systemd units and drop-ins among the files, by path."""
    return {path: file for path, file in host_files(user_data).items() if path.startswith(UNIT_DIRECTORY)}


def cloud_config(user_data: str) -> dict[str, Any]:
    """The user-data as a mapping; raises RegistryStackError when no loader would take it for a cloud-config."""
    if not user_data.startswith("#cloud-config\n"):
        raise RegistryStackError('user-data: the first line must be "#cloud-config"')
    document = parse_yaml(user_data, "user-data")
    if not isinstance(document, dict):
        raise RegistryStackError("user-data: a cloud-config is a mapping")
    return document


def render_outputs(template: Template, values: Mapping[str, Any], references: References) -> dict[str, Any]:
    """The outputs that can be computed: one that needs an unknown resource or attribute is left out."""
    scope = Scope(template, values, references)
    outputs: dict[str, Any] = {}
    for name, output in template.outputs.items():
        where = f"outputs.{name}"
        try:
            if scope.condition(output.get("condition", True), f"{where}.condition"):
                outputs[name] = scope.evaluate(output["value"], f"{where}.value")
        except UnknownReferenceError:
            continue
    return outputs


def _user_data(template: Template) -> tuple[str, Any]:
    found = [
        (name, body.get("properties", {})["user_data"])
        for name, body in template.resources_of("OS::Nova::Server").items()
        if "user_data" in body.get("properties", {})
    ]
    if len(found) != 1:
        raise RegistryStackError(
            f"{template.path}: needs exactly one OS::Nova::Server with user_data, has {len(found)}"
        )
    return found[0]


def _replacement(snippet: Any) -> Any:
    """The arguments of the outermost str_replace, if that is what the snippet is."""
    if isinstance(snippet, dict) and len(snippet) == 1 and next(iter(snippet)) in _REPLACE:
        return next(iter(snippet.values()))
    return None


def _refuse_unfilled(scope: Scope, snippet: Any, where: str) -> None:
    """Looks at the source, not at the result: a user's value may look like a placeholder."""
    arguments = _replacement(snippet)
    if not isinstance(arguments, dict) or not isinstance(arguments.get("params"), dict):
        return
    source = scope.evaluate(arguments.get("template"), f"{where}.template")
    left = sorted(placeholders(str(source)) - arguments["params"].keys())
    if left:
        raise RegistryStackError(f"{scope.template.path}: {where}: no param for {', '.join(left)}")


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
