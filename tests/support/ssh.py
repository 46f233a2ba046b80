"""A server over SSH, as root by sudo: a testinfra host, and files written to it."""

import functools
import socket
from pathlib import Path
from typing import Any

import paramiko
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

_CONFIG = Path(__file__).with_name("ssh_config")
_TIMEOUT_S = 30
_KEEPALIVE_S = 5


class _Backend(ParamikoBackend):  # type: ignore[misc]
    """testinfra's own waits forever for an answer of a server that went away: this one looks whether it is there."""

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        """The connection, made with the first command."""
        client: paramiko.SSHClient = ParamikoBackend.client.func(self)
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TIMEOUT_S * 1000)
        return client


def ssh_host(address: str, key: Path, user: str) -> Host:
    """A handle on the server; it connects with its first command, and again after a `forget_connection`."""
    return Host(
        _Backend(
            f"{user}@{address}", ssh_config=str(_CONFIG), ssh_identity_file=str(key), timeout=_TIMEOUT_S, sudo=True
        )
    )


def forget_connection(host: Host) -> None:
    """The server goes away: the next command connects anew instead of waiting on what is gone."""
    if "client" in vars(host.backend):
        host.backend.client.close()
        del host.backend.client


def write(host: Host, path: str, content: bytes) -> None:
    """Write a file that only root can read; the content is on no command line."""
    command: Any = host.backend.get_command("umask 077; cat > %s", path)
    channel = host.backend.client.get_transport().open_session()
    channel.exec_command(command)
    channel.sendall(content)
    channel.shutdown_write()
    output = channel.makefile_stderr("rb").read()
    code = channel.recv_exit_status()
    assert code == 0, f"{path} cannot be written: {output.decode(errors='replace')}"
