"""A command in a container, over a socket on which an engine's part is played."""

import gc
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from registry_stack.docker.exec import ExecResult, run

COMMAND = "5f0c"


def frame(stream: int, text: bytes) -> bytes:
    """As docs.docker.com, Engine API, "Stream format" of attach has it."""
    return struct.pack(">BxxxL", stream, len(text)) + text


def answer(body: object, status: str = "200 OK") -> bytes:
    text = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


STARTED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n\r\n"
ANSWERS = {
    f"/exec/{COMMAND}/start": STARTED + frame(1, b"written") + frame(2, b"complained\n") + frame(1, b"\n"),
    f"/exec/{COMMAND}/json": answer({"ExitCode": 3}),
    "/exec": answer({"Id": COMMAND}, "201 Created"),
}


def serve(connection: socket.socket) -> None:
    """Answer one request after the other; after the start of a command the connection ends, as an engine ends it."""
    with connection, connection.makefile("rb") as reader:
        while line := reader.readline():
            length = 0
            while (header := reader.readline().lower()) != b"\r\n":
                length = int(header.split(b":")[1]) if header.startswith(b"content-length") else length
            reader.read(length)
            path = line.split()[1].decode()
            known = next(answer for end, answer in ANSWERS.items() if path.endswith(end))
            connection.sendall(known)
            if known.startswith(STARTED):
                return


@pytest.fixture
def client(tmp_path: Path) -> Iterator[docker.DockerClient]:
    """A client of an engine in which every command prints the same and exits with 3."""
    path = tmp_path / "docker.sock"
    with socket.create_server(str(path), family=socket.AF_UNIX) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        client = docker.DockerClient(base_url=f"unix://{path}", version="1.41", timeout=10)
        yield client
        client.close()
        server.shutdown(socket.SHUT_RDWR)


def test_outputs_and_exit_code(client: docker.DockerClient) -> None:
    assert run(client, "a", ["true"], None, None) == ExecResult(3, b"written\n", "complained\n")


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_connection_is_closed_without_a_complaint(
    client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 prints `ValueError: I/O operation on closed file` when a socket is closed under its reader."""
    # What earlier tests have left.
    gc.collect()
    ignored: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: ignored.append(repr(seen.exc_value)))
    run(client, "a", ["true"], None, None)
    gc.collect()
    assert [seen for seen in ignored if seen.startswith("ValueError") or str(tmp_path) in seen] == []
