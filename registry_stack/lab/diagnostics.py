"""Saves the logs of a lab that did not start, before it is removed."""

import contextlib
from pathlib import Path

from docker.errors import DockerException

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings

_SUMMARY = "systemctl --no-pager list-jobs; systemctl --no-pager --failed; journalctl --no-pager --boot --lines 3000"


def save_logs(machine: Machine) -> Path:
    """Write the logs of all services (a tar) and systemd's summary into the lab's state folder; return that."""
    state = settings.state()
    folder = state.write("failed-summary.txt", _summary(machine)).parent
    with contextlib.suppress(DockerException, RegistryStackError):
        stream, _stat = machine.container.get_archive("/var/log")
        state.write("failed-logs.tar", b"".join(stream))
    return folder


def _summary(machine: Machine) -> str:
    """systemd's summary, or if no command can run in the container, its log."""
    try:
        return machine.exec(["sh", "-c", _SUMMARY], check=False, timeout=30).out
    except RegistryStackError as error:
        return f"{error}\n{machine.logs()}"
