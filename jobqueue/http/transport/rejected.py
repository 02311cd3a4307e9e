"""Rejected connections: those over the limit, and those without a handshake. Each gets an answer, and up to `LINGER_S`
to read it.

Rules:

1. At most `REJECTED_MAX` of them linger at a time; further ones are closed as soon as it is written.
2. Nothing that arrives over such a connection is parsed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from jobqueue.http.cut import cut
from jobqueue.http.errors import TooManyConnections
from jobqueue.http.response.problems import problem_of
from jobqueue.http.response.reply import problem_reply, raw_reply

if TYPE_CHECKING:
    from jobqueue.http.response.problems import Problem

LINGER_S = 1.0
"""How long a rejected connection is still read, so that the client can read the response, in seconds."""

REJECTED_MAX = 256
"""Maximum number of lingering connections; further ones are closed at once."""

TOO_MANY = problem_of(TooManyConnections("too many open connections (server.connections_max)", retry_after_s=1.0))


def last_answer(problem: Problem) -> bytes:
    """Return a problem as the last answer of a connection."""
    return raw_reply(problem_reply(problem), b"Connection: close\r\n\r\n")


class Rejected(asyncio.Protocol):
    """A connection that is not taken.

    Args:
        lingering: The server's rejected connections that linger; this one enters and leaves it.
        answer: Its last bytes.
    """

    def __init__(self, lingering: set[Rejected], answer: bytes) -> None:
        self._lingering = lingering
        self._answer = answer
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)
        wire.set_protocol(self)
        wire.write(self._answer)
        if len(self._lingering) >= REJECTED_MAX:
            wire.close()
            return
        self._lingering.add(self)
        wire.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, cut, wire)

    def abort(self) -> None:
        cut(self._wire)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lingering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
