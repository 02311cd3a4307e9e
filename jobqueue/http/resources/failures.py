"""Failures: the failed jobs that are held, grouped by type, error and masked message.

A request sees the failures of the jobs that it sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue.core.failure_groups import FAILURE_SAMPLE_MAX
from jobqueue.core.masking import ID_FORM, MASKED_LENGTH_MAX
from jobqueue.core.report import ErrorCode
from jobqueue.errors import JobGone, JobNotFound
from jobqueue.http.errors import MalformedRequest, PathNotFound
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.instant import GivenInstant
from jobqueue.http.request.job_filter import (
    ARG,
    ID_PREFIX,
    JOB_ID,
    MESSAGE,
    InvalidFilter,
    conditions_of,
    job_filter_of,
)
from jobqueue.http.request.query import limit_of, not_one_of, parameters
from jobqueue.http.resources.included import shown_args
from jobqueue.http.resources.job_list import ArgValue, MessagePart
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Id, Instant  # noqa: TC001  # read from the annotations below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from jobqueue.core.failure_groups import FailureGroup, Tally
    from jobqueue.service import Service

GROUPS_DEFAULT, GROUPS_SHOWN_MAX = 50, 100

COMMON_ARGS_MAX = 20
"""Members of the arguments that a group tells at most."""

COMMON_VALUE_BYTES_MAX = 1000
COMMON_READ_BYTES_MAX = 64 * 1024
"""Bytes of JSON: of a value that is told, and of the arguments of a job that are compared."""

FailureId = Annotated[str, msgspec.Meta(pattern=ID_FORM)]
"""The id of a group of failures."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class FailuresQuery(msgspec.Struct):
    """The parameters of the query: which failed jobs are grouped, and which groups come first.

    Attributes:
        type: Only jobs of this type.
        queue: Only jobs in this queue.
        group: Only jobs of this group.
        id_prefix: Only jobs with an id that begins so.
        parent: Only jobs with this parent, by its id.
        error: Only jobs with this error.
        failure: Only jobs in this group of failures.
        message: Only jobs with this in the message of their error, in upper or lower case.
        arg: Only jobs with this value in their arguments. PATH stands for a path into them.
        since: Only jobs submitted then or later: RFC 3339, or Unix seconds.
        until: Only jobs submitted before: RFC 3339, or Unix seconds.
        sort: Which groups come first: those that failed last, or those with the most jobs.
        limit: Groups at most.
    """

    type: str | UnsetType = UNSET
    queue: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    id_prefix: Annotated[str, msgspec.Meta(pattern=ID_PREFIX)] | UnsetType = UNSET
    parent: Annotated[str, msgspec.Meta(pattern=JOB_ID)] | UnsetType = UNSET
    error: ErrorCode | UnsetType = UNSET
    failure: FailureId | UnsetType = UNSET
    message: MessagePart | UnsetType = msgspec.field(default=UNSET, name=MESSAGE)
    arg: ArgValue | UnsetType = msgspec.field(default=UNSET, name=f"{ARG}PATH")
    since: GivenInstant | UnsetType = UNSET
    until: GivenInstant | UnsetType = UNSET
    sort: Literal["newest", "count"] = "newest"
    limit: Annotated[int, msgspec.Meta(ge=1, le=GROUPS_SHOWN_MAX)] = GROUPS_DEFAULT


PARAMETERS = tuple(field.encode_name for field in msgspec.structs.fields(FailuresQuery))


class OtherFailuresDocument(TypedDict):
    """Failed jobs that are not told apart, since there are too many groups.

    Attributes:
        count: Number of the jobs.
        first_at: When the oldest of them failed.
        last_at: When the newest of them failed.
        counts: How many failed in each bucket, oldest first.
    """

    count: Count
    first_at: Instant
    last_at: Instant
    counts: list[Count]


class FailureGroupDocument(OtherFailuresDocument):
    """Failed jobs of one type with one error, and messages that differ only in what is masked.

    Attributes:
        count: Number of the jobs.
        first_at: When the oldest of them failed.
        last_at: When the newest of them failed.
        counts: How many failed in each bucket, oldest first.
        id: Its id, the same one in each run: the filter `failure` of lists and actions takes it.
        type: The type of the jobs.
        code: The code of their error.
        message: The message of their error, cut, with quoted texts, numbers and ids as `#`.
        sample: The ids of the jobs that failed last.
    """

    id: FailureId
    type: str
    code: ErrorCode
    message: Annotated[str, msgspec.Meta(max_length=MASKED_LENGTH_MAX)]
    sample: Annotated[list[Id], msgspec.Meta(max_length=FAILURE_SAMPLE_MAX)]


class FailuresDocument(TypedDict):
    """The failed jobs that are held, in groups.

    Attributes:
        groups: By `sort`.
        total: How many groups were told apart; `groups` has at most `limit` of them.
        other: All jobs that are in none of these groups; null: there are none.
        complete: Whether all failed jobs were searched; else there are older ones.
        at: The end of the last bucket of `counts`.
        step_s: Seconds of a bucket.
    """

    groups: list[FailureGroupDocument]
    total: Count
    other: OtherFailuresDocument | None
    complete: bool
    at: Instant
    step_s: int


class FailureDocument(FailureGroupDocument):
    """One group of failures, with what its jobs have in common.

    Attributes:
        count: Number of the jobs.
        first_at: When the oldest of them failed.
        last_at: When the newest of them failed.
        counts: How many failed in each bucket, oldest first.
        id: Its id, the same one in each run: the filter `failure` of lists and actions takes it.
        type: The type of the jobs.
        code: The code of their error.
        message: The message of their error, cut, with quoted texts, numbers and ids as `#`.
        sample: The ids of the jobs that failed last.
        common_args: The members of the arguments that are equal in all jobs of the sample, as they are shown (values
            that the handler redacts are hidden). Long values, and members beyond the twentieth, are left out.
        sampled: How many jobs were compared; others have no arguments, or long ones.
        complete: Whether all failed jobs were searched.
        at: The end of the last bucket of `counts`.
        step_s: Seconds of a bucket.
    """

    common_args: dict[str, Any]
    sampled: Count
    complete: bool
    at: Instant
    step_s: int


class FailedJobs:
    """The handlers of `/v1/failures`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/failures: the groups."""
        given = parameters(request, PARAMETERS, ARG)
        by_count = _by_count(given.pop("sort", None))
        limit = limit_of(given.pop("limit", None), GROUPS_DEFAULT, GROUPS_SHOWN_MAX, "groups")
        try:
            job_filter = job_filter_of(conditions_of(given), self._service, request[GRANT].sees)
        except InvalidFilter as fault:
            raise MalformedRequest(str(fault)) from None
        found = await self._service.backend.failures(job_filter)
        groups = sorted(found.groups, key=lambda group: -group.count) if by_count else found.groups
        answer: FailuresDocument = {
            "groups": [self._group(group) for group in groups[:limit]],
            "total": len(groups),
            "other": None if found.other is None else self._tally(found.other),
            "complete": found.complete,
            "at": timestamp(self._service.wall(found.at)),
            "step_s": found.step_s,
        }
        return whole_answer(request, orjson.dumps(answer), JSON)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/failures/{failure}: one group, with what its jobs have in common."""
        given, sees = request.match_info["failure"], request[GRANT].sees
        try:
            job_filter = job_filter_of({"failure": given}, self._service, sees)
        except InvalidFilter as fault:
            raise PathNotFound(str(fault)) from None
        found = await self._service.backend.failures(job_filter)
        if not found.groups:
            searched = "" if found.complete else " among the newest"
            raise PathNotFound(
                f"no failed job{searched} is in the group {given}: they were retried, deleted or evicted"
            )
        (group,) = found.groups
        common, sampled = await self._common_args(group.sample, sees)
        document = self._group(group)
        at = timestamp(self._service.wall(found.at))
        answer = {**document, "sampled": sampled, "complete": found.complete, "at": at, "step_s": found.step_s}
        body = b'%b,"common_args":%b}' % (orjson.dumps(answer)[:-1], msgspec.json.encode(common))
        return whole_answer(request, body, JSON)

    async def _common_args(self, ids: Sequence[str], sees: str | None) -> tuple[dict[str, msgspec.Raw], int]:
        """Return the members that the arguments of all these jobs have, and how many jobs have arguments."""
        common: dict[str, msgspec.Raw] | None = None
        sampled = 0
        for job_id in ids:
            try:
                job = await self._service.backend.get(job_id, sees)
            except (JobNotFound, JobGone):
                continue
            args = shown_args(job, self._service) if len(job.args) <= COMMON_READ_BYTES_MAX else b""
            try:
                members = _MEMBERS.decode(args)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # none, or hidden as a whole
            sampled += 1
            if common is None:
                common = {name: raw for name, raw in members.items() if len(bytes(raw)) <= COMMON_VALUE_BYTES_MAX}
            else:
                common = {name: raw for name, raw in common.items() if members.get(name) == raw}
        named = [(name, raw) for name, raw in (common or {}).items() if len(name) <= MASKED_LENGTH_MAX]
        return dict(named[:COMMON_ARGS_MAX]), sampled

    def _group(self, group: FailureGroup) -> FailureGroupDocument:
        return {
            "id": group.id,
            "type": group.type,
            "code": ErrorCode(group.code),
            "message": group.message,
            "sample": group.sample,
            **self._tally(group),
        }

    def _tally(self, tally: Tally) -> OtherFailuresDocument:
        wall = self._service.wall
        return {
            "count": tally.count,
            "first_at": timestamp(wall(tally.first_at)),
            "last_at": timestamp(wall(tally.last_at)),
            "counts": tally.counts,
        }


def _by_count(text: str | None) -> bool:
    words = ("newest", "count")
    if text is not None and text not in words:
        raise MalformedRequest(f"sort {not_one_of(text, words)}")
    return text == "count"
