"""Flow: jobs that were submitted as one graph, or by a job of it, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from jobqueue.core.ids import cursor_at
from jobqueue.core.job import CANCELLED, EXPIRED, FAILED, SUCCEEDED, JobId, JobState
from jobqueue.core.lineage import OnFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobqueue.core.job import Job

FlowState = Literal["running", "succeeded", "failed", "cancelled"]
"""The state of a flow.

`running` while a job of it is live. Then `failed` if a job failed or expired; else `cancelled` if one was cancelled;
else `succeeded`.
"""


FoundFlow = tuple[float, "str | None", "str | None", "Mapping[JobState, int]", int]
"""A flow of an earlier process: `created_at`, `caller`, `owner`, `evicted` and `versions`, as of `Flow`."""


class Flow:
    """The jobs of a flow.

    Attributes:
        jobs: Those with a record.
        names: The jobs with a name.
        live: The number of live jobs.
        states: The same by their state.
        ended: The number of the others, by their state.
        version: The sum of the versions of all, and one for each.
        evicted: Of those that ended the ones without a record any more.
        versions: As `version`, of these.
    """

    __slots__ = (
        *("caller", "created_at", "ended", "evicted", "finished_at", "id"),
        *("jobs", "live", "names", "owner", "states", "version", "versions"),
    )

    def __init__(self, id: JobId, *, created_at: float, caller: str | None, owner: str | None) -> None:
        self.id = id
        self.created_at = created_at
        self.caller = caller
        self.owner = owner
        self.finished_at: float | None = None
        self.jobs: dict[JobId, None] = {}
        self.names: dict[str, JobId] = {}
        self.live = 0
        self.states: dict[JobState, int] = {}
        self.ended: dict[JobState, int] = {}
        self.evicted: dict[JobState, int] = {}
        self.version = self.versions = 0

    @property
    def size(self) -> int:
        """The number of jobs that it has had."""
        return len(self.jobs) + sum(self.evicted.values())

    def add(self, job: Job, name: str | None) -> None:
        """Add a job, live or terminal."""
        self.jobs[job.id] = None
        self.version += job.version + 1
        if name is not None:
            self.names[name] = job.id
        if job.live:
            self.live += 1
            self.states[job.state] = self.states.get(job.state, 0) + 1
            self.finished_at = None
        else:
            self.ended[job.state] = self.ended.get(job.state, 0) + 1

    def change(self, job: Job, was: JobState) -> None:
        """Count a job with a new version, which was live; `end` follows if it is no longer. Args: was: Its state."""
        self.version += 1
        self.states[was] -= 1
        if job.live:
            self.states[job.state] = self.states.get(job.state, 0) + 1

    def revive(self, job: Job, was: JobState) -> None:
        """Count a job that became live again. Args: was: The state in which it had ended."""
        self.version += 1
        self.ended[was] -= 1
        self.live += 1
        self.states[job.state] = self.states.get(job.state, 0) + 1
        self.finished_at = None

    def end(self, job: Job) -> None:
        """Count a job that ended."""
        self.live -= 1
        self.ended[job.state] = self.ended.get(job.state, 0) + 1
        if not self.live:
            self.finished_at = job.finished_at

    def drop(self, job: Job, name: str | None) -> None:
        """Forget a job with its record, but for its state."""
        del self.jobs[job.id]
        if name is not None:
            self.names.pop(name, None)
        self.evicted[job.state] = self.evicted.get(job.state, 0) + 1
        self.versions += job.version + 1

    def add_gone(self, job: Job) -> None:
        """Add a terminal job without a record."""
        for counts in (self.ended, self.evicted):
            counts[job.state] = counts.get(job.state, 0) + 1
        self.version += job.version + 1
        self.versions += job.version + 1


class FlowJob(msgspec.Struct, frozen=True, gc=False):
    """A job of a flow, as it was at one instant."""

    id: JobId
    name: str | None
    type: str
    queue: str
    state: JobState
    parents: tuple[JobId, ...]
    on_failure: OnFailure


class FlowView(msgspec.Struct, frozen=True, kw_only=True):
    """A flow, as it was at one instant.

    Attributes:
        finished_at: When its last job ended; None: it runs.
        counts: The number of its jobs by state, of all that it has had.
        evicted: The number of those without a record any more.
        jobs: Those with one, parents before their children; all, or a part of them.
        cursor: Where the part after them begins; None: there is none.
        version: Grows with every change of a job that a client can see.
    """

    id: JobId
    owner: str | None
    caller: str | None
    created_at: float
    finished_at: float | None
    state: FlowState
    counts: dict[JobState, int]
    evicted: int
    jobs: tuple[FlowJob, ...]
    cursor: str | None
    version: int


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A flow in a list of them, as it was at one instant, without its jobs.

    Attributes:
        live: The number of its live jobs.
        ended: The number of the others, by their state, of all that it has had.
        finished_at, evicted: As of `FlowView`.
    """

    id: JobId
    owner: str | None
    created_at: float
    finished_at: float | None
    state: FlowState
    live: int
    ended: dict[JobState, int]
    evicted: int


class FlowResult(msgspec.Struct, frozen=True):
    """The flow of a submission; `duplicate` if it existed already, by its key."""

    flow: FlowView
    duplicate: bool


def view_of_flow(flow: Flow, jobs: Sequence[Job], *, more: bool) -> FlowView:
    """Return a flow as it is now.

    Args:
        jobs: Those that the view has, in the order of their ids.
        more: Whether others come after them.
    """
    counts, shown = flow.states | flow.ended, []
    for job in jobs:
        lineage = job.lineage
        assert lineage is not None, "a job of a flow has a lineage"
        spec = job.spec
        shown.append(
            FlowJob(job.id, lineage.name, spec.type, spec.queue, job.state, lineage.parents, lineage.on_failure)
        )
    return FlowView(
        id=flow.id,
        owner=flow.owner,
        caller=flow.caller,
        created_at=flow.created_at,
        finished_at=flow.finished_at,
        state=state_of(flow),
        counts={state: counts[state] for state in JobState if counts.get(state)},
        evicted=sum(flow.evicted.values()),
        jobs=tuple(shown),
        cursor=cursor_at(jobs[-1].id, oldest_first=True) if more and jobs else None,
        version=flow.version,
    )


def summary_of_flow(flow: Flow) -> FlowSummary:
    """Return a flow as it is now, without looking at its jobs."""
    return FlowSummary(
        id=flow.id,
        owner=flow.owner,
        created_at=flow.created_at,
        finished_at=flow.finished_at,
        state=state_of(flow),
        live=flow.live,
        ended=dict(flow.ended),
        evicted=sum(flow.evicted.values()),
    )


def state_of(flow: Flow) -> FlowState:
    """Return the state of a flow."""
    ended = flow.ended
    if flow.live:
        return "running"
    if ended.get(FAILED) or ended.get(EXPIRED):
        return "failed"
    if ended.get(CANCELLED):
        return "cancelled"
    assert ended.get(SUCCEEDED), "a flow has jobs"
    return "succeeded"
