"""Health: whether the event loop runs, and whether jobs are admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import orjson

from jobqueue.errors import Draining, JournalFailed
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.service import Service


RETRY_AFTER_S = 10.0
"""While the journal can't keep jobs."""


class AliveDocument(TypedDict):
    """The event loop runs.

    Attributes:
        status: Always the same.
    """

    status: Literal["alive"]


class ReadyDocument(TypedDict):
    """Jobs are admitted.

    Attributes:
        status: Always the same.
        fast_path: Whether plain requests take the fast path.
        degraded: What can't be done although jobs are admitted, as sentences; not there: nothing.
    """

    status: Literal["ready"]
    fast_path: bool
    degraded: NotRequired[list[str]]


class Health:
    """The handlers of `/livez` and `/readyz`."""

    def __init__(self, service: Service, fast_path_in_use: Callable[[], bool]) -> None:
        self._service = service
        self._fast_path_in_use = fast_path_in_use

    async def live(self, request: web.Request) -> web.StreamResponse:
        """GET /livez: the event loop runs."""
        return whole_answer(request, b'{"status":"alive"}', JSON)

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """GET /readyz: jobs are admitted.

        A full queue is ready. A server that drains or recovers is not, nor is one whose journal has failed, or whose
        store doesn't answer.
        `degraded` names unavailable parts, with the reason, although jobs are accepted.
        """
        if self._service.draining:
            raise Draining
        if self._service.why_not_ready is not None:
            raise self._service.why_not_ready()
        if (unavailable := self._service.unavailable) is not None:
            raise unavailable
        journal = self._service.journal
        if journal is not None and not journal.admits:
            raise JournalFailed(f"the journal can't keep jobs ({journal.state})", retry_after_s=RETRY_AFTER_S)
        body: ReadyDocument = {"status": "ready", "fast_path": self._fast_path_in_use()}
        if degraded := self._service.degraded:
            body["degraded"] = degraded
        return whole_answer(request, orjson.dumps(body), JSON)
