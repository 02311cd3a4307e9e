"""One connection to the store: commands go out, as many in one write as a turn has made; replies come in their order.

Rules:

1. Only the order tells which call a reply belongs to, so a reply is taken off the line though its call is abandoned.
2. A call without a reply in `timeout_s` ends the connection: the store may be frozen, or the network gone.
3. With a confirmation (`WAIT`), calls are answered once it says that what they did is kept. One is on the way at a
   time, since the server does nothing else for this connection meanwhile; the next is for all that came up since.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis.exceptions import RedisError, ResponseError

from jobqueue.errors import JobQueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis.asyncio.connection import AbstractConnection

    from jobqueue.backend.valkey.call import Call


_NOTHING: Final = object()
"""No whole reply is there: None is one."""


class Lost(Exception):
    """A connection has ended; the text says why. Args: kind: As of `CallFigures.errors`."""

    def __init__(self, reason: str, kind: str = "connection") -> None:
        super().__init__(reason)
        self.kind = kind


class Unconfirmed(JobQueueError):
    """The primary has done a call, but what it did is not kept yet as it should be."""


class Confirmation:
    """A command that says how many servers keep what this connection has done before.

    Args:
        least: How many it must be.
    """

    def __init__(self, packed: bytes, least: int = 1) -> None:
        self.packed = packed
        self._least = least

    def fault(self, reply: Any) -> str | None:
        """Return what is wrong with its reply; None: all is kept."""
        if isinstance(reply, Exception):
            return str(reply)
        first = reply[0] if isinstance(reply, list) else reply
        return None if first >= self._least else f"only {first} of {self._least} confirmed in time"


class Connection(asyncio.Protocol):
    """A connection that is up: takes over the transport of the client library, which has made and identified it.

    So a turn costs one write, and a reply no task: with the library's own `send_packed_command` and `read_response` a
    call alone in its turn took a third more CPU.

    Args:
        line: Connected, and past its first words.
        timeout_s: Maximum time for a reply.
        hear: Called with each call and its reply, or its error.
        confirmation: Sent after the calls of each write.
    """

    def __init__(
        self,
        line: AbstractConnection,
        timeout_s: float,
        hear: Callable[[Call, Any], None],
        confirmation: Confirmation | None = None,
    ) -> None:
        self._line = line
        self._timeout_s = timeout_s
        self._hear = hear
        self._confirmation = confirmation
        self._loop = asyncio.get_running_loop()
        self._outbox: list[Call] = []
        self._sent: deque[Call | None] = deque()  # None: the confirmation
        self._done: list[tuple[Call, Any]] = []  # to be confirmed
        self._due = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._confirm_at = 0.0
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_NOTHING)
        self._transport = transport_of(line)
        self._transport.set_protocol(self)

    def send(self, call: Call) -> None:
        """Send a call at the end of the turn."""
        self._outbox.append(call)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._write)

    def abort(self, reason: str, kind: str = "connection") -> None:
        """End the connection; its calls are to be sent on another one."""
        if not self._ended.done():
            self._ended.set_exception(Lost(reason, kind))

    def unanswered(self) -> Iterable[Call]:
        """Return the calls whose replies have not come, or were not confirmed, the oldest first."""
        done = [call for call, _ in self._done]
        return [*done, *(call for call in self._sent if call is not None), *self._outbox]

    async def serve(self) -> None:
        """Send and receive until the connection ends. Raises Lost."""
        try:
            await self._ended
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if not self._ended.done():
                self._ended.cancel()
            self._transport.abort()
            await close(self._line)

    def data_received(self, data: bytes) -> None:
        """Take the replies that are whole."""
        if self._ended.done():
            return
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                self._receive(reply)
        except hiredis.ProtocolError as error:
            self.abort(f"the store sent what is no reply: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The store, or the network, has ended it."""
        self.abort("the store has closed the connection" if exc is None else str(exc) or type(exc).__name__)

    def _write(self) -> None:
        """Send what this turn has asked for; with a confirmation, once the one before has come."""
        self._due = False
        calls = self._outbox
        if not calls or self._ended.done() or (self._confirmation is not None and self._sent):
            return
        self._outbox = []
        now = self._loop.time()
        for call in calls:
            call.sent_at = now
        self._sent.extend(calls)
        commands = [call.packed for call in calls]
        if self._confirmation is not None:
            commands.append(self._confirmation.packed)
            self._sent.append(None)
            self._confirm_at = now
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout_s, self._check_time)
        self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))

    def _receive(self, reply: Any) -> None:
        if not self._sent:
            self.abort(f"the store sent what was not asked for: {reply!r:.100}")
            return
        call = self._sent.popleft()
        if call is None:
            self._confirm(reply)
        elif self._confirmation is not None:
            self._done.append((call, reply))
        else:
            self._hear(call, reply)

    def _confirm(self, reply: Any) -> None:
        assert self._confirmation is not None
        fault = self._confirmation.fault(reply)
        done, self._done = self._done, []
        for call, result in done:
            unkept = fault is not None and not isinstance(result, Exception)
            self._hear(call, Unconfirmed(fault) if unkept else result)
        self._write()

    def _check_time(self) -> None:
        """End the connection if its oldest call waits for too long; else look again when it may."""
        self._timer = None
        if not self._sent:
            return
        oldest = self._sent[0]
        due_at = (self._confirm_at if oldest is None else oldest.sent_at) + self._timeout_s
        if due_at <= self._loop.time():
            self.abort(f"no answer within {self._timeout_s:g} s", "timeout")
        else:
            self._timer = self._loop.call_at(due_at, self._check_time)


def transport_of(line: AbstractConnection) -> asyncio.Transport:
    """Return the transport of a connection of the client library, which has no name for it.

    The library's streams must be at rest: nothing that it waits for, and nothing read that it has not taken.
    """
    writer = line._writer
    assert writer is not None, "the line is connected"
    return cast("asyncio.Transport", writer.transport)  # uvloop's are none by their class


async def close(line: AbstractConnection) -> None:
    """Close a connection of the client library at once."""
    with suppress(RedisError, OSError):
        await line.disconnect(nowait=True)
