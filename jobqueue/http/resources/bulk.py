"""Actions on all jobs that match a filter: `POST /v1/jobs:retry`, `:cancel` and `:delete`.

An empty filter, a null or an unknown name is rejected: it would act on more jobs than intended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue.backend.base import BulkAction, JobFilter
from jobqueue.core.job import JobState
from jobqueue.errors import InvalidField
from jobqueue.handlers import Seconds
from jobqueue.http.errors import InvalidRequest
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.body import check_head
from jobqueue.http.request.json_body import decode
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.value_types import Count  # noqa: TC001  # read from the annotations below

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.http.request.body import Bodies
    from jobqueue.service import Service

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class BulkFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter of jobs: all that is given must match. At least one member is required.

    Attributes:
        state: Jobs in this state.
        type: Jobs of this type.
        queue: Jobs in this queue.
        group: Jobs of this group.
        older_than_s: Jobs submitted longer ago, in seconds.
    """

    state: JobState | UnsetType = UNSET
    type: Text | UnsetType = UNSET
    queue: Text | UnsetType = UNSET
    group: Text | UnsetType = UNSET
    older_than_s: Seconds | UnsetType = UNSET


class BulkDocument(TypedDict):
    """What an action on many jobs did.

    Attributes:
        count: Jobs that the action took effect on.
        skipped: Jobs that matched and could not be acted on; not there: none.
    """

    count: Count
    skipped: NotRequired[Count]


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

    async def _act(self, request: web.Request, action: BulkAction) -> web.StreamResponse:
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), BulkFilter)
        done = await self._service.backend.bulk(action, self._filter(given, request[GRANT].sees))
        answer: BulkDocument = {"count": done.count}
        if done.skipped:
            answer["skipped"] = done.skipped
        return whole_answer(request, orjson.dumps(answer), JSON)

    def _filter(self, given: BulkFilter, owner: str | None) -> JobFilter:
        fields = {name: value for name in BulkFilter.__struct_fields__ if (value := getattr(given, name)) is not UNSET}
        if not fields:
            known = ", ".join(BulkFilter.__struct_fields__)
            raise InvalidRequest(
                InvalidField(pointer="", detail=f"an empty filter would match all; give any of: {known}")
            )
        if "older_than_s" in fields:
            fields["created_before"] = self._service.backend.now() - fields.pop("older_than_s")
        return JobFilter(**fields, owner=owner)
