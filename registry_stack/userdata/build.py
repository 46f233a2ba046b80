"""The cloud-config as it goes into user-data: the same files, the larger ones compressed.

    python -m registry_stack.userdata.build

writes cloud-config/docker-host.user-data.yaml, which heat/registry.yaml inserts, from cloud-config/docker-host.yaml.

Both loaders take `encoding: gzip+base64` for an entry of `write_files`: cloud-init (`canonicalize_extraction` in
cloudinit/config/cc_write_files.py) and coreos-cloudinit (`DecodeContent` in config/decode.go).
"""

import base64
import sys
from pathlib import Path
from typing import Any

import yaml
from zopfli.gzip import compress

from registry_stack.errors import RegistryStackError
from registry_stack.template.yaml_loader import read_text
from registry_stack.userdata.render import BUNDLE, cloud_config, placeholders

ENCODING = "gzip+base64"
SOURCE = Path(__file__).parents[2] / "cloud-config/docker-host.yaml"
PACKED = SOURCE.with_name("docker-host.user-data.yaml")
_HEADER = """#cloud-config
# Generated from {name} by `python -m registry_stack.userdata.build`: read and change that file, then run this again.
# Most files are in one compressed script; `base64 -d | gunzip` shows it.
"""
# The script, and what must be there before it has run.
_FIRST = ("docker-registry-host.target", "registry-files.service")
# What bash can do by itself it does: each process more for each of the files takes seconds on an emulated host. `read`
# takes away white space at both ends: _put allows none but the last newline.
_SCRIPT = """#!/bin/bash
# Writes the files of this host. Generated: cloud-config/docker-host.yaml has them.
set -euo pipefail
umask 022
put() {
  [[ -d ${2%/*} ]] || mkdir -p "${2%/*}"
  read -rd '' text || :
  printf '%s\\n' "$text" > "$2.new"
  [[ $1 = 0644 ]] || chmod "$1" "$2.new"
  mv "$2.new" "$2"
}
"""


def pack(source: str, name: str) -> str:
    """A cloud-config with the same files: most in one compressed script, which `registry-files.service` runs.

    What stays an entry of its own: contents with a placeholder or an encoding, and the units that a loader starts.
    Comments outside contents are dropped. `name` is the source's. Raises RegistryStackError when the source is no
    cloud-config, or has a file that the script could not write.
    """
    document = cloud_config(source)
    entries = document.get("write_files") or []
    inside = [entry for entry in entries if _goes_inside(entry)]
    if inside:
        document["write_files"] = [entry for entry in entries if not _goes_inside(entry)] + [_bundle(inside)]
    # One line for the script.
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return _HEADER.format(name=name) + text


def main() -> None:
    """Write the packed file beside its source."""
    PACKED.write_text(pack(read_text(SOURCE, "cloud-config"), SOURCE.name), encoding="utf-8")
    print(f"{PACKED}: {PACKED.stat().st_size} bytes, from {SOURCE.stat().st_size}")


def _goes_inside(entry: dict[str, Any]) -> bool:
    content = str(entry.get("content", ""))
    return not ("encoding" in entry or placeholders(content) or entry["path"].endswith(_FIRST))


def _bundle(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry of the script that writes these files."""
    # By path: what is alike lies together, within the 32 KiB that deflate looks back.
    script = _SCRIPT + "".join(_put(entry) for entry in sorted(entries, key=lambda entry: str(entry["path"])))
    # No time stamp: the same source makes the same bytes (with the same zlib).
    # Zopfli: the same format in 4 % fewer bytes, and the same ones whatever zlib is there.
    packed = base64.b64encode(compress(script.encode())).decode()
    return {"path": BUNDLE, "permissions": "0755", "encoding": ENCODING, "content": packed}


def _put(entry: dict[str, Any]) -> str:
    content = str(entry["content"])
    if f"\n{content}".count("\n@\n") or content != f"{content.strip()}\n" or " " in entry["path"] or "owner" in entry:
        raise RegistryStackError(
            f"{entry['path']}: cannot be packed: a line that is @, white space at an end, no newline there, or an owner"
        )
    return f"put {entry.get('permissions', '0644')} {entry['path']} <<'@'\n{content}@\n"


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a literal block, which is how its source has it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

if __name__ == "__main__":
    try:
        main()
    except RegistryStackError as error:
        sys.exit(f"error: {error}")
