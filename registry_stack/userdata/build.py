"""Builds the user-data from the files in cloud-config/files: docker-host.yaml, or bootstrap.yaml with unpack-files.

    python -m registry_stack.userdata            writes them, and says how much room is left
    python -m registry_stack.userdata --check    fails when a committed one is stale
    python -m registry_stack.userdata --plain    prints a readable docker-host.yaml, with comments, nothing compressed

`files` has every file of the host below its path there, with its mode. `loaders.yaml` has the other keys of the
cloud-config, and in `write_files` the few files that a loader writes by itself, with what git cannot keep of them.
All others are in one script, compressed and without their comments. `bootstrap-loaders.yaml` is the same for a server
that gets this script from Heat: cloud-config/unpack-files.

What only a group of hosts needs is in that one alone, as docker-host.yaml has no room for it: the files in GROUP_ONLY,
and what stands between comments <group> and </group> in others.
"""

import argparse
import lzma
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from registry_stack.errors import RegistryStackError
from registry_stack.template.template import Parameter, Template, load_template
from registry_stack.template.yaml_loader import load_yaml, read_text
from registry_stack.userdata import armour
from registry_stack.userdata.host_files import (
    BUNDLE,
    PACKED,
    HostFile,
    bundled,
    cloud_config,
    host_files,
    unpacked,
)
from registry_stack.userdata.render import NOVA_LIMIT, check_size, longest_references, placeholders, render_user_data

ROOT = Path(__file__).parents[2]
TREE = ROOT / "cloud-config"
LOADERS = "loaders.yaml"
BUILT = "docker-host.yaml"
BOOTSTRAP_LOADERS = "bootstrap-loaders.yaml"
BOOTSTRAP = "bootstrap.yaml"
UNPACK = "unpack-files"
# A sensible length for what may be much longer: few are, and not all at once.
SENSIBLE = 64
# What has room only where Heat brings the settings; a small certificate may fit into user-data all the same.
_NOT_IN_USER_DATA = (
    *("server_certificate", "server_certificate_key", "ca_certificate", "ca_certificate_key"),
    *("group_members", "group_member", "group_secret", "group_vip", "shared_hostname"),
)
# Texts for people and browsers, to whom a comment or an empty line may matter.
_VERBATIM = ("/etc/docker-registry/clients/", "/etc/docker-registry/status/")
GROUP_ONLY = frozenset(
    {
        *(f"/etc/docker-registry/edge/{name}" for name in ("lease.js", "member.conf", "to-member.conf")),
        *(f"/opt/registry/lib/{name}" for name in ("group.sh", "group-gc.sh")),
        *("/opt/registry/render-vip", "/etc/systemd/system/registry-vip.service"),
    }
)
_GROUP_BLOCK = re.compile(r"^[ \t]*(?:#|//) <group>\n.*?^[ \t]*(?:#|//) </group>\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s*(#(?!!).*)?")
_JAVASCRIPT_COMMENT = re.compile(r"\s*(//.*)?")
# Indentation is for readers only, in these languages; in a script, outside of texts.
_INDENTED_FOR_PEOPLE = (".js", ".conf", ".vcl", ".awk", ".css")
_SCRIPT_START = re.compile(r"#!/bin/(ba)?sh|# shellcheck shell=")
# Of a script's line: texts that end on it, characters that are quoted, a comment.
_CLOSED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|\s#.*""")
_HEREDOC = re.compile(r"(?<!<)<<-? ?(['\"]?)([A-Z_]+)\1")
_HEADER = """#cloud-config
# Built from cloud-config/files by `python -m registry_stack.userdata`, which has an option --plain. Heat replaces the
# placeholders; docs/operations.md says how to do that by hand.
"""
# What bash can do by itself it does: each process more for each of the files takes seconds on an emulated host. `read`
# takes away white space at both ends: _put allows none but the last newline.
_SCRIPT = """umask 022
put() {
  [[ -d ${2%/*} ]] || mkdir -p "${2%/*}"
  read -rd '' text || :
  printf '%s\\n' "$text" > "$2.new"
  [[ $1 = 0644 ]] || chmod "$1" "$2.new"
  mv "$2.new" "$2"
}
"""
# Decodes what armour.py has encoded. Flatcar has xz; where cloud-init runs there is a Python with the same library.
_BUNDLE = """#!/bin/bash
# Writes the files of this host. Built from cloud-config/files, which has them with their comments.
set -euo pipefail
unpack() {
  if command -v xz > /dev/null; then xz -d; else
    python3 -c 'import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read().rstrip(b"\\0")))'
  fi
}
script=$(LC_ALL=C awk '
  BEGIN { for (i = 33; i < 127; i++) if (i !~ /^(36|39|64)$/) value[sprintf("%c", i)] = count++ }
  {
    for (i = 1; i < length; i += 2) {
      bits += (value[substr($0, i, 1)] * 91 + value[substr($0, i + 1, 1)]) * 2 ^ n
      for (n += 13; n > 7; n -= 8) { printf "%c", bits % 256; bits = int(bits / 256) }
    }
  }' <<< 'PACKED' | unpack)
eval "$script"
"""
# Found by trying: a text of this kind has no alignment, and the best matches are far away.
_FILTER = {
    "id": lzma.FILTER_LZMA2,
    "preset": 9 | lzma.PRESET_EXTREME,
    "pb": 0,
    "nice_len": 273,
    "depth": 1000,
    "dict_size": 1 << 20,
}


def pack(tree: Path) -> str:
    """The cloud-config of a tree, as small as it gets: what Heat inserts and what a person boots by hand.

    `unpack-files.service` and `runcmd` run the script with most of the files. Raises RegistryStackError when the tree
    has a file that the script could not write, or that would not be filled in.
    """
    document, inside = _read(tree)
    for entry in document["write_files"] + inside:
        entry["content"] = stripped(entry["path"], entry["content"])
    document["write_files"].append(_bundle(inside))
    return _HEADER + _dump(document)


def build(tree: Path) -> dict[str, str]:
    """All that is built from a tree, by name."""
    document = _with_files(tree, BOOTSTRAP_LOADERS)
    # Whatever Heat does not fill in. Those that a loader writes at the first boot may be others in the next version.
    inside = [entry for entry in _entries(tree) if not placeholders(entry["content"])]
    for entry in document["write_files"] + inside:
        entry["content"] = stripped(entry["path"], entry["content"])
    return {BUILT: pack(tree), BOOTSTRAP: _HEADER + _dump(document), UNPACK: _bundle(inside)["content"]}


def with_group_files(user_data: str, script: str) -> str:
    """User-data from docker-host.yaml, with what that lacks for a group, from the script cloud-config/unpack-files."""
    written = {entry["path"] for entry in cloud_config(user_data)["write_files"]}
    wanted = (host_files(user_data).keys() | GROUP_ONLY) - written
    entries = [
        {"path": file.path, "permissions": f"{file.mode:04o}", "content": file.content.decode()}
        for file in bundled(HostFile(BUNDLE, script.encode(), 0o755, "root:root", "text/plain"))
        if file.path in wanted
    ]
    (packed,) = PACKED.findall(_bundle(entries)["content"])
    return PACKED.sub(lambda _found: packed, user_data)


def plain(tree: Path) -> str:
    """The same cloud-config to be read: one entry per file, with its comments."""
    document, inside = _read(tree)
    document["write_files"] += inside
    return _HEADER + _dump(document)


def tree_files(tree: Path) -> dict[str, Path]:
    """Every file of the host by its path there."""
    return {f"/{path.relative_to(tree / 'files')}": path for path in (tree / "files").rglob("*") if path.is_file()}


def stripped(path: str, text: str) -> str:
    """A file without its empty lines and those that are all comment, as far as no parser reads them as data."""
    if path.startswith(_VERBATIM):
        return text
    return "".join(_needed(path, text.splitlines(keepends=True)))


def bytes_left(template: Template) -> int:
    """How many bytes of user-data are left to Nova's limit with every option used, each at a sensible length.

    Raises RegistryStackError when there are too many.
    """
    values = {name: longest_value(parameter) for name, parameter in template.parameters.items()}
    text = render_user_data(template, values | {"OS::project_id": "p" * 64}, longest_references(template))
    check_size(text, values)
    return NOVA_LIMIT // 4 * 3 - len(text.encode())


def room_for_logins(template: Template) -> int:
    """How many characters all logins together may have beside every other option at a sensible length."""
    logins = [str(longest_value(parameter)) for parameter in template.parameters.values() if parameter.hidden]
    return bytes_left(template) + sum(map(len, logins))


def longest_value(parameter: Parameter) -> Any:
    """The longest sensible value: what its constraints let through, up to SENSIBLE characters."""
    allowed = [c.definition for c in parameter.constraints if c.kind == "allowed_values"]
    if allowed:
        return max(allowed[0], key=len)
    if parameter.type != "string" or parameter.name in _NOT_IN_USER_DATA:
        return parameter.default
    length = min(longest(parameter) or SENSIBLE, SENSIBLE)
    # A few quotes, each of which becomes five characters.
    return ("'" * 8 + "x" * length)[:length]


def longest(parameter: Parameter) -> int | None:
    """The longest text the parameter's own constraints let through, if they say."""
    lengths = [c.definition.get("max") for c in parameter.constraints if c.kind == "length"]
    return min((int(length) for length in lengths if length is not None), default=None)


def is_stale(tree: Path) -> bool:
    """Whether the tree has changed since it was built, whichever version of xz has packed it."""
    return any(
        not (tree / name).is_file() or _opened(read_text(tree / name, "cloud-config")) != _opened(text)
        for name, text in build(tree).items()
    )


def _opened(text: str) -> str:
    return PACKED.sub(lambda found: unpacked(found[0]), text)


def main(*arguments: str) -> None:
    """Build, or check, or print; raises RegistryStackError for what is wrong with the tree, and when it is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m registry_stack.userdata", description="Build docker-host.yaml, bootstrap.yaml and unpack-files."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail when a committed file is stale")
    choice.add_argument("--plain", action="store_true", help="print it with comments, nothing compressed")
    given = parser.parse_args(arguments)
    if given.plain:
        print(plain(TREE), end="")
    elif not given.check:
        for name, text in build(TREE).items():
            (TREE / name).write_text(text, encoding="utf-8")
        print(f"{TREE / BUILT}: {(TREE / BUILT).stat().st_size} bytes.", _room())
    elif is_stale(TREE):
        raise RegistryStackError(f"{TREE}: what is built is stale: run python -m registry_stack.userdata")
    else:
        print(f"{TREE}: up to date.", _room())


def _room() -> str:
    template = load_template(ROOT / "heat/registry.yaml")
    return (
        f"With every option used, at up to {SENSIBLE} characters, {bytes_left(template)} bytes of user-data are left; "
        f"all logins together may have {room_for_logins(template)}."
    )


def _read(tree: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document with the entries that the loaders write, and those of all files but a bootstrap's or a group's."""
    document = _with_files(tree, LOADERS)
    own = {entry["path"] for entry in document["write_files"] + _with_files(tree, BOOTSTRAP_LOADERS)["write_files"]}
    others = [entry for entry in _entries(tree) if entry["path"] not in own | GROUP_ONLY]
    for entry in others:
        if found := sorted(placeholders(entry["content"])):
            raise RegistryStackError(
                f"{tree}/files{entry['path']}: {found[0]} needs an entry in write_files of {tree / LOADERS}"
            )
        entry["content"] = _GROUP_BLOCK.sub("", entry["content"])
    return document, others


def _with_files(tree: Path, loaders: str) -> dict[str, Any]:
    """The keys of a cloud-config, with the contents of the files that the loaders write."""
    document, files = load_yaml(tree / loaders, "cloud-config"), tree_files(tree)
    own = {entry["path"]: entry for entry in document.pop("write_files")}
    if unknown := sorted(own.keys() - files.keys()):
        raise RegistryStackError(
            f"{tree / loaders}: write_files names {', '.join(unknown)}, which is not in {tree / 'files'}"
        )
    return {"write_files": [_entry(path, files[path], own[path]) for path in own], **document}


def _entries(tree: Path) -> list[dict[str, Any]]:
    """The entries of all files; what is alike lies together."""
    files = tree_files(tree)
    return [_entry(path, files[path], {}) for path in sorted(files, key=lambda path: (Path(path).suffix, path))]


def _entry(path: str, file: Path, own: dict[str, Any]) -> dict[str, Any]:
    text = read_text(file, "file")
    mode = {"permissions": "0755"} if file.stat().st_mode & 0o100 else {}
    return {"path": path, **mode, **own, "content": text}


def _needed(path: str, lines: list[str]) -> Iterator[str]:
    """The lines that are no comment; those of a here-document are data, whatever they look like."""
    end, before, quoted = "", "", False
    comment = _JAVASCRIPT_COMMENT if path.endswith(".js") else _COMMENT
    people, script = path.endswith(_INDENTED_FOR_PEOPLE), bool(lines) and bool(_SCRIPT_START.match(lines[0]))
    for line in lines:
        indented = not people and (not script or quoted or bool(end))
        if end:
            end = "" if line.strip() == end else end
        elif comment.fullmatch(line.rstrip("\n")):
            if before.endswith("\\\n"):
                raise RegistryStackError(f"{path}: a comment or an empty line follows a continuation: {before.strip()}")
            continue
        elif found := _HEREDOC.search(line):
            end = found[2]
        if script and not end:
            quoted = "'" in _CLOSED.sub("", f"'{line}" if quoted else line)
        before = line
        yield line if indented else line.lstrip(" ")
    if end:
        raise RegistryStackError(f"{path}: the here-document has no line {end}")


def _bundle(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry of the script that writes these files."""
    script = _SCRIPT + "".join(_put(entry) for entry in entries)
    data = lzma.compress(script.encode(), check=lzma.CHECK_CRC32, filters=[_FILTER])
    # Padding: the format allows four zeros, and again. Python's library does not know that.
    while not armour.is_clear(data):
        data += bytes(4)
    return {"path": BUNDLE, "permissions": "0755", "content": _BUNDLE.replace("PACKED", armour.encode(data))}


def _put(entry: dict[str, Any]) -> str:
    content = entry["content"]
    if f"\n{content}".count("\n@\n") or content != f"{content.strip()}\n" or " " in entry["path"]:
        raise RegistryStackError(
            f"{entry['path']}: cannot be packed: a line of just @, white space at an end or in the path, no newline"
        )
    return f"put {entry.get('permissions', '0644')} {entry['path']} <<'@'\n{content}@\n"


def _dump(document: dict[str, Any]) -> str:
    # One line for the script.
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a literal block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
