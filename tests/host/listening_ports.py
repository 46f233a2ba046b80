"""What listens on a host for others than itself."""

from testinfra.host import Host


def listening(host: Host, without: str = "") -> set[tuple[str, int]]:
    """Protocol and port, such as ("tcp", 22); `without` leaves out those of the programs of that name."""
    found = set()
    for line in host.check_output("ss -H -lntup").splitlines():
        protocol, _state, _received, _sent, local, *_peer = line.split()
        address, port = local.rsplit(":", 1)
        if not address.startswith(("127.", "[::1]")) and not (without and f'"{without}"' in line):
            found.add((protocol, int(port)))
    return found
