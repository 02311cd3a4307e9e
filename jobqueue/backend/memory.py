"""The backend that keeps the jobs in this process: an Engine behind the Backend port.

It wakes workers and waiting requests, and passes events to listeners. Every operation runs the engine synchronously,
then passes on its events; nothing awaits in between, so a caller never sees half an operation.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from jobqueue.backend.drain import Drain
from jobqueue.backend.memory_flows import MemoryFlows
from jobqueue.backend.ready_queue import ReadyQueue
from jobqueue.backend.rows import rows_of
from jobqueue.backend.searches import Searches
from jobqueue.backend.timer import Timer
from jobqueue.backend.waits import Waits
from jobqueue.core.caller_holdings import CallerHolding, holders, holding_of
from jobqueue.core.events import BackedOff, Ended, Event, LeaseLost, Offered, Ready, Resumed, StopRequested
from jobqueue.core.ids import cursor_at
from jobqueue.core.job_view import view_of
from jobqueue.core.report import Success
from jobqueue.core.scheduling.eta import POLL_AFTER_S_UNKNOWN, Estimate
from jobqueue.core.submit import SubmitReceipt, SubmitResult
from jobqueue.core.tuning import TUNING
from jobqueue.errors import JobGone, JobNotFound, JobQueueError, JournalFailed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.backend.base import BulkAction, BulkCount, Count, Page, Workers
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.core.engine import Engine
    from jobqueue.core.failure_groups import Failures
    from jobqueue.core.job import Job, JobId, JobSpec, Lease, Uniqueness
    from jobqueue.core.job_filter import JobFilter
    from jobqueue.core.job_view import AnyJob, JobView
    from jobqueue.core.limits.limiter_stats import LimiterStats
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.report import Failure, Progress
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import Asked
    from jobqueue.core.tuning import Tuning


class MemoryBackend(MemoryFlows):
    """The backend in this process: the engine, its clock, and the listeners of its events.

    Args:
        engine: Owned by this backend from now on.
        now: The clock of every instant, in seconds.
        tuning: Bounds of the work that one step does.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], float], tuning: Tuning = TUNING) -> None:
        self.defers = self.keeps = self.shared = False
        self.kept_together: Callable[[Callable[[list[Any], JournalFailed | None], None]], list[Any]] = _nothing_deferred
        self._engine = engine
        self._now = now
        self._tuning = tuning
        self._scheduler = engine.scheduler
        # Bound directly: a method around each would be a call more for each read and each submission.
        self.find, self.missing, self.is_closed = engine.find, engine.missing, engine.is_closed
        self.unique_values, self.under_key, self.counts = engine.unique_values, engine.under_key, engine.counts
        self.type_counts, self.quarantined = engine.type_counts, engine.quarantine.all
        self._ready = ReadyQueue(engine.scheduler, now)
        self._waits = Waits()
        self._searches = Searches(engine, now=now, tuning=tuning)
        self.when_ended, self.forget = self._waits.add, self._waits.remove
        self.when_changed, self.forget_changes = self._waits.add_change, self._waits.remove_change
        self._listeners: dict[type[Event], tuple[Callable[[Any], None], ...]] = dict.fromkeys(get_args(Event), ())
        self._after_events: list[Callable[[], None]] = []
        self._timer = Timer(self)
        self._call_for_workers: Callable[[int], None] = lambda jobs: None
        # A lost lease as well: where one tick revokes several, all slots are free before the first end is published.
        self.subscribe(self._on_ready, Ready, Offered, LeaseLost)
        self.subscribe(self._on_freed, BackedOff)
        self.subscribe(self._on_ended, Ended)
        self.subscribe(lambda event: self._wake_all(), Resumed)

    async def start(self, workers: Workers) -> None:
        self._call_for_workers = workers.reinforce
        self.subscribe(lambda event: workers.stop(event.job.id, event.attempt), StopRequested)
        self.subscribe(lambda event: workers.abandon(event.job.id, event.attempt), LeaseLost)
        self._timer.start()

    async def stop(self) -> None:
        self._timer.stop()

    def now(self) -> float:
        return self._now()

    async def submit(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[JobView]:
        result = self.submit_now(spec, args, upload, uniqueness)
        return SubmitResult(view_of(result.job), result.duplicate)

    def submit_now(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[Job]:
        try:
            return self._engine.submit(spec, args, upload, uniqueness, now=self._now())
        finally:
            self._publish()

    async def submit_many(self, many: Sequence[Asked]) -> Sequence[SubmitReceipt | Exception]:
        now, receipts = self._now(), list[SubmitReceipt | Exception]()
        try:
            for row in rows_of(many):
                jobs = self._submit_row(row, now) if len(row) > 1 else None
                if jobs is None:
                    receipts.extend([self._submit_alone(asked, now) for asked in row])
                else:
                    receipts.extend([SubmitReceipt(job.id, True, False) for job in jobs])
        finally:
            self._publish()
        return receipts

    def _submit_row(self, row: Sequence[Asked], now: float) -> list[Job] | None:
        """Submit a row of `rows_of` at once; None: each is to be submitted alone."""
        spec, _, _, uniqueness = row[0]
        return self._engine.submit_row(spec, [args for _, args, _, _ in row], uniqueness, now=now)

    def _submit_alone(self, asked: Asked, now: float) -> SubmitReceipt | Exception:
        """Submit one of many; its events are passed on later unless it has a key or a unique value."""
        spec, args, upload, uniqueness = asked
        alone = uniqueness is not None and not uniqueness.plain
        if alone:  # it may change the job of an earlier one, whose events are to be passed on before
            self._publish()
        try:
            result = self._engine.submit(spec, args, upload, uniqueness, now=now)
            return SubmitReceipt(result.job.id, result.job.finished_at is None, result.duplicate)
        except JobQueueError as error:
            return error.with_traceback(None)  # which holds this frame
        except Exception as error:
            return error  # with its traceback, for the log
        finally:
            if alone:
                self._publish()

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        raise AssertionError("nothing is deferred")

    def withdraw(self, job_id: JobId) -> None:
        raise AssertionError("nothing is deferred")

    def refuse_unseen(
        self,
        queue: str | None = None,
        uniqueness: Uniqueness | None = None,
        *,
        job_type: str = "",
        may_be_unique: bool = True,
    ) -> Refused | None:
        engine, now = self._engine, self._now()
        return engine.refuse_unseen(queue, uniqueness, job_type=job_type, may_be_unique=may_be_unique, now=now)

    def refuse_closed(self, uniqueness: Uniqueness, may_be_unique: bool) -> Refused | None:
        return self._engine.refuse_closed(uniqueness, may_be_unique, self._now())

    async def get(self, job_id: str, owner: str | None = None) -> JobView:
        return view_of(self._engine.get(job_id, owner))

    async def get_many(
        self, job_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[JobView | JobNotFound | JobGone]:
        return [self._view_or_error(job_id, owner) for job_id in job_ids]

    def _view_or_error(self, job_id: str, owner: str | None) -> JobView | JobNotFound | JobGone:
        try:
            return view_of(self._engine.get(job_id, owner))
        except (JobNotFound, JobGone) as error:
            return error.with_traceback(None)  # which holds this frame

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: str | None, oldest_first: bool = False) -> Page:
        return await self._searches.page(job_filter, limit, cursor, oldest_first)

    async def count(self, job_filter: JobFilter) -> Count:
        return await self._searches.count(job_filter)

    async def failures(self, job_filter: JobFilter) -> Failures:
        return await self._searches.failures(job_filter)

    def cursor_after(self, job: JobView, oldest_first: bool = False) -> str:
        return cursor_at(job.id, oldest_first)

    async def lease(self) -> Lease:
        ready = self._scheduler
        while True:
            lease = self.lease_now()
            if lease is None and not ready:
                # The queue is only for waiting: `get` checks three times before it returns a job that is there.
                lease = self._lease(await self._ready.get())
            if lease is not None:
                return lease
            if ready:
                await self._pause_search()

    def lease_now(self) -> Lease | None:
        for _ in range(self._tuning.lease_tries):
            job = self._scheduler.take(self._now())
            if job is None:
                break
            lease = self._lease(job)
            if lease is not None:
                return lease
        return None

    def _lease(self, job: Job) -> Lease | None:
        """Lease a job that may be taken; None: it has to wait for a limiter, or has expired."""
        lease = self._engine.lease(job, now=self._now())
        self._publish()
        return lease

    async def _pause_search(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.pass_on()
            raise

    def pass_on(self) -> None:
        self._wake_all()

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        self.end_now(job_id, attempt, success)

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        self.end_now(job_id, attempt, failure)

    def end_now(self, job_id: JobId, attempt: int, outcome: Success | Failure) -> bool:
        if isinstance(outcome, Success):
            self._engine.ack(job_id, attempt=attempt, success=outcome, now=self._now())
        else:
            self._engine.nack(job_id, attempt=attempt, failure=outcome, now=self._now())
        self._publish()
        return True

    async def stopped(self, job_id: JobId, attempt: int) -> None:
        self._engine.stopped(job_id, attempt=attempt, now=self._now())
        self._publish()

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        self._engine.report(job_id, attempt=attempt, progress=progress)
        self._publish()

    async def cancel(self, job_id: str) -> JobView:
        job = self._engine.cancel(job_id, now=self._now())
        self._publish()
        return view_of(job)

    async def delete(self, job_id: str) -> None:
        self._engine.delete(job_id)
        self._publish()

    async def retry(self, job_id: str) -> JobView:
        job = self._engine.retry(job_id, now=self._now())
        self._publish()
        return view_of(job)

    async def run_now(self, job_id: str) -> JobView:
        job = self._engine.run_now(job_id, now=self._now())
        self._publish()
        return view_of(job)

    async def bulk(
        self,
        action: BulkAction,
        job_filter: JobFilter,
        *,
        limit: int | None = None,
        oldest_first: bool = False,
        dry_run: bool = False,
    ) -> BulkCount:
        # Of this class, since a subclass's own may wait at each job.
        acts = {
            "retry": MemoryBackend.retry,
            "cancel": MemoryBackend.cancel,
            "delete": MemoryBackend.delete,
            "run_now": MemoryBackend.run_now,
        }
        act = None if dry_run else partial(acts[action], self)
        return await self._searches.bulk(action, act, job_filter, limit=limit, oldest_first=oldest_first)

    async def wait(self, job_id: str) -> JobView:
        job = self._engine.get(job_id)
        return await self._waits.end(job.id) if job.live else view_of(job)

    def ending(self, job_id: str) -> asyncio.Future[JobView]:
        job = self._engine.get(job_id)
        if job.live:
            return self._waits.ending(job.id)
        over: asyncio.Future[JobView] = asyncio.get_running_loop().create_future()
        over.set_result(view_of(job))
        return over

    async def wait_for_change(self, seen: Mapping[JobId, int]) -> None:
        for job_id, version in seen.items():
            job = self.find(job_id)
            if job is None or job.version != version:
                return
        await self._waits.change(tuple(seen))

    def estimate(self, job: AnyJob) -> Estimate:
        held = self.find(job.id)
        if held is None or not held.live:  # the record has moved on since the view was taken
            return Estimate(None, None, POLL_AFTER_S_UNKNOWN)
        return self.estimate_now(held)

    def estimate_now(self, job: Job) -> Estimate:
        return self._engine.estimate(job, now=self._now())

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        self._engine.set_policy(queue, policy, now=self._now())
        self._publish()
        self._wake_all()

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        self._engine.pauses.begin(queue, reason=reason, for_s=for_s, by=by, now=self._now())
        self._publish()

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        self._engine.pauses.end(queue, by=by)
        self._publish()

    def subscribe(self, listener: Callable[[Any], None], *kinds: type[Event]) -> Callable[[], None]:
        heard = kinds or tuple(self._listeners)
        for kind in heard:
            self._listeners[kind] = (*self._listeners[kind], listener)

        def unsubscribe() -> None:
            for kind in heard:
                self._listeners[kind] = tuple(each for each in self._listeners[kind] if each is not listener)

        return unsubscribe

    def call_after_events(self, act: Callable[[], None]) -> None:
        self._after_events.append(act)

    async def release(self, job_type: str) -> bool:
        released = self._engine.release(job_type, now=self._now())
        self._publish()
        return released

    async def refresh(self, callers: Sequence[str | None] | None = None) -> None:
        """Nothing: answers are always those of this instant."""

    async def set_quotas(self, quotas: Quotas) -> None:
        self._engine.set_quotas(quotas)

    def set_permits(self, pool: str, permits: int) -> None:
        self._engine.set_permits(pool, permits, now=self._now())
        self._publish()

    def tick(self) -> float | None:
        """Do the work that is due; return the instant of the next call, if any."""
        next_at = self._engine.tick(self._now())
        self._publish()
        return next_at

    def excuse(self, gap_s: float) -> None:
        self._engine.excuse(gap_s)

    def next_at(self) -> float | None:
        """Return the instant of the next deadline, if any."""
        return self._engine.next_at()

    def stop_admitting(self) -> None:
        self._engine.stop_admitting()

    async def drain(self, deadline_s: float, on_deadline: Callable[[], None], *, work_off: bool = True) -> int:
        return await Drain(self, self._engine, self._publish).run(deadline_s, on_deadline, work_off=work_off)

    def stats(self) -> tuple[StoreStats, Sequence[QueueStats]]:
        return self._engine.stats(self._now())

    def holding(self, caller: str | None) -> CallerHolding:
        return holding_of(self._engine.store.holdings, caller)

    def holders(self, most: int) -> tuple[list[str | None], bool]:
        return holders(self._engine.store.holdings, most)

    def limiters(self) -> Sequence[LimiterStats]:
        return self._engine.limiter_stats()

    def _publish(self) -> None:
        """Pass on the engine's events, in order: to the workers, the waiting requests, the listeners.

        What a listener raises is raised at the end: the others hear all events nonetheless, so that a journal has them.
        """
        listeners, changes = self._listeners, self._waits.changes
        raised: BaseException | None = None
        for event in self._engine.take_events():
            for listener in listeners[type(event)]:
                try:
                    listener(event)
                except BaseException as error:
                    raised = error
            if changes:
                self._waits.changed(event)
        if self._after_events:
            self._follow_up()
        if not self._timer.looking:  # asked here, as the loop's turn has many operations
            self._timer.look()
        if raised is not None:
            raise raised

    def _follow_up(self) -> None:
        """Call what `call_after_events` was given; what those calls leave in turn is for the next time."""
        acts, self._after_events = self._after_events, []
        for act in acts:
            act()

    def _on_ready(self, event: Ready | Offered | LeaseLost) -> None:
        # If it may not be taken now, a later event wakes a worker: the end of a run or a pause, another policy.
        # While a worker is about to look, that is not even asked: for a batch there is one look.
        if not self._ready.searching and self._scheduler.may_start(event.job.spec.queue):
            self._wake()

    def _on_freed(self, event: Ended | BackedOff) -> None:
        if self._scheduler.held_back(event.job.spec.queue):
            self._wake()

    def _on_ended(self, event: Ended) -> None:
        # As `_on_freed`, inline: each job ends.
        if self._scheduler.held_back(event.job.spec.queue):
            self._wake()
        if self._waits.ends:
            self._waits.ended(event.job)

    def _wake(self) -> None:
        """Have a worker look for jobs, unless one is about to."""
        if not self._ready.searching:
            self._ready.searching = True
            if not self._ready.wake():
                self._call_for_workers(1)

    def _wake_all(self) -> None:
        """Have as many workers look for jobs as there are to be taken: the handlers of some may suspend."""
        jobs = len(self._scheduler)
        self._ready.searching = jobs > 0
        for _ in range(jobs):
            if not self._ready.wake():
                self._call_for_workers(jobs)
                break


def _nothing_deferred(tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
    raise AssertionError("nothing is deferred")
