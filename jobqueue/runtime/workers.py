"""The worker pool: the workers of all queues, and their supervisor.

Rules:

1. A worker is one task; it leases one job, runs it, reports the outcome and ends; the next
   job gets another task. So nothing that a handler leaves behind in its task (context
   variables, a cancellation, a broken cancel scope) reaches the next job.
2. Only a few workers are kept idle: with a thousand waiting in turn, each would be
   cache-cold when its job comes. A worker that takes a job refills
   the idle ones, and a job without an idle worker starts a new one, up to `size`.
3. However a task ends, it is replaced: at once, or with a growing pause
   after consecutive crashes.
4. A task that ignores its cancellation is abandoned: it keeps running, counted, but its
   place is free, and its outcome is ignored.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.backoff import Backoff
from jobqueue.core.events import LeaseLost, StopRequested
from jobqueue.core.job import ErrorCode, Failure, Lease
from jobqueue.errors import StaleLease
from jobqueue.handlers.result import described
from jobqueue.log import current_attempt, event_logger
from jobqueue.runtime.isolation import Isolation

if TYPE_CHECKING:
    from jobqueue.backend.base import Backend
    from jobqueue.core.job import JobId
    from jobqueue.runtime.executor import Executor

log = event_logger(__name__)

CRASH_PAUSE = Backoff(backoff_s_base=0.05, backoff_s_max=5.0)
"""The pause before a crashed worker is replaced, from the second crash in a row on; without jitter."""

WAITING_MIN = 4
"""Idle workers kept waiting: enough for one loop iteration, few enough to stay cache-warm."""

CLOSE_S = 0.5


class _Worker(msgspec.Struct, eq=False):
    """One task of the pool, and its lease."""

    task: asyncio.Task[None] | None = None
    lease: Lease | None = None
    stopping: bool = False


class WorkerPool:
    """The tasks that serve jobs, at most `size` at once.

    Attributes:
        size: Number of places, so of jobs at once, over all queues.

    Args:
        abandoned_min: Number of tasks that don't end, or `size` if that is more, that may be abandoned before each
            further one takes a place.
    """

    def __init__(self, size: int, *, backend: Backend, executor: Executor, abandoned_min: int) -> None:
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
        self._open = False
        self._context = contextvars.copy_context()
        self._isolation = Isolation()

    def start(self) -> None:
        self._open = True
        self.resize(self.size)

    def reinforce(self) -> None:
        """Start one more worker, if there is a place."""
        if self._open and self._strength < self._places:
            self._hire()

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

    def on_event(self, event: StopRequested | LeaseLost) -> None:
        """Cancel or abandon the worker that an event concerns."""
        worker = self._holder(event.job.id, event.attempt)
        if worker is None:
            return
        if isinstance(event, LeaseLost):
            self._abandon(worker, event.job.id)
        elif worker.task is not None:
            worker.stopping = True
            worker.task.cancel()

    # -- one worker

    async def _serve(self, worker: _Worker) -> None:
        lease = worker.lease = await self._backend.lease()
        job_id, attempt = lease.job_id, lease.attempt
        self._by_job[job_id] = worker
        current_attempt.set(lease)  # in this task's own context, which ends with it
        self._see_to_waiting()
        try:
            outcome = await self._executor.run(lease)
        except asyncio.CancelledError:
            if not worker.stopping:
                raise
            outcome = None  # the backend knows the reason of the stop
        self._release(worker)
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
        # Not by its task's end, which comes one loop iteration later: a job may wait for the place.
        if worker.task in self._workers:
            del self._workers[worker.task]
            self._crashes = 0
            self._see_to_waiting()

    # -- the supervisor

    def _see_to_waiting(self) -> None:
        """Start one more worker if too few are idle, or will be after a pause."""
        if self._strength - len(self._by_job) < WAITING_MIN:
            self.reinforce()

    def _hire(self) -> None:
        worker = _Worker()
        worker.task = task = asyncio.get_running_loop().create_task(
            self._serve(worker),
            name="worker",
            context=self._isolation.fresh(),  # not the current one: it may be a handler's
        )
        self._workers[task] = worker
        task.add_done_callback(self._on_end, context=self._context)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        worker = self._workers.pop(task, None)
        if worker is not None:
            if self._open:
                self._replace_crashed(worker, task)
            return
        if not task.cancelled():
            task.exception()  # retrieved, and ignored
        if task in self._abandoned:
            del self._abandoned[task]
            self._count_places()
            self._see_to_waiting()

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
            stack=_stack_of(worker.task),
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


def _stack_of(task: asyncio.Task[None] | None) -> str:
    """Return where a suspended task stands, down to what it awaits: `Task.get_stack` ends at the first coroutine."""
    lines: list[str] = []
    step: Any = task.get_coro() if task is not None else None
    while (frame := getattr(step, "cr_frame", None)) is not None and len(lines) < 20:
        lines.append(f"{frame.f_code.co_qualname} at {frame.f_code.co_filename}:{frame.f_lineno}")
        step = step.cr_await
    return "\n".join(lines)
