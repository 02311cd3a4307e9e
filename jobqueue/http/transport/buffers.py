"""A connection's buffers: aiohttp's protocol, with all that it holds counted, and freed when a request ends or dies.

It owns how a connection lets go: of what came in, of answers that the client doesn't take, and of itself.
What comes in and is answered is `connection`'s. Every private field of aiohttp that is touched here is marked
`aiohttp:`.

Rules:

1. What the in-flight budget has no room for is dropped in the same call, and the connection takes in nothing more.
2. A request that dies, however it does, leaves no cycle of references: its buffers go with it, not when the collector
   next looks at everything. Exceptions that are kept have no tracebacks, and none leaves a request's task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web, web_protocol
from aiohttp.streams import EMPTY_PAYLOAD

from jobqueue.http.cut import cut
from jobqueue.http.request.receiving import FEW_BYTES, Received, buffered_bytes, forget_frames, overloaded, unread_bytes
from jobqueue.http.transport.rejected import LINGER_S
from jobqueue.http.transport.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.streams import StreamReader

    from jobqueue.config import LimitsSettings
    from jobqueue.http.in_flight import InFlightBudget
    from jobqueue.http.transport.framing import Framing


class CountingServer(web.Server):
    """The server of such connections: the limits and the budget that all of them share."""

    limits: LimitsSettings
    in_flight: InFlightBudget


class Buffers(web.RequestHandler):
    """The base of a connection.

    Attributes:
        deaf: What comes in is forgotten: the budget had no room for it. The connection is closed after its answer.
    """

    __slots__ = (
        *("_answered", "_body", "_framing", "_head_bytes", "_received", "_rest", "_sending", "_server", "_wire"),
        *("_wire_lost", "deaf"),
    )

    def __init__(self, server: CountingServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._server = server
        self._wire: asyncio.Transport | None = None
        self._wire_lost: asyncio.Future[None] | None = None
        self._head_bytes = 0
        # Of the last request that was parsed, all before it are whole; and whether that request is answered.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._answered = False
        # Of that body, if it is chunked; and what came of it while as much of it waits to be read as may.
        self._framing: Framing | None = None
        self._rest = b""
        self._received: Received | None = None
        self._sending: Sending | None = None
        self.deaf = False

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._wire_lost is not None and not self._wire_lost.done():
            self._wire_lost.set_result(None)
        # aiohttp: between answers its task may wait for the rest of a body that was not read. That ends there:
        # cancelled in that place, the task would be held by a variable of its own frame.
        task = None if self._request_in_progress else self._task_handler
        # aiohttp: told of an exception, it would give it to a future that the writer's frame holds: a cycle.
        super().connection_lost(None)
        if self._answered and not self._body.is_eof():
            self._body.feed_eof()
        elif task is not None:
            task.cancel()
        self._wire = None
        self._messages.clear()
        self._body = EMPTY_PAYLOAD
        self._framing = None
        self._rest = b""
        # Both know this connection.
        if self._received is not None:
            self._received.refuse()
            if not self._request_in_progress:
                self._received = None
        if self._sending is not None:
            self._sending.end()
            self._sending = None

    def abort(self) -> None:
        """Cut the connection, whatever was not sent yet."""
        if self._wire is not None:
            cut(self._wire)

    def break_body(self, body: StreamReader, error: BaseException) -> None:
        """End a body whose rest can't come: its reader gets an error, and what drops the rest after its answer ends."""
        if body.is_eof():
            return
        if not (self._answered and body is self._body):
            body.set_exception(error)
        body.feed_eof()

    def _at_rest(self) -> bool:
        """Tell whether no request is parsed and not answered."""
        # aiohttp: its task, and what that waits for while there is nothing to do.
        if self._task_handler is None:
            return True
        return self._waiter is not None and not self._waiter.done()

    def _wake(self) -> None:
        """Have aiohttp's task answer what was parsed; it is made when it is needed first."""
        if self._task_handler is None:
            self._task_handler = self._loop.create_task(self.start())
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what is counted

    @property
    def received(self) -> Received:
        """The bytes that came in and are held, which the in-flight budget counts."""
        if self._received is not None:
            return self._received
        received = Received(self._server.in_flight, self._buffered_bytes, self._drop)
        if self._wire is not None:
            self._received = received
        return received

    def _count(self, came_bytes: int) -> None:
        """Count what is held after so many bytes came, unless that is next to nothing, as it mostly is."""
        if (
            self._received is not None
            or came_bytes > FEW_BYTES
            or self._head_bytes > FEW_BYTES
            or len(self._messages) > 1
            or unread_bytes(self._body) > FEW_BYTES
        ):
            self.received.count()

    def _buffered_bytes(self) -> int:
        # The parser keeps a head as it came, and decoded.
        waiting_bytes = 2 * self._head_bytes + len(self._message_tail) + len(self._rest)
        return waiting_bytes + buffered_bytes(self._messages, self._current_request)

    def _drop(self) -> bool:
        """Free what was buffered, take in nothing more, and have its request refused."""
        if not self._body.is_eof():  # its reader finds out by `Received.refused`
            self._body._buffer.clear()
            self._body._size = 0
            self._body.feed_eof()
        elif self._messages or self._at_rest():
            self._messages.clear()
            self._messages.append((web_protocol._ErrInfo(status=503, exc=overloaded(), message=""), EMPTY_PAYLOAD))
            self._wake()
        elif self.received.gathered_bytes:
            return False
        else:
            self.abort()
        self._go_deaf()
        return True

    def _go_deaf(self) -> None:
        """Take in nothing more."""
        self.deaf = True
        self._parser = None  # aiohttp: what it hasn't parsed yet goes with it
        self._framing = None
        self._rest = b""
        self._head_bytes = 0
        self._message_tail = b""
        self._resume_transport_reading()

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        # aiohttp: a request's task. An exception that leaves it would be held by the task, which its frames hold.
        try:
            answered = await super()._handle_request(request, start_time, request_handler)
            if self.deaf:
                await self._linger()
            return answered
        except ConnectionError:
            return web.Response(status=499), True
        finally:
            forget_frames(request.content.exception())
            self._answered = request.content is self._body
            if self._received is not None:
                self._received.gathered_bytes = 0
                self._received.large = False
                self._received.count()
                if self._wire is None:
                    self._received = None

    # -- what goes out

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._wire is not None:
            if self._sending is None:
                server = self._server
                self._sending = Sending(
                    self._wire, self._loop, server.in_flight, server.limits.write_timeout_s, self.abort
                )
            self._sending.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.end()

    def count_unread(self, more_bytes: int) -> None:
        """Count what is about to be written, if the client has not taken what was written before."""
        if self._sending is not None and self._sending.watched:
            self._sending.count(more_bytes)

    async def _linger(self) -> None:
        """Read on for a while, and forget it: closing while the client still sends would destroy our answer."""
        wire = self._wire
        if wire is None:
            return
        self.close()
        wire.write_eof()
        self._wire_lost = self._loop.create_future()
        await asyncio.wait([self._wire_lost], timeout=LINGER_S)
