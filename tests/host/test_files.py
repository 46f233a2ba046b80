"""The files of the host are those of the tree, apart from comments."""

import hashlib
import re
from pathlib import Path

import pytest
from testinfra.host import Host

from registry_stack.userdata.build import TREE, plain, stripped, tree_files
from registry_stack.userdata.host_files import BUNDLE, host_files
from registry_stack.userdata.render import PLACEHOLDER, placeholders

TREE_FILES = tree_files(TREE)
SECRET = ("/etc/docker-registry/environment.user-data", "/etc/docker-registry/stack")


@pytest.fixture
def files(host: Host) -> dict[str, str]:
    """The text of each by its path: Heat brings all, user-data what a single host needs."""
    if host.file("/opt/registry/follow-stack").exists:
        texts = {path: file.read_text() for path, file in TREE_FILES.items()}
    else:
        texts = {path: file.content.decode() for path, file in host_files(plain(TREE)).items()}
    return {path: stripped(path, text) for path, text in texts.items()}


def test_files_without_placeholders_are_byte_identical(host: Host, files: dict[str, str]) -> None:
    expected = {path: text for path, text in files.items() if not placeholders(text)}
    lines = host.check_output(f"sha256sum {' '.join(expected)}").splitlines()
    found = {path: digest for digest, path in (line.split() for line in lines)}
    assert found == {path: hashlib.sha256(text.encode()).hexdigest() for path, text in expected.items()}


def test_files_with_placeholders_differ_in_their_values_only(host: Host, files: dict[str, str]) -> None:
    expected = {path: text for path, text in files.items() if placeholders(text)}
    assert expected
    for path, text in expected.items():
        pattern = ".*".join(map(re.escape, PLACEHOLDER.split(text)))
        # The value of a file that is all placeholder may have several lines.
        assert re.fullmatch(pattern, host.file(path).content_string, 0 if "\n" in text else re.DOTALL), path


def test_modes_and_owners(host: Host, files: dict[str, str]) -> None:
    lines = host.check_output(f"stat -c '%a %U:%G %n' {' '.join(files)}").splitlines()
    assert sorted(lines) == sorted(
        f"{'600' if path in SECRET else _mode(TREE_FILES[path])} root:root {path}" for path in files
    )


def _mode(file: Path) -> str:
    return "755" if file.stat().st_mode & 0o100 else "644"


def test_no_other_files(host: Host, files: dict[str, str]) -> None:
    folders = ("/opt/registry", "/etc/docker-registry")
    found = set(host.check_output(f"find {' '.join(folders)} -type f").splitlines())
    # The host's own copies of the parameters: see lib/settings.sh.
    own = {f"/etc/docker-registry/environment{name}" for name in ("", ".taken", ".applied")}
    assert found == {path for path in files if path.startswith(folders)} | {BUNDLE} | own
