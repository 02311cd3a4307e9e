"""The Backend port: the operations on jobs that HTTP, `Service` and the workers use.

Kept small, so that a backend outside this process can be added beside `memory`
without a change above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from jobqueue.backend.flow_operations import FlowOperations
from jobqueue.core.job import JobId
from jobqueue.core.job_view import AnyJob, JobView
from jobqueue.errors import JobQueueError  # read from the annotations of BulkCount

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.core.caller_holdings import CallerHolding
    from jobqueue.core.counting.counts import Durations, QueueCounts, TypeCounts
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.core.events import Event
    from jobqueue.core.failure_groups import Failures
    from jobqueue.core.job import JobSpec, Lease, Uniqueness
    from jobqueue.core.job_filter import JobFilter
    from jobqueue.core.limits.limiter_stats import LimiterStats
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.report import Failure, Progress, Success
    from jobqueue.core.scheduling.eta import Estimate
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import Asked, SubmitReceipt, SubmitResult
    from jobqueue.errors import JobGone, JobNotFound, Refused

BulkAction = Literal["retry", "cancel", "delete", "run_now"]


class Page(msgspec.Struct, frozen=True):
    """Jobs, in the order asked for, and where the next page begins (None: this is the last one).

    A page may hold fewer jobs than asked for, even none, and still have a next one:
    the search ends after a bounded amount of work. `unsearched`: jobs passed over, since their arguments are too long
    to be looked into.
    """

    jobs: list[JobView]
    cursor: str | None
    unsearched: int = 0


class Count(msgspec.Struct, frozen=True):
    """The number of jobs that match; if it is not complete, the search ended before the last record."""

    count: int
    complete: bool


class InvalidCursor(Exception):
    """A cursor is none of this backend; its text is the argument."""


class BulkCount(msgspec.Struct, frozen=True):
    """The result of a bulk action: jobs that it changed, and those that it could not (a full queue).

    `unsearched`: as of a page. `sample`: the first ids of a dry run. `skipped_by`: the skipped ones, by the class
    of the error that each met.
    """

    count: int
    skipped: int
    unsearched: int = 0
    sample: tuple[JobId, ...] = ()
    skipped_by: dict[type[JobQueueError], int] = msgspec.field(default_factory=dict)


class Snapshot(Protocol):
    """Answers without waiting, from a copy of the state in this process.

    Exact in the backend that keeps the jobs in this process; a store outside it refreshes the copy with each reply, at
    least once a second. So an answer is a good guess, and an operation of `Backend` decides.
    """

    def now(self) -> float:
        """Return the seconds on the clock of every `…_at` in a job record."""

    def refuse_unseen(
        self,
        queue: str | None = None,
        uniqueness: Uniqueness | None = None,
        *,
        job_type: str = "",
        may_be_unique: bool = True,
    ) -> Refused | None:
        """Return the rejection of a submission before its body is read, if every such one would be rejected now.

        Args:
            queue: Its queue, if known: then its type and its unique value are known, too.
            uniqueness: Its caller; its key, which may belong to a job that is held (the fingerprint is not read); its
                unique value, if its queue is known.
            may_be_unique: Whether it may have a unique value, if its queue is not known.
        """

    def estimate(self, job: AnyJob) -> Estimate:
        """Estimate when a live job starts and ends, and when to poll again.

        Of a record that has changed since it was read little may be known. A store outside this process knows the
        position of a job that `get` has read a moment ago.
        """

    def stats(self) -> tuple[StoreStats, Sequence[QueueStats]]:
        """Return the counts of the job store, and of each queue by name."""

    def counts(self, queue: str) -> QueueCounts:
        """Return what a queue has counted since the start, by type. Takes some microseconds a type."""
        ...

    def type_counts(self, job_type: str, queue: str) -> tuple[TypeCounts, Durations]:
        """Return what all queues have counted of a type, and the waits of one. Takes some microseconds a queue."""
        ...

    def quarantined(self) -> list[QuarantinedType]:
        """Return the types in quarantine."""
        ...

    def holding(self, caller: str | None) -> CallerHolding:
        """Return what a caller holds of the job store; None: the application itself."""
        ...

    def holders(self, most: int) -> tuple[list[str | None], bool]:
        """Return callers that hold records, those with the most among them, and whether these are all."""
        ...

    def limiters(self) -> Sequence[LimiterStats]:
        """Return the counts of each limiter: permits held, jobs waiting."""


class Workers(Protocol):
    """The workers of this process, as far as a backend needs them. Their methods are called on the loop."""

    def reinforce(self, jobs: int) -> None:
        """This number of jobs may be taken while no `lease`, or too few, wait.

        A hint, which may be missing or wrong: a later `lease` takes the jobs all the same, or waits.
        """

    def free(self) -> int:
        """Return the number of jobs that could begin at once, those that waiting `lease` calls get included."""
        ...

    def stop(self, job_id: JobId, attempt: int) -> None:
        """Stop an attempt, if it runs here: it then reports `stopped`, or its own outcome."""

    def abandon(self, job_id: JobId, attempt: int) -> None:
        """An attempt has lost its lease: its outcome would be rejected."""


class EndListener(Protocol):
    """Waits for a job's end, without a task; an object of its own for each wait."""

    def ended(self, job: AnyJob) -> None:
        """The job is terminal. Called once, on the loop, and must not raise.

        The record may be the live one: to be read at once, and not to be kept.
        """
        ...


class ChangeListener(Protocol):
    """Waits for a change of some jobs, without a task; an object of its own for each wait."""

    def changed(self) -> None:
        """One of the jobs has changed, or was removed. Called on the loop, maybe again, and must not raise."""
        ...


class Backend(Snapshot, FlowOperations, Protocol):
    """Keeps the jobs. Every instant it takes or gives is on `now()`'s clock.

    Each operation may wait for a store outside this process. What is done at once concerns this process alone: the
    answers of `Snapshot`, `lease_now`, `end_now`, `pass_on`, `cursor_after`, `set_permits`, `stop_admitting`, `excuse`
    and `subscribe`; `ending` waits by its future. A store outside it may return None from `lease_now`, and False from
    `end_now`, at all times. Records come as views, which don't change any more.

    Attributes:
        keeps: Whether jobs outlive this process.
        shared: Whether other processes may have the same jobs, and run them, at the same time.
    """

    keeps: bool
    shared: bool

    async def start(self, workers: Workers) -> None:
        """Meet deadlines from now on: of delays, backoffs, timeouts, start-bys and TTLs.

        Args:
            workers: Those of this process; their attempts are stopped when a deadline or a cancellation says so.
        """

    async def stop(self) -> None:
        """Meet no deadline any more. Every other operation is over, or stops with this one."""

    async def submit(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[JobView]:
        """Accept a job, whole, or return the existing one that it equals, or reject it.

        Once this returns, the job's status is readable.

        Raises:
            QueueFull, StatusesFull, RateLimited, Draining: It is rejected, and nothing was kept.
            KeyReused, Duplicate: Its key, or its unique value, is another's.
            JournalFailed: It can't be kept. Every operation that changes something may raise this.
        """

    async def submit_many(self, many: Sequence[Asked]) -> Sequence[SubmitReceipt | Exception]:
        """Submit each on its own, in order, as `submit`; return for each what `submit` returns, or raises.

        One call for all, since each costs less in company, and a store outside the process is asked once.
        """
        ...

    async def get(self, job_id: str, owner: str | None = None) -> JobView:
        """Return the record.

        Args:
            owner: Its owner; for any other one this call can't be told, by its result or its time, from one
                for an id that was never issued. None: any owner.

        Raises:
            JobNotFound: The id was never issued.
            JobGone: It was issued, but its record is no longer held.
        """

    async def get_many(
        self, job_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[JobView | JobNotFound | JobGone]:
        """Return for each id what `get` returns, or raises: a store outside the process is asked once for all."""
        ...

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: str | None, oldest_first: bool = False) -> Page:
        """Return jobs that match, newest first, from `cursor` on: a page's, or `cursor_after`. Raises InvalidCursor."""

    async def count(self, job_filter: JobFilter) -> Count:
        """Return how many jobs match, as far as a bounded search tells."""
        ...

    async def failures(self, job_filter: JobFilter) -> Failures:
        """Return the failed jobs that match, in groups, as far as a bounded search from the newest on tells."""
        ...

    def cursor_after(self, job: JobView, oldest_first: bool = False) -> str:
        """Return the cursor of a page that begins after this job: at most 64 letters, digits, `-` and `_`."""

    async def lease(self) -> Lease:
        """Wait for a ready job, by the order of queues and jobs, and lease one attempt of it.

        The worker that has leased a job takes the next ones, too: a backend need not wake another for them. Where it
        takes no more for now, it calls `pass_on`.
        """

    def lease_now(self) -> Lease | None:
        """As `lease`, without waiting. None: there is no ready job, or finding one takes longer."""

    def pass_on(self) -> None:
        """Let other workers lease the jobs that are ready: the one that leased the last job leases no other for now."""

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        """Record that an attempt succeeded. Raises StaleLease."""

    def end_now(self, job_id: JobId, attempt: int, outcome: Success | Failure) -> bool:
        """As `ack` or `nack`, without waiting. False, with nothing done: recording it takes longer.

        A store outside this process gets it then, and logs `attempt.stale_result` itself.
        """

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        """Record that an attempt failed: the job's next attempt, or its end. Raises StaleLease."""

    async def stopped(self, job_id: JobId, attempt: int) -> None:
        """Record that an attempt ended because it was told to (`Workers.stop`). Raises StaleLease."""

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt. Raises StaleLease."""

    async def cancel(self, job_id: str) -> JobView:
        """Cancel a live job: at once, or (still running, `stopping`) as soon as its handler has stopped.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job is terminal.
        """

    async def delete(self, job_id: str) -> None:
        """Remove a terminal record.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job is live.
        """

    async def retry(self, job_id: str) -> JobView:
        """Retry a failed job, under the same id.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job has not failed, or another live one has its unique value.
            Refused: There is no slot for it now.
        """

    async def run_now(self, job_id: str) -> JobView:
        """Queue a delayed job now.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job isn't delayed.
        """

    async def bulk(
        self,
        action: BulkAction,
        job_filter: JobFilter,
        *,
        limit: int | None = None,
        oldest_first: bool = False,
        dry_run: bool = False,
    ) -> BulkCount:
        """Retry, cancel, delete or run now all jobs that match and existed when it began; other tasks run meanwhile.

        Args:
            limit: Change no more than this number of jobs.
            oldest_first: Begin with the oldest one; by default with the newest.
            dry_run: Change nothing: count the jobs that it would be tried on.
        """
        ...

    async def wait(self, job_id: str) -> JobView:
        """Return the record once it is terminal. Raises as `get`."""

    def ending(self, job_id: str) -> asyncio.Future[JobView]:
        """Return the future of what `wait` returns: the wait begins with this call, and ends early if it is cancelled.

        For a request with a time of its own: an end that comes just when that is over is not missed. Raises as `get`,
        now or by the future.
        """
        ...

    async def wait_for_change(self, seen: Mapping[JobId, int]) -> None:
        """Return once any of these records has another version than it was seen with, or was removed."""

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        """Change a queue's settings while it is in use; no job is lost. Raises ValueError: It has not this order."""

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        """Start no more jobs of a queue. Submissions are accepted meanwhile.

        A pause of a paused queue replaces the reason and the end of the present one.

        Args:
            for_s: Seconds until it resumes by itself; None: it doesn't.
            by: The caller that pauses it.
        """

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        """Start a queue's jobs again. Args: by: The caller that resumes it."""

    async def release(self, job_type: str) -> bool:
        """End a type's quarantine: its waiting jobs start. Return whether there was one."""
        ...

    async def refresh(self, callers: Sequence[str | None] | None = None) -> None:
        """Read what `Snapshot` tells anew: its answers are those of this instant then, as they always are of memory.

        Args:
            callers: With what these callers hold, and with those that hold the most; None: without.
        """

    async def set_quotas(self, quotas: Quotas) -> None:
        """Change what callers may hold. What they hold beyond it is kept."""

    def set_permits(self, pool: str, permits: int) -> None:
        """Change the maximum number of attempts that run at once in a pool of this process; it stops none."""

    def stop_admitting(self) -> None:
        """Reject every submission of this process from now on."""

    async def drain(self, deadline_s: float, on_deadline: Callable[[], None], *, work_off: bool = True) -> int:
        """Reject submissions, let accepted jobs run, end or keep the remaining ones, and return once none runs.

        Returns the number of attempts that were given back.

        Rules:

        1. A backend that keeps its jobs (`keeps`) gives the attempts that run after `deadline_s` seconds back: their
           jobs are queued again, at the front, and the attempts don't count. Waiting jobs stay as they are. In any
           other one the jobs that are left end as cancelled, with the error `shutdown`, and none is live afterwards.
        2. `on_deadline` is called once, before the first of them ends, or when none is left: the live jobs of that
           instant are lost, or kept.
        3. To cancel this call while they end does not keep them alive.
        4. A backend that others share (`shared`) starts no job any more from the first moment: the others do, or the
           next process. It returns in time though its store doesn't answer: then the others give back what it ran.

        Args:
            work_off: Whether jobs still start within the deadline.
        """
        ...

    def excuse(self, gap_s: float) -> None:
        """Extend the deadlines of running attempts by a gap, in seconds, in which this process was suspended."""

    def subscribe(self, listener: Callable[[Any], None], *kinds: type[Event]) -> Callable[[], None]:
        """Call `listener` with every event of these kinds, of all kinds if none is named, in order, as it happens.

        Where others share the jobs, these are the events of what this process has done: each is told in one process.
        The record of an event is to be read at once, and never to be changed.

        Returns a function that ends the subscription.
        """
        ...
