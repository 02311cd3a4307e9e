"""A proxy between the server and the store that cuts connections, swallows replies, freezes and lies, as it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

READ_BYTES = 65536


class FaultyProxy:
    """Listens on a Unix socket in a folder, and forwards to the store's.

    Attributes:
        accepted: The number of connections so far.
        writes: What came from the client, a chunk each.
    """

    def __init__(self, folder: Path, store_url: str) -> None:
        self._path = folder / "proxy.sock"
        self._store_path = urlsplit(store_url).path
        self._elsewhere: str | None = None
        self.accepted = 0
        self.writes: list[bytes] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._swallows = False
        self._lies: list[tuple[bytes, bytes]] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    async def listen(self) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    async def refuse(self) -> None:
        """Accept no connection any more, and cut those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        self.cut()

    def cut(self) -> None:
        """End all connections at once."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Forward nothing, in either direction."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def swallow_replies(self, on: bool = True) -> None:
        """Forward no replies: the store does each call, and its replies are lost."""
        self._swallows = on

    def lead_to(self, address: str | None) -> None:
        """Lead new connections to this host and port; None: to the store of the start."""
        self._elsewhere = address

    def lie(self, about: bytes, reply: bytes) -> None:
        """Answer the next write that has these bytes with this reply, and don't forward it."""
        self._lies.append((about, reply))

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.thaw()
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            if self._elsewhere is None:
                from_store, to_store = await asyncio.open_unix_connection(self._store_path)
            else:
                host, _, port = self._elsewhere.partition(":")
                from_store, to_store = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        for each in (writer, to_store):
            self._writers.add(each)
        for pump in (self._ask(reader, to_store, writer), self._answer(from_store, writer)):
            task = asyncio.ensure_future(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, reader: asyncio.StreamReader, to_store: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._flows.wait()
                self.writes.append(data)
                lie = next((each for each in self._lies if each[0] in data), None)
                if lie is not None:
                    self._lies.remove(lie)
                    back.write(lie[1])
                else:
                    to_store.write(data)
        to_store.transport.abort()
        self._writers.discard(to_store)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._flows.wait()
                if not self._swallows:
                    writer.write(data)
        writer.transport.abort()
        self._writers.discard(writer)
