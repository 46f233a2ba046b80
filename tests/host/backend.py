"""testinfra on a machine in a container, over the engine's API: needs no `docker` command, works remotely."""

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from registry_stack.docker.machine import Machine


class MachineBackend(BaseBackend):  # type: ignore[misc]
    """Runs every command with Machine.exec."""

    NAME = "machine"

    def __init__(self, machine: Machine, *args: Any, **kwargs: Any) -> None:
        super().__init__(machine.name, *args, **kwargs)
        self.machine = machine

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a shell command."""
        line = self.get_command(command, *args)
        done = self.machine.exec(["/bin/sh", "-c", line], check=False)
        return self.result(done.code, self.encode(line), done.raw, self.encode(done.err))


def testinfra_host(machine: Machine) -> Host:
    """The handle that tests ask for services, files, sockets and commands."""
    return Host(MachineBackend(machine))
