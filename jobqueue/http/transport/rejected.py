"""Farewells: what becomes of connections over the limit. Each gets a 503, and a moment to read it.

It owns the bound on them. It must not know requests: nothing that comes over such a connection is read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from jobqueue.http.cut import cut
from jobqueue.http.errors import TooManyConnections
from jobqueue.http.response.problems import raw_answer
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.http.transport.connection import JobServer

LINGER_S = 1.0
"""How long a connection that we break off is still read, so that the client gets to read why."""

REJECTED_MAX = 256
"""How many connections over the limit may linger at once; further ones get no time to read the answer."""

_REFUSED = raw_answer(TooManyConnections("as many connections are open as may be", retry_after_s=1.0))

log = event_logger(__name__)


class Rejected(asyncio.Protocol):
    """A connection over the limit: gets its 503, and the time to read it."""

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)
        wire.set_protocol(self)
        log.sampled("http.too_many_connections", every_s=10.0, open=self._server.open)
        wire.write(_REFUSED)
        if len(self._server.farewells) >= REJECTED_MAX:
            wire.close()
            return
        self._server.farewells.add(self)
        wire.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, cut, wire)

    def abort(self) -> None:
        cut(self._wire)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.farewells.discard(self)
        if self._timer is not None:
            self._timer.cancel()
