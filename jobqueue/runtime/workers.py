"""The worker pool: the workers of all queues, and their supervisor.

Rules:

1. A worker is one task; it leases a job, runs it and reports the outcome. Each attempt has a context of its own.
2. A worker goes on with the next job only if the handler never suspended, and left nothing behind in the task:
   no reference to it (a timer that cancels it later, an open timeout or cancel scope), no callback, cancellation
   or other name. Else it ends, and the next job gets another task. So nothing of one job reaches the next.
3. In one loop iteration a worker takes a further job only while all workers together have taken less than JOBS_IN_A_ROW
   jobs, and less time than the rest of the loop took last: `ROW_S` at least, `ROW_S_MAX` at most.
4. Only a few workers are kept idle: with a thousand waiting in turn, each would be
   cache-cold when its job comes. A worker with a suspended handler refills the idle ones and passes other ready jobs
   on; a job without an idle worker starts a new one, up to `size`.
5. However a task ends, it is replaced: at once, or with a growing pause
   after consecutive crashes.
6. A task that ignores its cancellation is abandoned: it keeps running, counted, but its
   place is free, and its outcome is ignored.
"""

from __future__ import annotations

import asyncio
import contextvars
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefcount

from jobqueue.core.backoff import Backoff
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import StaleLease
from jobqueue.handlers.result import described
from jobqueue.log import current_attempt, event_logger
from jobqueue.runtime.exact_clock import exact_clock
from jobqueue.runtime.isolation import Isolation
from jobqueue.runtime.steps import Suspended, begin

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from jobqueue.backend.base import Backend
    from jobqueue.core.job import JobId, Lease
    from jobqueue.runtime.executor import Runs

log: Final = event_logger(__name__)

CRASH_PAUSE: Final = Backoff(backoff_s_base=0.05, backoff_s_max=5.0)
"""The pause before a crashed worker is replaced, from the second crash in a row on; without jitter."""

WAITING_MIN: Final = 4
"""Idle workers kept waiting: enough for one loop iteration, few enough to stay cache-warm."""

NAME: Final = "worker"

JOBS_IN_A_ROW: Final = 2048
"""Jobs of a row, for a clock that stands still in an iteration; elsewhere the time nearly always ends a row first."""

ROW_S = 0.001
ROW_S_MAX: Final = 0.01
"""Bounds of the time in a loop iteration after which no worker takes a further job, in seconds.

Within them the jobs get as much of the loop as everything else: with hundreds of clients at once, reading them takes
several milliseconds, and if jobs got one, most clients would ask in vain for those that are left, again and again.
"""

CLOSE_S: Final = 0.5


class _Worker:
    """One task of the pool, its lease, and its suspended attempt."""

    __slots__ = ("attempt", "lease", "stopping", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.lease: Lease | None = None
        self.attempt: Suspended[Success | Failure] | None = None
        self.stopping = False


class WorkerPool:
    """The tasks that serve jobs, at most `size` at once.

    Attributes:
        size: Number of places, so of jobs at once, over all queues.

    Args:
        abandoned_min: Number of tasks that don't end, or `size` if that is more, that may be abandoned before each
            further one takes a place.
    """

    def __init__(self, size: int, *, backend: Backend, executor: Runs, abandoned_min: int) -> None:
        self.size = self._places = size
        self._backend = backend
        self._executor = executor
        self._abandoned_min = abandoned_min
        # Workers with a place, and abandoned ones; a task in neither has ended, or is about to. Dicts in place of
        # sets: these are gone through in the order in which their members came, so a run can be replayed.
        self._workers: dict[asyncio.Task[None], _Worker] = {}
        self._abandoned: dict[asyncio.Task[None], None] = {}
        self._by_job: dict[JobId, _Worker] = {}
        self._pauses: dict[asyncio.TimerHandle, None] = {}
        self._crash_reports: dict[asyncio.Task[None], None] = {}
        self._crashes = 0
        self._row_jobs, self._row_s, self._row_until = 0, ROW_S, 0.0
        self._job_ended = 0.0  # or the row begun
        # By the clock of uvloop, which counts whole milliseconds, a row would end after any part of one.
        self._now = exact_clock(asyncio.get_running_loop())
        self._open = False
        self._context = contextvars.copy_context()
        self._isolation = Isolation()

    @property
    def busy(self) -> int:
        """Number of attempts that run."""
        return len(self._by_job)

    def start(self) -> None:
        self._open = True
        self.resize(self.size)

    def reinforce(self, jobs: int) -> None:
        """Start workers until as many are idle as jobs are ready, as far as there are places."""
        idle = len(self._workers) - len(self._by_job)
        while idle < jobs and self._open and self._strength < self._places:
            self._hire()
            idle += 1

    def free(self) -> int:
        """As `Workers.free`."""
        return self._places - len(self._by_job) if self._open else 0

    def resize(self, size: int) -> None:
        """Change the number of places: surplus idle workers end now, busy ones after their job."""
        self.size = size
        self._count_places()
        surplus = self._strength - size
        for task in [task for task, worker in self._workers.items() if worker.lease is None][: max(0, surplus)]:
            del self._workers[task]
            task.cancel()
        for _ in range(WAITING_MIN):
            self._see_to_waiting()

    async def close(self) -> None:
        """Cancel every worker and wait until all but abandoned ones have ended."""
        self._open = False
        for pause in self._pauses:
            pause.cancel()
        for task in (*self._workers, *self._abandoned):
            task.cancel()
        # Not for abandoned ones; and for the others with a bound.
        if self._workers:
            await asyncio.wait(tuple(self._workers), timeout=CLOSE_S)

    def stop(self, job_id: JobId, attempt: int) -> None:
        """Cancel the worker that runs an attempt."""
        worker = self._holder(job_id, attempt)
        if worker is not None and worker.task is not None:
            worker.stopping = True
            worker.task.cancel()

    def abandon(self, job_id: JobId, attempt: int) -> None:
        """Replace the worker that runs an attempt without a lease."""
        worker = self._holder(job_id, attempt)
        if worker is not None:
            self._abandon(worker, job_id)

    # -- one worker

    async def _serve(self, worker: _Worker) -> None:
        """Serve jobs for as long as nothing of one can reach the next, and the worker is needed."""
        task, backend, now = worker.task, self._backend, self._now
        assert task is not None
        while True:
            lease = backend.lease_now()
            if lease is None:
                if len(self._workers) - len(self._by_job) > WAITING_MIN:
                    break  # enough others are idle
                lease = await backend.lease()
            if self._row_jobs == 0:
                self._job_ended = now()
                self._row_until = self._job_ended + self._row_s
                asyncio.get_running_loop().call_soon(self._end_row)
            self._row_jobs += 1
            references = getrefcount(task), getweakrefcount(task)
            rest = self._begin(worker, lease)
            self._job_ended = now()  # or its first step has
            if rest is not None:
                await rest
                rest = None  # compiled, a coroutine keeps its variables: not while the worker waits for another job
            if task not in self._workers:
                return  # abandoned
            self._crashes = 0
            # Counted here, as before: in another frame there are more references.
            same = worker.attempt is None and (getrefcount(task), getweakrefcount(task)) == references
            too_many = len(self._workers) + len(self._pauses) > self._places
            if not same or worker.stopping or too_many or not _is_clean(task):
                break
            if self._row_jobs >= JOBS_IN_A_ROW or self._job_ended >= self._row_until:
                await _give_way()
        # Not by its task's end, which comes one loop iteration later: a job may wait for the place.
        del self._workers[task]
        self._see_to_waiting()
        backend.pass_on()

    def _begin(self, worker: _Worker, lease: Lease) -> Coroutine[Any, Any, None] | None:
        """Run the first step of an attempt; return what is left to do. None: it has ended, and is reported."""
        worker.lease = lease
        self._by_job[lease.job_id] = worker
        context = self._isolation.fresh()
        context.run(current_attempt.set, lease)
        outcome: Success | Failure | Suspended[Success | Failure] | None
        try:
            outcome = begin(self._executor.run(lease), context)
        except asyncio.CancelledError:
            if not worker.stopping:
                raise
            outcome = None
        if isinstance(outcome, Suspended):
            return self._run_rest(worker, lease, outcome)
        self._release(worker)
        if outcome is not None:
            try:
                if self._backend.end_now(lease.job_id, lease.attempt, outcome):
                    return None
            except StaleLease:
                pass  # as it will be for the report, which logs it
        self._backend.pass_on()  # the report may take a while
        return self._report(lease, outcome)

    async def _run_rest(self, worker: _Worker, lease: Lease, attempt: Suspended[Success | Failure]) -> None:
        """Run the rest of an attempt, and report it, while others take the jobs that are ready."""
        worker.attempt = attempt
        self._see_to_waiting()
        self._backend.pass_on()
        outcome: Success | Failure | None
        try:
            outcome = await attempt
        except asyncio.CancelledError:
            if not worker.stopping:
                raise
            outcome = None
        self._release(worker)
        await self._report(lease, outcome)

    async def _report(self, lease: Lease, outcome: Success | Failure | None) -> None:
        """Report the outcome of an attempt. None: it was stopped, and the backend knows the reason."""
        job_id, attempt = lease.job_id, lease.attempt
        try:
            if outcome is None:
                await self._backend.stopped(job_id, attempt)
            elif isinstance(outcome, Failure):
                await self._backend.nack(job_id, attempt, outcome)
            else:
                await self._backend.ack(job_id, attempt, outcome)
        except StaleLease:
            late = {"code": outcome.code, "message": outcome.message} if isinstance(outcome, Failure) else {}
            log.warning("attempt.stale_result", job_id=job_id, attempt=attempt, **late)

    def _end_row(self) -> None:
        """End the row. The loop has gone round since, without a pause: this call was waiting."""
        self._row_jobs = 0
        self._row_s = max(ROW_S, min(self._now() - self._job_ended, ROW_S_MAX))

    # -- the supervisor

    def _see_to_waiting(self) -> None:
        """Start one more worker if too few are idle, or will be after a pause."""
        if self._strength - len(self._by_job) < WAITING_MIN and self._open and self._strength < self._places:
            self._hire()

    def _hire(self) -> None:
        worker = _Worker()
        # Not by the loop's task factory: an eager one (Python 3.12) would run it before it is one of the workers.
        # And not in the current context, which may be a handler's.
        worker.task = task = asyncio.Task(
            self._serve(worker), loop=asyncio.get_running_loop(), name=NAME, context=self._context
        )
        self._workers[task] = worker
        task.add_done_callback(self._on_end, context=self._context)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        failed = task.cancelled() or task.exception() is not None
        worker = self._workers.pop(task, None)
        if worker is not None:
            if self._open:
                self._replace_crashed(worker, task)
        elif task in self._abandoned:
            del self._abandoned[task]
            self._count_places()
            self._see_to_waiting()
            self._backend.pass_on()
        if failed:
            self._backend.pass_on()  # it may have been about to take jobs

    def _replace_crashed(self, worker: _Worker, task: asyncio.Task[None]) -> None:
        self._crashes += 1
        error = None if task.cancelled() else task.exception()
        detail = "its task was cancelled" if error is None else described(error)
        lease = worker.lease
        log.error("worker.crashed", job_id=lease.job_id if lease else None, error=detail)
        if lease is not None:
            self._release(worker)
            report = asyncio.get_running_loop().create_task(self._report_crash(lease, detail))
            self._crash_reports[report] = None
            report.add_done_callback(self._crash_reports.pop)
        if self._crashes == 1:
            self._see_to_waiting()
            return
        pause_s = CRASH_PAUSE.ceiling_s(self._crashes - 1)
        handle: asyncio.TimerHandle | None = None

        def resume() -> None:
            assert handle is not None
            del self._pauses[handle]
            self._see_to_waiting()
            self._backend.pass_on()

        handle = asyncio.get_running_loop().call_later(pause_s, resume)
        self._pauses[handle] = None

    async def _report_crash(self, lease: Lease, detail: str) -> None:
        failure = Failure(ErrorCode.WORKER_CRASHED, f"the worker died while it ran the job: {detail}")
        try:
            await self._backend.nack(lease.job_id, lease.attempt, failure)
        except StaleLease:
            log.warning("attempt.stale_result", job_id=lease.job_id, attempt=lease.attempt)

    def _abandon(self, worker: _Worker, job_id: JobId) -> None:
        """Replace a stuck task by a new one."""
        log.error(
            "worker.stuck",
            job_id=job_id,
            abandoned=len(self._abandoned) + 1,
            stack=_stack_of(worker.attempt),
        )
        self._release(worker)
        assert worker.task is not None
        del self._workers[worker.task]
        self._abandoned[worker.task] = None
        self._count_places()
        if self._places < self.size:
            log.error("worker.not_replaced", abandoned=len(self._abandoned))
        self._see_to_waiting()

    def _count_places(self) -> None:
        """Each abandoned task holds memory for good; above a bound a smaller pool is the lesser evil."""
        too_many = len(self._abandoned) - max(self._abandoned_min, self.size)
        self._places = self.size - max(0, too_many)

    @property
    def _strength(self) -> int:
        """Number of workers, those that start after a pause included."""
        return len(self._workers) + len(self._pauses)

    def _holder(self, job_id: JobId, attempt: int) -> _Worker | None:
        worker = self._by_job.get(job_id)
        return worker if worker is not None and worker.lease is not None and worker.lease.attempt == attempt else None

    def _release(self, worker: _Worker) -> None:
        """Detach a worker from its job: the lease is over, whatever the task does next."""
        if worker.lease is not None:
            if self._by_job.get(worker.lease.job_id) is worker:
                del self._by_job[worker.lease.job_id]
            worker.lease = None


def _is_clean(task: asyncio.Task[None]) -> bool:
    """Return whether a handler has left its task's cancellations, name and callbacks as they were."""
    # Private fields, because asyncio has no other way to see them. One callback is `_on_end`.
    return (
        not task.cancelling()
        and not task._must_cancel  # type: ignore[attr-defined]  # before Python 3.13 `uncancel` leaves it
        and task.get_name() == NAME
        and len(task._callbacks) == 1
    )


async def _give_way() -> None:
    """Let the rest of the loop have its turn."""
    await asyncio.sleep(0)


def _stack_of(attempt: Suspended[Any] | None) -> str:
    """Return where a suspended attempt stands, down to what it awaits: `Task.get_stack` ends at the first coroutine."""
    lines: list[str] = []
    step: Any = attempt.coroutine if attempt is not None else None
    while (frame := getattr(step, "cr_frame", None)) is not None and len(lines) < 20:
        lines.append(f"{frame.f_code.co_qualname} at {frame.f_code.co_filename}:{frame.f_lineno}")
        step = step.cr_await
    return "\n".join(lines)
