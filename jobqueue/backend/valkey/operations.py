"""Operations of clients on single jobs: cancel, delete, retry, run now. Those of a turn go in one call of each kind.

Rules:

1. Each call carries a token, by which the store answers one that is sent again as it did.
2. The store decides by the record as it is; the record is read afterwards, so it may have moved on since.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.valkey.batches import Batches
from jobqueue.backend.valkey.calls import StoreFull
from jobqueue.backend.valkey.link import fresh
from jobqueue.backend.valkey.looks import missing
from jobqueue.backend.valkey.records import STATES
from jobqueue.backend.valkey.submissions import QUEUE_FULL, RETRY_AFTER_S
from jobqueue.core.events import Ended, Ready, Retried, RunNow
from jobqueue.core.ids import Origin
from jobqueue.core.job import CANCELLED, QUEUED, RUNNING, Job
from jobqueue.core.job_view import view_of
from jobqueue.errors import JobGone, JobQueueError, QueueFull, StatusesFull, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from jobqueue.backend.base import BulkAction
    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.ids import FleetIds
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.backend.valkey.looks import Looks
    from jobqueue.backend.valkey.submissions import Submissions, Told
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView

DONE, ABSENT, WRONG_STATE, UNIQUE_TAKEN = 1, 0, -10, -11

_SIZE: Final = 32

_WRONG: Final = {
    "cancel": "the job is {} already, so it can't be cancelled",
    "delete": "the job is {}: cancel it first, or wait for its end",
    "retry": "the job is {}: only a failed one can be retried",
    "run_now": "the job is {}: only a delayed one can be run early",
}

_Reply = tuple[int, bytes, int, bytes]
"""Code, state, version, and what else there is to tell."""


class _Asked:
    """What is asked for of one job. Attributes: reply: The store's. record: The job's afterwards."""

    __slots__ = ("job_id", "record", "reply")

    def __init__(self, job_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self.job_id = job_id
        self.reply: asyncio.Future[_Reply] = loop.create_future()
        self.record: asyncio.Future[Job | None] = loop.create_future()

    def answer(self, reply: _Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)

    def take(self, job: Job | Exception | None) -> None:
        if self.record.done():
            return
        if isinstance(job, Exception):
            self.record.set_exception(job)
        else:
            self.record.set_result(job)


class Operations:
    """Changes single jobs.

    Args:
        on_ready: Called where a job may be leased.
        on_stopping: Is told a running job that was cancelled, and its attempt.
        on_deleted: Is told the id of a record that was removed.
    """

    def __init__(
        self,
        link: Link,
        looks: Looks,
        listeners: Listeners,
        told: Told,
        submissions: Submissions,
        *,
        ids: Callable[[], FleetIds],
        rng: Random,
        on_ready: Callable[[], None],
        on_stopping: Callable[[Job], None],
        on_deleted: Callable[[str], None],
    ) -> None:
        self._link, self._looks, self._listeners = link, looks, listeners
        self._told, self._submissions = told, submissions
        self._ids = ids
        self._rng = rng
        self._on_ready, self._on_stopping, self._on_deleted = on_ready, on_stopping, on_deleted
        self._batches: Batches[_Asked] = Batches(link.loop, self._send, _Asked.fail)

    async def cancel(self, job_id: str) -> JobView:
        """As `Backend.cancel`."""
        job = await self._do("cancel", job_id)
        if not job.live and job.state is not CANCELLED:  # it ran, and its own end came first
            raise WrongState(_WRONG["cancel"].format(job.state), state=job.state)
        self.cancelled(job)
        return view_of(job)

    def cancelled(self, job: Job) -> None:
        """Tell of a job that this process has cancelled."""
        if job.state is CANCELLED:
            self._listeners.publish(Ended(job))
        elif job.state is RUNNING:
            self._on_stopping(job)

    async def delete(self, job_id: str) -> None:
        """As `Backend.delete`."""
        await self._ask("delete", job_id)
        self._on_deleted(job_id)

    async def retry(self, job_id: str) -> JobView:
        """As `Backend.retry`."""
        job = await self._do("retry", job_id)
        self._listeners.publish(Retried(job))
        return self._ready(job)

    async def run_now(self, job_id: str) -> JobView:
        """As `Backend.run_now`."""
        job = await self._do("run_now", job_id)
        self._listeners.publish(RunNow(job))
        return self._ready(job)

    async def act(self, action: BulkAction, job_ids: Sequence[JobId]) -> Sequence[JobQueueError | None]:
        """Do something to several jobs; return for each why it was not done, or None."""
        operations = {"cancel": self.cancel, "delete": self.delete, "retry": self.retry, "run_now": self.run_now}
        operation = operations[action]
        outcomes = await asyncio.gather(*(operation(job_id) for job_id in job_ids), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, JobQueueError):
                raise outcome
        return [outcome.with_traceback(None) if isinstance(outcome, JobQueueError) else None for outcome in outcomes]

    def _ready(self, job: Job) -> JobView:
        view = view_of(job)
        if job.state is QUEUED:
            self._listeners.publish(Ready(job))
        self._on_ready()
        return view

    async def _do(self, action: str, job_id: str) -> Job:
        """Do something to a job; return its record. Raises: As the operation."""
        answer = await self._ask(action, job_id)
        job = await answer
        if job is None:
            raise JobGone("evicted")
        return job

    async def _ask(self, action: str, job_id: str) -> asyncio.Future[Job | None]:
        """Do something to a job; return the future of its record. Raises: As the operation."""
        origin = self._ids().origin(job_id)
        if origin is not Origin.THIS_RUN:
            raise missing(job_id, origin)
        asked = _Asked(job_id, self._link.loop)
        self._batches.add(action, asked, _SIZE)
        code, state, _, other = await asked.reply
        if code == DONE:
            return asked.record
        if code == ABSENT:
            raise JobGone("evicted")
        if code == WRONG_STATE:
            raise WrongState(_WRONG[action].format(STATES[state]), state=STATES[state])
        job = await asked.record
        if job is None:
            raise JobGone("evicted")
        if code == UNIQUE_TAKEN:
            detail = f"job {other.decode()} is live and has this job's unique value"
            raise WrongState(detail, state=job.state)
        if code == QUEUE_FULL:
            detail = f"queue {job.spec.queue!r} holds as many live jobs as its capacity allows"
            raise QueueFull(detail, retry_after_s=self._told.slot_s(job.spec.queue))
        raise self._submissions.refusal(job.spec, job.uniqueness, code, -1, other)

    def _send(self, action: str, items: list[_Asked]) -> asyncio.Future[Any]:
        token = b64encode(self._rng.randbytes(18))
        args: list[Argument] = [token, len(items), *(asked.job_id for asked in items)]
        width = 4 if action == "retry" else 3

        def then(told: list[Any] | None, error: Exception | None) -> None:
            if isinstance(error, StoreFull):
                error = StatusesFull("the store has no memory left", retry_after_s=RETRY_AFTER_S)
            for n, asked in enumerate(items):
                self._looks.dropped(asked.job_id)
                if told is None:
                    asked.fail(fresh(error) if error is not None else RuntimeError(f"no reply to {action}"))
                    continue
                reply = told[1 + n * width : 1 + (n + 1) * width]
                asked.answer((reply[0], reply[1], reply[2], reply[3] if width == 4 else b""))
                if reply[0] not in (ABSENT, WRONG_STATE) and action != "delete":
                    self._looks.read(asked.job_id, asked.take)

        return self._link.send(action, args, then, durable=True)
