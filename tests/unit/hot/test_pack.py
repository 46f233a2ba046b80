"""Packing: what becomes shorter, what stays as it is, and that all of it comes out again."""

import pytest

from harness.errors import HarnessError
from harness.hot.pack import ENCODING, pack
from harness.hot.userdata import cloud_config, host_files

LONG = "\n".join(f"line {number} of a text with much the same in every line: é" for number in range(50)) + "\n"
SOURCE = f"""#cloud-config
# A comment.
write_files:
# Another.
- path: /short
  content: |
    a
- path: /long
  permissions: '0755'
  owner: root:root
  content: |
{"".join(f"    {line}" for line in LONG.splitlines(keepends=True))}
- path: /placeholder
  content: |
    @@A@@
{"".join(f"    {line}" for line in LONG.splitlines(keepends=True))}
- path: /base64
  encoding: b64
  content: '@@B@@'
runcmd: [[a, b]]
"""


def test_only_what_gets_shorter_is_packed() -> None:
    entries = {entry["path"]: entry.get("encoding") for entry in cloud_config(pack(SOURCE, "x"))["write_files"]}
    assert entries == {"/short": None, "/long": ENCODING, "/placeholder": None, "/base64": "b64"}


def test_unpacks_to_what_it_was() -> None:
    files = host_files(pack(SOURCE, "x").replace("@@B@@", "AAAA"))
    assert {path: file.content for path, file in files.items()} == {
        "/short": b"a\n",
        "/long": LONG.encode(),
        "/placeholder": b"@@A@@\n" + LONG.encode(),
        "/base64": b"\0\0\0",
    }
    assert (files["/long"].mode, files["/long"].owner) == (0o755, "root:root")


def test_same_source_same_bytes() -> None:
    assert pack(SOURCE, "x") == pack(SOURCE, "x")


def test_comments_outside_contents_are_dropped() -> None:
    packed = pack(SOURCE, "the-source.yaml")
    assert "comment" not in packed
    assert packed.startswith("#cloud-config\n# Generated from the-source.yaml by `python -m harness.hot.pack`")


def test_no_cloud_config() -> None:
    with pytest.raises(HarnessError, match='the first line must be "#cloud-config"'):
        pack("write_files: []", "x")


def test_packing_again_changes_nothing() -> None:
    assert pack(pack(SOURCE, "x"), "x") == pack(SOURCE, "x")
