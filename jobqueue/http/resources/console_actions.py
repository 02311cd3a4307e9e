"""The actions of the console: a line in the log for each, and a ring of the latest for `/v1/server/actions`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypedDict

import orjson

from jobqueue.errors import shown
from jobqueue.http.request.auth import caller_of_request
from jobqueue.http.request.console_action import ACTED, Acted, grant_of_console, reason_in
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # read from the annotations below
from jobqueue.line_rate import LineRate
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from aiohttp import web

ACTIONS_MAX = 500
LINES_PER_S_MAX = 100
"""Lines in a second; `console.unlogged` counts the others."""

TARGET_LENGTH_MAX = 200

log = event_logger(__name__)


class ActionDocument(TypedDict):
    """A change that the console asked for.

    Attributes:
        at: When it was answered.
        caller: The key of the session; without keys the remote address.
        action: The name of the operation, such as `pause_queue`.
        target: The job, queue, type or caller that it is about; null: it is about many jobs, or about the server.
        filter: The conditions of an action on many jobs, as JSON, cut; null: it is about one.
        count: Jobs that it took effect on; null: it doesn't count jobs.
        reason: What the viewer gave as the reason; null: nothing.
        status: The status code of its answer: from 400 on nothing was changed.
    """

    at: Instant
    caller: str
    action: str
    target: str | None
    filter: str | None
    count: Count | None
    reason: str | None
    status: Count


class ActionsDocument(TypedDict):
    """The latest changes that the console asked for.

    Attributes:
        actions: The newest first, at most 500.
    """

    actions: list[ActionDocument]


class ConsoleActions:
    """The latest actions, and the handler that lists them."""

    def __init__(self) -> None:
        self._latest: deque[ActionDocument] = deque(maxlen=ACTIONS_MAX)
        self._rate = LineRate(LINES_PER_S_MAX)
        self._unlogged = log.counter("console.unlogged", every_s=10.0)

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/server/actions"""
        body: ActionsDocument = {"actions": [*reversed(self._latest)]}
        return whole_answer(request, orjson.dumps(body), JSON)

    def note(self, request: web.Request, response: web.StreamResponse, operation: str) -> None:
        """Keep a change that the console asked for, and log it; pass over any other request.

        Args:
            operation: The name of its row.
        """
        if grant_of_console(request) is None:
            return
        acted = request.get(ACTED, Acted())
        if not acted.changes:
            return
        named = next(iter(request.match_info.values()), None) or response.headers.get("Location", "").rpartition("/")[2]
        action: ActionDocument = {
            "at": timestamp(time.time()),
            "caller": caller_of_request(request),
            "action": operation,
            "target": shown(named, TARGET_LENGTH_MAX) or None,
            "filter": acted.filter,
            "count": acted.count,
            "reason": reason_in(request) or acted.reason,
            "status": response.status,
        }
        self._latest.append(action)
        if self.takes_line():
            log.info(
                "console.action",
                caller=action["caller"],
                action=action["action"],
                target=action["target"],
                filter=action["filter"],
                count=action["count"],
                reason=action["reason"],
                status=action["status"],
            )

    def takes_line(self) -> bool:
        """Whether one more line may be logged; counts it, if too many have come in this second."""
        if self._rate.take():
            return True
        self._unlogged.add()
        return False
