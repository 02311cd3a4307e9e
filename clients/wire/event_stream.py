"""A stream of server-sent events: one request on a connection of its own, events as they come.

Lean as `connection` is. A stream comes in chunks (RFC 9112, section 7.1) or ends with its connection.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from clients.wire import connection
from clients.wire.connection import Answer, NoAnswer, connected, cut, head_end
from jobqueue.client import EventParser

if TYPE_CHECKING:
    from clients.wire.place import Place
    from jobqueue.client import ServerSentEvent


class EventStream:
    """Serves one stream, once: `open`, then iterate; it ends with the stream, however that ends."""

    def __init__(self, address: Place) -> None:
        self._address = address
        self._wire: _StreamWire | None = None

    @property
    def retry_s(self) -> float | None:
        """The reconnection time that the server asked for, in seconds."""
        return None if self._wire is None else self._wire.parser.retry_s

    async def open(self, request: bytes) -> Answer:
        """Send the request; with a 200, events follow.

        Raises:
            Unreachable: It was not sent.
            NoAnswer: It was, but nothing came that is an answer.
        """
        self._wire = await connected(_StreamWire, self._address)
        return await self._wire.ask(request)

    async def next(self) -> ServerSentEvent | None:
        """Return the next event; None: the stream has ended."""
        assert self._wire is not None
        return await self._wire.next()

    def expire(self, now: float) -> None:
        """Break off a stream without a sign of life, as the fleet does with requests."""
        if self._wire is not None:
            self._wire.expire(now)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()


class _StreamWire(asyncio.Protocol):
    """One TCP connection: a request out, a head and then events in."""

    def __init__(self) -> None:
        self.parser = EventParser()
        self._transport: asyncio.Transport
        self._moved_at = time.monotonic()
        self._received = b""
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._chunks: Chunks | None = None
        self._events: deque[ServerSentEvent] = deque()
        self._news: asyncio.Future[None] | None = None
        self._ended = False

    async def ask(self, request: bytes) -> Answer:
        self._transport.write(request)
        return await self._answer

    async def next(self) -> ServerSentEvent | None:
        while not self._events and not self._ended:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        if not self._transport.is_closing():
            self._transport.abort()

    def expire(self, now: float) -> None:
        if now - self._moved_at > connection.SILENT_S:
            self._end(f"no answer for {connection.SILENT_S:.0f} s")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's always is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._moved_at = time.monotonic()
        try:
            if self._answer.done():
                self._hear(data)
            else:
                self._received += data
                self._begin()
        except ValueError as error:
            self._end(f"not an HTTP answer: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection dropped")

    def _begin(self) -> None:
        end = head_end(self._received)
        if end is None:
            return
        lower = self._received[:end].lower()
        if not lower.startswith(b"http/1.1 200") or b"\r\ncontent-type: text/event-stream" not in lower:
            answer = cut(self._received, bodiless=False)
            if answer is not None:
                self._answer.set_result(answer)
                self._end("")
            return
        if b"\r\ntransfer-encoding: chunked" in lower:
            self._chunks = Chunks()
        self._answer.set_result(Answer(200, self._received[:end], lower, b""))
        self._hear(self._received[end + 4 :])

    def _hear(self, data: bytes) -> None:
        content = data if self._chunks is None else self._chunks.feed(data)
        self._events.extend(self.parser.feed(content))
        if self._chunks is not None and self._chunks.ended:
            self._end("")
        self._wake()

    def _end(self, why: str) -> None:
        self.close()
        self._ended = True
        if not self._answer.done():
            self._answer.set_exception(NoAnswer(why))
            self._answer.exception()  # marks it as retrieved: a fleet that ends may not have come to await it
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Chunks:
    """Takes the framing off a chunked body (RFC 9112, section 7.1); trailers are passed over."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the content that these bytes complete. Raises ValueError if they are none."""
        rest = self._rest + data
        content = b""
        while not self.ended:
            end = rest.find(b"\r\n")
            if end < 0:
                if len(rest) > connection.HEAD_BYTES_MAX:
                    raise ValueError("a chunk without a size")
                break
            size = int(rest[:end].partition(b";")[0], 16)
            if not 0 <= size <= connection.BODY_BYTES_MAX:
                raise ValueError("a chunk below 0 or over 64 MiB")
            if size == 0:
                self.ended = True
            elif len(rest) < end + 2 + size + 2:
                break
            else:
                content += rest[end + 2 : end + 2 + size]
                rest = rest[end + 2 + size + 2 :]
        self._rest = rest
        return content
