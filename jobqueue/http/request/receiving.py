"""Received bytes of a connection: bodies, queued requests and large heads, counted in the in-flight budget.

It counts the bytes of one connection, and reads a body under the budget.

Rules:

1. Bytes count from their arrival until their request is answered, or releases them earlier. Bytes that its
   handler still processes count although the connection is gone.
2. A connection without room in the budget is rejected: its bytes are dropped at once, no more are received,
   and the request is answered with 503.
3. A whole body that the server processes is never cut, however long that takes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp.streams import EMPTY_PAYLOAD

from jobqueue.errors import Overloaded
from jobqueue.http.in_flight import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from aiohttp import web
    from aiohttp.streams import StreamReader

    from jobqueue.http.in_flight import InFlightBudget

FEW_BYTES = 4096
"""Pieces of at most this size are counted only if they accumulate."""

HEADS_FREE_BYTES = 16 * 1024
"""Heads of one connection up to this size are not counted."""

HEADER_COST_BYTES = 300
"""Memory of a parsed header beside the two copies of its text."""


class Received(Share):
    """The bytes of one connection.

    Args:
        buffered: Returns the bytes in the connection's buffers.
        drop: Frees the connection's buffers and rejects its request; returns False, and does nothing, if it can't.

    Attributes:
        gathered_bytes: Bytes that a request's handler has read and still holds.
        awaited: A handler waits for more of the body, and does nothing else with it.
        refused: No more is received, and the buffers were dropped.
    """

    __slots__ = ("_buffered", "_drop", "awaited", "gathered_bytes", "refused")

    def __init__(self, budget: InFlightBudget, buffered: Callable[[], int], drop: Callable[[], bool]) -> None:
        super().__init__(budget)
        self._buffered = buffered
        self._drop = drop
        self.gathered_bytes = 0
        self.awaited = False
        self.refused = False

    def count(self) -> None:
        """Count the bytes held now; reject the connection if there is no room."""
        if self.refused:
            self.hold(self.gathered_bytes)
        elif not self.hold(self.gathered_bytes + self._buffered()):
            self.cut()

    def cut(self) -> bool:
        """Drop the bytes, and reject the connection; False: the server is processing them."""
        if self.refused or not self._drop():
            return False
        self.refuse()
        return True

    def refuse(self) -> None:
        """From now on count only bytes that a handler holds, such as those that a thread writes to a file.

        A handler that waits for more of the body releases all as soon as it runs again.
        """
        self.refused = True
        self.hold(0 if self.awaited else self.gathered_bytes)


class Body:
    """A request's body for its handler: a context manager; after its end the body doesn't count any more.

    Args:
        budget: For connections of a host application's server, which don't count their bytes.
    """

    def __init__(self, request: web.BaseRequest, budget: InFlightBudget) -> None:
        self._request = request
        self._content = request.content
        self._budget = budget
        self._received: Received | None = None
        self._gathered_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep(0)

    @property
    def whole(self) -> bool:
        """Whether all of it has arrived."""
        return self._content.is_eof()

    async def readany(self) -> bytes:
        """Return the buffered bytes, or wait for more; empty at the end. Raises Overloaded, MalformedRequest."""
        received = self._counted()
        if received.refused:
            raise overloaded()
        # aiohttp: buffered bytes are returned without suspending, however many the parser has.
        at_once = unread_bytes(self._content) > 0
        received.awaited = True
        try:
            data = await self._content.readany()
        finally:
            received.awaited = False
        if at_once:
            await asyncio.sleep(0)
        if data:
            self._gathered_bytes += len(data)
            received.gathered_bytes += len(data)
            received.count()
        if received.refused:
            raise overloaded()
        return data

    def read_nowait(self) -> bytes:
        """Return all of a whole body. Raises Overloaded, MalformedRequest."""
        if getattr(self._request.protocol, "refused", False):
            raise overloaded()
        if self._content.total_bytes > FEW_BYTES:
            received = self._counted()
            self._gathered_bytes = self._content.total_bytes
            received.gathered_bytes += self._gathered_bytes
        return self._content.read_nowait()

    def keep(self, size_bytes: int) -> None:
        """Count only this many of the bytes that were read: the others were released."""
        if self._received is not None:
            self._received.gathered_bytes -= self._gathered_bytes - size_bytes
            self._gathered_bytes = size_bytes
            self._received.count()

    def _counted(self) -> Received:
        if self._received is None:
            received: Received | None = getattr(self._request.protocol, "received", None)
            self._received = received or Received(self._budget, lambda: 0, self._wake)
        return self._received

    def _wake(self) -> bool:
        # aiohttp: the reader alone. Its protocol, which reads the rest after the response, must find no exception.
        waiter, self._content._waiter = self._content._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(overloaded())
        return True


def overloaded() -> Overloaded:
    """Return the rejection of a full budget."""
    return Overloaded(
        "too many bytes of requests and answers are in flight (limits.in_flight_bytes)", retry_after_s=1.0
    )


def buffered_bytes(messages: Iterable[tuple[Any, StreamReader]], current: web.BaseRequest | None) -> int:
    """Estimate the memory of a connection's requests: those that aiohttp queues, and the one that is being answered."""
    heads_bytes = bodies_bytes = 0
    for message, content in messages:
        # aiohttp: parser errors are among them, without headers.
        heads_bytes += _head_bytes(getattr(message, "path", ""), getattr(message, "raw_headers", ()))
        bodies_bytes += unread_bytes(content)
    if current is not None:
        heads_bytes += _head_bytes(current.path_qs, current.raw_headers)
        bodies_bytes += unread_bytes(current.content)
    return bodies_bytes + max(0, heads_bytes - HEADS_FREE_BYTES)


def unread_bytes(content: StreamReader) -> int:
    """Return the unread bytes of a body."""
    # aiohttp: the sum of its buffer, which the reader of no body lacks.
    return 0 if content is EMPTY_PAYLOAD else content._size


def _head_bytes(path: str, headers: Iterable[tuple[bytes, bytes]]) -> int:
    return 2 * len(path) + sum(HEADER_COST_BYTES + 2 * (len(name) + len(value)) for name, value in headers)


def forget_frames(error: BaseException | None) -> None:
    """Clear the tracebacks of an exception that is kept, and of its causes.

    A body or future with an exception that was raised through the frames of its reader is a cycle: reader,
    exception, traceback, frame. It would keep the frames' objects until a full garbage collection.
    """
    for _ in range(10):
        if error is None:
            return
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
