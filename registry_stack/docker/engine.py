"""Connects to the Docker engine; starts it, or installs it first, where that is possible.

A `docker` command proves nothing: a client without a daemon is common.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import docker
import requests
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.utils import kwargs_from_env

from registry_stack.docker.packages import find_program, has_apt, install_packages
from registry_stack.errors import RegistryStackError
from registry_stack.file_lock import file_lock
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

DEFAULT_SOCKET = "/var/run/docker.sock"
DAEMON_LOG = Path("/var/log/docker-registry-stack-dockerd.log")
# How long the engine may send nothing: a build that downloads packages is silent for minutes.
READ_TIMEOUT_S = 900
START_DEADLINE_S = 60
START_LOCK = Path("/run/docker-registry-stack.lock")
STOP_DEADLINE_S = 15
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))
PACKAGES = ("docker.io", "iptables")
# The `docker` command: since Debian 13 a separate package, which docker.io only recommends.
CLIENT_PACKAGES = ("docker-cli",)


def engine(report: ProgressCallback = no_progress) -> docker.DockerClient:
    """Return a client of an engine that has answered a ping; start or install the engine if needed."""
    client = _connect()
    if client is not None:
        return client
    _raise_if_not_startable()
    # Two runs must neither install the engine at once nor start two daemons.
    with file_lock(START_LOCK, report, "waiting for another run that starts Docker"):
        client = _connect()
        if client is None and not _installed():
            _install(report)
        return client or _connect() or _start(report)


def _connect() -> docker.DockerClient | None:
    """Return a client of the engine the environment points at, or None if no engine answers there."""
    try:
        client = docker.DockerClient(**_address(), timeout=READ_TIMEOUT_S)
        client.ping()
    except (DockerException, requests.RequestException, OSError):
        return None
    return client


def _address() -> dict[str, Any]:
    """Where the `docker` command would connect to: DOCKER_HOST, else the current context or the default socket."""
    if os.environ.get("DOCKER_HOST"):
        return dict(kwargs_from_env())
    context = ContextAPI.get_current_context()
    if context is None or not context.Host:
        return {}
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


def _raise_if_not_startable() -> None:
    """Raise RegistryStackError when starting an engine here is impossible or would not help."""
    target = str(_address().get("base_url") or "")
    if target and not target.endswith(DEFAULT_SOCKET):
        raise RegistryStackError(
            f"no Docker engine answers at {target} (DOCKER_HOST or the docker context): "
            "start it there, or unset DOCKER_HOST to use the local engine"
        )
    if os.geteuid() == 0:
        return
    socket = Path(DEFAULT_SOCKET)
    if socket.exists() and not os.access(socket, os.R_OK | os.W_OK):
        raise RegistryStackError(
            f"the Docker engine's socket {socket} may not be used by this user: "
            "join the group `docker` (and log in again), or run as root"
        )
    raise RegistryStackError(f"{_what_to_do()}, point DOCKER_HOST at an engine, or run as root")


def _what_to_do() -> str:
    """Why there is no engine for a user who may neither install nor start one, and what helps."""
    if _installed():
        return "no Docker engine answers and this user may not start one: start it (`sudo systemctl start docker`)"
    how = f" (`sudo apt-get install {' '.join(PACKAGES)}`)" if has_apt() else ""
    return f"Docker is not installed and this user may not install it: install Docker Engine{how}"


def _installed() -> bool:
    return find_program("dockerd") is not None


def _install(report: ProgressCallback) -> None:
    """Install Debian's or Ubuntu's own engine package."""
    if not has_apt():
        raise RegistryStackError(
            "no Docker engine is installed and this is not Debian or Ubuntu: install Docker "
            "Engine for this system, or point DOCKER_HOST at an engine"
        )
    install_packages(PACKAGES, report, where_available=CLIENT_PACKAGES)


def _start(report: ProgressCallback) -> docker.DockerClient:
    """Start the installed engine and wait until it answers."""
    clients: list[docker.DockerClient] = []
    if Path("/run/systemd/system").is_dir():
        report("starting Docker with systemctl")
        subprocess.run(["systemctl", "start", "docker"], capture_output=True, check=False)
        probe, hint, log = (lambda: _collect_answer(clients)), "see `journalctl -u docker`", None
    else:
        report(f"starting dockerd (log: {DAEMON_LOG})")
        daemon = _start_by_hand()
        probe, hint, log = (lambda: _collect_answer(clients, daemon)), f"see {DAEMON_LOG}", _log_tail
    wait_until(probe, START_DEADLINE_S, "the Docker engine to answer", log=log, hint=hint)
    return clients[0]


def _start_by_hand() -> "subprocess.Popen[bytes]":
    """Run dockerd in its own session, so that it outlives this process and its terminal."""
    for pid_file in PID_FILES:
        _remove_stale_pid_file(pid_file)
    DAEMON_LOG.parent.mkdir(parents=True, exist_ok=True)
    with DAEMON_LOG.open("ab") as log:
        return subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _remove_stale_pid_file(pid_file: Path) -> None:
    """Remove the PID file of a killed engine: a new one refuses to start while any process has that number."""
    if not pid_file.exists():
        return
    pid = pid_file.read_text().strip()
    wait_until(lambda: _alive(pid), STOP_DEADLINE_S, f"process {pid}, an engine that does not answer, to end")
    pid_file.unlink(missing_ok=True)


def _alive(pid: str) -> str | None:
    """A probe: None when no engine has that process number (any more)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, _, rest = state.partition("(")[2].rpartition(")")
    dead = name not in ("dockerd", "containerd") or rest.split()[0] in "ZX"
    return None if dead else f"{name} is running"


def _collect_answer(clients: list[docker.DockerClient], daemon: "subprocess.Popen[bytes] | None" = None) -> str | None:
    """A probe for wait_until: keep the client as soon as the engine answers; a dead one ends the wait."""
    client = _connect()
    if client is not None:
        clients.append(client)
        return None
    if daemon is not None and daemon.poll() is not None:
        last = (_log_tail().strip().splitlines() or ["no output"])[-1]
        raise RegistryStackError(f"dockerd ended with {daemon.returncode}: {last}: see {DAEMON_LOG}")
    return "no answer to a ping"


def _log_tail() -> str:
    return DAEMON_LOG.read_text(errors="replace") if DAEMON_LOG.exists() else ""
