"""Submissions: new jobs for the store, all of a turn of the loop and of a queue in one call.

Rules:

1. The id is made here, so a submission that is sent again is the same: the store knows it, and keeps one job.
2. The store decides all, in the order of the call: claims, quotas, bounds, capacity. What it rejects was not kept.
3. A caller that stops waiting changes nothing: the job may be kept.
4. Each submission is answered once. What is raised for one is its error, and the others of its call have their answers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobqueue.backend.valkey.batches import Batches
from jobqueue.backend.valkey.calls import StoreFull
from jobqueue.backend.valkey.link import fresh
from jobqueue.backend.valkey.records import STATES
from jobqueue.core.events import Progressed, Ready, Submitted
from jobqueue.core.job import DELAYED, QUEUED, Job, JobId
from jobqueue.core.job_extras import Extras
from jobqueue.core.job_view import view_of
from jobqueue.core.record_size import held_bytes
from jobqueue.core.submit import SubmitReceipt, SubmitResult
from jobqueue.errors import (
    Draining,
    Duplicate,
    JobQueueError,
    KeyReused,
    QueueFull,
    RateLimited,
    Refused,
    StatusesFull,
    StoreUnavailable,
    TypeQuarantined,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.expected import ExpectedJobs
    from jobqueue.backend.valkey.ids import FleetIds
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.backend.valkey.looks import Looks
    from jobqueue.backend.valkey.records import Records
    from jobqueue.backend.valkey.types import TypeLimits
    from jobqueue.core.job import JobSpec, Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.quotas import Quota, Quotas
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import Asked

NEW, AGAIN, DUPLICATE, DEBOUNCED = 1, 2, 3, 4
QUEUE_FULL, STORE_FULL, QUARANTINED, KEY_REUSED, JOBS_MAX, RECORDS_MAX, BYTES_MAX, UNIQUE, UNKNOWN_QUEUE = range(
    -1, -10, -1
)

TOLD_BEHIND: Final = b"-"
"""In place of the state of a job that is new and its own: the rest of the reply tells what became of it."""

RETRY_AFTER_S: Final = 1.0
"""Where nothing tells when there is room: a second."""

_OVERHEAD: Final = 120
"""Bytes of a submission on its way, beside its arguments."""


class Told(Protocol):
    """Keeps count of what is admitted and rejected, and gives each rejection its time (`mirror`)."""

    def queue_full(self, queue: str, uniqueness: Uniqueness | None, live: int, capacity: int) -> QueueFull: ...

    def refused(self, queue: str, error: Refused) -> None: ...

    def admitted(self, queue: str, uniqueness: Uniqueness | None, live: int, capacity: int) -> None: ...

    def shared(self, queue: str, job_type: str, *, by_key: bool) -> None: ...

    def slot_s(self, queue: str) -> float: ...

    def retry_slot_s(self, queue: str, uniqueness: Uniqueness | None) -> float: ...

    def unknown(self, queue: str) -> StoreUnavailable: ...


class _Submission:
    """One that is on its way. `done` is given the record and whether it is another's, or the error."""

    __slots__ = ("_done", "args", "id", "spec", "uniqueness", "upload")

    def __init__(
        self,
        id: JobId,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        done: Callable[[Job | JobView | Exception, bool], None],
    ) -> None:
        self.id = id
        self.spec, self.args, self.upload, self.uniqueness = spec, args, upload, uniqueness
        self._done: Callable[[Job | JobView | Exception, bool], None] | None = done

    def done(self, job: Job | JobView | Exception, duplicate: bool) -> None:
        """Answer it, unless it has its answer."""
        done, self._done = self._done, None
        if done is not None:
            done(job, duplicate)


def outcomes(told: list[Any]) -> Iterator[Sequence[Any]]:
    """Return what a reply tells of each submission: a code, the job's id, state and version, a number and a text."""
    letters: bytes = told[4]
    at = 5
    for n in range(len(letters)):
        letter = letters[n : n + 1]
        if letter == TOLD_BEHIND:
            yield told[at : at + 6]
            at += 6
        else:
            yield NEW, b"", letter, 0, 0, b""


class Submissions:
    """Submits jobs.

    Args:
        ids: Returns what issues the ids of this process.
        types: Tells the store the limits of types.
        takes: Returns whether this process leases as many jobs of each pool itself: then the store wakes no other.
        expected: Is told these jobs.
        on_ready: Called where a job may be leased.
        note_at: Is told when a job is due that does not start at once.

    Attributes:
        open: Submissions are accepted.
        on_unknown: Called where the store does not know a queue: it was emptied.
        on_replaced: Is told each job that another one has replaced: it is cancelled, or about to stop.
    """

    def __init__(
        self,
        link: Link,
        records: Records,
        looks: Looks,
        listeners: Listeners,
        told: Told,
        types: TypeLimits,
        *,
        ids: Callable[[], FleetIds],
        quotas: Quotas,
        takes: Callable[[Mapping[str, int]], bool],
        expected: ExpectedJobs,
        on_ready: Callable[[], None],
        note_at: Callable[[float], None],
    ) -> None:
        self._link, self._records, self._looks, self._listeners = link, records, looks, listeners
        self._told, self._types = told, types
        self._ids = ids
        self.quotas = quotas
        self._takes, self._expected = takes, expected
        self._on_ready, self._note_at = on_ready, note_at
        self._batches: Batches[_Submission] = Batches(link.loop, self._send, self._fail)
        self.open = True
        self.on_replaced: Callable[[Job], None] = lambda job: None
        self.on_unknown: Callable[[], None] = lambda: None

    def submit_soon(
        self,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        done: Callable[[SubmitResult[JobView] | Exception], None],
    ) -> None:
        """As `StoreBackend.submit_soon`."""

        def over(job: Job | JobView | Exception, duplicate: bool) -> None:
            done(job if isinstance(job, Exception) else SubmitResult(view_of(job), duplicate))

        self._add(spec, args, upload, uniqueness, over)

    async def submit(
        self, spec: JobSpec, args: bytes, upload: Upload | None, uniqueness: Uniqueness | None
    ) -> SubmitResult[JobView]:
        """As `Backend.submit`."""
        answer: asyncio.Future[SubmitResult[JobView]] = asyncio.get_running_loop().create_future()

        def done(result: SubmitResult[JobView] | Exception) -> None:
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.submit_soon(spec, args, upload, uniqueness, done)
        return await answer

    async def submit_many(self, many: Sequence[Asked]) -> Sequence[SubmitReceipt | Exception]:
        """As `Backend.submit_many`. In order of the call only within each queue, as the store keeps them apart."""
        receipts: list[SubmitReceipt | Exception | None] = [None] * len(many)
        over, left = asyncio.get_running_loop().create_future(), len(many)

        def done(n: int, job: Job | JobView | Exception, duplicate: bool) -> None:
            nonlocal left
            left -= 1
            receipts[n] = job if isinstance(job, Exception) else SubmitReceipt(job.id, job.live, duplicate)
            if not left and not over.done():
                over.set_result(None)

        for n, (spec, args, upload, uniqueness) in enumerate(many):
            self._add(spec, args, upload, uniqueness, lambda job, duplicate, n=n: done(n, job, duplicate))  # type: ignore[misc]  # the default is bound
        if many:
            await over
        return [receipt for receipt in receipts if receipt is not None]

    def _add(
        self,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        done: Callable[[Job | JobView | Exception, bool], None],
    ) -> None:
        if not self.open:
            error = Draining()
            self._told.refused(spec.queue, error)
            done(error, False)
            return
        job_id = self._ids().issue(None if uniqueness is None else uniqueness.owner)
        submission = _Submission(job_id, spec, args, upload, uniqueness, done)
        self._batches.add(spec.queue, submission, len(args) + _OVERHEAD)

    # -- the call

    def _send(self, queue: str, submissions: list[_Submission]) -> asyncio.Future[Any]:
        records = self._records
        pools: dict[str, int] = {}
        for submission in submissions:
            self._types.tell(submission.spec)
            pool = submission.spec.pool or ""
            pools[pool] = pools.get(pool, 0) + 1
        takes = self._takes(pools)
        args: list[Argument] = [queue, int(not takes), len(submissions)]
        for each in submissions:
            claims = records.claims_blob(each.uniqueness, each.upload, self.quotas)
            held = held_bytes(each.spec, each.upload, each.uniqueness)
            args += (each.id, held, records.spec_blob(each.spec), each.args, claims)

        def then(told: list[Any] | None, error: Exception | None) -> None:
            if told is None:
                self._failed(queue, submissions, error)
            else:
                self._answer(queue, submissions, told, takes)

        return self._link.send("submit", args, then, durable=True)

    def _failed(self, queue: str, submissions: list[_Submission], error: Exception | None) -> None:
        if isinstance(error, StoreFull):
            error = StatusesFull("the store has no memory left for more jobs", retry_after_s=RETRY_AFTER_S)
        for each in submissions:
            own = fresh(error) if error is not None else RuntimeError("no reply to a submission")
            if isinstance(own, Refused):
                self._told.refused(queue, own)
            self._done(each, own)

    def _answer(self, queue: str, submissions: list[_Submission], told: list[Any], takes: bool) -> None:
        now_ms, live, capacity = told[:3]
        ready = False
        for each, outcome in zip(submissions, outcomes(told), strict=True):
            code, job_id, state, version, at, other = outcome
            try:
                if code in (NEW, AGAIN):
                    if STATES[state] is QUEUED:
                        ready = True  # whatever a listener raises: where this process takes it, no other was woken
                        if takes:
                            self._expected.add(each.id)
                    job = self._accepted(each, now_ms, state, version)
                    self._told.admitted(queue, each.uniqueness, live, capacity)
                    if other:
                        self._tell_of(other.decode())
                    self._done(each, job)
                elif code in (DUPLICATE, DEBOUNCED):
                    self._answer_with(each, job_id.decode(), debounced=code == DEBOUNCED)
                else:
                    self._done(each, self._rejection(each, code, job_id, at, other, live, capacity))
            except Exception as error:
                self._link.report(error)
                self._fail(each, error)
        if ready:
            self._on_ready()

    def _fail(self, each: _Submission, error: Exception) -> None:
        self._done(each, fresh(error))

    def _done(self, each: _Submission, answer: Job | Exception) -> None:
        """Answer a submission of its own job; report what this raises."""
        try:
            each.done(answer, False)
        except Exception as error:
            self._link.report(error)

    def _accepted(self, each: _Submission, now_ms: int, state: bytes, version: int) -> Job:
        """Return the record of a job that the store has just accepted."""
        spec, clock = each.spec, self._link.clock
        now, delay_s = clock.at(now_ms), spec.delay_s
        held = held_bytes(spec, each.upload, each.uniqueness)
        job = Job(
            id=each.id,
            spec=spec,
            args=each.args,
            upload=each.upload,
            state=STATES[state],
            created_at=now,
            run_at=now if not delay_s else now + delay_s if spec.run_at is None else spec.run_at,
            version=version,
            start_by_at=None if spec.start_by_s is None else now + spec.start_by_s,
            uniqueness=each.uniqueness,
            extras=Extras(held_bytes=held) if held else None,
        )
        if job.state is DELAYED:
            self._note_at(job.run_at)
        if job.start_by_at is not None:
            self._note_at(job.start_by_at)
        self._listeners.publish(Submitted(job))
        if job.state is QUEUED:
            self._listeners.publish(Ready(job))
        return job

    def _answer_with(self, each: _Submission, job_id: str, *, debounced: bool) -> None:
        """Answer a submission with the job that it equals."""
        self._looks.dropped(job_id)

        def told(job: Job | Exception | None) -> None:
            if job is None:  # evicted since: then it isn't there any more, and a new one is accepted
                self._add(each.spec, each.args, each.upload, each.uniqueness, each.done)
                return
            if isinstance(job, Job):
                if debounced:
                    if job.state is DELAYED:
                        self._note_at(job.run_at)
                    self._listeners.publish(Progressed(job))
                asked, own = each.uniqueness, job.uniqueness
                key = None if asked is None else asked.key
                by_key = key is not None and own is not None and own.key is not None and own.key.key == key.key
                self._told.shared(each.spec.queue, each.spec.type, by_key=by_key)
            each.done(job, True)

        self._looks.read(job_id, told)

    def _tell_of(self, job_id: str) -> None:
        """Publish what has become of a job that another one has replaced."""
        self._looks.dropped(job_id)
        self._looks.read(job_id, lambda job: self.on_replaced(job) if isinstance(job, Job) else None)

    def _rejection(
        self, each: _Submission, code: int, job_id: bytes, at: int, other: bytes, live: int, capacity: int
    ) -> JobQueueError:
        queue, uniqueness = each.spec.queue, each.uniqueness
        if code == KEY_REUSED:
            return KeyReused("this Idempotency-Key was used for another submission: send a new key with a new one")
        if code == UNIQUE:
            return Duplicate(job_id.decode())
        if code == QUEUE_FULL:
            return self._told.queue_full(queue, uniqueness, live, capacity)
        error = self.refusal(each.spec, uniqueness, code, at, other)
        self._told.refused(queue, error)
        return error

    def refusal(self, spec: JobSpec, uniqueness: Uniqueness | None, code: int, at: int, other: bytes) -> Refused:
        """Return the rejection that a code of the store means, of those that aren't about the queue's capacity."""
        if code == STORE_FULL:
            detail = "the job store is full of live jobs, which can't be evicted"
            return StatusesFull(detail, retry_after_s=self._told.retry_slot_s(spec.queue, uniqueness))
        if code == QUARANTINED:
            shown = f" ({other.decode()})" if other and (uniqueness is None or uniqueness.owner is None) else ""
            detail = f"type {spec.type!r} is in quarantine{shown}, and too many of its jobs are waiting"
            wait_s = self._link.clock.at(at) - self._link.clock.now() if at > 0 else RETRY_AFTER_S
            return TypeQuarantined(detail, retry_after_s=max(RETRY_AFTER_S, wait_s))
        if code == UNKNOWN_QUEUE:
            self.on_unknown()
            return self._told.unknown(spec.queue)
        quota = self.quotas.of(None if uniqueness is None else uniqueness.caller)
        return RateLimited(_over_quota(code, at, quota), retry_after_s=RETRY_AFTER_S)


def _over_quota(code: int, at: int, quota: Quota) -> str:
    if code == JOBS_MAX:
        return f"this caller has {at} live jobs, and the limit is {quota.jobs_max}"
    if code == RECORDS_MAX:
        return f"this caller has {at} live jobs, which take all its {quota.records_max} records"
    return f"this caller's live jobs leave no room: they hold {at} bytes of {quota.bytes_max}"
