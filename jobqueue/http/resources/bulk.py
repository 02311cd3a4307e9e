"""Actions on all jobs that match a filter: `POST /v1/jobs:retry`, `:cancel`, `:delete` and `:run`.

A filter without a condition, a null or an unknown name is rejected: it would act on more jobs than intended.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue.api_limits import SAMPLE_MAX
from jobqueue.core.job import JobState
from jobqueue.core.job_filter import Scalar
from jobqueue.core.masking import ID_FORM
from jobqueue.core.report import ErrorCode
from jobqueue.errors import InvalidField
from jobqueue.handlers import Seconds
from jobqueue.handlers.validation import escape
from jobqueue.http.errors import InvalidRequest
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.body import check_head
from jobqueue.http.request.console_action import ACTED, Acted, told
from jobqueue.http.request.instant import UNIX_S_MAX
from jobqueue.http.request.job_filter import ARG, ARGS_MAX, ID_PREFIX, JOB_ID, MESSAGE, InvalidFilter, job_filter_of
from jobqueue.http.request.json_body import decode
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.problems import TABLE
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.value_types import Count, Id  # noqa: TC001  # read from the annotations below

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.backend.base import BulkAction
    from jobqueue.core.job_filter import JobFilter
    from jobqueue.errors import JobQueueError
    from jobqueue.http.request.body import Bodies
    from jobqueue.service import Service

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)] | Annotated[float, msgspec.Meta(ge=0, lt=UNIX_S_MAX)]
Sort = Literal["newest", "oldest"]


class BulkFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter of jobs, and how to act on them: all conditions that are given must match. At least one is required.

    Attributes:
        state: Jobs in this state.
        type: Jobs of this type.
        queue: Jobs in this queue.
        group: Jobs of this group.
        id_prefix: Jobs with an id that begins so.
        parent: Jobs with this parent, by its id.
        error: Jobs with this error.
        failure: Failed jobs in this group of failures.
        message: Jobs with this in the message of their error, in upper or lower case.
        args: Values in the arguments of the jobs, by path, such as `user.id`.
        since: Jobs submitted then or later: RFC 3339, or Unix seconds.
        until: Jobs submitted before: RFC 3339, or Unix seconds.
        older_than_s: Jobs submitted longer ago, in seconds.
        sort: Which jobs are met first; no condition.
        limit: Jobs that are changed at most; no condition.
        dry_run: Change nothing, and answer with the jobs that it would be tried on; no condition.
    """

    state: JobState | UnsetType = UNSET
    type: Text | UnsetType = UNSET
    queue: Text | UnsetType = UNSET
    group: Text | UnsetType = UNSET
    id_prefix: Annotated[str, msgspec.Meta(pattern=ID_PREFIX)] | UnsetType = UNSET
    parent: Annotated[str, msgspec.Meta(pattern=JOB_ID)] | UnsetType = UNSET
    error: ErrorCode | UnsetType = UNSET
    failure: Annotated[str, msgspec.Meta(pattern=ID_FORM)] | UnsetType = UNSET
    message: Text | UnsetType = UNSET
    args: Annotated[dict[str, Scalar], msgspec.Meta(max_length=ARGS_MAX)] | UnsetType = UNSET
    since: Instant | UnsetType = UNSET
    until: Instant | UnsetType = UNSET
    older_than_s: Seconds | UnsetType = UNSET
    sort: Sort | UnsetType = UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET


HOW = ("sort", "limit", "dry_run")
"""The fields that are no conditions."""

FILTER_TOLD_MAX = 500
"""Maximum length of a filter in the list of what the console has changed, in characters."""

CONDITIONS = tuple(name for name in BulkFilter.__struct_fields__ if name not in HOW)


class BulkDocument(TypedDict):
    """What an action on many jobs did.

    Attributes:
        count: Jobs that the action took effect on; of a dry run, those that it would be tried on.
        skipped: Jobs that matched and could not be acted on; not there: none.
        skipped_by: How many of them met each problem, by its name; not there: none.
        unsearched: Jobs passed over, because their arguments are too long for a filter; not there: none.
        sample: The first of their ids; not there: it was no dry run.
    """

    count: Count
    skipped: NotRequired[Count]
    skipped_by: NotRequired[dict[str, Count]]
    unsearched: NotRequired[Count]
    sample: NotRequired[Annotated[list[Id], msgspec.Meta(max_length=SAMPLE_MAX)]]


class Bulk:
    """The handlers of the actions on many jobs."""

    def __init__(self, service: Service, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs:retry: retry failed jobs."""
        return await self._act(request, "retry")

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs:cancel: cancel live jobs."""
        return await self._act(request, "cancel")

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs:delete: delete terminal records."""
        return await self._act(request, "delete")

    async def run(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs:run: let delayed jobs start now."""
        return await self._act(request, "run_now")

    async def _act(self, request: web.Request, action: BulkAction) -> web.StreamResponse:
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), BulkFilter)
        job_filter = self._filter(given, request[GRANT].sees)
        dry_run = given.dry_run is True
        limit = None if isinstance(given.limit, UnsetType) else given.limit
        oldest_first = given.sort == "oldest"
        done = await self._service.backend.bulk(
            action, job_filter, limit=limit, oldest_first=oldest_first, dry_run=dry_run
        )
        conditions = {name: value for name in CONDITIONS if (value := getattr(given, name)) is not UNSET}
        request[ACTED] = Acted(told(conditions, FILTER_TOLD_MAX), done.count, changes=not dry_run)
        answer: BulkDocument = {"count": done.count}
        if done.skipped:
            answer["skipped"] = done.skipped
            answer["skipped_by"] = _by_problem(done.skipped_by)
        if done.unsearched:
            answer["unsearched"] = done.unsearched
        if dry_run:
            answer["sample"] = list(done.sample)
        return whole_answer(request, orjson.dumps(answer), JSON)

    def _filter(self, given: BulkFilter, owner: str | None) -> JobFilter:
        conditions = {name: value for name in CONDITIONS if (value := getattr(given, name)) is not UNSET}
        if not conditions:
            detail = f"an empty filter would match all; give any of: {', '.join(CONDITIONS)}"
            raise InvalidRequest(InvalidField(pointer="", detail=detail))
        if "args" in conditions:
            conditions["args"] = {path: (value,) for path, value in conditions["args"].items()}
        try:
            return job_filter_of(conditions, self._service, owner)
        except InvalidFilter as fault:
            raise InvalidRequest(InvalidField(pointer=_pointer(fault.name), detail=fault.detail)) from None


def _by_problem(skipped_by: dict[type[JobQueueError], int]) -> dict[str, int]:
    """Return counts by the names of problems, of those by the classes of errors."""
    counts: dict[str, int] = {}
    for kind, count in skipped_by.items():
        slug = next(TABLE[base].slug for base in kind.__mro__ if base in TABLE)
        counts[slug] = counts.get(slug, 0) + count
    return counts


def _pointer(name: str) -> str:
    """Return where a condition stands in the body, by its name in a query."""
    if name.startswith(ARG):
        return f"/args/{escape(name.removeprefix(ARG))}"
    return "/message" if name == MESSAGE else f"/{name}"
