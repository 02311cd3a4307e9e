"""Job lists: jobs by ids, optionally with a wait for changes, or a page of jobs that match a filter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import orjson
from aiohttp import hdrs, web
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from jobqueue.api_limits import IDS_MAX, PAGE_DEFAULT, PAGE_MAX
from jobqueue.backend.base import InvalidCursor
from jobqueue.core.job import JobState
from jobqueue.core.job_view import JobView
from jobqueue.core.masking import ID_FORM
from jobqueue.core.report import ErrorCode
from jobqueue.errors import JobQueueError, shown
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.instant import GivenInstant
from jobqueue.http.request.job_filter import (
    ARG,
    ID_PREFIX,
    JOB_ID,
    MESSAGE,
    TEXT_MAX,
    InvalidFilter,
    conditions_of,
    job_filter_of,
)
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.request.query import limit_of, not_one_of, parameters
from jobqueue.http.response.job_document import (
    JobDocument,  # noqa: TC001  # read from the annotations of ListDocument
    UnknownJobDocument,  # noqa: TC001  # as below
)
from jobqueue.http.response.list_reply import IDS_END, fitting, list_reply, list_tag, listed_document
from jobqueue.http.response.long_response import (
    PIECE_BYTES,
    LongResponse,
    document_pieces,
    whole_answer,
)
from jobqueue.http.response.reply import COMMON, JSON, names_tag
from jobqueue.http.response.responses import known_tags
from jobqueue.http.response.value_types import Count as Matching  # noqa: TC001  # read from the annotations below
from jobqueue.http.streams.waiters import WAITED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from jobqueue.backend.base import Count
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

    Listed = JobView | tuple[str, JobQueueError]


MessagePart = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
ArgValue = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]


class ListQuery(msgspec.Struct):
    """The parameters of the query: `ids` alone, or any of the others.

    Attributes:
        ids: These jobs, in this order; no other parameter beside it.
        state: Only jobs in this state.
        type: Only jobs of this type.
        queue: Only jobs in this queue.
        group: Only jobs of this group.
        id_prefix: Only jobs with an id that begins so.
        parent: Only jobs with this parent, by its id.
        error: Only jobs with this error.
        failure: Only failed jobs in this group of failures.
        message: Only jobs with this in the message of their error, in upper or lower case.
        arg: Only jobs with this value in their arguments. PATH stands for a path into them, as in `arg.user.id`; each
            path may be given once.
        since: Only jobs submitted then or later: RFC 3339, or Unix seconds.
        until: Only jobs submitted before: RFC 3339, or Unix seconds.
        sort: The order.
        count: 1: also answer how many jobs match, on all pages.
        limit: Jobs on a page at most.
        cursor: The `next_cursor` of the page before, with the same `sort`.
    """

    ids: str | UnsetType = UNSET
    state: JobState | UnsetType = UNSET
    type: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    id_prefix: Annotated[str, msgspec.Meta(pattern=ID_PREFIX)] | UnsetType = UNSET
    parent: Annotated[str, msgspec.Meta(pattern=JOB_ID)] | UnsetType = UNSET
    error: ErrorCode | UnsetType = UNSET
    failure: Annotated[str, msgspec.Meta(pattern=ID_FORM)] | UnsetType = UNSET
    message: MessagePart | UnsetType = msgspec.field(default=UNSET, name=MESSAGE)
    arg: ArgValue | UnsetType = msgspec.field(default=UNSET, name=f"{ARG}PATH")
    since: GivenInstant | UnsetType = UNSET
    until: GivenInstant | UnsetType = UNSET
    sort: Literal["newest", "oldest"] = "newest"
    count: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: str | UnsetType = UNSET


PARAMETERS = tuple(field.encode_name for field in msgspec.structs.fields(ListQuery))


class ListDocument(TypedDict):
    """A list of jobs; of given `ids` it has stand-ins for jobs without a record.

    Attributes:
        jobs: By `sort`; of `ids` in their order.
        next_cursor: The `cursor` of the next page; null: this is the last one. Not there with `ids`.
        total: How many jobs match, on all pages. Not there without `count=1`.
        total_complete: Whether all were counted; else it is at least `total`. Not there without `count=1`.
        unsearched: Jobs passed over, because their arguments are too long for a filter; not there: none.
    """

    jobs: list[JobDocument | UnknownJobDocument]
    next_cursor: NotRequired[str | None]
    total: NotRequired[Matching]
    total_complete: NotRequired[bool]
    unsearched: NotRequired[Matching]


class JobList:
    """The handlers of `GET /v1/jobs`."""

    def __init__(self, service: Service, waiters: Waiters) -> None:
        self._service = service
        self._waiters = waiters
        self._turn = asyncio.Lock()

    async def list_jobs(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/jobs: those in `ids`, or a page of those that match."""
        given = parameters(request, PARAMETERS, ARG)
        if "ids" in given:
            if len(given) > 1:
                raise MalformedRequest("ids can't be combined with a filter")
            return await self._some(request, _ids(given["ids"]))
        limit = limit_of(given.get("limit"), PAGE_DEFAULT, PAGE_MAX)
        cursor, backend = given.get("cursor"), self._service.backend
        oldest_first = _word(given, "sort", ("newest", "oldest")) == "oldest"
        counted = _word(given, "count", ("0", "1")) == "1"
        try:
            job_filter = job_filter_of(conditions_of(given), self._service, request[GRANT].sees)
            page = await backend.page(job_filter, limit=limit, cursor=cursor, oldest_first=oldest_first)
        except InvalidFilter as fault:
            raise MalformedRequest(str(fault)) from None
        except InvalidCursor as error:
            detail = f"cursor is the next_cursor of an earlier page of the same sort, got {shown(str(error))!r}"
            raise MalformedRequest(detail) from None
        total = await backend.count(job_filter) if counted else None
        count, documents = fitting(page.jobs, self._service)
        jobs = page.jobs[: max(1, count)]
        cursor = page.cursor if len(jobs) == len(page.jobs) else backend.cursor_after(jobs[-1], oldest_first)
        end = _end(cursor, total, page.unsearched)
        return self._answer(request, jobs, documents if count == len(jobs) else None, end, {})

    async def _some(self, request: web.Request, ids: Sequence[str]) -> web.StreamResponse:
        """Answer with the jobs in `ids`; if the request prefers to wait, after a change.

        With If-None-Match a change is any difference from that version; without, any later one. If all jobs are
        terminal or unknown, no change can come.
        """
        if (waited := request.get(WAITED)) is not None:
            return await self._now(request, ids, waited.headers)
        sees = request[GRANT].sees
        listed = await self._listed(ids, sees)
        live = {job.id: job.version for job in listed if not isinstance(job, tuple) and job.live}
        news = hdrs.IF_NONE_MATCH in request.headers and not names_tag(known_tags(request), list_tag(listed, IDS_END))
        del listed  # or a wait would hold what is evicted meanwhile

        async def change() -> None:
            await self._service.backend.wait_for_change(live)

        wait_s = preferred_wait_s(request.headers)
        applied = await self._waiters.wait(request, wait_s, change if live and not news else None)
        if applied and live:
            async with self._turn:
                # One change may have woken thousands: each writes its list in turn, and other tasks run in between.
                await asyncio.sleep(0)
        return await self._now(request, ids, applied)

    async def _now(self, request: web.Request, ids: Sequence[str], applied: dict[str, str]) -> web.StreamResponse:
        sees = request[GRANT].sees
        listed = await self._listed(ids, sees)
        count, documents = fitting(listed, self._service)
        return self._answer(request, listed, documents if count == len(listed) else None, IDS_END, applied)

    async def _listed(self, ids: Sequence[str], sees: str | None) -> list[Listed]:
        found = await self._service.backend.get_many(ids, sees)
        return [job if isinstance(job, JobView) else (job_id, job) for job_id, job in zip(ids, found, strict=True)]

    def _answer(
        self,
        request: web.Request,
        listed: Sequence[Listed],
        documents: list[bytes] | None,
        end: bytes,
        more: dict[str, str],
    ) -> web.StreamResponse:
        """Answer with a list; None: its documents are too long to be held in memory together."""
        tags = known_tags(request)
        if documents is not None:
            reply = list_reply(listed, documents, end, tags)
            headers = {**reply.headers, **more}
            if reply.body is None:
                return web.Response(status=reply.head.status, headers=headers)
            return whole_answer(request, reply.body, headers)
        opaque_tag = list_tag(listed, end)
        told = {"ETag": f"W/{opaque_tag}", **more}
        if names_tag(tags, opaque_tag):
            return web.Response(status=304, headers={**COMMON, **told})
        ids = [job[0] if isinstance(job, tuple) else job.id for job in listed]
        return LongResponse(request, self._pieces(ids, request[GRANT].sees, end), {**JSON, **told})

    async def _pieces(self, ids: Sequence[str], sees: str | None, end: bytes) -> AsyncGenerator[bytes]:
        before = b'{"jobs":['
        for job_id in ids:
            (job,) = await self._listed((job_id,), sees)
            result_bytes = 0 if isinstance(job, tuple) else len(job.result or b"")
            small = result_bytes <= PIECE_BYTES
            if not small and not isinstance(job, tuple):
                job = replace(job, result=None)
            document = before + listed_document(job, self._service)
            before = b","
            del job  # its record may be evicted while the client takes the pieces
            if small:
                yield document
                continue
            async for piece in document_pieces(self._service, document, job_id, result_bytes):
                yield piece
        yield end


def _word(given: dict[str, str], name: str, words: tuple[str, str]) -> str:
    """Return the value of a parameter that has two of them; the first one by default."""
    word = given.get(name, words[0])
    if word not in words:
        raise MalformedRequest(f"{name} {not_one_of(word, words)}")
    return word


def _end(cursor: str | None, total: Count | None, unsearched: int) -> bytes:
    """Return the end of a page's document."""
    end: dict[str, Any] = {"next_cursor": cursor}
    if total is not None:
        end |= {"total": total.count, "total_complete": total.complete}
    if unsearched:
        end["unsearched"] = unsearched
    return b"]," + orjson.dumps(end)[1:]


def _ids(text: str) -> list[str]:
    """Return each id once, in the order of their first places."""
    ids = [job_id.strip() for job_id in text.split(",")]
    if len(ids) > IDS_MAX or not all(ids):
        raise MalformedRequest(f"ids takes 1 to {IDS_MAX} job ids, separated by commas; got {len(ids)}")
    return list(dict.fromkeys(ids))
