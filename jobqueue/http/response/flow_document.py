"""The documents of flows: their members, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.core.flow import FlowState
from jobqueue.core.ids import cursor_at
from jobqueue.core.job import LIVE, JobState
from jobqueue.core.lineage import OnFailure
from jobqueue.http.response.job_document import JobDocument, UnknownJobDocument
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Id, Instant

if TYPE_CHECKING:
    from jobqueue.core.flow import FlowJob, FlowSummary, FlowView
    from jobqueue.service import Service

SHOWN_MAX = 1000
"""Jobs that a document shows at most: a whole graph, and more of those that were submitted at run time by cursors."""

_ENDED = tuple(state for state in JobState if state not in LIVE)


class FlowJobDocument(msgspec.Struct, gc=False):
    """A job of a flow.

    Attributes:
        id: Names the job.
        name: Its name in the flow; null: it was submitted without one, at run time.
        type: The handler's registered name.
        queue: The queue that holds the job.
        state: Its state.
        after: Ids of its parents.
        on_failure: What happens to it if a parent does not succeed.
        job: Its whole document, or why there is none any more; only with `?include=jobs`.
    """

    id: Id
    name: str | None
    type: str
    queue: str
    state: JobState
    after: tuple[Id, ...]
    on_failure: OnFailure
    job: JobDocument | UnknownJobDocument | UnsetType = UNSET


class FlowDocument(msgspec.Struct, gc=False):
    """A flow: jobs that were submitted as one graph, and those that they have submitted.

    Attributes:
        id: Names the flow.
        state: `running` while a job is live; then `failed` if one failed or expired, `cancelled` if one was cancelled,
            else `succeeded`.
        created_at: When it was accepted.
        finished_at: When its last job ended; null: it runs.
        counts: The number of its jobs in each state, of all that it has had.
        evicted: The number of jobs without a record any more.
        next_cursor: The `cursor` of the jobs after these; null: there are none.
        jobs: Its jobs with a record, parents before their children; the first 1,000, or those at the `cursor`.
    """

    id: Id
    state: FlowState
    created_at: Instant
    finished_at: Instant | None
    counts: dict[JobState, Count]
    evicted: Count
    next_cursor: str | None
    jobs: list[FlowJobDocument]


class FlowSummaryDocument(msgspec.Struct, gc=False):
    """A flow in a list of flows, without its jobs.

    Attributes:
        id: Names the flow.
        state: As of the flow.
        created_at: When it was accepted.
        finished_at: When its last job ended; null: it runs.
        live: The number of its live jobs.
        ended: The number of the others in each state, of all that it has had.
        evicted: The number of jobs without a record any more.
    """

    id: Id
    state: FlowState
    created_at: Instant
    finished_at: Instant | None
    live: Count
    ended: dict[JobState, Count]
    evicted: Count


def flow_document(flow: FlowView, service: Service, *, with_jobs: bool = True) -> FlowDocument:
    """Return a flow's document, with the first `SHOWN_MAX` jobs of the view. Args: with_jobs: Whether it has any."""
    shown, cursor = (flow.jobs, flow.cursor) if with_jobs else ((), None)
    if len(shown) > SHOWN_MAX:
        shown, cursor = shown[:SHOWN_MAX], cursor_at(shown[SHOWN_MAX - 1].id, oldest_first=True)
    wall = service.wall_offset_s()
    finished_at = flow.finished_at
    return FlowDocument(
        id=flow.id,
        state=flow.state,
        created_at=timestamp(wall + flow.created_at),
        finished_at=None if finished_at is None else timestamp(wall + finished_at),
        counts={state: flow.counts.get(state, 0) for state in JobState},
        evicted=flow.evicted,
        next_cursor=cursor,
        jobs=[_job_document(job) for job in shown],
    )


def summary_document(flow: FlowSummary, service: Service) -> FlowSummaryDocument:
    """Return a flow's document in a list."""
    wall = service.wall_offset_s()
    finished_at = flow.finished_at
    return FlowSummaryDocument(
        id=flow.id,
        state=flow.state,
        created_at=timestamp(wall + flow.created_at),
        finished_at=None if finished_at is None else timestamp(wall + finished_at),
        live=flow.live,
        ended={state: flow.ended.get(state, 0) for state in _ENDED},
        evicted=flow.evicted,
    )


def _job_document(job: FlowJob) -> FlowJobDocument:
    return FlowJobDocument(job.id, job.name, job.type, job.queue, job.state, job.parents, job.on_failure)
