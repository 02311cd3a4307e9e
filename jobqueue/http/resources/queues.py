"""Queues as resources: their counts and rates, and their settings, which may change while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.config import QueueSettings
from jobqueue.core.pause import REASON_LENGTH_MAX
from jobqueue.core.policy import DURATION_S_MAX
from jobqueue.errors import InvalidField, shown
from jobqueue.http.errors import InvalidRequest, QueueNotFound
from jobqueue.http.request.auth import GRANT, caller_of_request
from jobqueue.http.request.body import check_head
from jobqueue.http.request.console_action import ACTED, Acted, cleaned
from jobqueue.http.request.json_body import decode
from jobqueue.http.response.documents import limiter_document, queue_document
from jobqueue.http.response.limiter_document import LimiterDocument  # noqa: TC001  # read from the annotations below
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.queue_document import QueueDocument  # noqa: TC001  # as above
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.core.counting.stats import QueueStats
    from jobqueue.http.request.body import Bodies
    from jobqueue.service import Service

CHANGEABLE = ("workers", "capacity", "discipline", "weight")

# With the same bounds as in a settings file.
QueueChange = msgspec.defstruct(
    "QueueChange",
    [
        (field.name, field.type | UnsetType, UNSET)
        for field in msgspec.structs.fields(QueueSettings)
        if field.name in CHANGEABLE
    ],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "A change of a queue's settings: what is not given stays."},
)


class QueuePause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause of a queue. Nothing of it is needed.

    Attributes:
        reason: Why, for other viewers.
        for_s: Seconds after which the queue resumes by itself.
    """

    reason: Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)] | None = None
    for_s: Annotated[float, msgspec.Meta(gt=0, le=DURATION_S_MAX)] | None = None


class QueuesDocument(TypedDict):
    """All queues, the limiters at which their jobs may wait, and the lag of the event loop.

    Attributes:
        queues: All queues.
        limiters: The limits at which queued jobs may wait.
        loop_lag_s: Seconds that the event loop runs late now; null: not measured.
    """

    queues: list[QueueDocument]
    limiters: list[LimiterDocument]
    loop_lag_s: float | None


class Queues:
    """The handlers of `/v1/queues`."""

    def __init__(self, service: Service, bodies: Bodies, lag: Callable[[], float] | None) -> None:
        self._service = service
        self._bodies = bodies
        self._lag = lag

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/queues: all queues, all limiters, and the lag of the event loop."""
        queues = b",".join(self._document(request, stats) for stats in self._service.backend.stats()[1])
        limiters = b",".join(limiter_document(stats, self._service) for stats in self._service.backend.limiters())
        loop_lag_s = b"null" if self._lag is None else b"%.4f" % self._lag()
        body = b'{"queues":[%b],"limiters":[%b],"loop_lag_s":%b}' % (queues, limiters, loop_lag_s)
        return whole_answer(request, body, JSON)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/queues/{name}"""
        return self._answer(request, self._name(request))

    async def change(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v1/queues/{name}: change the given settings at once; no job is lost."""
        name = self._name(request)
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), QueueChange)
        changes: dict[str, Any] = {
            setting: value for setting in CHANGEABLE if (value := getattr(given, setting)) is not UNSET
        }
        try:
            await self._service.change(name, changes)
        except ValueError as error:  # the bounds of each value were checked above
            raise InvalidRequest(InvalidField(pointer="/discipline", detail=str(error))) from None
        return self._answer(request, name)

    async def pause(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/queues/{name}:pause: start no more of its jobs."""
        name, given = self._name(request), QueuePause()
        if request.body_exists:
            check_head(request, self._service.settings.limits)
            given = decode(await self._bodies.read(request), QueuePause)
        reason = None if given.reason is None else cleaned(given.reason)
        request[ACTED] = Acted(reason=reason)
        caller = caller_of_request(request)
        await self._service.backend.pause(name, reason=reason, for_s=given.for_s, by=caller)
        return self._answer(request, name)

    async def resume(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/queues/{name}:resume"""
        name = self._name(request)
        await self._service.backend.resume(name, by=caller_of_request(request))
        return self._answer(request, name)

    def _name(self, request: web.Request) -> str:
        name = request.match_info["name"]
        known = self._service.settings.queues
        if name not in known:
            raise QueueNotFound(f"there is no queue {shown(name)!r}; there are: {', '.join(known)}")
        return name

    def _answer(self, request: web.Request, name: str) -> web.StreamResponse:
        (stats,) = (stats for stats in self._service.backend.stats()[1] if stats.name == name)
        return whole_answer(request, self._document(request, stats), JSON)

    def _document(self, request: web.Request, stats: QueueStats) -> bytes:
        return queue_document(stats, self._service, tells_reasons=request[GRANT].sees is None)
