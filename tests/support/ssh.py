"""A server over SSH, as root by sudo: a testinfra host, and files written to it."""

import functools
import re
import secrets
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

_CONFIG = Path(__file__).with_name("ssh_config")
_TIMEOUT_S = 30
_KEEPALIVE_S = 5
# What one stream may hold back while the other one is read.
_WINDOW_BYTES = 64 * 1024 * 1024


class _Backend(ParamikoBackend):  # type: ignore[misc]
    """testinfra's own waits forever for an answer of a server that went away: this one looks whether it is there.

    And it starts a session and sudo for each command, which takes an emulated server longer than most commands: here
    root's shells are kept, one unless threads ask at the same time.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: list[paramiko.Channel] = []

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        """The connection, made with the first command."""
        client: paramiko.SSHClient = ParamikoBackend.client.func(self)
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TIMEOUT_S * 1000)
        return client

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        """Code, output and errors of a command; ConnectionResetError when the server goes away meanwhile."""
        shell, end = self._shell(), secrets.token_hex(8)
        line = f"(eval {shlex.quote(command.decode())}) </dev/null; printf '{end} %d\\n' $?; echo {end} 0 >&2\n"
        shell.sendall(line.encode())
        output, code = _until(end, shell.recv)
        errors, _ = _until(end, shell.recv_stderr)
        self._idle.append(shell)
        return code, output, errors

    def _shell(self) -> paramiko.Channel:
        """One that nobody uses: a kept one, unless its connection is gone, or a new one."""
        transport = self.client.get_transport()
        assert transport is not None
        while self._idle:
            shell = self._idle.pop()
            if not shell.closed and shell.get_transport() is transport:
                return shell
        shell = transport.open_session(window_size=_WINDOW_BYTES)
        shell.exec_command("exec sudo /bin/sh")
        return shell


def _until(end: str, receive: Callable[[int], bytes]) -> tuple[bytes, int]:
    """What comes before a line of `end` and a number, and the number."""
    pattern, data = re.compile(rf"{end} (\d+)\n\Z".encode()), b""
    while not (found := pattern.search(data, max(len(data) - len(end) - 8, 0))):
        part = receive(65536)
        if not part:
            raise ConnectionResetError("the server went away")
        data += part
    return data[: found.start()], int(found[1])


def ssh_host(address: str, key: Path, user: str) -> Host:
    """A handle on the server; it connects with its first command, and again after a `forget_connection`."""
    return Host(_Backend(f"{user}@{address}", ssh_config=str(_CONFIG), ssh_identity_file=str(key), timeout=_TIMEOUT_S))


def forget_connection(host: Host) -> None:
    """The server goes away: the next command connects anew instead of waiting on what is gone."""
    if "client" in vars(host.backend):
        host.backend.client.close()
        del host.backend.client


def write(host: Host, path: str, content: bytes) -> None:
    """Write a file that only root can read; the content is on no command line."""
    channel = host.backend.client.get_transport().open_session()
    channel.exec_command(f"sudo sh -c {shlex.quote(f'umask 077; cat > {shlex.quote(path)}')}")
    channel.sendall(content)
    channel.shutdown_write()
    output = channel.makefile_stderr("rb").read()
    code = channel.recv_exit_status()
    assert code == 0, f"{path} cannot be written: {output.decode(errors='replace')}"
