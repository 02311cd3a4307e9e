"""The engine: a job's whole life, its seat, its lease and its record. Synchronous and pure.

Rules:

1. A job that was accepted holds a seat of its queue until it is terminal: delayed, queued
   and running ones all count, so a retry keeps its seat and can't overflow the queue.
2. A submission is kept whole or refused whole; every check comes before the first change.
3. The attempt number is a fencing token: a verdict with an old one bounces (`StaleLease`).
4. An attempt that is told to stop (`StopRequested`) owes its verdict within `LEASE_GRACE_S`.
   After that its lease is lost (`LeaseLost`), and the job goes on without it.
5. At every step: accepted = live + terminal + evicted.

What happened is reported as facts, in order, through `take_facts`: operations return what their
caller asked for, and the backend passes the facts on. `now` is seconds on one clock that never steps back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.backoff import Backoff
from jobqueue.core.deadlines import Deadlines
from jobqueue.core.events import (
    BackedOff,
    Ended,
    Event,
    Evicted,
    LeaseLost,
    Progressed,
    Ready,
    Started,
    StopRequested,
    Submitted,
    Withdrawn,
)
from jobqueue.core.gate import Gate
from jobqueue.core.ids import IdIssuer, Origin
from jobqueue.core.job import (
    LIVE,
    MESSAGE_LENGTH_MAX,
    TERMINAL,
    ErrorCode,
    Failure,
    Job,
    JobError,
    JobId,
    JobState,
    Lease,
    StopReason,
)
from jobqueue.core.statuses import StatusBounds, StatusMap
from jobqueue.errors import Draining, JobGone, JobNotFound, QueueFull, StaleLease, StatusesFull, WrongState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from jobqueue.core.job import JobSpec, Progress, Success, Upload

LEASE_GRACE_S = 1.0
RETRY_AFTER_S = 1.0
TICK_WORK_MAX = 1000


class QueueLedger:
    """What one queue may hold, holds, and has seen since start."""

    __slots__ = ("capacity", "counts", "ended_total", "name", "refused_total", "submitted_total", "waiting")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.counts = {JobState.DELAYED: 0, JobState.QUEUED: 0, JobState.RUNNING: 0}
        self.submitted_total = 0
        self.refused_total = 0
        self.ended_total = dict.fromkeys(TERMINAL, 0)
        # Queued jobs in the order in which they became so; the first is the oldest.
        self.waiting: dict[JobId, float] = {}

    @property
    def live(self) -> int:
        return sum(self.counts.values())


class Totals(msgspec.Struct, frozen=True):
    """Counters of the whole engine since start."""

    accepted: int
    evicted: int
    evicted_early: int


class Engine:
    """Args:
    queues: Capacity in jobs, by queue name.
    lanes: How many attempts may run at once in each bounded executor, by lane name.
    rng: Draws the jitter of backoffs.
    """

    def __init__(
        self,
        *,
        queues: Mapping[str, int],
        ids: IdIssuer,
        rng: Random,
        bounds: StatusBounds | None = None,
        lanes: Mapping[str, int] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.ledgers = {name: QueueLedger(name, capacity) for name, capacity in queues.items()}
        self.statuses = StatusMap(bounds or StatusBounds())
        self._ids = ids
        self._rng = rng
        self._backoff = backoff or Backoff()
        self._gates = {name: Gate(permits) for name, permits in (lanes or {}).items()}
        self._deadlines: Deadlines[JobId] = Deadlines()
        self._facts: list[Event] = []
        self._admitting = True
        self._shut_down = False
        self._accepted = self._evicted = self._evicted_early = 0

    # -- what a client asks for

    def submit(self, spec: JobSpec, args: bytes, upload: Upload | None, *, now: float) -> Job:
        """Accept a job, or refuse it and keep nothing.

        Raises:
            Draining: No more jobs are admitted.
            QueueFull: The queue's seats are taken.
            StatusesFull: The status map is full of live jobs.
        """
        ledger = self.ledgers[spec.queue]
        try:
            self._admit(ledger, len(args))
        except (Draining, QueueFull, StatusesFull):
            ledger.refused_total += 1
            raise
        self._make_room(more_jobs=1, more_bytes=len(args))
        job = Job(
            id=self._ids.issue(),
            spec=spec,
            args=args,
            upload=upload,
            state=JobState.DELAYED if spec.delay_s > 0 else JobState.QUEUED,
            created_at=now,
            run_at=now + spec.delay_s,
        )
        self.statuses.add(job)
        self._accepted += 1
        ledger.submitted_total += 1
        self._enter_state(job, now)
        self._facts.append(Submitted(job))
        if job.state is JobState.QUEUED:
            self._facts.append(Ready(job))
        return job

    def get(self, job_id: str) -> Job:
        """Return the record that is held under this id.

        Raises:
            JobNotFound: The id was never issued.
            JobGone: It was, but its record is no longer held.
        """
        job = self.statuses.get(job_id)
        if job is not None:
            return job
        origin = self._ids.origin(job_id)
        if origin is Origin.NEVER:
            raise JobNotFound(f"no job was ever issued under the id {job_id!r}")
        raise JobGone("evicted" if origin is Origin.THIS_RUN else "earlier-run")

    def cancel(self, job_id: str, *, now: float) -> Job:
        """Cancel a live job: a waiting one at once, a running one as soon as its attempt has stopped.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState: The job is over.
        """
        job = self.get(job_id)
        if not job.live:
            raise WrongState(f"the job is {job.state} already, so it can't be cancelled", state=job.state)
        if job.state is JobState.RUNNING:
            self._request_stop(job, StopReason.CANCELLED, now)
        else:
            self._end(job, JobState.CANCELLED, now)
        return job

    def delete(self, job_id: str) -> None:
        """Forget a terminal record.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState: The job is live.
        """
        job = self.get(job_id)
        if job.live:
            raise WrongState(f"the job is {job.state}: cancel it first, or wait for its end", state=job.state)
        self.statuses.drop(job)
        self._evicted += 1
        self._facts.append(Evicted((job,)))

    def newest_first(self, after: JobId | None) -> Iterator[Job]:
        """Go through all records, newest first. Holds only until the next operation."""
        return self.statuses.newest_first(after)

    # -- what a worker asks for

    def lease(self, job_id: JobId, *, now: float) -> Lease | None:
        """Take the right to run the next attempt of a ready job.

        Returns None if it must not start now: it was cancelled, its start-by is over,
        or its lane is full (then it becomes ready again when a permit is free).
        """
        job = self.statuses.get(job_id)
        if job is None or job.state is not JobState.QUEUED:
            return None
        start_by_at = job.start_by_at
        if start_by_at is not None and now >= start_by_at and job.attempt == 0:
            self._end(job, JobState.EXPIRED, now)
            return None
        gate = self._gates.get(job.spec.lane) if job.spec.lane is not None else None
        if gate is not None and not gate.enter(job_id):
            return None
        self._change_state(job, JobState.RUNNING, now)
        job.attempt += 1
        job.started_at = now
        job.progress = None
        job.stopping = None
        self._facts.append(Started(job))
        return Lease(job, job.attempt)

    def ack(self, job_id: JobId, *, attempt: int, success: Success, now: float) -> None:
        """Record that an attempt succeeded and free its seat.

        A success counts even if the job was being cancelled: the work is done, and saying so
        is the truth. It doesn't once the timeout was over.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        if job.stopping is StopReason.TIMED_OUT:
            self._fail(job, _timed_out(job), now)
            return
        if not self.statuses.has_room_for_result(job, len(success.result)):
            detail = f"the status map has no room for a result of {len(success.result)} bytes"
            self._fail(job, Failure(ErrorCode.RESULT_TOO_LARGE, detail, final=True), now)
            return
        self._make_room(more_jobs=0, more_bytes=len(success.result) - len(job.args))
        job.result = success.result
        job.file = success.file
        self._end(job, JobState.SUCCEEDED, now)

    def nack(self, job_id: JobId, *, attempt: int, failure: Failure, now: float) -> None:
        """Record that an attempt failed: its job waits for the next one, or is over.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        self._conclude(self._leased(job_id, attempt), failure, now)

    def report(self, job_id: JobId, *, attempt: int, progress: Progress) -> None:
        """Record how far an attempt has come.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        job.progress = progress
        job.version += 1
        self._facts.append(Progressed(job))

    # -- what the shell asks for

    def tick(self, now: float) -> float | None:
        """Do all that is due, in bounded portions; return when to be called next (None: no deadline is set).

        A return value that is not after `now` means that more is due: call again soon, but let others run first.
        """
        for _ in range(TICK_WORK_MAX):
            job_id = self._deadlines.pop_due(now)
            if job_id is None:
                break
            self._meet_deadline(self._held(job_id), now)
        gone = self.statuses.evict_due(now, limit=TICK_WORK_MAX)
        if gone:
            self._evicted += len(gone)
            self._facts.append(Evicted(tuple(gone)))
        return self.next_at()

    def next_at(self) -> float | None:
        """Return when the next deadline is due; None if none is set."""
        due = [at for at in (self._deadlines.next_at(), self.statuses.next_eviction_at()) if at is not None]
        return min(due, default=None)

    def stop_admitting(self) -> None:
        """Refuse every submission from now on."""
        self._admitting = False

    def shut_down(self, *, now: float) -> dict[JobState, int]:
        """End every live job, since nothing will run any more; return how many were in each live state.

        Waiting ones end at once; running ones are told to stop. All end as cancelled, with the error `shutdown`.
        """
        self.stop_admitting()
        self._shut_down = True
        lost = {
            state: sum(ledger.counts[state] for ledger in self.ledgers.values()) for state in JobState if state in LIVE
        }
        for job in [job for job in self.statuses.newest_first(None) if job.live]:
            if job.state is JobState.RUNNING:
                self._request_stop(job, StopReason.SHUTDOWN, now)
            else:
                job.error = _shut_down(job)
                self._end(job, JobState.CANCELLED, now)
        return lost

    def take_facts(self) -> list[Event]:
        """Return the facts since the last call, in order."""
        facts, self._facts = self._facts, []
        return facts

    def totals(self) -> Totals:
        return Totals(self._accepted, self._evicted, self._evicted_early)

    # -- the parts

    def _admit(self, ledger: QueueLedger, size_bytes: int) -> None:
        if not self._admitting:
            raise Draining
        if ledger.live >= ledger.capacity:
            detail = f"queue {ledger.name!r} holds {ledger.capacity} live jobs, as many as it may"
            raise QueueFull(detail, retry_after_s=RETRY_AFTER_S)
        if not self.statuses.has_room_for(size_bytes):
            detail = "the status map is full of live jobs, and their records can't be evicted"
            raise StatusesFull(detail, retry_after_s=RETRY_AFTER_S)

    def _make_room(self, *, more_jobs: int, more_bytes: int) -> None:
        out = []
        while (job := self.statuses.next_out(more_jobs=more_jobs, more_bytes=more_bytes)) is not None:
            self.statuses.drop(job)
            out.append(job)
        if out:
            self._evicted += len(out)
            self._evicted_early += len(out)
            self._facts.append(Evicted(tuple(out), early=True))

    def _held(self, job_id: JobId) -> Job:
        job = self.statuses.get(job_id)
        assert job is not None, "a job with a deadline is live, and a live record is never evicted"
        return job

    def _leased(self, job_id: JobId, attempt: int) -> Job:
        job = self.statuses.get(job_id)
        if job is None or job.state is not JobState.RUNNING or job.attempt != attempt:
            raise StaleLease(f"attempt {attempt} of job {job_id} holds its lease no longer")
        return job

    def _request_stop(self, job: Job, reason: StopReason, now: float) -> None:
        if job.stopping is not None:
            return
        job.stopping = reason
        job.version += 1
        self._deadlines.set(job.id, now + LEASE_GRACE_S)
        self._facts.append(StopRequested(job, job.attempt))

    def _meet_deadline(self, job: Job, now: float) -> None:
        if job.state is JobState.DELAYED and now >= job.run_at:
            self._change_state(job, JobState.QUEUED, now)
            self._facts.append(Ready(job))
        elif job.state is not JobState.RUNNING:
            self._end(job, JobState.EXPIRED, now)
        elif job.stopping is None:
            self._request_stop(job, StopReason.TIMED_OUT, now)
        else:
            self._facts.append(LeaseLost(job, job.attempt))
            self._end_stopped(job, job.stopping, now)

    def _conclude(self, job: Job, failure: Failure, now: float) -> None:
        """End an attempt that did not succeed, as its failure demands, or the reason for which it was stopped."""
        if job.stopping is None:
            self._fail(job, failure, now)
        else:
            self._end_stopped(job, job.stopping, now)

    def _end_stopped(self, job: Job, reason: StopReason, now: float) -> None:
        if reason is StopReason.TIMED_OUT:
            self._fail(job, _timed_out(job), now)
            return
        if reason is StopReason.SHUTDOWN:
            job.error = _shut_down(job)
        self._end(job, JobState.CANCELLED, now)

    def _fail(self, job: Job, failure: Failure, now: float) -> None:
        if failure.final or job.attempt >= job.spec.attempts_max or self._shut_down:
            job.error = JobError(failure.code, failure.message[:MESSAGE_LENGTH_MAX])
            self._end(job, JobState.FAILED, now)
        elif failure.code is ErrorCode.WORKER_CRASHED:
            # Its worker died, not its handler: no backoff, and it keeps its turn.
            self._change_state(job, JobState.QUEUED, now)
            self._facts.append(Ready(job, front=True))
        else:
            wait_s = failure.retry_after_s
            job.run_at = now + (self._backoff.wait_s(job.attempt, self._rng) if wait_s is None else wait_s)
            self._change_state(job, JobState.DELAYED, now)
            self._facts.append(BackedOff(job))

    def _end(self, job: Job, state: JobState, now: float) -> None:
        """Make a job terminal: its seat and permit are free, its record lives on for its TTL."""
        if job.state is JobState.QUEUED:
            self._facts.append(Withdrawn(job))
        job.finished_at = now
        self._change_state(job, state, now)
        self.ledgers[job.spec.queue].ended_total[state] += 1
        self.statuses.finish(job, now=now, ttl_s=self.statuses.ttl_s(job))
        self._facts.append(Ended(job))

    def _change_state(self, job: Job, state: JobState, now: float) -> None:
        before = job.state
        job.move(state)
        ledger = self.ledgers[job.spec.queue]
        ledger.counts[before] -= 1
        if before is JobState.QUEUED:
            del ledger.waiting[job.id]
        if job.spec.lane is not None and state is not JobState.RUNNING:
            self._leave_lane(job, job.spec.lane)
        self._enter_state(job, now)

    def _enter_state(self, job: Job, now: float) -> None:
        """Count a job into its state and set the one deadline that it has there."""
        if not job.live:
            self._deadlines.discard(job.id)
            return
        ledger = self.ledgers[job.spec.queue]
        ledger.counts[job.state] += 1
        at: float | None
        if job.state is JobState.RUNNING:
            at = None if job.spec.timeout_s is None else now + job.spec.timeout_s
        else:
            # Start-by is about the first start: a retry has been started in time.
            at = job.start_by_at if job.attempt == 0 else None
            if job.state is JobState.DELAYED:
                at = job.run_at if at is None else min(at, job.run_at)
            else:
                ledger.waiting[job.id] = now
        if at is None:
            self._deadlines.discard(job.id)
        else:
            self._deadlines.set(job.id, at)

    def _leave_lane(self, job: Job, lane: str) -> None:
        gate = self._gates.get(lane)
        heir = gate.leave(job.id) if gate is not None else None
        if heir is not None:
            self._facts.append(Ready(self._held(heir), front=True))


def _timed_out(job: Job) -> Failure:
    return Failure(ErrorCode.TIMED_OUT, f"the attempt ran longer than its timeout of {job.spec.timeout_s} s")


def _shut_down(job: Job) -> JobError:
    return JobError(ErrorCode.SHUTDOWN, f"the server stopped while the job was {job.state}")
