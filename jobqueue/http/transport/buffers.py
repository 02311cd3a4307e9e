"""A connection's buffers: aiohttp's protocol, with its memory counted, and freed when a request ends or fails.

It releases received bytes, unsent responses, and the connection itself. Every private field of aiohttp that is used
here is marked `aiohttp:`.

Rules:

1. Bytes without room in the in-flight budget are dropped in the same call, and the connection receives no more.
2. A request that ends in any way leaves no cycle of references: its buffers are freed with it, not by the next full
   garbage collection. Exceptions that are kept have no tracebacks, and none leaves a request's task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import http_exceptions, web, web_protocol
from aiohttp.streams import EMPTY_PAYLOAD

from jobqueue.http.cut import cut
from jobqueue.http.request.receiving import FEW_BYTES, Received, buffered_bytes, forget_frames, overloaded, unread_bytes
from jobqueue.http.transport.malformed import HEAD_LINES_MAX
from jobqueue.http.transport.rejected import LINGER_S
from jobqueue.http.transport.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.streams import StreamReader

    from jobqueue.config import LimitsSettings
    from jobqueue.http.in_flight import InFlightBudget
    from jobqueue.http.request.forwarded import Proxies
    from jobqueue.http.transport.caller_connections import CallerConnections
    from jobqueue.http.transport.deferred import Deferred
    from jobqueue.http.transport.framing import Framing
    from jobqueue.http.transport.plain_path import PlainPath
    from jobqueue.http.transport.read_budget import ReadBudget
    from jobqueue.http.transport.rejected import Rejected


class CountingServer(web.Server):
    """The server of such connections: what they share.

    Attributes:
        proxies: Peers that tell the caller in headers; None: there are none.
        open: The number of its connections; those that were rejected don't count.
        fast_answers: The number of answers of the fast path.
        rejected: The connections over the limit that linger.
        caller_connections: Its connections by caller; None: those of callers are not limited.
    """

    caller_connections: CallerConnections | None

    limits: LimitsSettings
    connections_max: int
    proxies: Proxies | None
    open: int
    fast_answers: int
    in_flight: InFlightBudget
    read_budget: ReadBudget
    fast_path: PlainPath | None
    rejected: set[Rejected]


class Buffers(web.RequestHandler):
    """The base of a connection.

    Attributes:
        deaf: Received bytes are dropped, because a limit is exceeded. The connection is closed after its responses.
        deferred: The answer that comes later; None: there is none.
    """

    __slots__ = (
        *("_answered", "_body", "_framing", "_head_bytes", "_received", "_rest", "_sending", "_server", "_wire"),
        *("_wire_lost", "deaf", "deferred"),
    )

    def __init__(self, server: CountingServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._server = server
        self._wire: asyncio.Transport | None = None
        self._wire_lost: asyncio.Future[None] | None = None
        self._head_bytes = 0
        # The body of the last parsed request, all before it are whole; and whether that request is answered.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._answered = False
        # The framing of that body, if it is chunked; and its bytes received while its buffer is full.
        self._framing: Framing | None = None
        self._rest = b""
        self._received: Received | None = None
        self._sending: Sending | None = None
        self.deaf = False
        self.deferred: Deferred | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._wire_lost is not None and not self._wire_lost.done():
            self._wire_lost.set_result(None)
        if self.deferred is not None:
            self.deferred.drop()
            self.deferred = None
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
        # Both refer to this connection.
        if self._received is not None:
            self._received.refuse()
            if not self._request_in_progress:
                self._received = None
        if self._sending is not None:
            self._sending.end()
            self._sending = None

    def abort(self) -> None:
        """Cut the connection; unsent bytes are dropped."""
        if self._wire is not None:
            cut(self._wire)

    def break_body(self, body: StreamReader, error: BaseException) -> None:
        """End an incomplete body: its reader gets an error, and the skipping of its rest after the response ends."""
        if body.is_eof():
            return
        if not (self._answered and body is self._body):
            body.set_exception(error)
        body.feed_eof()

    def _at_rest(self) -> bool:
        """Whether all parsed requests are answered."""
        if self.deferred is not None:
            return False
        # aiohttp: its task, and the future that it waits for while idle.
        if self._task_handler is None:
            return True
        return self._waiter is not None and not self._waiter.done()

    def _wake(self) -> None:
        """Let aiohttp's task answer the parsed requests; it is created on first use."""
        if self.deferred is not None:
            return  # they wait behind it
        if self._task_handler is None:
            self._task_handler = self._loop.create_task(self.start())
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- counting

    @property
    def received(self) -> Received:
        """The received bytes that are held, which the in-flight budget counts."""
        if self._received is not None:
            return self._received
        received = Received(self._server.in_flight, self._buffered_bytes, self._drop)
        if self._wire is not None:
            self._received = received
        return received

    @property
    def refused(self) -> bool:
        """Whether the budget had no room, and bodies were dropped."""
        return self._received is not None and self._received.refused

    def _count(self, came_bytes: int) -> None:
        """Count the bytes held after receiving `came_bytes`, unless they are few, as usual."""
        if (
            self._received is not None
            or came_bytes > FEW_BYTES
            or self._head_bytes > FEW_BYTES
            or len(self._messages) > 1
            or unread_bytes(self._body) > FEW_BYTES
        ):
            self.received.count()

    def _count_begun(self, data: bytes, body_bytes: int, *, has_head: bool = True) -> None:
        """Count the part of a head at the end of a piece.

        Args:
            body_bytes: The size of the body before it, as far as it is in the piece.
            has_head: That body's head is in the piece, too.
        """
        start = data.rfind(b"\r\n\r\n") + 4 if has_head else 0
        self._head_bytes = max(0, len(data) - start - body_bytes)
        self._check_head()

    def _check_head(self) -> None:
        """Reject a head over the limit, and receive no more: the parser has no bound for the whole head."""
        bytes_max = HEAD_LINES_MAX * self._server.limits.header_bytes
        if self._head_bytes > bytes_max and not self.deaf:
            error = http_exceptions.LineTooLong(b"head", bytes_max)
            self._messages.append((web_protocol._ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
            self._go_deaf()
            self._wake()

    def _buffered_bytes(self) -> int:
        # The parser keeps a head twice: raw, and decoded.
        waiting_bytes = 2 * self._head_bytes + len(self._message_tail) + len(self._rest)
        return waiting_bytes + buffered_bytes(self._messages, self._current_request)

    def _drop(self) -> bool:
        """Free the buffers, receive no more, and reject the request."""
        if not self._body.is_eof():  # its reader checks `Received.refused`
            # aiohttp: a reader that awaits the body and has no waiter takes the whole buffer now, and has resumed the
            # parser within that.
            if self._body._waiter is not None or not self.received.awaited:
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
        """Receive no more."""
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
            if self.deaf and not self._messages and self._wire_lost is None:
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

    # -- sending

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
        """Count bytes about to be written, if earlier ones are unsent."""
        if self._sending is not None and self._sending.watched:
            self._sending.count(more_bytes)

    async def _linger(self) -> None:
        """Read and drop bytes for a while: closing while the client still sends would reset the response."""
        wire = self._wire
        if wire is None:
            return
        self.close()
        wire.write_eof()
        self._wire_lost = self._loop.create_future()
        await asyncio.wait([self._wire_lost], timeout=LINGER_S)
