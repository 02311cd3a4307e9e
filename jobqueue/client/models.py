"""The client's types: documents of jobs and queues, options, filters."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

import msgspec

from jobqueue.core.job import LIVE, JobState
from jobqueue.core.report import Progress
from jobqueue.errors import JobFailed, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobqueue.duration import Duration

PathLike = str | os.PathLike[str]
Scalar = str | int | float | bool | None
Include = Literal["args", "spec", "files", "events"]
UniqueMode = Literal["return", "reject", "replace", "debounce"]


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed; `code` is one of `jobqueue.core.report.ErrorCode`, or a newer server's."""

    code: str
    message: str


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a job that did not succeed; `traceback` is the tail of it, where there was one."""

    attempt: int
    started_at: datetime
    ended_at: datetime
    code: str
    message: str
    traceback: str | None


class WaitingFor(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job waits: `type-quarantined`, `queue-paused`, `limit` or `parents`; `retry_at`: its start, if known."""

    reason: str
    retry_at: datetime | None = None


class JobDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A job's document.

    Attributes:
        position: Among the waiting jobs, from 1; None if unknown.
        eta_s: Estimated seconds until its end; None if unknown.
        waiting_for: Why a queued or waiting job waits, beside the jobs before it.
        history: Its attempts that failed, if there were any.
        args, spec, files, result_file, events: Only if they were included in the question.
        deduplicated: Of a submission's answer: this is an earlier submission's job, by its unique value or key.
    """

    id: str
    type: str
    queue: str
    state: JobState
    attempt: int
    attempts_max: int
    priority: int
    group: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None
    position: int | None
    eta_s: float | None
    poll_after_ms: int | None
    result: Any
    error: JobError | None
    waiting_for: WaitingFor | None = None
    history: tuple[FailedAttempt, ...] | None = None
    args: Any = None
    spec: dict[str, Any] | None = None
    files: tuple[dict[str, Any], ...] | None = None
    result_file: dict[str, Any] | None = None
    events: tuple[dict[str, Any], ...] | None = None
    deduplicated: bool = False

    @property
    def over(self) -> bool:
        return self.state not in LIVE

    def unwrap(self) -> Any:
        """Return the result of a job that succeeded.

        Raises:
            JobFailed: It ended in another way; `code` and `message` say why.
            WrongState: It is not over yet.
        """
        if self.state is JobState.SUCCEEDED:
            return self.result
        if not self.over:
            raise WrongState(f"the job is {self.state}, so it has no result yet", state=self.state)
        error = self.error
        raise JobFailed(self.state, error.code if error else None, error.message if error else None)


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a HEAD; `code` is 202 while the job is live and 200 once it is terminal."""

    code: int
    state: JobState
    etag: str | None
    retry_after_s: float | None

    @property
    def over(self) -> bool:
        return self.state not in LIVE


class FlowJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a flow; `after` has the ids of its parents. `job` is its document, if that was asked for."""

    id: str
    name: str | None
    type: str
    queue: str
    state: JobState
    after: tuple[str, ...]
    on_failure: str
    job: dict[str, Any] | None = None


class FlowDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A flow's document.

    Attributes:
        state: `running`, `succeeded`, `failed` or `cancelled`.
        counts: The number of its jobs by state.
        evicted: The number of its jobs without a record any more.
        jobs: Those with one, parents before their children; the first 1,000, or those at a cursor.
        next_cursor: The cursor of the jobs after these; None: there are none.
        deduplicated: Of a submission's answer: this is an earlier submission's flow, by its key.
    """

    id: str
    state: str
    created_at: datetime
    finished_at: datetime | None
    counts: dict[str, int]
    evicted: int
    jobs: tuple[FlowJob, ...]
    next_cursor: str | None = None
    deduplicated: bool = False

    @property
    def over(self) -> bool:
        return self.state != "running"

    def job(self, name: str) -> FlowJob:
        """Return one of its jobs, by name. Raises KeyError."""
        return {job.name: job for job in self.jobs}[name]


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A flow in a list, without its jobs.

    Attributes:
        live: The number of its live jobs.
        ended: The number of the others by state.
        state, evicted: As of `FlowDocument`.
    """

    id: str
    state: str
    created_at: datetime
    finished_at: datetime | None
    live: int
    ended: dict[str, int]
    evicted: int

    @property
    def over(self) -> bool:
        return self.state != "running"


class FlowPage(msgspec.Struct, frozen=True):
    """Flows, newest first; `next_cursor` begins the next page (None: the last page)."""

    flows: tuple[FlowSummary, ...]
    next_cursor: str | None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; `next_cursor` begins the next page (None: the last page).

    With `count`: `total` jobs match, or at least so many (not `total_complete`). `unsearched` jobs were passed over:
    their arguments are too long to be looked into.
    """

    jobs: tuple[JobDocument, ...]
    next_cursor: str | None
    total: int | None = None
    total_complete: bool | None = None
    unsearched: int = 0


class BulkCount(msgspec.Struct, frozen=True):
    """Number of jobs changed; `skipped` matched too, but were in a wrong state by then, or rejected.

    `skipped_by`: the skipped ones, by the name of the problem that each met, such as `queue-full`. Of a dry run: the
    number that would be tried, and a `sample` of their ids. `unsearched`: as of a page.
    """

    count: int
    skipped: int = 0
    unsearched: int = 0
    sample: tuple[str, ...] = ()
    skipped_by: dict[str, int] = {}


class Unique(TypedDict):
    """A value that one live job of its type may have, and the mode of further submissions."""

    value: str
    mode: UniqueMode


class SubmitOptions(TypedDict, total=False):
    """The options of a submission, beside type and arguments."""

    queue: str
    priority: int
    delay_s: Duration
    run_at: datetime
    start_by_s: Duration
    timeout_s: Duration
    attempts_max: int
    group: str
    unique: str | Unique
    ttl_s: Duration
    callback: str
    after: Sequence[str]
    on_failure: Literal["cancel", "run"]


class Submission(SubmitOptions, total=False):
    """One submission of a batch; only `type` is required."""

    type: Required[str]
    args: Mapping[str, Any]


class JobFilter(TypedDict, total=False):
    """A filter of jobs, and how to act on them.

    `since`, `until` and `older_than_s` are about the submission; `failure` is the id of a group of failures, `message`
    a part of the error's, `args` has values by path.
    """

    state: str
    type: str
    queue: str
    group: str
    id_prefix: str
    parent: str
    error: str
    failure: str
    message: str
    args: Mapping[str, Scalar]
    since: datetime | float | str
    until: datetime | float | str
    older_than_s: Duration
    sort: Literal["newest", "oldest"]
    limit: int
    dry_run: bool


class ListFilter(TypedDict, total=False):
    """A filter of a list, its order, and the start of its page."""

    state: str
    type: str
    queue: str
    group: str
    id_prefix: str
    parent: str
    error: str
    failure: str
    message: str
    args: Mapping[str, Scalar]
    since: datetime | float | str
    until: datetime | float | str
    sort: Literal["newest", "oldest"]
    count: bool
    limit: int
    cursor: str


class FailureFilter(TypedDict, total=False):
    """A filter of failed jobs, and which of their groups come first: those that failed last, or the largest."""

    type: str
    queue: str
    group: str
    id_prefix: str
    parent: str
    error: str
    failure: str
    message: str
    args: Mapping[str, Scalar]
    since: datetime | float | str
    until: datetime | float | str
    sort: Literal["newest", "count"]
    limit: int


class QueueChanges(TypedDict, total=False):
    """Settings of a queue that can be changed while it runs."""

    workers: int
    capacity: int
    discipline: Literal["fifo", "lifo", "priority", "fair", "adaptive"]
    weight: int


class ScheduleOptions(TypedDict, total=False):
    """When a schedule submits its job: `every_s` or `cron` is required."""

    every_s: Duration
    cron: str
    tz: str
    queue: str
    priority: int
    jitter_s: Duration
    overlap: Literal["skip", "queue", "replace"]
    catch_up: Literal["none", "one", "all"]


class QueueAlternative(TypedDict, total=False):
    """Settings of a queue to compare with the present ones in a simulation."""

    workers: int
    capacity: int
    discipline: Literal["fifo", "lifo", "priority", "fair", "adaptive"]
    patience_s: float


class Simulation(TypedDict, total=False):
    """What to simulate.

    `arrivals_per_s` and `run_s` replace what is measured; `returns`: when rejected clients try again.
    """

    loads: list[float]
    alternatives: list[QueueAlternative]
    seconds: float
    seed: int
    window_s: int
    arrivals_per_s: float
    run_s: float
    patience_s: float
    returns: Literal["obedient", "disobedient", "never"]
