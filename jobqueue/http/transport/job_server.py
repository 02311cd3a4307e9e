"""The server of connections: what all of them share, and their end.

It runs an application without aiohttp's own runner. Every private field of aiohttp that is used here is marked
`aiohttp:`, and listed in `aiohttp_compat`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from jobqueue.http.cut import bound_system
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.in_flight import IN_FLIGHT, InFlightBudget
from jobqueue.http.request.body import refuse_expectation
from jobqueue.http.request.forwarded import Proxies
from jobqueue.http.request.receiving import forget_frames
from jobqueue.http.response.problems import error_of, refuse
from jobqueue.http.response.responses import closing_problem, problem_response
from jobqueue.http.streams.waiters import WAITED
from jobqueue.http.transport.access_log import NAME, LoggedConnection, LoggedUnixConnection
from jobqueue.http.transport.aiohttp_compat import fast_path_fits, require_c_parser
from jobqueue.http.transport.buffers import CountingServer
from jobqueue.http.transport.caller_connections import CALLER_CONNECTIONS
from jobqueue.http.transport.connection import Connection, UnixConnection
from jobqueue.http.transport.malformed import HEADERS_MAX
from jobqueue.http.transport.read_budget import ReadBudget
from jobqueue.http.transport.rejected import LINGER_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from jobqueue.config import LimitsSettings
    from jobqueue.http.transport.access_log import AccessLog
    from jobqueue.http.transport.fast_path import FastPath
    from jobqueue.http.transport.plain_path import PlainPath
    from jobqueue.http.transport.rejected import Rejected

READ_BYTES = 32 * 1024
"""Receiving pauses when twice this size of a body is unread."""


class JobServer(CountingServer):
    """Serves an application on any number of listening sockets: a factory of protocols.

    Args:
        proxies: Peers whose headers tell the caller (`server.proxies`).
        fast_path: Answers plain requests without the application; None: there is none.
        access_log: Writes a line for each answer, or each error; None: there are none.

    Raises:
        ConfigError: aiohttp's C parser is missing.
    """

    def __init__(
        self,
        app: web.Application,
        limits: LimitsSettings,
        *,
        connections_max: int,
        proxies: Sequence[str] = (),
        fast_path: FastPath | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        require_c_parser()
        loop = asyncio.get_running_loop()
        # aiohttp: as its own runner prepares an application.
        app._set_loop(loop)
        app.freeze()
        super().__init__(
            self._answer,
            request_factory=app._make_request,
            loop=loop,
            **_logged(access_log),
            keepalive_timeout=limits.idle_timeout_s,
            lingering_time=LINGER_S,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
        )
        self.limits = limits
        self.connections_max = connections_max
        self.proxies = Proxies(proxies) if proxies else None
        self.open = self.fast_answers = 0
        self.fast_path: PlainPath | None = None
        if fast_path is not None and fast_path_fits():
            fast_path.in_use = True
            self.fast_path = fast_path if access_log is None else access_log.around(fast_path)
        self.read_budget = ReadBudget(loop)
        self.in_flight = app.get(IN_FLIGHT) or InFlightBudget(lambda: limits.in_flight_bytes)
        self.caller_connections = app.get(CALLER_CONNECTIONS)
        self.rejected: set[Rejected] = set()
        self._connection = Connection if access_log is None else LoggedConnection
        self._unix_connection = UnixConnection if access_log is None else LoggedUnixConnection
        self._app = app
        self._all_closed: asyncio.Future[None] | None = None

    def __call__(self) -> web.RequestHandler:
        return self._connection(self, loop=self._loop, **self._kwargs)

    def on_unix(self) -> web.RequestHandler:
        """Make the protocol of a connection to a Unix socket."""
        return self._unix_connection(self, loop=self._loop, **self._kwargs)

    def prepare(self, listening: socket.socket) -> None:
        """Set the options of a listening socket for its connections."""
        bound_system(listening, write_timeout_s=self.limits.write_timeout_s)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        version = request._version  # aiohttp: the property would be cached
        if version != HttpVersion11 and version != HttpVersion10:
            # aiohttp: its parser takes a line without a version (HTTP/0.9) and HTTP/2.0, and answers in kind.
            request._version = HttpVersion11
            detail = f"this server speaks HTTP/1.1 and HTTP/1.0, not HTTP/{version.major}.{version.minor}"
            return closing_problem(MalformedRequest(detail))
        # For paths without a resource, too: aiohttp's own error response fails for paths that are not UTF-8.
        if hdrs.EXPECT in request.headers and (refusal := refuse_expectation(request)) is not None:
            return refusal
        try:
            connection = cast("Connection", request.protocol)
            if connection.waited is not None:
                request[WAITED], connection.waited = connection.waited, None
            return await self._app._handle(cast("web.Request", request))
        except web.HTTPException as raised:  # raised before the application's middleware had its turn
            forget_frames(raised)
            return problem_response(refuse(error_of(raised, request)))

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.open += 1

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open -= 1
        connection = cast("Connection", handler)
        connection.leave_keyless()
        if connection.counted_for and self.caller_connections is not None:
            self.caller_connections.leave(connection.counted_for)
        if self._all_closed is not None and self.open == 0 and not self._all_closed.done():
            self._all_closed.set_result(None)

    async def close(self, within_s: float) -> None:
        """Close idle connections now, busy ones once their response is sent, and cut the rest after `within_s`.

        Waiting requests are answered first, and event streams ended, by `Application.shutdown`.
        """
        self._all_closed = self._loop.create_future()
        await self._app.shutdown()
        for connection in self.connections:
            if (deferred := cast("Connection", connection).deferred) is not None:  # over, but not its turn yet
                deferred.leave()
            connection.close()
        # aiohttp: the task that answers this connection's requests, one after the other.
        tasks = [task for connection in self.connections if (task := connection._task_handler) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s / 2)
        if any(cast("Connection", connection).deferred is not None for connection in self.connections):
            # The others are closed by now. These wait for a disk, and close with their answers.
            await asyncio.wait([self._all_closed], timeout=within_s / 2)
        for connection in self.connections:
            connection.force_close()
        if self.open:
            await asyncio.wait([self._all_closed], timeout=within_s / 2)
        for connection in self.connections:
            cast("Connection", connection).abort()
        for rejected in self.rejected:
            rejected.abort()


def _logged(access_log: AccessLog | None) -> dict[str, Any]:
    """Return aiohttp's options of its access log."""
    if access_log is None:
        return {"access_log": None}
    return {"access_log": logging.getLogger(NAME), "access_log_class": access_log.stock}
