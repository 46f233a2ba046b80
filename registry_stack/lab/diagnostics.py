"""What is left of a lab that did not come up: its services' logs, kept before it is removed."""

import contextlib
from pathlib import Path

from docker.errors import DockerException

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings

_SUMMARY = "systemctl --no-pager list-jobs; systemctl --no-pager --failed; journalctl --no-pager --boot --lines 3000"


def keep(machine: Machine) -> Path:
    """Write the logs of all services (a tar) and systemd's view of them into the lab's state folder."""
    state = settings.state()
    folder = state.write("failed-summary.txt", _summary(machine)).parent
    with contextlib.suppress(DockerException, RegistryStackError):
        stream, _stat = machine.container.get_archive("/var/log")
        state.write("failed-logs.tar", b"".join(stream))
    return folder


def _summary(machine: Machine) -> str:
    """What systemd in there says, or what the container's first process wrote when it can no longer be asked."""
    try:
        return machine.exec(["sh", "-c", _SUMMARY], check=False, timeout=30).out
    except RegistryStackError as error:
        return f"{error}\n{machine.logs()}"
