"""Taken ports are found before anything is built, also by a user who may not bind them."""

import socket
from collections.abc import Iterator

import pytest

from registry_stack.docker.ports import check_ports
from registry_stack.errors import RegistryStackError


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binding is refused, as for ports below 1024."""

    def refuse(_socket: socket.socket, _address: tuple[str, int]) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)


def message(port: int) -> str:
    return f"port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --mirror-port"


def test_taken(listener: int) -> None:
    with pytest.raises(RegistryStackError) as caught:
        check_ports("127.0.0.1", {"--mirror-port": listener, "--registry-port": None})
    assert str(caught.value) == message(listener)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_taken_for_a_user_who_may_not_bind_it(listener: int, request: pytest.FixtureRequest, address: str) -> None:
    request.getfixturevalue("ordinary_user")
    with pytest.raises(RegistryStackError) as caught:
        check_ports(address, {"--mirror-port": listener})
    assert str(caught.value) == message(listener).replace("127.0.0.1", address)


def test_free_for_a_user_who_may_not_bind_it(listener: int, request: pytest.FixtureRequest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = int(server.getsockname()[1])
    request.getfixturevalue("ordinary_user")
    check_ports("127.0.0.1", {"--mirror-port": free})


def test_address_of_another_machine() -> None:
    """Not "taken": choosing another port would not help."""
    with pytest.raises(RegistryStackError, match="192.0.2.1 is not an address of this machine"):
        check_ports("192.0.2.1", {"--mirror-port": 5000})
