"""A relay before a server that records each request and its status; a browser hides many from pages and tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_REQUEST = re.compile(rb"(GET|HEAD|POST|PATCH|PUT|DELETE|OPTIONS) (/\S*) HTTP/1\.1\r\n")
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Noted(NamedTuple):
    method: str
    path: str
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.status}"


class Relay:
    """Forwards connections to a port of this machine.

    Attributes:
        noted: The requests that were answered, in the order of their answers.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.noted: list[Noted] = []

    async def first(self) -> list[Noted]:
        """Wait until a request is answered; return all answered requests."""
        while not self.noted:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)
        return list(self.noted)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        asked: list[tuple[str, str]] = []
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass_on(reader, to_server, asked, None))
                    group.create_task(self._pass_on(from_server, writer, None, asked))
            to_server.close()
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asks: list[tuple[str, str]] | None,
        answers: list[tuple[str, str]] | None,
    ) -> None:
        while data := await reader.read(2**16):
            if asks is not None:
                asks += [(method.decode(), path.decode()) for method, path in _REQUEST.findall(data)]
            if answers is not None:
                for status in _ANSWER.findall(data):
                    self.noted.append(Noted(*answers.pop(0), int(status)))
                    self._news.set()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def relayed(server_port: int, port: int) -> AsyncIterator[Relay]:
    """Relay a port of 127.0.0.1 to another."""
    relay = Relay(server_port)
    listener = await asyncio.start_server(relay.serve, "127.0.0.1", port)
    try:
        yield relay
    finally:
        listener.close()
        await relay.close()


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
