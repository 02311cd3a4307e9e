"""A relay before a store: it can be led to another one, as a name would be, and passes replies on late."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

READ_BYTES = 65_536


class Relay:
    """Listens on a port of the loopback interface, and connects each client to the target.

    Args:
        target: A port of the loopback interface.
        late_s: How long what comes from the target is held back.
    """

    def __init__(self, target: int, late_s: float = 0.0) -> None:
        self._target = target
        self._late_s = late_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lead_to(self, target: int) -> None:
        """Cut all connections; further ones go to this port."""
        self._target = target
        self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_target, to_target = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_target}
        for pump in (self._pass(reader, to_target, 0.0), self._pass(from_target, writer, self._late_s)):
            task = asyncio.ensure_future(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if late_s:
                    loop.call_later(late_s, self._write, writer, data)
                else:
                    self._write(writer, data)
        writer.transport.abort()

    @staticmethod
    def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.transport.is_closing():
            writer.write(data)
