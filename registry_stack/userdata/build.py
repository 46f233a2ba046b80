"""Builds cloud-config/docker-host.yaml, the user-data, from the files in cloud-config/files.

    python -m registry_stack.userdata            writes it, and says how much room is left
    python -m registry_stack.userdata --check    fails when the committed one is stale
    python -m registry_stack.userdata --plain    prints a readable one, with comments and nothing compressed

`files` has every file of the host below its path there, with its mode. `loaders.yaml` has the other keys of the
cloud-config, and in `write_files` the few files that a loader writes by itself, with what git cannot keep of them.
All others are in one script, compressed and without their comments.
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
from registry_stack.userdata.host_files import BUNDLE, PACKED, unpacked
from registry_stack.userdata.render import NOVA_LIMIT, longest_references, placeholders, render_user_data

ROOT = Path(__file__).parents[2]
TREE = ROOT / "cloud-config"
LOADERS = "loaders.yaml"
BUILT = "docker-host.yaml"
# A sensible length for what hidden parameters have, which may be much longer: few are, and not all at once.
LOGIN = 128
# Texts for people and browsers, to whom a comment or an empty line may matter.
_VERBATIM = ("/etc/docker-registry/clients/", "/etc/docker-registry/status/")
_COMMENT = re.compile(r"\s*(#(?!!).*)?")
_JAVASCRIPT_COMMENT = re.compile(r"\s*(//.*)?")
# Indentation is for readers only, in these languages.
_INDENTED_FOR_PEOPLE = (".js", ".conf", ".vcl", ".awk", ".css")
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
    """How many bytes of user-data are left to Nova's limit with every option used, each at its longest, and logins of
    LOGIN characters.

    Raises RegistryStackError when there are too many.
    """
    values = {name: longest_value(parameter) for name, parameter in template.parameters.items()}
    text = render_user_data(template, values | {"OS::project_id": "p" * 64}, longest_references(template))
    return NOVA_LIMIT // 4 * 3 - len(text.encode())


def room_for_logins(template: Template) -> int:
    """How many characters all logins together may have beside every other option at its longest."""
    logins = [str(longest_value(parameter)) for parameter in template.parameters.values() if parameter.hidden]
    return bytes_left(template) + sum(map(len, logins))


def longest_value(parameter: Parameter) -> Any:
    """The longest sensible value: what its constraints let through, 255 characters for a cloud's names."""
    allowed = [c.definition for c in parameter.constraints if c.kind == "allowed_values"]
    if allowed:
        return max(allowed[0], key=len)
    if parameter.type != "string":
        return parameter.default
    length = longest(parameter) or 255
    if parameter.hidden:
        length = min(length, LOGIN)
    # A few quotes, each of which becomes five characters.
    return ("'" * 8 + "x" * length)[:length]


def longest(parameter: Parameter) -> int | None:
    """The longest text the parameter's own constraints let through, if they say."""
    lengths = [c.definition.get("max") for c in parameter.constraints if c.kind == "length"]
    return min((int(length) for length in lengths if length is not None), default=None)


def is_stale(tree: Path) -> bool:
    """Whether the tree has changed since its cloud-config was built, whichever version of xz has packed it."""
    return not (tree / BUILT).is_file() or _opened(read_text(tree / BUILT, "cloud-config")) != _opened(pack(tree))


def _opened(text: str) -> str:
    return PACKED.sub(lambda found: unpacked(found[0]), text)


def main(*arguments: str) -> None:
    """Build, or check, or print; raises RegistryStackError for what is wrong with the tree, and when it is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m registry_stack.userdata", description="Build cloud-config/docker-host.yaml."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail when the committed file is stale")
    choice.add_argument("--plain", action="store_true", help="print it with comments, nothing compressed")
    given = parser.parse_args(arguments)
    if given.plain:
        print(plain(TREE), end="")
    elif not given.check:
        (TREE / BUILT).write_text(pack(TREE), encoding="utf-8")
        print(f"{TREE / BUILT}: {(TREE / BUILT).stat().st_size} bytes.", _room())
    elif is_stale(TREE):
        raise RegistryStackError(f"{TREE / BUILT} is stale: run python -m registry_stack.userdata")
    else:
        print(f"{TREE / BUILT} is up to date.", _room())


def _room() -> str:
    template = load_template(ROOT / "heat/registry.yaml")
    return (
        f"With every option at its longest, logins at {LOGIN} characters, {bytes_left(template)} bytes of user-data "
        f"are left; all logins together may have {room_for_logins(template)}."
    )


def _read(tree: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document with the entries that the loaders write, and the entries of all other files."""
    document = load_yaml(tree / LOADERS, "cloud-config")
    files = tree_files(tree)
    alone = document.pop("write_files")
    if unknown := sorted(entry["path"] for entry in alone if entry["path"] not in files):
        raise RegistryStackError(
            f"{tree / LOADERS}: write_files names {', '.join(unknown)}, which is not in {tree / 'files'}"
        )
    own = {entry["path"]: entry for entry in alone}
    # What is alike lies together.
    paths = sorted(files.keys() - own.keys(), key=lambda path: (Path(path).suffix, path))
    others = [_entry(path, files[path], {}) for path in paths]
    for entry in others:
        if found := sorted(placeholders(entry["content"])):
            raise RegistryStackError(
                f"{files[entry['path']]}: {found[0]} needs an entry in write_files of {tree / LOADERS}"
            )
    return {"write_files": [_entry(path, files[path], own[path]) for path in own], **document}, others


def _entry(path: str, file: Path, own: dict[str, Any]) -> dict[str, Any]:
    text = read_text(file, "file")
    mode = {"permissions": "0755"} if file.stat().st_mode & 0o100 else {}
    return {"path": path, **mode, **own, "content": text.strip() if "encoding" in own else text}


def _needed(path: str, lines: list[str]) -> Iterator[str]:
    """The lines that are no comment; those of a here-document are data, whatever they look like."""
    end, before = "", ""
    comment = _JAVASCRIPT_COMMENT if path.endswith(".js") else _COMMENT
    for line in lines:
        if end:
            end = "" if line.strip() == end else end
        elif comment.fullmatch(line.rstrip("\n")):
            if before.endswith("\\\n"):
                raise RegistryStackError(f"{path}: a comment or an empty line follows a continuation: {before.strip()}")
            continue
        elif found := _HEREDOC.search(line):
            end = found[2]
        before = line
        yield line.lstrip(" ") if path.endswith(_INDENTED_FOR_PEOPLE) else line
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
