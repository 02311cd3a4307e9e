"""The Backend port: all that the shell may ask of whoever keeps the jobs.

Kept small, so that a backend outside this process can enter beside `memory`
with no change above it. Everything here is about jobs; queues of bytes,
workers and HTTP live elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from jobqueue.core.job import Job, JobId, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.core.events import Event
    from jobqueue.core.job import Failure, JobSpec, Lease, Progress, Success, Upload


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a listed job must match; None matches all."""

    state: JobState | None = None
    type: str | None = None
    queue: str | None = None
    group: str | None = None

    def matches(self, job: Job) -> bool:
        spec = job.spec
        return (
            (self.state is None or job.state is self.state)
            and (self.type is None or spec.type == self.type)
            and (self.queue is None or spec.queue == self.queue)
            and (self.group is None or spec.group == self.group)
        )


class Page(msgspec.Struct, frozen=True):
    """Some jobs, newest first, and the id after which the next page begins (None: that was all).

    A page may hold fewer jobs than asked for, even none, and still have a next one:
    the search stops after a bounded number of records.
    """

    jobs: list[Job]
    cursor: JobId | None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue at this instant; counters run since start."""

    name: str
    capacity: int
    delayed: int
    queued: int
    running: int
    submitted_total: int
    refused_total: int
    succeeded_total: int
    failed_total: int
    cancelled_total: int
    expired_total: int
    oldest_queued_at: float | None

    @property
    def live(self) -> int:
        return self.delayed + self.queued + self.running


class StatusStats(msgspec.Struct, frozen=True, kw_only=True):
    """The status map at this instant; counters run since start.

    At every step accepted_total = live + terminal + evicted_total.
    """

    live: int
    terminal: int
    bytes_used: int
    accepted_total: int
    evicted_total: int
    evicted_early_total: int


class Backend(Protocol):
    """Keeps the jobs. Every instant it takes or gives is on `now()`'s clock."""

    def now(self) -> float:
        """Return the seconds on the clock of every `…_at` in a job record."""
        ...

    async def submit(self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None) -> Job:
        """Accept a job, whole, or refuse it: once this returns, its status is readable.

        Raises:
            QueueFull, StatusesFull, Draining: Not now; nothing was kept.
        """
        ...

    async def get(self, job_id: str) -> Job:
        """Return the record.

        Raises:
            JobNotFound: The id was never issued.
            JobGone: It was, but its record is no longer held.
        """
        ...

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: JobId | None) -> Page:
        """Return jobs that match, newest first, from the one after `cursor` on."""
        ...

    async def lease(self, queue: str) -> Lease:
        """Wait for a ready job of this queue and take the right to run one attempt of it."""
        ...

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        """Record that an attempt succeeded. Raises StaleLease."""
        ...

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        """Record that an attempt failed: the job's next attempt, or its end. Raises StaleLease."""
        ...

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        """Record how far an attempt has come. Raises StaleLease."""
        ...

    async def cancel(self, job_id: str) -> Job:
        """Cancel a live job: at once, or (still running, `stopping`) as soon as its handler has stopped.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job is over.
        """
        ...

    async def delete(self, job_id: str) -> None:
        """Forget a terminal record.

        Raises:
            JobNotFound, JobGone: As in `get`.
            WrongState: The job is live.
        """
        ...

    async def wait(self, job_id: str) -> Job:
        """Return the record once it is terminal. Raises as `get`."""
        ...

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every fact, in order, as it happens; return what ends that."""
        ...

    def stats(self) -> tuple[StatusStats, Sequence[QueueStats]]:
        """Count: the status map, and each queue by name."""
        ...
