"""What the user is told when no engine answers and none can be started, and what a killed engine leaves."""

import os
import subprocess
from pathlib import Path

import pytest

from registry_stack.docker import engine as module
from registry_stack.docker import packages
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.progress import no_progress


@pytest.fixture
def ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody in particular, on a machine without an engine; returns where its socket would be."""
    socket = tmp_path / "docker.sock"
    monkeypatch.setattr(module, "DEFAULT_SOCKET", str(socket))
    monkeypatch.setattr(module, "_address", lambda: {"base_url": f"unix://{socket}"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return socket


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize(
    ("installed", "debian", "message"),
    [
        (True, True, "no Docker engine answers and this user may not start one: start it "
            "(`sudo systemctl start docker`), point DOCKER_HOST at an engine, or run as root"),
        (False, True, "Docker is not installed and this user may not install it: install Docker Engine "
            "(`sudo apt-get install docker.io iptables`), point DOCKER_HOST at an engine, or run as root"),
        (False, False, "Docker is not installed and this user may not install it: install Docker Engine, "
            "point DOCKER_HOST at an engine, or run as root"),
    ],
)  # fmt: skip
def test_no_engine_and_no_root(monkeypatch: pytest.MonkeyPatch, installed: bool, debian: bool, message: str) -> None:
    monkeypatch.setattr(module, "_installed", lambda: installed)
    monkeypatch.setattr(module, "has_apt", lambda: debian)
    with pytest.raises(RegistryStackError) as caught:
        engine()
    assert str(caught.value) == message


def test_engine_is_found_where_an_ordinary_users_path_does_not_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dockerd"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(packages, "_SYSTEM_FOLDERS", (str(tmp_path),))
    assert packages.find_program("dockerd") == str(program)


@pytest.mark.parametrize("release_has_it", [True, False])
def test_the_docker_command_is_installed_where_it_is_a_package_of_its_own(
    monkeypatch: pytest.MonkeyPatch, release_has_it: bool
) -> None:
    """Debian 13's docker.io only recommends docker-cli, which Debian 12 does not have."""
    commands: list[list[str]] = []

    def run(command: list[str], **_arguments: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        failed = command[0] == "apt-cache" and not release_has_it
        return subprocess.CompletedProcess(command, 100 if failed else 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(module, "has_apt", lambda: True)
    module._install(no_progress)
    client = ["docker-cli"] if release_has_it else []
    install = commands[-1]
    assert install[install.index("--no-install-recommends") + 1 :] == ["docker.io", "iptables", *client]


def test_an_engine_that_another_run_has_started_meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is neither installed nor started once more."""
    started = object()
    answers = iter([None, started])
    monkeypatch.setattr(module, "_connect", lambda: next(answers))
    monkeypatch.setattr(module, "_raise_if_not_startable", lambda: None)
    monkeypatch.setattr(module, "START_LOCK", tmp_path / "lock")
    monkeypatch.setattr(module, "_installed", lambda: pytest.fail("there is an engine"))
    assert module.engine() is started


def test_a_socket_that_is_for_others(ordinary_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary_user.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RegistryStackError) as caught:
        engine()
    assert str(caught.value) == (
        f"the Docker engine's socket {ordinary_user} may not be used by this user: "
        "join the group `docker` (and log in again), or run as root"
    )


def test_pid_file_of_a_process_that_is_gone(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(f"{ended.pid}\n")
    module._remove_stale_pid_file(pid_file)
    assert not pid_file.exists()


def test_pid_file_whose_number_another_program_has(tmp_path: Path) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(str(os.getpid()))
    module._remove_stale_pid_file(pid_file)
    assert not pid_file.exists()


def test_pid_file_of_a_running_engine_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process with the engine's name, which does not end."""
    program = tmp_path / "dockerd"
    program.symlink_to("/bin/sleep")
    monkeypatch.setattr(module, "STOP_DEADLINE_S", 0.3)
    pid_file = tmp_path / "docker.pid"
    running = subprocess.Popen([str(program), "60"])
    try:
        pid_file.write_text(str(running.pid))
        with pytest.raises(RegistryStackError, match="an engine that does not answer"):
            module._remove_stale_pid_file(pid_file)
        assert pid_file.exists()
    finally:
        running.kill()
        running.wait()
