"""The cloud-config as it goes into user-data: the same files, the larger ones compressed.

    python -m harness.hot.pack

writes cloud-config/docker-host.user-data.yaml, which heat/registry.yaml inserts, from cloud-config/docker-host.yaml.

Both loaders take `encoding: gzip+base64` for an entry of `write_files`: cloud-init (`canonicalize_extraction` in
cloudinit/config/cc_write_files.py) and coreos-cloudinit (`DecodeContent` in config/decode.go).
"""

import base64
import gzip
import sys
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.hot.userdata import cloud_config, placeholders
from harness.hot.yamlfile import read_text

ENCODING = "gzip+base64"
SOURCE = Path(__file__).parents[2] / "cloud-config/docker-host.yaml"
PACKED = SOURCE.with_name("docker-host.user-data.yaml")
_HEADER = """#cloud-config
# Generated from {name} by `python -m harness.hot.pack`: read and change that file, then run this again.
# Larger files are compressed, as Nova takes 48 KiB of user-data; `base64 -d | gunzip` shows one.
"""


def pack(source: str, name: str) -> str:
    """A cloud-config with the same entries, in which each content that gets shorter by it is compressed.

    Contents with a placeholder stay as they are; comments outside contents are dropped. `name` is the source's.
    Raises HarnessError when the source is no cloud-config.
    """
    document = cloud_config(source)
    document["write_files"] = [_packed(entry) for entry in document.get("write_files") or []]
    # One line per compressed file, so that a change shows which files it changes.
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return _HEADER.format(name=name) + text


def main() -> None:
    """Write the packed file beside its source."""
    PACKED.write_text(pack(read_text(SOURCE, "cloud-config"), SOURCE.name), encoding="utf-8")
    print(f"{PACKED}: {PACKED.stat().st_size} bytes, from {SOURCE.stat().st_size}")


def _packed(entry: dict[str, Any]) -> dict[str, Any]:
    content = str(entry.get("content", ""))
    if "encoding" in entry or placeholders(content):
        return entry
    # No time stamp: the same source makes the same bytes (with the same zlib).
    packed = base64.b64encode(gzip.compress(content.encode(), 9, mtime=0)).decode()
    rest = {key: value for key, value in entry.items() if key != "content"}
    return {**rest, "encoding": ENCODING, "content": packed} if _saves(content, packed) else entry


def _saves(content: str, packed: str) -> bool:
    """Indentation counts, and so does the line that names the encoding."""
    return len(f"  encoding: {ENCODING}\n{packed}") < len(content.encode()) + 4 * content.count("\n")


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a literal block, which is how its source has it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

if __name__ == "__main__":
    try:
        main()
    except HarnessError as error:
        sys.exit(f"error: {error}")
