"""Rejected connections: those over the limit. Each gets a 503, and up to `LINGER_S` to read it.

Rules:

1. At most `REJECTED_MAX` of them linger at a time; further ones are closed as soon as the 503 is written.
2. Nothing that arrives over such a connection is parsed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from jobqueue.http.cut import cut
from jobqueue.http.errors import TooManyConnections
from jobqueue.http.response.problems import problem_of
from jobqueue.http.response.reply import problem_reply, raw_reply
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.http.response.problems import Problem

LINGER_S = 1.0
"""How long a rejected connection is still read, so that the client can read the response, in seconds."""

REJECTED_MAX = 256
"""Maximum number of lingering connections over the limit; further ones are closed at once."""

TOO_MANY = problem_of(TooManyConnections("too many open connections (server.connections_max)", retry_after_s=1.0))

log = event_logger(__name__)


class Rejected(asyncio.Protocol):
    """A connection over the limit.

    Args:
        lingering: The server's rejected connections that linger; this one enters and leaves it.
        open_count: Connections that the server has accepted and not closed.
        problem: Its answer.
    """

    def __init__(self, lingering: set[Rejected], open_count: int, problem: Problem) -> None:
        self._problem = problem
        self._lingering = lingering
        self._open_count = open_count
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)
        wire.set_protocol(self)
        log.sampled("http.too_many_connections", every_s=10.0, open=self._open_count)
        wire.write(raw_reply(problem_reply(self._problem), b"Connection: close\r\n\r\n"))
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
