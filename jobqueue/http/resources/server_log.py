"""The latest lines of the server's log, for its operators: `GET /v1/server/log`.

Rules:

1. The lines are those that the log had, newest first, without the secrets of keys (`keys.masked`).
2. A line that is no JSON, as one with an integer of over 64 bits, is told as the text that it is.
3. Lines are checked in slices of `SLICE_BYTES`, so that the loop goes on in between.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue.errors import shown
from jobqueue.http.errors import MalformedRequest, NotServed
from jobqueue.http.request.query import not_one_of, parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.value_types import Count  # noqa: TC001  # read from annotations below
from jobqueue.keys import masked
from jobqueue.log_ring import LINES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.log_ring import Line

LIMIT_DEFAULT = 100
EVENT_LENGTH_MAX = 100
SLICE_BYTES = 128 * 1024
"""About half a millisecond."""

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        level: Only lines of this level and above.
        event: Only lines with this event; with a dot at the end, such as `job.`, with any that begins so.
        limit: How many lines at most.
    """

    level: Level | UnsetType = UNSET
    event: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_LENGTH_MAX)] | UnsetType = UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=LINES_MAX)] = LIMIT_DEFAULT


class ServerLogDocument(TypedDict):
    """The latest lines of the log.

    Attributes:
        lines: As they were logged, newest first: each has `time`, `level`, `event`, `logger`, and its fields. `cut`
            names the fields that were too long.
        dropped: Lines that the log could not write since the start.
    """

    lines: list[dict[str, Any]]
    dropped: Count


class Logs(Protocol):
    """The log of the server process, as far as this resource needs it."""

    def latest_lines(self) -> tuple[list[Line], int]:
        """Return the lines that are held, oldest first, and the number of those that were dropped."""
        ...


class ServerLog:
    """The handler of `/v1/server/log`. Args: logs: Returns the process; None: the log is another program's."""

    def __init__(self, logs: Callable[[], Logs | None]) -> None:
        self._logs = logs

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/server/log"""
        given = parameters(request, LogQuery.__struct_fields__)
        level, event, limit = _level(given.get("level")), _event(given.get("event")), _limit(given.get("limit"))
        logs = self._logs()
        if logs is None:
            raise NotServed("the API is mounted in an application, which has a log of its own")
        held, dropped = logs.latest_lines()
        wanted = [line for line in held if line.level >= level and _is_of(line, event)][-limit:]
        told: list[bytes] = []
        checked_bytes = 0
        for line in reversed(wanted):
            told.append(_told(line.json))
            checked_bytes += len(line.json)
            if checked_bytes >= SLICE_BYTES:
                checked_bytes = 0
                await asyncio.sleep(0)
        return whole_answer(request, b'{"lines":[%b],"dropped":%d}' % (b",".join(told), dropped), JSON)


def _is_of(line: Line, event: str) -> bool:
    return line.event.startswith(event) if event == "" or event.endswith(".") else line.event == event


def _told(line: bytes) -> bytes:
    """Return a line as a part of JSON."""
    if b"jq_" in line:
        line = masked(line.decode()).encode()
    try:
        orjson.loads(line)
    except ValueError:
        return orjson.dumps({"text": line.decode().rstrip("\n")})
    return line.rstrip(b"\n")


def _level(text: str | None) -> int:
    if text is None:
        return 0
    if text not in LEVELS:
        raise MalformedRequest(f"level {not_one_of(text, tuple(LEVELS))}")
    return LEVELS[text]


def _event(text: str | None) -> str:
    if text is None:
        return ""
    if not 1 <= len(text) <= EVENT_LENGTH_MAX:
        raise MalformedRequest(f"event has 1 to {EVENT_LENGTH_MAX} characters, such as job.failed, got {shown(text)!r}")
    return text


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= LINES_MAX:
        raise MalformedRequest(f"limit is a whole number from 1 to {LINES_MAX}, got {shown(text)!r}")
    return int(text)
