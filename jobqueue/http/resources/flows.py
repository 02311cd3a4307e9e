"""Flows as resources: a graph of jobs is submitted as a whole, read, cancelled and retried.

Rules:

1. A graph is accepted whole or not at all, so its answer is that of one submission: the order of the checks is that of
   `submissions`, and each job counts towards the caller's rate.
2. A flow's status code is a job's: 202 while it runs, 200 once all its jobs have ended.
3. What a key may not see of jobs, it may not see of flows: a foreign id is answered as an unknown one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from jobqueue.backend.base import InvalidCursor
from jobqueue.core.job_view import JobView
from jobqueue.errors import shown
from jobqueue.http.cut import cut
from jobqueue.http.errors import MalformedRequest, TooManyLongPolls
from jobqueue.http.request.auth import GRANT, identity_of
from jobqueue.http.request.body import answer_expectation, check_head
from jobqueue.http.request.head import head_of
from jobqueue.http.request.idempotency import json_key
from jobqueue.http.request.json_body import decode_flow
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.request.query import limit_of, near_or_all, parameters
from jobqueue.http.resources.event_stream import LAST_EVENT_ID, beginning, write_stream
from jobqueue.http.response.documents import missing_document
from jobqueue.http.response.flow_document import SHOWN_MAX, flow_document
from jobqueue.http.response.list_reply import listed_document
from jobqueue.http.response.long_response import PIECE_BYTES, LongResponse, document_pieces, whole_answer
from jobqueue.http.response.reply import COMMON, DEDUPLICATED, JSON, SERVER, names_tag
from jobqueue.http.response.responses import error_answer, known_tags
from jobqueue.http.streams.flow_log import FlowLog, FlowReader, end_id
from jobqueue.http.streams.waiters import NO_PLACE_RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from jobqueue.core.flow import FlowView
    from jobqueue.core.job import Uniqueness
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.request.early_refusal import EarlyRefusal
    from jobqueue.http.request.head import SubmissionHead
    from jobqueue.http.request.rate_limit import RateLimits
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

INCLUDABLE = ("jobs",)

_encode = msgspec.json.Encoder().encode


class FlowQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        include: `jobs`: each job has its whole document.
        limit: Jobs that the document shows at most.
        cursor: The `next_cursor` of the document before.
    """

    include: Literal["jobs"] | UnsetType = UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=SHOWN_MAX)] = SHOWN_MAX
    cursor: str | UnsetType = UNSET


class Flows:
    """The handlers of `/v1/flows`."""

    def __init__(
        self, service: Service, waiters: Waiters, bodies: Bodies, early: EarlyRefusal, rate_limits: RateLimits
    ) -> None:
        self._service = service
        self._waiters = waiters
        self._bodies = bodies
        self._early = early
        self._rate_limits = rate_limits
        self._flow_log = FlowLog(service)

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/flows: 202 once all jobs are held."""
        plain = identity_of(request)
        assert plain.caller is not None, "each request has a caller"
        try:
            response = await self._submit(request, plain)
        except Exception as error:
            response = error_answer(request, error)
        response.headers.update(self._rate_limits.fields(plain.caller))
        return response

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer a client that expects 100 Continue."""
        plain = identity_of(request)
        return await answer_expectation(request, lambda request: self._check_unread(request, plain))

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET or HEAD /v1/flows/{id}: 202 while it runs, 200 once it has ended; with `Prefer: wait=N` it waits."""
        asked = _asked(request)
        flow_id, sees = request.match_info["id"], request[GRANT].sees
        flow = await self._page(flow_id, sees, asked)

        async def end() -> None:
            await self._service.flows.ended(flow_id, sees)

        applied = await self._waiters.wait(
            request, preferred_wait_s(request.headers), end if flow.state == "running" else None
        )
        if applied:
            flow = await self._page(flow_id, sees, asked)
        return self._answer(request, flow, applied, with_documents=asked.with_documents)

    async def _page(self, flow_id: str, sees: str | None, asked: _Asked) -> FlowView:
        try:
            return await self._service.backend.flow(flow_id, sees, cursor=asked.cursor, limit=asked.limit)
        except InvalidCursor as error:
            detail = f"cursor is the next_cursor of an earlier page of this flow, got {shown(str(error))!r}"
            raise MalformedRequest(detail) from None

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/flows/{id}/events: the flow as it is, the events of its jobs, and its end."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        flow_id, sees = request.match_info["id"], request[GRANT].sees
        flow = await self._service.backend.flow(flow_id, sees)
        if flow.state != "running" and request.headers.get(LAST_EVENT_ID) == end_id(flow):  # the client knows its end
            return web.Response(status=204, headers={"Cache-Control": "no-store", "Server": SERVER})
        reader = FlowReader(flow_id, partial(cut, transport), sees)
        self._waiters.check_stream(request)
        with self._waiters.place(request, reader.end) as granted:
            if not granted:
                detail = "too many open long polls and streams (limits.long_polls_max); poll the flow instead"
                raise TooManyLongPolls(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S)
            self._flow_log.join(reader)
            try:
                opening = beginning() + await self._flow_log.opening(reader)
                return await write_stream(request, self._flow_log, reader, opening, self._service)
            finally:
                self._flow_log.leave(reader)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/flows/{id}:cancel: cancel all its live jobs."""
        flow_id, sees = request.match_info["id"], request[GRANT].sees
        flow = await self._service.backend.cancel_flow(flow_id, sees, limit=SHOWN_MAX)
        return self._answer(request, flow, {})

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/flows/{id}:retry: run what has not succeeded again."""
        flow_id, sees = request.match_info["id"], request[GRANT].sees
        flow = await self._service.backend.retry_flow(flow_id, sees, limit=SHOWN_MAX)
        return self._answer(request, flow, {})

    def _check_unread(self, request: web.Request, plain: Uniqueness) -> SubmissionHead:
        head = head_of(request, plain)
        self._early.refuse_unread(head.uniqueness, may_be_unique=False)
        check_head(request, self._service.settings.limits)
        return head

    async def _submit(self, request: web.Request, plain: Uniqueness) -> web.StreamResponse:
        head = self._check_unread(request, plain)
        assert plain.caller is not None, "each request has a caller"
        self._rate_limits.check(plain.caller)
        body = await self._bodies.read(request)
        flow = decode_flow(body)
        self._rate_limits.take_many(plain.caller, len(flow.jobs))
        key = None if head.key is None else json_key(head.key, body)
        del body
        submitted = await self._service.flows.submit(
            flow.jobs, plain, sees=request[GRANT].sees, key=key, traceparent=head.traceparent
        )
        resource = request.match_info.route.resource
        assert resource is not None
        # The resource's own path, because it has the prefix under which the API is mounted.
        headers = {"Location": f"{resource.canonical}/{submitted.flow.id}"}
        return self._answer(request, submitted.flow, {**headers, **(DEDUPLICATED if submitted.duplicate else {})})

    def _answer(
        self, request: web.Request, flow: FlowView, more: Mapping[str, str], *, with_documents: bool = False
    ) -> web.StreamResponse:
        status = 202 if flow.state == "running" else 200
        opaque_tag = f'"{flow.version}"'
        told = {"ETag": f"W/{opaque_tag}", **more}
        if names_tag(known_tags(request), opaque_tag) and not with_documents:
            return web.Response(status=304, headers={**COMMON, **told})
        document = flow_document(flow, self._service)
        if not with_documents:
            return whole_answer(request, _encode(document), {**JSON, **told}, status=status)
        jobs, document.jobs = [_encode(job) for job in document.jobs], []
        pieces = self._pieces(_encode(document), jobs, [job.id for job in flow.jobs], request[GRANT].sees)
        return LongResponse(request, pieces, {**JSON, **told}, status=status, held_bytes=sum(map(len, jobs)))

    async def _pieces(self, flow: bytes, jobs: list[bytes], ids: list[str], sees: str | None) -> AsyncGenerator[bytes]:
        """Yield a flow's document with that of each job, of which one at a time is in memory."""
        before = flow.removesuffix(b"]}")
        for node, job_id in zip(jobs, ids, strict=False):
            (job,) = await self._service.backend.get_many((job_id,), sees)
            before += node[:-1] + b',"job":'
            if not isinstance(job, JobView):
                yield before + missing_document(job_id, job) + b"}"
            elif (result_bytes := len(job.result or b"")) <= PIECE_BYTES:
                yield before + listed_document(job, self._service) + b"}"
            else:
                document = before + listed_document(replace(job, result=None), self._service)
                del job  # its record may be evicted while the client takes the pieces
                async for piece in document_pieces(self._service, document, job_id, result_bytes):
                    yield piece
                yield b"}"
            before = b","
        yield b"]}" if jobs else before + b"]}"


class _Asked(NamedTuple):
    """What a request asks for of a flow."""

    with_documents: bool
    limit: int
    cursor: str | None


def _asked(request: web.Request) -> _Asked:
    given = parameters(request, FlowQuery.__struct_fields__) if request.query_string else {}
    text = given.get("include")
    if text is not None and text not in INCLUDABLE:
        raise MalformedRequest(f"include takes no {shown(text)!r}; {near_or_all(text, INCLUDABLE)}")
    return _Asked(text is not None, limit_of(given.get("limit"), SHOWN_MAX, SHOWN_MAX, "jobs"), given.get("cursor"))
