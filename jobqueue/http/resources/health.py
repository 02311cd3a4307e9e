"""Health: whether the event loop runs, and whether jobs are admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import orjson

from jobqueue.errors import Draining
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.service import Service


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
        """GET /readyz: jobs are admitted. A full queue is ready, a draining server is not.

        `degraded` names unavailable parts, with the reason, although jobs are accepted.
        """
        if self._service.draining:
            raise Draining
        body: ReadyDocument = {"status": "ready", "fast_path": self._fast_path_in_use()}
        if degraded := self._service.degraded:
            body["degraded"] = degraded
        return whole_answer(request, orjson.dumps(body), JSON)
