"""A proxy on loopback that does to the traffic what bad networks do: delays, resets, slices of one byte.

Rules:

1. A share of the requests is reset, each at one of four points: before the server sees it, in the middle of the
   request, after the server has it all, in the middle of the answer.
2. The seed decides which; the order of the clients' requests is not part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK_BYTES = 65_536
FATES = ("unsent", "half sent", "unanswered", "half answered")


class Proxy:
    """A proxy before a server.

    Args:
        url: The server.
        resets: Share of the requests that is reset, 0 to 1.
        slice_bytes: Size of the pieces in which bytes are passed on, both ways; 0: as they come.
        delay_s: Delay of each piece.
    """

    def __init__(
        self, url: str, *, resets: float = 0.0, slice_bytes: int = 0, delay_s: float = 0.0, seed: int = 1
    ) -> None:
        self._port = int(url.rpartition(":")[2])
        self._resets, self._slice_bytes, self._delay_s = resets, slice_bytes, delay_s
        self._chance = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests = self.reset = self.slices = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen for the time of the block; yield the URL."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up, down = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            _cut(writer)
            return
        for each in (writer, down):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fate = asyncio.Event()
        passing = [
            asyncio.create_task(self._forth(reader, down, fate)),
            asyncio.create_task(self._back(up, writer, fate)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            _cut(writer)
            _cut(down)

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self.requests += 1
            if self._chance.random() < self._resets:
                self.reset += 1
                match self._chance.choice(FATES):
                    case "unsent":
                        return
                    case "half sent":
                        await self._pass_on(chunk[: len(chunk) // 2], writer)
                        return
                    case "unanswered":
                        await self._pass_on(chunk, writer)
                        await asyncio.sleep(0.002)
                        return
                fate.set()
            await self._pass_on(chunk, writer)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if fate.is_set():
                await self._pass_on(chunk[: len(chunk) // 2], writer)
                return
            await self._pass_on(chunk, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        size = self._slice_bytes or len(data)
        for start in range(0, len(data), size):
            self.slices += 1
            writer.write(data[start : start + size])
            await writer.drain()
            await asyncio.sleep(self._delay_s)


def _cut(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset."""
    wire = writer.get_extra_info("socket")
    if wire is not None and wire.fileno() >= 0:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
