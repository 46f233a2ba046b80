"""The builder: what becomes shorter, what stays as it is, and that all of it comes out again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.userdata import armour
from registry_stack.userdata import build as builder
from registry_stack.userdata.build import BOOTSTRAP, BUILT, UNPACK, build, is_stale, pack, plain, stripped
from registry_stack.userdata.host_files import BUNDLE, PACKED, HostFile, bundled, cloud_config, host_files

LOADERS = """# A comment.
write_files:
  # Another.
  - {path: /placeholder, permissions: '0600'}
  - {path: /base64, encoding: b64}
  - {path: /first}
runcmd: [[a, b]]
"""
LONG = "\n".join(f"line {number} of a text with much the same in every line: é" for number in range(50)) + "\n"
MakeTree = Callable[..., Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Writes a tree with these files besides its own, those of `scripts` executable."""

    def make(*scripts: str, **files: str) -> Path:
        own = {"placeholder": "# Why.\nA=@@A@@\n", "base64": "@@B@@\n", "first": "a\n", "a/short": "# Why.\n\na\n"}
        for name, text in (own | files | dict.fromkeys(scripts, f"#!/bin/sh\n{LONG}")).items():
            path = tmp_path / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name in scripts else 0o644)
        (tmp_path / "loaders.yaml").write_text(LOADERS)
        (tmp_path / "bootstrap-loaders.yaml").write_text("write_files: []\n")
        return tmp_path

    return make


def entries(text: str) -> dict[str, str | None]:
    return {entry["path"]: entry.get("encoding") for entry in cloud_config(text)["write_files"]}


def files_of(text: str) -> dict[str, HostFile]:
    return host_files(text.replace("@@B@@", "AAAA"))


def test_what_the_loaders_need_not_write_goes_into_one_script(make_tree: MakeTree) -> None:
    tree = make_tree("run")
    assert entries(pack(tree)) == {"/placeholder": None, "/base64": "b64", "/first": None, BUNDLE: None}
    files = ["/placeholder", "/base64", "/first", "/a/short", "/run"]
    assert entries(plain(tree)) == dict.fromkeys(files) | {"/base64": "b64"}
    assert cloud_config(pack(tree))["runcmd"] == [["a", "b"]]


def test_bootstrap_leaves_all_files_to_one_script(make_tree: MakeTree) -> None:
    """But those with placeholders. What only the bootstrap needs is not in the other cloud-config."""
    tree = make_tree("run", more="A=@@C@@\n")
    (tree / "bootstrap-loaders.yaml").write_text("write_files: [{path: /run}, {path: /more, permissions: '0600'}]\n")
    built = build(tree)
    assert entries(built[BOOTSTRAP]) == {"/run": None, "/more": None}
    script = HostFile(BUNDLE, built[UNPACK].encode(), 0o755, "", "")
    assert {(file.path, file.mode) for file in bundled(script)} == {
        ("/a/short", 0o644),
        ("/first", 0o644),
        ("/run", 0o755),
    }
    assert "/run" not in files_of(built[BUILT])


def test_files_of_the_built_one(make_tree: MakeTree) -> None:
    files = files_of(pack(make_tree("run")))
    assert {path: (file.content, file.mode) for path, file in files.items() if path != BUNDLE} == {
        "/placeholder": (b"A=@@A@@\n", 0o600),
        "/base64": (b"\0\0\0", 0o644),
        "/first": (b"a\n", 0o644),
        "/a/short": (b"a\n", 0o644),
        "/run": (f"#!/bin/sh\n{LONG}".encode(), 0o755),
    }


def test_files_of_the_plain_one(make_tree: MakeTree) -> None:
    tree = make_tree("run")
    files = files_of(plain(tree))
    assert files["/a/short"].content == b"# Why.\n\na\n"
    assert files["/placeholder"].content == b"# Why.\nA=@@A@@\n"
    assert {path: file.mode for path, file in files.items()} == {
        path: file.mode for path, file in files_of(pack(tree)).items() if path != BUNDLE
    }


@pytest.mark.parametrize("awk", ["gawk", "mawk"])
@pytest.mark.parametrize("tool", ["xz", "python3"])
def test_the_script_writes_what_is_read_out_of_it(make_tree: MakeTree, tmp_path: Path, awk: str, tool: str) -> None:
    """With what a host has: Flatcar gawk and xz, Debian mawk and Python."""
    root = tmp_path / "host"
    prefix = str(root).lstrip("/")
    tree = make_tree(f"{prefix}/b/long", **{f"{prefix}/a/short": "a\n"})
    (tree / "files/a/short").unlink()
    files = files_of(pack(tree))
    script = tmp_path / "script"
    script.write_bytes(files[BUNDLE].content)
    programs = only(tmp_path / "bin", "bash", "mkdir", "chmod", "mv", **{"awk": awk, tool: tool})
    for _time in range(2):
        subprocess.run(["bash", script], check=True, env={"PATH": str(programs)})
    inside = [file for path, file in files.items() if path.startswith(str(root))]
    assert len(inside) == 2
    for file in inside:
        assert Path(file.path).read_bytes() == file.content
        assert Path(file.path).stat().st_mode & 0o777 == file.mode
    assert len([path for path in root.rglob("*") if path.is_file()]) == 2


def only(folder: Path, *same: str, **programs: str) -> Path:
    """A folder for PATH with these programs under these names."""
    folder.mkdir()
    for name, program in (dict(zip(same, same, strict=True)) | programs).items():
        found = sys.executable if program == "python3" else shutil.which(program)
        if found is None:
            pytest.skip(f"no {program}")
        (folder / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def test_a_damaged_script_writes_nothing(make_tree: MakeTree, tmp_path: Path) -> None:
    text = pack(make_tree("run"))
    files = files_of(text)
    packed = PACKED.findall(files[BUNDLE].content.decode())[0]
    damaged = packed.replace(packed[200], "~" if packed[200] != "~" else "!", 1)
    script = tmp_path / "script"
    script.write_bytes(files[BUNDLE].content.replace(packed.encode(), damaged.encode()))
    done = subprocess.run(["bash", script], check=False, capture_output=True)
    assert done.returncode != 0
    assert not Path("/a/short").exists()
    with pytest.raises(RegistryStackError, match=f"^user-data: {BUNDLE} is damaged: "):
        files_of(text.replace(packed, damaged))


@pytest.mark.parametrize("length", range(40))
def test_armour(length: int) -> None:
    data = bytes((7 + 251 * number) % 256 for number in range(length))
    assert not armour.is_clear(data) or armour.decode(armour.encode(data)) == data


@pytest.mark.parametrize("tool", ["xz", "python3"])
def test_padding(make_tree: MakeTree, tmp_path: Path, tool: str) -> None:
    """Some lengths need it: of eight, some do and some do not."""
    programs = only(tmp_path / "bin", "bash", "mkdir", "chmod", "mv", "awk", **{tool: tool})
    padded = set()
    for number in range(8):
        target = tmp_path / f"host{number}/file"
        tree = make_tree(**{f"{target}".lstrip("/"): f"{'abcdefgh'[:number]}{LONG}"})
        (tree / "files/a/short").unlink()
        bundle = files_of(pack(tree))[BUNDLE].content.decode()
        padded.add(armour.decode(PACKED.findall(bundle)[0]).endswith(b"\0"))
        script = tmp_path / "script"
        script.write_text(bundle)
        subprocess.run(["bash", script], check=True, env={"PATH": str(programs)})
        assert target.read_text() == f"{'abcdefgh'[:number]}{LONG}"
        shutil.rmtree(tree / "files")
    assert padded == {True, False}


@pytest.mark.parametrize(("name", "text"), [("x", "@\n"), ("x", "a"), ("x", " a\n"), ("x", "# Why.\n"), ("x y", "a\n")])
def test_what_the_script_could_not_write_is_refused(make_tree: MakeTree, name: str, text: str) -> None:
    with pytest.raises(RegistryStackError, match=f"^/{name}: cannot be packed"):
        pack(make_tree(**{name: text}))


def test_what_would_not_be_filled_in_is_refused(make_tree: MakeTree) -> None:
    tree = make_tree(x="B=@@C@@\n")
    with pytest.raises(RegistryStackError) as error:
        pack(tree)
    assert str(error.value) == f"{tree}/files/x: @@C@@ needs an entry in write_files of {tree}/loaders.yaml"


def test_an_entry_without_its_file_is_refused(make_tree: MakeTree) -> None:
    tree = make_tree()
    (tree / "files/first").unlink()
    with pytest.raises(RegistryStackError) as error:
        pack(tree)
    assert str(error.value) == f"{tree}/loaders.yaml: write_files names /first, which is not in {tree}/files"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("# a\n\na # b\n  # c\n \t\n", "a # b\n"),
        ("#!/bin/bash\n# a\na\n", "#!/bin/bash\na\n"),
        ("cat <<END\n# data\n\nEND\n# a\n", "cat <<END\n# data\n\nEND\n"),
        ("cat << END\n# data\n\nEND\n# a\n", "cat << END\n# data\n\nEND\n"),
        ("cat <<-'END'\n# data\n\tEND\n# a\n", "cat <<-'END'\n# data\n\tEND\n"),
        ("# <<END\n# a\nb\n", "b\n"),
        ("cat <<< A\n# a\n", "cat <<< A\n"),
        ("a \\\n  b\n# c\n", "a \\\n  b\n"),
        ("#!/bin/sh\nif a; then\n  b \\\n    c\nfi\n", "#!/bin/sh\nif a; then\nb \\\nc\nfi\n"),
        ("#!/bin/sh\n  a 'b\n  c' \\' \"'\" # d'\n  e\n", "#!/bin/sh\na 'b\n  c' \\' \"'\" # d'\ne\n"),
        ("#!/bin/sh\n  a << END\n  b\nEND\n  c\n", "#!/bin/sh\na << END\n  b\nEND\nc\n"),
    ],
)
def test_stripped(text: str, left: str) -> None:
    assert stripped("/a", text) == left


@pytest.mark.parametrize("path", ["/etc/docker-registry/clients/docker", "/etc/docker-registry/status/status.css"])
def test_texts_for_people_and_browsers_are_not_stripped(path: str) -> None:
    assert stripped(path, "# a\n\nb\n") == "# a\n\nb\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a \\\n# b\nc\n", r"/a: a comment or an empty line follows a continuation: a \\"),
        ("a \\\n\nc\n", r"/a: a comment or an empty line follows a continuation: a \\"),
        ("cat <<END\n", "/a: the here-document has no line END"),
    ],
)
def test_what_cannot_be_stripped_is_refused(text: str, message: str) -> None:
    with pytest.raises(RegistryStackError, match=f"^{message}$"):
        stripped("/a", text)


def test_same_tree_same_bytes(make_tree: MakeTree) -> None:
    assert pack(make_tree("run")) == pack(make_tree("run"))


def test_a_stale_one_is_seen(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree()
    monkeypatch.setattr(builder, "TREE", tree)
    assert is_stale(tree)
    for name, text in build(tree).items():
        assert is_stale(tree)
        (tree / name).write_text(text)
    assert not is_stale(tree)
    (tree / "files/first").chmod(0o755)
    with pytest.raises(RegistryStackError, match=f"^{tree}: what is built is stale: run "):
        builder.main("--check")


def test_command(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tree = make_tree()
    monkeypatch.setattr(builder, "TREE", tree)
    builder.main()
    assert {name: (tree / name).read_text() for name in build(tree)} == build(tree)
    assert " bytes of user-data are left; all logins together may have " in capsys.readouterr().out
    builder.main("--check")
    assert f"{tree}: up to date. With every option used, at up to 64 characters, " in capsys.readouterr().out
    builder.main("--plain")
    assert capsys.readouterr().out == plain(tree)
