"""Schedules as resources: those of the code and the settings, and those that requests put."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
import orjson
from aiohttp import web
from msgspec import UNSET, UnsetType

from jobqueue.errors import InvalidSubmission
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.http.errors import InvalidRequest, MalformedRequest
from jobqueue.http.request.auth import GRANT, caller_of_request
from jobqueue.http.request.body import check_head
from jobqueue.http.request.json_body import decode
from jobqueue.http.request.query import parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON, JSON
from jobqueue.http.response.responses import job_answer
from jobqueue.http.response.schedule_document import schedule_document

if TYPE_CHECKING:
    from jobqueue.core.schedule import Schedule
    from jobqueue.http.request.body import Bodies
    from jobqueue.schedules.definition import Definition
    from jobqueue.service import Service

PAGE_DEFAULT, PAGE_MAX = 100, 1000

SLICE = 100
"""Documents of one loop iteration."""


class SchedulesQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        limit: Schedules on a page at most.
        cursor: The `next_cursor` of the page before.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: str | UnsetType = UNSET


PARAMETERS = tuple(field.encode_name for field in msgspec.structs.fields(SchedulesQuery))


class Schedules:
    """The handlers of `/v1/schedules`."""

    def __init__(self, service: Service, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/schedules: a page, by name."""
        given = parameters(request, PARAMETERS)
        try:
            query = msgspec.convert(given, SchedulesQuery, strict=False)
        except msgspec.ValidationError:
            raise MalformedRequest(f"query parameter limit: is a whole number from 1 to {PAGE_MAX}") from None
        after = None if query.cursor is UNSET else query.cursor
        schedules = self._service.schedules
        page, cursor = schedules.page(sees=request[GRANT].sees, limit=query.limit, after=after)
        documents: list[bytes] = []
        for number, (definition, state) in enumerate([(each, schedules.state(each)) for each in page]):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            documents.append(self._document(request, definition, state, whole=False))
        body = b'{"schedules":[%b],"next_cursor":%b}' % (b",".join(documents), orjson.dumps(cursor))
        return whole_answer(request, body, JSON)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/schedules/{name}"""
        definition = self._found(request)
        return whole_answer(request, self._whole(request, definition), JSON)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """PUT /v1/schedules/{name}: add a schedule, or replace it."""
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), ScheduleSubmission)
        grant, caller = request[GRANT], caller_of_request(request)
        try:
            definition, is_new = self._service.schedules.put(
                request.match_info["name"], given, owner=grant.owner, sees=grant.sees, caller=caller
            )
        except InvalidSubmission as invalid:
            raise InvalidRequest(*invalid.errors, more=invalid.more) from None
        return await self._kept_answer(request, definition, 201 if is_new else 200)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v1/schedules/{name}"""
        self._service.schedules.delete(self._found(request), by=caller_of_request(request))
        await self._service.schedules.kept()
        return web.Response(status=204, headers=COMMON)

    async def run(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/schedules/{name}:run: submit its job now."""
        submitted = await self._service.schedules.run(self._found(request))
        return job_answer(request, submitted.job, self._service)

    async def pause(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/schedules/{name}:pause: give no ticks."""
        definition = self._found(request)
        self._service.schedules.pause(definition, by=caller_of_request(request))
        return await self._kept_answer(request, definition)

    async def resume(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/schedules/{name}:resume: give ticks again."""
        definition = self._found(request)
        self._service.schedules.resume(definition, by=caller_of_request(request))
        return await self._kept_answer(request, definition)

    def _found(self, request: web.Request) -> Definition:
        """Return the schedule of a request, if it may see it. Raises ScheduleNotFound."""
        grant = request[GRANT]
        return self._service.schedules.find(request.match_info["name"], owner=grant.owner, sees=grant.sees)

    async def _kept_answer(self, request: web.Request, definition: Definition, status: int = 200) -> web.StreamResponse:
        """Answer with a schedule as it is now, once that is kept. Raises JournalFailed."""
        body = self._whole(request, definition)
        await self._service.schedules.kept()
        return whole_answer(request, body, JSON, status=status)

    def _whole(self, request: web.Request, definition: Definition) -> bytes:
        return self._document(request, definition, self._service.schedules.state(definition), whole=True)

    def _document(self, request: web.Request, definition: Definition, state: Schedule, *, whole: bool) -> bytes:
        tells_callers = request[GRANT].sees is None
        document = schedule_document(definition, state, self._service, tells_callers=tells_callers, whole=whole)
        return orjson.dumps(document)
