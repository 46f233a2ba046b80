"""A TCP proxy that delays everything on its way to the server."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK = 1 << 16


class SlowProxy:
    """Forwards connections to a port of localhost; what a client sends arrives `delay_s` later."""

    def __init__(self, target_port: int) -> None:
        self.delay_s, self.port, self._target = 0.0, 0, target_port
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def serving(self) -> Iterator["SlowProxy"]:
        """Serve in a thread."""
        server = self._loop.run_until_complete(asyncio.start_server(self._forward, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            self._copy(reader, server_writer, delayed=True), self._copy(server_reader, writer, delayed=False)
        )

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, delayed: bool) -> None:
        with suppress(ConnectionError):
            while block := await source.read(_BLOCK):
                if delayed:
                    await asyncio.sleep(self.delay_s)
                target.write(block)
                await target.drain()
        target.close()
