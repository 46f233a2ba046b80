"""The Debian base where no registry can be reached: what is said, and in which order, to root and to others."""

import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.images import base
from registry_stack.images.pull import Outcome

WHY = "debian:trixie-slim is not here and cannot be pulled (no route to host)"
MAKING = "debian:trixie-slim cannot be pulled (no route to host): making a Debian trixie base with mmdebstrap"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[list[str]]:
    """No image is there or can be pulled; the commands that are run instead."""
    commands: list[list[str]] = []

    def run(command: list[str], **_arguments: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(base, "present", lambda _client, _reference: False)
    monkeypatch.setattr(base, "pull", lambda *_: (Outcome.UNREACHABLE, "no route to host"))
    monkeypatch.setattr(base, "has_apt", lambda: True)
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def make(steps: list[str]) -> str:
    client: Any = SimpleNamespace(api=SimpleNamespace(import_image_from_file=lambda *_, **__: None))
    return base.base_image(client, "trixie", steps.append)


def installed(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(base, "find_program", lambda name: f"/usr/bin/{name}" if name in programs else None)


def test_an_ordinary_user_makes_it_in_a_user_name_space(made: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    installed(monkeypatch, "mmdebstrap", "newuidmap")
    steps: list[str] = []
    assert make(steps) == "registry-stack/base:trixie"
    assert steps == [MAKING]
    assert "--mode=unshare" in made[-1]


@pytest.mark.parametrize("programs", [(), ("mmdebstrap",)])
def test_an_ordinary_user_without_the_programs_is_told_before_anything_is_announced(
    made: list[list[str]], monkeypatch: pytest.MonkeyPatch, programs: tuple[str, ...]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    installed(monkeypatch, *programs)
    steps: list[str] = []
    with pytest.raises(RegistryStackError) as caught:
        make(steps)
    assert str(caught.value) == (
        f"{WHY}, and to make one from Debian's packages this user lacks a program: "
        "`sudo apt-get install mmdebstrap debian-archive-keyring uidmap`, run this as root, "
        "or make the image available to this engine"
    )
    assert (steps, made) == ([], [])


def test_root_installs_them_first(made: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    installed(monkeypatch)
    steps: list[str] = []
    make(steps)
    assert steps == ["installing mmdebstrap, debian-archive-keyring with apt-get", MAKING]
    assert "--mode=root" in made[-1]


def test_not_a_debian(made: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "has_apt", lambda: False)
    installed(monkeypatch)
    with pytest.raises(RegistryStackError, match="mmdebstrap, which makes one from Debian's packages, is not inst"):
        make([])
