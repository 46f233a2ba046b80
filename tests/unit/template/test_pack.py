"""Packing: what becomes shorter, what stays as it is, and that all of it comes out again."""

import subprocess
from pathlib import Path

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.userdata.build import ENCODING, pack
from registry_stack.userdata.render import BUNDLE, cloud_config, host_files

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


def test_what_needs_no_filling_in_goes_into_one_script() -> None:
    entries = {entry["path"]: entry.get("encoding") for entry in cloud_config(pack(SOURCE, "x"))["write_files"]}
    assert entries == {"/placeholder": None, "/base64": "b64", BUNDLE: ENCODING}


def test_unpacks_to_what_it_was() -> None:
    files = host_files(pack(SOURCE, "x").replace("@@B@@", "AAAA"))
    assert {path: file.content for path, file in files.items() if path != BUNDLE} == {
        "/short": b"a\n",
        "/long": LONG.encode(),
        "/placeholder": b"@@A@@\n" + LONG.encode(),
        "/base64": b"\0\0\0",
    }
    assert (files["/long"].mode, files["/long"].owner) == (0o755, "root:root")


def test_the_script_writes_what_is_read_out_of_it(tmp_path: Path) -> None:
    source = SOURCE.replace("/short", f"{tmp_path}/a/short").replace("/long", f"{tmp_path}/b/long")
    files = host_files(pack(source, "x").replace("@@B@@", "AAAA"))
    script = tmp_path / "script"
    script.write_bytes(files[BUNDLE].content)
    for _time in range(2):
        subprocess.run(["bash", script], check=True)
    inside = [file for path, file in files.items() if path.startswith(str(tmp_path))]
    assert len(inside) == 2
    for file in inside:
        assert Path(file.path).read_bytes() == file.content
        assert Path(file.path).stat().st_mode & 0o777 == file.mode
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    a\n", "    @\n"),
        ("  content: |\n    a\n", "  content: a\n"),
        ("  content: |\n    a\n", '  content: " a\\n"\n'),
        ("- path: /short", "- path: /sh ort"),
    ],
)
def test_what_the_script_could_not_write_is_refused(old: str, new: str) -> None:
    assert old in SOURCE
    with pytest.raises(RegistryStackError, match="cannot be packed"):
        pack(SOURCE.replace(old, new, 1), "x")


def test_same_source_same_bytes() -> None:
    assert pack(SOURCE, "x") == pack(SOURCE, "x")


def test_comments_outside_contents_are_dropped() -> None:
    packed = pack(SOURCE, "the-source.yaml")
    assert "comment" not in packed
    assert packed.startswith(
        "#cloud-config\n# Generated from the-source.yaml by `python -m registry_stack.userdata.build`"
    )


def test_no_cloud_config() -> None:
    with pytest.raises(RegistryStackError, match='the first line must be "#cloud-config"'):
        pack("write_files: []", "x")


def test_packing_again_changes_nothing() -> None:
    assert pack(pack(SOURCE, "x"), "x") == pack(SOURCE, "x")
