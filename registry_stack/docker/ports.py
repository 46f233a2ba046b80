"""Which ports of this machine are taken."""

import errno
import socket
from collections.abc import Mapping

from registry_stack.errors import RegistryStackError

_CONNECT_S = 2


def check_ports(address: str, wanted: Mapping[str, int | None]) -> None:
    """Raise RegistryStackError naming every taken port; `wanted` is by option, None for any free one."""
    taken = {option: port for option, port in wanted.items() if port and _listening(address, port)}
    if taken:
        ports = " and ".join(str(port) for port in taken.values())
        are = "are" if len(taken) > 1 else "is"
        raise RegistryStackError(
            f"port {ports} on {address} {are} taken: stop what listens there, "
            f"or choose another with {' and '.join(taken)}"
        )


def _listening(address: str, port: int) -> bool:
    """Whether the port is taken: by an attempt to bind it and, where only root may bind it, to connect to it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return _answers(address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _no_address(address, error) from error
            return True
    return False


def _answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_S)
        # To 0.0.0.0 Linux connects on the loopback.
        return probe.connect_ex((address, port)) == 0


def _no_address(address: str, error: OSError) -> RegistryStackError:
    return RegistryStackError(f"{address} is not an address of this machine: {error.strerror or error}")
