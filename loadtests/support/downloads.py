"""Downloads layers in other processes: hashing them in this one would delay the responses whose latency it measures."""

import json
import os
from collections.abc import Sequence
from itertools import count
from typing import Any

import gevent
from gevent.event import AsyncResult

from loadtests.support import download_worker
from loadtests.support.processes import start_python
from loadtests.support.registry import protocol


class Downloads:
    """A worker for each processor."""

    def __init__(self, urls: Sequence[str], ca_file: str, timeout_s: float) -> None:
        self._arguments = [ca_file, str(timeout_s), *urls]
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start the workers; returns when they can download: that would take from the time of a run."""
        self._workers = [_Worker(self._arguments) for _processor in range(os.cpu_count() or 1)]
        for worker in self._workers:
            worker.wait_until_ready()

    def fetch(self, url: str, request: protocol.Request) -> dict[str, Any]:
        """Download a layer from one of the URLs in the least busy worker; returns what the worker says."""
        return min(self._workers, key=lambda worker: worker.busy).fetch(url, request)

    def close(self) -> None:
        """End the workers."""
        while self._workers:
            self._workers.pop().close()


class _Worker:
    def __init__(self, arguments: list[str]) -> None:
        self._process = start_python(download_worker.__name__, *arguments)
        self._ids = count()
        self._waiting: dict[int, AsyncResult] = {}
        self._reader: gevent.Greenlet | None = None

    def wait_until_ready(self) -> None:
        """Wait for its first line, and read the others as they come."""
        assert self._process.stdout
        self._process.stdout.readline()
        self._reader = gevent.spawn(self._read)

    @property
    def busy(self) -> int:
        """How many downloads it has not finished."""
        return len(self._waiting)

    def fetch(self, url: str, request: protocol.Request) -> dict[str, Any]:
        number, result = next(self._ids), AsyncResult()
        self._waiting[number] = result
        try:
            self._write({"id": number, "url": url, "path": request.path, "digest": request.digest})
            outcome: dict[str, Any] = result.get()
            return outcome
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        assert self._process.stdin
        if self._reader:
            self._reader.kill()
        self._process.stdin.close()
        self._process.wait()

    def _write(self, wanted: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write((json.dumps(wanted) + "\n").encode())
            self._process.stdin.flush()
        except OSError as error:
            raise protocol.RequestError(f"the process that downloads layers has ended: {error}") from error

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            outcome = json.loads(line)
            if waiting := self._waiting.get(outcome["id"]):
                waiting.set(outcome)
        for waiting in self._waiting.values():
            waiting.set_exception(protocol.RequestError("the process that downloads layers has ended"))
