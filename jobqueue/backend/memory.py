"""The backend that keeps the jobs in this process: an Engine behind the Backend port.

It owns the ready queues, the waiters and the fan-out of facts. Every operation runs
the engine synchronously, then passes on what the engine reported; nothing awaits in
between, so a caller never sees half an operation. It knows nothing of handlers and HTTP.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from jobqueue.backend.base import JobFilter, Page, QueueStats, StatusStats
from jobqueue.core.events import Ended, Ready, Withdrawn
from jobqueue.core.job import JobState
from jobqueue.core.order import Fifo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.core.engine import Engine, QueueLedger
    from jobqueue.core.events import Event
    from jobqueue.core.job import Failure, Job, JobId, JobSpec, Lease, Progress, Success, Upload
    from jobqueue.core.order import Order

PAGE_SCAN_MAX = 5000


class ReadyQueue(asyncio.Queue["Job"]):
    """An asyncio.Queue whose storage is a core Order: the queue wakes, the Order sorts.

    Jobs go in and ids come out, which asyncio.Queue's one item type can't say: hence the two `type: ignore`.
    Overrides the hooks that asyncio.Queue documents for subclasses. Its bound is the
    engine's capacity, so the queue itself is unbounded and a put never waits.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._front = False
        super().__init__()

    def _init(self, maxsize: int) -> None:
        self._queue = self._order  # what qsize() and empty() measure

    def _put(self, item: Job) -> None:
        self._order.push(item, front=self._front)

    def _get(self) -> JobId:  # type: ignore[override]
        return self._order.pop()

    def add(self, job: Job, *, front: bool) -> None:
        self._front = front
        self.put_nowait(job)

    def remove(self, job_id: JobId) -> None:
        self._order.remove(job_id)

    async def take(self) -> JobId:
        """Wait for the job whose turn it is, and take it out."""
        return await self.get()  # type: ignore[return-value]


class MemoryBackend:
    """Args:
    engine: Owned by this backend from now on.
    now: The clock of every instant, in seconds.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], float]) -> None:
        self._engine = engine
        self._now = now
        self._ready = {name: ReadyQueue(Fifo()) for name in engine.ledgers}
        self._waiters: dict[JobId, list[asyncio.Future[Job]]] = {}
        self._listeners: tuple[Callable[[Event], None], ...] = ()
        self._look: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self._now()

    async def submit(self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None) -> Job:
        try:
            return self._engine.submit(spec, args, upload, now=self._now())
        finally:
            self._publish()

    async def get(self, job_id: str) -> Job:
        return self._engine.get(job_id)

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: JobId | None) -> Page:
        jobs: list[Job] = []
        last = None
        for job in islice(self._engine.newest_first(cursor), PAGE_SCAN_MAX):
            last = job.id
            if job_filter.matches(job):
                jobs.append(job)
                if len(jobs) == limit:
                    break
        more = last is not None and next(self._engine.newest_first(last), None) is not None
        return Page(jobs, last if more else None)

    async def lease(self, queue: str) -> Lease:
        while True:
            lease = self._engine.lease(await self._ready[queue].take(), now=self._now())
            self._publish()
            if lease is not None:
                return lease

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        self._engine.ack(job_id, attempt=attempt, success=success, now=self._now())
        self._publish()

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        self._engine.nack(job_id, attempt=attempt, failure=failure, now=self._now())
        self._publish()

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        self._engine.report(job_id, attempt=attempt, progress=progress)
        self._publish()

    async def cancel(self, job_id: str) -> Job:
        job = self._engine.cancel(job_id, now=self._now())
        self._publish()
        return job

    async def delete(self, job_id: str) -> None:
        self._engine.delete(job_id)
        self._publish()

    async def wait(self, job_id: str) -> Job:
        job = self._engine.get(job_id)
        if not job.live:
            return job
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(job.id, [])
        waiters.append(future)
        try:
            return await future
        finally:
            waiters.remove(future)
            if not waiters:
                self._waiters.pop(job.id, None)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    def on_deadlines_moved(self, look: Callable[[], None]) -> None:
        """Call `look` after every operation: it may have brought the next deadline closer."""
        self._look = look

    def tick(self) -> float | None:
        """Do what is due; return the instant at which to be called next, if any."""
        next_at = self._engine.tick(self._now())
        self._publish()
        return next_at

    def next_at(self) -> float | None:
        """Return the instant of the next deadline, if any."""
        return self._engine.next_at()

    def stop_admitting(self) -> None:
        self._engine.stop_admitting()

    def shut_down(self) -> dict[JobState, int]:
        lost = self._engine.shut_down(now=self._now())
        self._publish()
        return lost

    def stats(self) -> tuple[StatusStats, Sequence[QueueStats]]:
        statuses, totals = self._engine.statuses, self._engine.totals()
        return StatusStats(
            live=statuses.live,
            terminal=statuses.terminal,
            bytes_used=statuses.bytes_used,
            accepted_total=totals.accepted,
            evicted_total=totals.evicted,
            evicted_early_total=totals.evicted_early,
        ), [_queue_stats(ledger) for ledger in self._engine.ledgers.values()]

    def _publish(self) -> None:
        """Pass on, in order, what the engine reported: to the ready queues, the waiters, the listeners."""
        for fact in self._engine.take_facts():
            if isinstance(fact, Ready):
                self._ready[fact.job.spec.queue].add(fact.job, front=fact.front)
            elif isinstance(fact, Withdrawn):
                self._ready[fact.job.spec.queue].remove(fact.job.id)
            elif isinstance(fact, Ended):
                for waiter in self._waiters.get(fact.job.id, ()):
                    if not waiter.done():
                        waiter.set_result(fact.job)
            for listener in self._listeners:
                listener(fact)
        self._look()


def _queue_stats(ledger: QueueLedger) -> QueueStats:
    return QueueStats(
        name=ledger.name,
        capacity=ledger.capacity,
        delayed=ledger.counts[JobState.DELAYED],
        queued=ledger.counts[JobState.QUEUED],
        running=ledger.counts[JobState.RUNNING],
        submitted_total=ledger.submitted_total,
        refused_total=ledger.refused_total,
        succeeded_total=ledger.ended_total[JobState.SUCCEEDED],
        failed_total=ledger.ended_total[JobState.FAILED],
        cancelled_total=ledger.ended_total[JobState.CANCELLED],
        expired_total=ledger.ended_total[JobState.EXPIRED],
        oldest_queued_at=next(iter(ledger.waiting.values()), None),
    )
