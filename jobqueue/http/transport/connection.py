"""Connections: their number, timeouts, and cuts.

It adds to aiohttp's protocol the limits below the level of a request. Every private field of aiohttp that is used here
is marked `aiohttp:` with its expected behaviour, and listed in `aiohttp_compat`; the tests of this file fail when a new
release changes it.

Rules:

1. At most `connections_max` connections; a further one gets a 503 and is closed.
2. A request's head must be complete `idle_timeout_s` after its connection was opened or answered.
   (aiohttp's keep-alive timer, which no byte that comes in resets.)
3. A client that reads responses more slowly than `RATE_BYTES_S_MIN` is cut after `write_timeout_s`.
4. A parser error is answered with a problem, and the connection lingers so that the client can read it.
5. Plain requests are answered at once, by the fast path (`fast_path`), unless an earlier request of their connection
   is unanswered. So responses keep the order of their requests.
6. aiohttp's task, which answers all others, is created for the first of them: most connections never need it, and the
   last request that it keeps is larger than the rest of a connection.
7. An answer may come later (`deferred`): its connection is not at rest meanwhile, as if aiohttp's task answered it.
8. Clients that send without a pause don't starve the loop's timers (`read_budget`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion11, http_exceptions, web, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.tcp_helpers import tcp_keepalive

from jobqueue.handlers import plain_uniqueness
from jobqueue.http.cut import bound_local
from jobqueue.http.errors import CallerLimitExceeded, MalformedRequest
from jobqueue.http.request.peer import peer_at
from jobqueue.http.request.receiving import FEW_BYTES, forget_frames
from jobqueue.http.response.problems import refuse
from jobqueue.http.response.responses import closing_problem
from jobqueue.http.transport.buffers import Buffers
from jobqueue.http.transport.framing import PIECE_BYTES, Framing, head_bytes_of, may_be_chunked
from jobqueue.http.transport.last_request import answer_rest, close_after_upgrade
from jobqueue.http.transport.malformed import refusal_of
from jobqueue.http.transport.rejected import TOO_MANY, Rejected, last_answer
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader
    from aiohttp.web_protocol import _ErrInfo
    from multidict import CIMultiDictProxy

    from jobqueue.core.job import Uniqueness
    from jobqueue.http.request.peer import Peer
    from jobqueue.http.response.problems import Problem
    from jobqueue.http.streams.waiters import Waited
    from jobqueue.http.transport.buffers import CountingServer
    from jobqueue.http.transport.parsed_head import ParsedHead
    from jobqueue.http.transport.plain_path import PlainPath

WORK_BYTES = 8 * 1024
"""Received bytes that count as one response in the read budget."""

STOCK_WORK = 16
"""The work of a request on the stock path, in responses of the fast path."""

ANSWERS_BYTES_MAX = 64 * 1024
"""Size of responses to pipelined requests above which the others wait until the client has read them."""

log = event_logger(__name__)


class Connection(Buffers):
    """One client's connection: aiohttp's protocol, with the limits that it lacks."""

    __slots__ = (
        *("_between_requests", "_body_bytes", "_body_ended", "_peer", "counted_for", "half_closed", "keyless_at"),
        *("uniqueness", "waited"),
    )

    def __init__(self, server: CountingServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.uniqueness: Uniqueness | None = None
        self._peer: Peer | None = None
        # The caller that this connection counts for, if they are limited; `MANY` for none.
        self.counted_for: str | None = None
        # The address that it counts for, until a request with a key has come.
        self.keyless_at: str | None = None
        self.half_closed = False
        # For the request that the stock path begins next.
        self.waited: Waited | None = None
        # The parser has no part of a request: all bytes before were parsed.
        self._between_requests = True
        # Of the body of the last parsed request, after the last piece: its size so far, and whether it was whole.
        self._body_bytes = 0
        self._body_ended = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast("asyncio.Transport", transport)
        if self._server.open >= self._server.connections_max:
            self._reject(wire, TOO_MANY)
            return
        peer, callers = peer_at(wire, self._server.proxies), self._server.caller_connections
        if callers is not None and peer is not None:
            try:
                self.counted_for, self.keyless_at = callers.begin(peer)
            except CallerLimitExceeded as error:
                self._reject(wire, refuse(error))
                return
        self._wire = wire
        # So that `pause_writing` is called as soon as the kernel's buffer is full, not only from 64 KiB on.
        wire.set_write_buffer_limits(high=0)
        if self._server.fast_path is None:
            super().connection_made(wire)
        else:
            self._begin(wire)
        self._peer = peer
        if peer is None:
            wire.abort()

    def _reject(self, wire: asyncio.Transport, problem: Problem) -> None:
        self._parser = None  # aiohttp: the parser and its protocol hold each other
        log.sampled("http.too_many_connections", every_s=10.0, open=self._server.open)
        Rejected(self._server.rejected, last_answer(problem)).connection_made(wire)

    def _begin(self, wire: asyncio.Transport) -> None:
        """As aiohttp's own `connection_made`, but without creating its task."""
        BaseProtocol.connection_made(self, wire)
        tcp_keepalive(wire)
        self._server.connection_made(self, wire)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def leave_keyless(self) -> None:
        """Count for the address no more, if it did: a request with a valid key has come, or it is closed."""
        address, self.keyless_at = self.keyless_at, None
        callers = self._server.caller_connections
        if address is not None and callers is not None:
            callers.leave_keyless(address)

    @property
    def peer(self) -> Peer | None:
        """The connection's other end; None: it was reset before the connection began."""
        return self._peer

    def make_uniqueness(self) -> Uniqueness:
        """Determine the connection's caller, once."""
        peer = self.peer
        assert peer is not None, "a request came over it"
        self.uniqueness = plain_uniqueness(peer.caller)
        return self.uniqueness

    def uniqueness_behind(self, headers: CIMultiDictProxy[str]) -> Uniqueness:
        peer = self.peer
        assert peer is not None, "a request came over it"
        return plain_uniqueness(peer.behind(headers).caller)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's returns None, which closes the transport
        """Keep a half-closed connection until its requests are answered."""
        self.half_closed = True
        return self._wire_lost is None and answer_rest(self)  # else it lingers

    def close(self) -> None:
        """Close the connection as soon as no request is being answered."""
        if self.deferred is not None:
            self._close = True  # aiohttp: what its own method does, which ends the idle task, too
            return
        super().close()
        if self._task_handler is None:
            self.force_close()

    def _process_keepalive(self) -> None:
        if self.deferred is not None:
            self._keepalive_handle = None  # set again with the answer
            return
        super()._process_keepalive()
        # aiohttp: its timer, which is set again if it fired too early, closes only connections with a waiting task.
        if self._task_handler is None and self._keepalive_handle is None:
            self.force_close()

    # -- receiving

    def data_received(self, data: bytes) -> None:
        server = self._server
        fast_path = server.fast_path
        # aiohttp: whether writing is paused; whether the connection is about to be closed; and
        # whether parsing is paused, because too much is buffered, or another protocol may follow.
        if (
            fast_path is None
            or self.deferred is not None
            or (self._task_handler is not None and not self._at_rest())
            or self._paused
            or self._close
            or self._force_close
            or self._buffer_paused
            or self._upgraded
        ):
            if self._receive_in_pieces(data) or self.deaf:
                return
            # aiohttp: it calls this without data to resume the parser.
            self._between_requests = self._between_requests and not data
            queued, begun = len(self._messages), self._begun_body()
            if self.deferred is None or self._upgraded or self._close or self._force_close:
                super().data_received(data)
            else:  # aiohttp's own would wake its idle task
                self._queue(*self._feed(data))
            if begun is not None and begun.is_eof():
                self._free_place()
            self._check_what_came(data, has_new=len(self._messages) > queued)
            return
        now = self._loop.time()
        if self._between_requests and (answer := fast_path.recall(data, self, now)) is not None:
            if self.keyless_at is not None:  # the fast path answers none without a key, where one is needed
                self.leave_keyless()
            if not answer:  # it comes later
                return
            wire, read_budget = self._wire, server.read_budget
            if self._keepalive_handle is None or wire is None or read_budget.left <= 0:
                self._send(answer, 1, now)
            else:  # what `_send` does in this case, inline: a call is a fiftieth of a HEAD
                server.fast_answers += 1
                wire.write(answer)
                read_budget.left -= 1
                self._next_keepalive_close_time = now + self._keepalive_timeout
        elif not self._receive_in_pieces(data):
            self._parse(data, fast_path, now)

    def _receive_in_pieces(self, data: bytes) -> bool:
        """Receive a chunked body in pieces, as fast as it is read; False, with nothing done, for other data."""
        if len(data) <= PIECE_BYTES and not self._rest:
            return False
        if self.deaf or not (self._rest or self._framing is not None or may_be_chunked(data)):
            return False
        data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            # aiohttp: its queue of requests, or the body's buffer, is full; it calls this when there is room.
            if len(self._messages) >= self._max_msg_queue_size or self._reading_paused:
                self._rest = data[at:]
                break
            self.data_received(data[at : at + PIECE_BYTES])
            at += PIECE_BYTES
        return True

    def _feed(self, data: bytes) -> tuple[Sequence[tuple[Any, StreamReader]], bool, bytes]:
        """Parse; return the requests, whether the last one asks for an upgrade, and the bytes after it.

        An error is queued, as aiohttp does it, and no request is returned.
        """
        parser = self._parser
        assert parser is not None
        try:
            return parser.feed_data(data)
        except http_exceptions.HttpProcessingError as error:
            forget_frames(error)
            refusal = web_protocol._ErrInfo(status=400, exc=error, message=error.message)
            self._messages.append((refusal, EMPTY_PAYLOAD))
            return (), False, b""

    def _begun_body(self) -> StreamReader | None:
        """Return the incomplete body of a request that aiohttp's task has begun."""
        if self._body_ended or (self._messages and self._messages[-1][1] is self._body):
            return None
        return self._body

    def _free_place(self) -> None:
        """Tell the parser that a request was begun before its body was complete.

        aiohttp: its parser counts a request that waits from the end of its body, its task tells it of the begin. After
        that order the place was never freed, and requests behind would wait for bytes that don't come.
        """
        if self._parser is None or not hasattr(self._parser, "message_consumed"):  # deaf; an older release
            return
        self._parser.message_consumed()
        if len(self._messages) == self._max_msg_queue_size - 1 and not self._upgraded:  # it may have stopped too early
            self._queue(*self._feed(b""))

    def _queue(self, messages: Sequence[tuple[Any, StreamReader]], upgraded: bool, tail: bytes) -> None:
        """Let requests wait for aiohttp's task."""
        # aiohttp: the requests that were parsed and not begun, their maximum, and the bytes after an upgrade request.
        self._messages.extend(messages)
        if len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()
        self._upgraded = upgraded
        if upgraded:
            self._message_tail = tail

    def _parse(self, data: bytes, fast_path: PlainPath, now: float) -> None:
        """As aiohttp's own `data_received`, but the fast path answers its requests at once; others wake the task."""
        parser, between_requests = self._parser, self._between_requests
        assert parser is not None
        self._between_requests = False
        answers: list[bytes] = []
        messages, upgraded, tail = self._feed(data)
        if not upgraded and len(messages) < self._max_msg_queue_size:
            room_bytes = ANSWERS_BYTES_MAX
            for message, payload in messages:  # up to the first that is not plain: all keep their order
                if room_bytes < 0 or (answer := fast_path.answer(message, payload, self, now)) is None:
                    break
                parser.message_consumed()  # aiohttp: the parser counts waiting requests
                answers.append(answer)
                room_bytes -= len(answer)
                if self.deferred is not None:
                    break
        if answers:
            if self.keyless_at is not None:
                self.leave_keyless()
            self._head_bytes = 0
            sent = len(answers) - (self.deferred is not None)
            if sent:
                self._send(b"".join(answers), sent, now)
            if len(answers) == len(messages):
                if len(messages) == 1:
                    self._learn(data, *messages[0], fast_path, between_requests)
                if len(data) > FEW_BYTES:
                    self._count_begun(data, messages[-1][1].total_bytes)
                return
        elif between_requests and len(messages) == 1 and not upgraded:
            # For the stock path, which leaves the parser at rest: requests behind it are found in the head cache again.
            payload = messages[0][1]
            self._between_requests = payload.is_eof() and head_bytes_of(data) + payload.total_bytes == len(data)
        self._queue(messages[len(answers) :], upgraded, tail)
        self._check_what_came(data, has_new=bool(self._messages))

    def _send(self, answers: bytes, count: int, now: float) -> None:
        # `data_received` and `finish` have a copy for one answer; a test compares what they change.
        server, wire = self._server, self._wire
        if wire is None:
            return
        server.fast_answers += count
        wire.write(answers)
        read_budget = server.read_budget
        read_budget.left -= count
        if read_budget.left < 0:
            read_budget.use_up(self, count)
        # aiohttp: the keep-alive deadline, and its timer, as its task sets them after a response.
        self._next_keepalive_close_time = now + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    # -- deferred answers

    def time(self) -> float:
        return self._loop.time()

    def finish(self, answer: bytes, now: float) -> None:
        """Send the deferred answer, and go on with the requests behind it."""
        self.deferred = None
        wire, server = self._wire, self._server
        if wire is None or wire.is_closing():
            return
        if self._sending is not None:
            self.count_unread(len(answer))
        if self._keepalive_handle is None or server.read_budget.left <= 0:
            self._send(answer, 1, now)
        else:  # inline, as in `data_received`
            server.fast_answers += 1
            wire.write(answer)
            server.read_budget.left -= 1
            self._next_keepalive_close_time = now + self._keepalive_timeout
        if self._close:
            self.force_close()
        elif self._messages:
            self._wake()

    def hand_over(self, message: ParsedHead, waited: Waited) -> None:
        """Have the deferred request answered by aiohttp's task, before those behind it."""
        self.deferred = None
        if self._wire is not None and not self._wire.is_closing():
            self.waited = waited
            self._messages.appendleft((cast("RawRequestMessage", message), EMPTY_PAYLOAD))
            self._wake()

    def hold(self) -> None:
        """Pause reading until `release`."""
        self._pause_transport_reading()

    def release(self) -> None:
        # aiohttp: its own reasons to pause reading, which it ends itself.
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def _learn(
        self,
        data: bytes,
        message: RawRequestMessage,
        payload: StreamReader,
        fast_path: PlainPath,
        was_between: bool,
    ) -> None:
        """Determine whether the data was exactly one request, which was answered: the parser is at rest then.

        A request without a body that ends with the data leaves the parser at rest, whatever came before it.
        """
        head_bytes = head_bytes_of(data)
        if head_bytes + payload.total_bytes == len(data):
            self._between_requests = was_between or payload is EMPTY_PAYLOAD
            if was_between:
                fast_path.learn(data, message, head_bytes)

    def _check_what_came(self, data: bytes, *, has_new: bool) -> None:
        """Check the limits after a piece of data.

        Args:
            has_new: The piece has completed the head of a request that is to be answered.
        """
        # aiohttp: the requests that were parsed and not begun; a parser error is an `_ErrInfo` among them.
        is_broken = False
        if self._messages and isinstance(last := self._messages[-1][0], web_protocol._ErrInfo):
            is_broken = True
            forget_frames(last.exc)
            # aiohttp would let the reader of a broken body wait for its rest.
            broken = self._messages[-2][1] if len(self._messages) > 1 else self._body
            self.break_body(broken, refusal_of(last.exc, last.message, self._server.limits.header_bytes))
        had_ended, chunked = self._body_ended, self._framing is not None
        self._judge_framing(data)
        body = self._body
        came_bytes, self._body_bytes = body.total_bytes - self._body_bytes, body.total_bytes
        self._body_ended = body.is_eof()
        if self._messages:
            close_after_upgrade(self, data)
            self._wake()
        if has_new or not had_ended:
            self._head_bytes = 0
            if self._body_ended and len(data) > FEW_BYTES and not (chunked or is_broken):
                self._count_begun(data, body.total_bytes if has_new else came_bytes, has_head=has_new)
        else:
            self._head_bytes += len(data)
            self._check_head()
        self._count(len(data))
        self._use_budget(len(data) // WORK_BYTES + (STOCK_WORK if has_new else 0))

    def _use_budget(self, work: int) -> None:
        if not work:
            return
        read_budget = self._server.read_budget
        read_budget.left -= work
        if read_budget.left < 0:
            read_budget.use_up(self, work)

    def _judge_framing(self, data: bytes) -> None:
        """Count the work of chunks, and reject a body that is little more than framing."""
        framing = self._framing
        if framing is not None:
            framing.add(len(data))
            if self._body.is_eof():  # bytes after it can't be told from it
                self._framing = framing = None
        if self._messages and self._messages[-1][1] is not self._body:
            last, self._body = self._messages[-1]
            self._answered = False
            chunked = not isinstance(last, web_protocol._ErrInfo) and last.chunked
            self._framing = framing = Framing(self._body, data) if chunked else None
        if framing is None or self._reading_paused:  # aiohttp: the parser's buffered bytes are unknown meanwhile
            return
        self._use_budget(framing.work())
        if framing.excessive:
            error = MalformedRequest("the body's framing is much larger than the body: send larger chunks")
            if self._messages:
                self._messages[-1] = (web_protocol._ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD)
            else:
                self.break_body(self._body, error)
            self._go_deaf()

    # -- rejections below the level of a request

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with a problem where aiohttp would send a text, or a page."""
        if request.writer.output_size > 0 or self.transport is None:
            raise ConnectionError("the connection can't take another answer")
        return closing_problem(refusal_of(exc, message, self._server.limits.header_bytes))

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        # aiohttp: makes the handler of a parser error; the connection is closed after it.
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            # aiohttp: a placeholder for the unparsed request, with the version HTTP/1.0.
            request._version = HttpVersion11
            response = self.handle_error(request, err_info.status, err_info.exc, err_info.message)
            await response.prepare(request)
            await response.write_eof()
            await self._linger()
            return response

        return handler


class UnixConnection(Connection):
    """A connection to a Unix socket."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        bound_local(transport.get_extra_info("socket"))
        super().connection_made(transport)
