"""Ports of this machine: is somebody there already?"""

import socket
from collections.abc import Mapping

from harness.errors import HarnessError


def check_ports(address: str, wanted: Mapping[str, int | None]) -> None:
    """Raise HarnessError naming every wanted port that somebody listens on; `wanted` is by option, None for any."""
    taken = {option: port for option, port in wanted.items() if port and _listening(address, port)}
    if taken:
        ports = " and ".join(str(port) for port in taken.values())
        are = "are" if len(taken) > 1 else "is"
        raise HarnessError(
            f"port {ports} on {address} {are} taken: stop what listens there, "
            f"or choose another with {' and '.join(taken)}"
        )


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
