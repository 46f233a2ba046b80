"""Ports of this machine: is somebody there already, and which one is free."""

import socket
from collections.abc import Mapping

from registry_stack.errors import RegistryStackError


def check_ports(address: str, wanted: Mapping[str, int | None]) -> None:
    """Raise RegistryStackError naming every taken port; `wanted` is by option, None for any."""
    taken = {option: port for option, port in wanted.items() if port and _listening(address, port)}
    if taken:
        ports = " and ".join(str(port) for port in taken.values())
        are = "are" if len(taken) > 1 else "is"
        raise RegistryStackError(
            f"port {ports} on {address} {are} taken: stop what listens there, "
            f"or choose another with {' and '.join(taken)}"
        )


def free_port(address: str) -> int:
    """A TCP port that nobody has at this moment; raises RegistryStackError when that is no address of this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise RegistryStackError(
                f"{address} is not an address of this machine: {error.strerror or error}"
            ) from error
        return int(probe.getsockname()[1])


def _listening(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return False
