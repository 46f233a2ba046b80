"""The files of the host are those of the tree, apart from comments."""

import hashlib
import re
from pathlib import Path

from testinfra.host import Host

from registry_stack.userdata.build import TREE, stripped, tree_files
from registry_stack.userdata.host_files import BUNDLE
from registry_stack.userdata.render import PLACEHOLDER, placeholders

FILES = {path: (file, stripped(path, file.read_text())) for path, file in tree_files(TREE).items()}


def test_files_without_placeholders_are_byte_identical(host: Host) -> None:
    expected = {path: text for path, (_file, text) in FILES.items() if not placeholders(text)}
    lines = host.check_output(f"sha256sum {' '.join(expected)}").splitlines()
    found = {path: digest for digest, path in (line.split() for line in lines)}
    assert found == {path: hashlib.sha256(text.encode()).hexdigest() for path, text in expected.items()}


def test_files_with_placeholders_differ_in_their_values_only(host: Host) -> None:
    expected = {path: text for path, (_file, text) in FILES.items() if placeholders(text)}
    assert expected
    for path, text in expected.items():
        pattern = ".*".join(map(re.escape, PLACEHOLDER.split(text)))
        # The value of a file that is all placeholder may have several lines.
        assert re.fullmatch(pattern, host.file(path).content_string, 0 if "\n" in text else re.DOTALL), path


def test_modes_and_owners(host: Host) -> None:
    lines = host.check_output(f"stat -c '%a %U:%G %n' {' '.join(FILES)}").splitlines()
    secret = "/etc/docker-registry/environment"
    assert sorted(lines) == sorted(
        f"{'600' if path == secret else _mode(file)} root:root {path}" for path, (file, _text) in FILES.items()
    )


def _mode(file: Path) -> str:
    return "755" if file.stat().st_mode & 0o100 else "644"


def test_no_other_files(host: Host) -> None:
    folders = ("/opt/registry", "/etc/docker-registry")
    found = set(host.check_output(f"find {' '.join(folders)} -type f").splitlines())
    assert found == {path for path in FILES if path.startswith(folders)} | {BUNDLE}
