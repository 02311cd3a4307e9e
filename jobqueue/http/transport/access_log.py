"""The access log: a line for each answer, or for each error, on both paths (`log.access`).

Rules:

1. Off, there is no code of it on any path: the server has another class of connections, and another fast path.
2. The fast path answers as before. With `all` it caches no heads, since a line needs a parsed one.
3. At most `log.lines_per_s_max` lines are written in a second, whatever clients do; `http.unlogged` counts the
   others. Behind that, the log's own buffer drops what a stuck pipe doesn't take.
4. A line has no header but `traceparent`, no body, and no key that stands in the target.
5. An answer that was never sent, since its client left, has no line on the fast path.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, cast

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import Request

from jobqueue.core.ids import ID_LENGTH
from jobqueue.errors import shown
from jobqueue.http.cut import bound_local
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.peer import peer_of
from jobqueue.http.request.traceparent import traceparent_of
from jobqueue.http.transport.aiohttp_compat import parse_head
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.framing import head_bytes_of
from jobqueue.keys import masked
from jobqueue.line_rate import LineRate
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Mapping

    from aiohttp.streams import StreamReader
    from aiohttp.web import BaseRequest, StreamResponse

    from jobqueue.config import LogSettings
    from jobqueue.http.request.auth import Access
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.request.peer import Peer
    from jobqueue.http.streams.waiters import Waited
    from jobqueue.http.transport.buffers import CountingServer
    from jobqueue.http.transport.deferred import Client
    from jobqueue.http.transport.fast_path import FastPath
    from jobqueue.http.transport.parsed_head import ParsedHead

NAME = "jobqueue.access"
ERROR = 400
"""The first status that is an error."""

_STATUS = slice(9, 12)  # of an answer: "HTTP/1.1 202 "
_HEAD_BYTES = 1024  # of an answer: more than the head of one with a Location
_JOB = re.compile(rf"/v1/jobs/([A-Za-z0-9_-]{{{ID_LENGTH}}})(?![A-Za-z0-9_-])")
_LOCATION = re.compile(rb"\r\nLocation: /v1/jobs/([A-Za-z0-9_-]+)\r")

log = event_logger(NAME)


def access_log_of(settings: LogSettings, access: Access) -> AccessLog | None:
    """Return the access log of a server; None: it is off."""
    return None if settings.access == "off" else AccessLog(settings, access)


class AccessLog:
    """Writes the lines of one server.

    Args:
        access: Tells the key of a request.

    Attributes:
        all: Answers without an error have a line, too.
    """

    def __init__(self, settings: LogSettings, access: Access) -> None:
        self.all = settings.access == "all"
        self._access = access
        self._rate = LineRate(settings.lines_per_s_max)
        self._unlogged = log.counter("http.unlogged", every_s=10.0)

    def around(self, fast_path: FastPath) -> LoggedFastPath:
        """Return the fast path with lines for its answers."""
        return LoggedFastPath(fast_path, self)

    def stock(self, logger: logging.Logger, _form: str) -> StockLog:
        """Return aiohttp's logger of a connection."""
        return StockLog(logger, self)

    def wants(self, status: int) -> bool:
        """Whether an answer gets a line; counts it, if only the rate stands against it."""
        if status < ERROR and not self.all:
            return False
        if self._rate.take():
            return True
        self._unlogged.add()
        return False

    def fast(self, message: ParsedHead, connection: Connection, answer: bytes, took_s: float) -> None:
        """Write the line of an answer of the fast path, if it gets one."""
        status = int(answer[_STATUS])
        if not self.wants(status):
            return
        headers, peer = message.headers, connection.peer
        if peer is not None:
            peer = peer.behind(headers)
        location = _LOCATION.search(answer, 0, _HEAD_BYTES)
        grant = self._access.find(headers)
        job_id = None if location is None else location[1].decode()
        _write(message.method, message.path, headers, status, took_s, len(answer), grant, peer, job_id)

    def stocked(self, request: BaseRequest, response: StreamResponse, took_s: float) -> None:
        """Write the line of an answer of the stock path, if it gets one."""
        if not self.wants(response.status):
            return
        grant = request.get(GRANT) if isinstance(request, Request) else None
        try:
            peer: Peer | None = peer_of(request)
        except MalformedRequest:  # it was reset
            peer = None
        location = _JOB.match(response.headers.get("Location", ""))
        job_id = None if location is None else location[1]
        size = response.body_length
        _write(request.method, request.raw_path, request.headers, response.status, took_s, size, grant, peer, job_id)


def _write(
    method: str,
    target: str,
    headers: Mapping[str, str],
    status: int,
    took_s: float,
    sent_bytes: int,
    grant: Grant | None,
    peer: Peer | None,
    job_id: str | None,
) -> None:
    fields: dict[str, Any] = {
        "method": shown(method),
        "target": shown(masked(target)),
        "status": status,
        "took_s": round(took_s, 6),
        "sent_bytes": sent_bytes,
    }
    caller = None if grant is None else grant.caller
    if caller is None and peer is not None:
        caller = peer.caller
    if caller is not None:
        fields["caller"] = caller
    if peer is not None and peer.address is not None and peer.address != caller:
        fields["address"] = peer.address
    if job_id is None and (named := _JOB.match(target)) is not None:
        job_id = named[1]
    if job_id is not None:
        fields["job_id"] = job_id
    if (traceparent := traceparent_of(headers)) is not None:
        fields["traceparent"] = traceparent
    log.info("http.answered", **fields)


class StockLog(AbstractAccessLogger):
    """What aiohttp calls after each answer of its own."""

    def __init__(self, logger: logging.Logger, access_log: AccessLog) -> None:
        super().__init__(logger, "")
        self._access_log = access_log

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        self._access_log.stocked(request, response, time)


class LoggedFastPath:
    """The fast path of a server with an access log."""

    def __init__(self, inner: FastPath, access_log: AccessLog) -> None:
        self._inner = inner
        self._log = access_log

    def recall(self, data: bytes, client: Client, now: float) -> bytes | None:
        """As `FastPath.recall`."""
        if self._log.all:
            return None
        answer = self._inner.recall(data, client, now)
        connection = cast("LoggedConnection", client)
        if answer is None or answer[_STATUS] < b"400":
            if answer == b"":
                connection.begin(_message_in(data), self._log)
            return answer
        self._log.fast(_message_in(data), connection, answer, 0.0)
        return answer

    def answer(self, message: ParsedHead, payload: StreamReader, client: Client, now: float) -> bytes | None:
        """As `FastPath.answer`."""
        began = time.perf_counter()
        answer = self._inner.answer(message, payload, client, now)
        connection = cast("LoggedConnection", client)
        if answer:
            self._log.fast(message, connection, answer, time.perf_counter() - began)
        elif answer is not None:
            connection.begin(message, self._log)
        return answer

    def learn(self, data: bytes, message: ParsedHead, head_bytes: int) -> None:
        """As `FastPath.learn`."""
        if not self._log.all:
            self._inner.learn(data, message, head_bytes)


def _message_in(data: bytes) -> ParsedHead:
    return parse_head(data[: head_bytes_of(data)])


class LoggedConnection(Connection):
    """A connection of a server with an access log: it keeps the head of a request until its late answer."""

    __slots__ = ("_begun",)

    def __init__(self, server: CountingServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._begun: tuple[ParsedHead, AccessLog, float] | None = None

    def begin(self, message: ParsedHead, access_log: AccessLog) -> None:
        """The answer to this request comes later."""
        self._begun = message, access_log, time.perf_counter()

    def finish(self, answer: bytes, now: float) -> None:
        begun, self._begun = self._begun, None
        if begun is not None and answer:
            message, access_log, began = begun
            access_log.fast(message, self, answer, time.perf_counter() - began)
        super().finish(answer, now)

    def hand_over(self, message: ParsedHead, waited: Waited) -> None:
        self._begun = None  # the stock path writes its line
        super().hand_over(message, waited)


class LoggedUnixConnection(LoggedConnection):
    """A connection to a Unix socket of a server with an access log."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        bound_local(transport.get_extra_info("socket"))
        super().connection_made(transport)
