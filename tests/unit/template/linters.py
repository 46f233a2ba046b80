"""Linters for the host's files and the cloud-config, each returning what it complains about.

On Debian and Ubuntu only systemd (for `systemd-analyze`) and gawk need to be installed by hand.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import yaml

from registry_stack.userdata.host_files import HostFile
from tests.unit.template.rules import IMAGE_UNITS, UNIT_DIRECTORY

# Programs of the image that units may start; the project's scripts must be in write_files.
IMAGE_PROGRAMS = ("/usr/bin/docker", "/bin/rm", "/bin/sh", "/bin/bash", "/usr/bin/systemctl", "/bin/mkdir")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "docker-registry-tests"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command's result, whatever it is."""
    env = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env, check=False)


def write_tree(files: Iterable[HostFile], root: Path) -> None:
    """Put the files below a root as a loader would put them on a host."""
    for file in files:
        target = root / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)


def systemd_verify(files: Mapping[str, HostFile], root: Path) -> str:
    """What `systemd-analyze verify` says about every unit, in a separate root; empty when nothing."""
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd-analyze is missing: apt-get install systemd")
    write_tree(files.values(), root)
    _add_image(root)
    names = [path for path in files if path.startswith(UNIT_DIRECTORY) and path.count("/") == 4]
    assert names, "no unit found"
    result = run("systemd-analyze", "verify", "--man=no", "--generators=no", f"--root={root}", *names)
    return result.stderr or ("" if result.returncode == 0 else f"exit status {result.returncode}")


def _add_image(root: Path) -> None:
    """The units and programs a Debian or Flatcar image brings along, as far as ours refer to them."""
    system = root / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    for name in IMAGE_UNITS:
        body = "[Service]\nExecStart=/usr/bin/docker\n" if name.endswith(".service") else "[Unit]\n"
        (system / name).write_text(body + ("[Socket]\nListenStream=1\n" if name.endswith(".socket") else ""))
    for program in IMAGE_PROGRAMS:
        stub = root / program.lstrip("/")
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.touch(mode=0o755)


def cloud_init_schema(text: str, directory: Path) -> str:
    """What `cloud-init schema` says against a cloud-config; empty when nothing, not even a deprecation.

    Debian 13's refuses keys that are for another loader. What is below `coreos` is checked as that loader would.
    """
    output = _schema_complaint(text, directory)
    if "('coreos' was unexpected)" in output:
        config = {key: value for key, value in yaml.safe_load(text).items() if key != "coreos"}
        output = _schema_complaint(f"#cloud-config\n{yaml.safe_dump(config)}", directory)
    return output


def _schema_complaint(text: str, directory: Path) -> str:
    config = directory / "user-data"
    config.write_text(text)
    command, environment = _cloud_init()
    result = run(*command, "schema", "--config-file", config, **environment)
    output = result.stdout + result.stderr
    valid = result.returncode == 0 and "Valid" in output and "deprecat" not in output.lower()
    return "" if valid else output


def _cloud_init() -> tuple[list[str], dict[str, str]]:
    """cloud-init as a command: the installed one, otherwise Debian's package unpacked, never installed.

    Installing it would enable its services and have it take over the developer's machine at the next boot.
    """
    if installed := shutil.which("cloud-init"):
        return [installed], {}
    modules = "usr/lib/python3/dist-packages"
    unpacked = _CACHE / "cloud-init"
    if not (unpacked / modules / "cloudinit").is_dir():
        _unpack_package("cloud-init", unpacked)
    return [sys.executable, "-W", "ignore", "-m", "cloudinit.cmd.main"], {"PYTHONPATH": str(unpacked / modules)}


def _unpack_package(name: str, target: Path) -> None:
    download = _CACHE / "download"
    download.mkdir(parents=True, exist_ok=True)
    get = f"apt-get -q download {name}"
    result = run("sh", "-c", f'cd "$1" && {{ {get} || {{ apt-get -q update && {get}; }}; }}', "sh", download)
    packages = sorted(download.glob(f"{name}_*.deb"))
    if result.returncode != 0 or not packages:
        pytest.fail(f"{name} is neither installed nor to be had from apt: {result.stderr.strip()}")
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", packages[-1], partial], check=True)
    partial.rename(target)


def scripts(files: Mapping[str, HostFile]) -> list[str]:
    """The paths of all shell scripts, those that are only sourced included."""
    shell = re.compile(rb"#!(?:/bin/(?:ba)?sh|/usr/bin/env bash)\b|# shellcheck shell=")
    return [path for path, file in files.items() if shell.match(file.content)]


def shellcheck(files: Mapping[str, HostFile], root: Path) -> str:
    """What shellcheck says about every script, sourced files followed; empty when nothing."""
    write_tree(files.values(), root)
    found = [root / path.lstrip("/") for path in scripts(files)]
    assert found, "no script found"
    # Beside the interpreter: a test run need not have the virtual environment on its PATH.
    program = Path(sys.executable).with_name("shellcheck")
    result = run(program, "--external-sources", f"--source-path={root}", "--format=gcc", *found)
    return result.stdout + result.stderr


def shfmt(directory: Path) -> str:
    """The changes that shfmt would make to the scripts in a directory of the repository; empty when none."""
    program = Path(sys.executable).with_name("shfmt")
    assert run(program, "--find", directory).stdout, "no script found"
    result = run(program, "--diff", directory)
    return result.stdout + result.stderr


def gawk_lint(directory: Path) -> str:
    """What `gawk --lint` says about the awk programs in a directory, which it parses without running them."""
    if not shutil.which("gawk"):
        pytest.fail("gawk is missing: apt-get install gawk")
    programs = sorted(directory.rglob("*.awk"))
    assert programs, "no awk program found"
    results = [run("gawk", "--lint", "-e", "BEGIN { exit } END { exit }", "-f", program) for program in programs]
    return "".join(result.stderr for result in results)


def parsed_by_bash(script: str) -> str:
    """A script as bash prints it back: without comments, laid out anew, every text as it was."""
    result = run("bash", "-c", 'eval "script() {\n$1\n}"; declare -f script', "bash", script)
    assert result.returncode == 0, result.stderr
    return result.stdout


def yamllint(path: Path, config: Path) -> str:
    """What yamllint says about a file, warnings included; empty when nothing."""
    result = run(sys.executable, "-m", "yamllint", "--strict", "--format=parsable", "-c", config, path)
    return result.stdout + result.stderr


def sourced_environment(path: Path) -> tuple[dict[str, str], str]:
    """The variables a shell has after sourcing a file, and what it printed while doing so."""
    script = 'set -a; . "$1"; exec env -0'
    command = ["env", "-i", "/bin/sh", "-euc", script, "sh", str(path)]
    result = subprocess.run(command, capture_output=True, check=False)
    pairs = (line.split("=", 1) for line in result.stdout.decode().split("\0") if "=" in line)
    return {pair[0]: pair[1] for pair in pairs}, result.stderr.decode()
