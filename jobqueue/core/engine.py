"""The engine: a job's whole life, its slot, its lease and its record. Synchronous and pure.

Rules:

1. An accepted job holds a slot of its queue until it is terminal: delayed, queued
   and running ones all count, so a retry keeps its slot and can't overflow the queue.
2. A submission is kept whole or rejected whole; every check comes before the first change.
3. The attempt number is a fencing token: an outcome with an old one is rejected (`StaleLease`).
4. An attempt that is asked to stop (`StopRequested`) must report its outcome within `LEASE_GRACE_S`.
   After that its lease is lost (`LeaseLost`), and the job goes on without it.
5. A queued job is either ready (`Scheduler`), or waits for a permit of a limiter (`Limiters`).
6. At every step: accepted = live + terminal + evicted.

Operations return their results, and record what happened as events, in order, for `take_events`; the backend passes
them on. `now` is seconds on one clock that never steps back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core import attempts
from jobqueue.core.admission import AdmissionControl
from jobqueue.core.attempt_outcome import ATTEMPT_CANCELLED, ATTEMPT_LOST, ATTEMPT_SUCCEEDED
from jobqueue.core.backoff import Backoff
from jobqueue.core.counting.stats import QueueStats, StoreStats, all_stats
from jobqueue.core.events import (
    AttemptFailed,
    BackedOff,
    Event,
    Expired,
    LeaseLost,
    PolicyChanged,
    Progressed,
    Requeued,
    RunNow,
    Started,
)
from jobqueue.core.flows import Flows
from jobqueue.core.ids import IdIssuer, Origin
from jobqueue.core.job import (
    CANCELLED,
    DELAYED,
    EXPIRED,
    FAILED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    WAITING,
    Job,
    JobId,
    Lease,
    StopReason,
)
from jobqueue.core.pauses import Pauses
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, Failure, JobError
from jobqueue.core.scheduling.eta import (
    FOR_PARENTS,
    PAUSED,
    POLL_AFTER_S_UNKNOWN,
    Estimate,
    WaitingFor,
    WaitReason,
    estimate_of,
)
from jobqueue.core.shutdown import ShutDown
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.submit import SubmitResult, Submitter
from jobqueue.core.together import TogetherSubmitter
from jobqueue.core.transitions import Transitions
from jobqueue.core.tuning import TUNING
from jobqueue.errors import JobGone, JobNotFound, StaleLease, WrongState, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from jobqueue.core.job import JobSpec, Uniqueness
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.report import Progress, Success
    from jobqueue.core.scheduling.scheduler import Shares
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.tuning import Tuning

TIMED_OUT: Final = StopReason.TIMED_OUT  # by a name, as the states in `job`

BACKOFF: Final = Backoff()
"""Of jobs of handlers without a backoff."""

BLAMELESS: Final = frozenset({ErrorCode.REJECTED, ErrorCode.RESULT_TOO_LARGE, ErrorCode.SHUTDOWN})
"""Errors without fault of the handler: they don't count towards quarantine (`circuit_breaker`, rule 1)."""


class Engine:
    """The state of all jobs of a process, and the operations on it.

    Args:
        queues: Policy by queue name.
        pools: Maximum number of attempts at once in each pool, by pool name.
        rng: Draws the jitter of backoffs and of Retry-After.
        quotas: What a caller may hold.
        tuning: Bounds of the work that one step does.
        follow_ups: Types whose jobs follow from the ends of others; a drain admits them, until it ends the jobs.
    """

    def __init__(
        self,
        *,
        queues: Mapping[str, QueuePolicy],
        ids: IdIssuer,
        rng: Random,
        bounds: StoreBounds | None = None,
        pools: Mapping[str, int] | None = None,
        shares: Shares = "weighted",
        quotas: Quotas | None = None,
        tuning: Tuning = TUNING,
        follow_ups: frozenset[str] = frozenset(),
    ) -> None:
        self._transitions = transitions = Transitions(
            queues=queues, bounds=bounds or StoreBounds(), pools=pools or {}, shares=shares, rng=rng, tuning=tuning
        )
        self.queue_states, self.store = transitions.queue_states, transitions.store
        self.scheduler, self.limiters = transitions.scheduler, transitions.limiters
        self.quarantine, self.release = transitions.quarantine, transitions.release
        self.pauses = Pauses(transitions)
        self.admission = AdmissionControl(
            self.queue_states, self.store, transitions.uniqueness_index, self.limiters, self.quarantine
        )
        self.admission.follow_ups = follow_ups
        self.store.quotas = quotas or self.store.quotas
        self._ids = ids
        self._rng = rng
        self._tick_work_max = tuning.tick_work_max
        self._shut_down: ShutDown | None = None
        self._submitter = Submitter(transitions, self.admission, ids)
        self.submit_row, self.under_key = self._submitter.submit_row, self._submitter.under_key
        self.flows = Flows(transitions, self.admission, self._submitter, self.missing)
        together = TogetherSubmitter(transitions, self.admission, self._submitter, self.flows, ids, self.get)
        self.submit_together, self.submit_flow = together.submit, together.submit_flow
        # Bound directly: a method around each would be a call more for each rejection, read or submission.
        self.refuse_unseen, self.refuse_closed = self.admission.refuse_unseen, self.admission.refuse_closed
        self.find, self.is_closed = transitions.store.get, self.admission.closed_to_all
        self.newest_first, self.excuse = transitions.store.newest_first, transitions.excuse
        self.uniqueness_index = transitions.uniqueness_index
        self.unique_values = self.uniqueness_index.values
        self.limiter_stats, self.portion = transitions.limiters.stats, transitions.store.portion
        self.counts, self.type_counts, self.totals = transitions.counts, transitions.type_counts, transitions.totals

    # -- operations of clients

    def submit(
        self, spec: JobSpec, args: bytes, upload: Upload | None, uniqueness: Uniqueness | None = None, *, now: float
    ) -> SubmitResult[Job]:
        """Accept a job, or return the existing one that it equals, or reject it and keep nothing.

        Raises:
            Draining, QueueFull, StatusesFull, RateLimited, KeyReused, Duplicate: As `Submitter.submit`.
        """
        return self._submitter.submit(spec, args, upload, uniqueness, now=now)

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """Return the record with this id.

        Args:
            owner: Its owner, as if there were no others; None: any owner.

        Raises:
            JobNotFound: The id was never issued.
            JobGone: It was issued, but its record is no longer held.
        """
        job = self.store.get(job_id)
        if job is None or (owner is not None and (job.uniqueness is None or job.uniqueness.owner != owner)):
            raise self.missing(job_id, owner)
        return job

    def missing(self, job_id: str, owner: str | None = None) -> JobNotFound | JobGone:
        """Return why no record, or none of this owner, has this id: what `get` raises."""
        origin = self._ids.origin(job_id, owner)
        if origin is Origin.NEVER:
            return JobNotFound(f"no job was ever created with the id {shown(job_id)!r}")
        return JobGone("evicted" if origin is Origin.THIS_RUN else "earlier-run")

    def cancel(self, job_id: str, *, now: float) -> Job:
        """Cancel a live job: a waiting one at once, a running one as soon as its attempt has stopped.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState: The job is terminal.
        """
        job = self.get(job_id)
        if not job.live:
            raise WrongState(f"the job is {job.state} already, so it can't be cancelled", state=job.state)
        self._transitions.cancel(job, now=now)
        return job

    def delete(self, job_id: str, *, needed: bool = False) -> None:
        """Remove a terminal record. Args: needed: Even if a live child needs it.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState: The job is live, or a live child needs its record.
        """
        job = self.get(job_id)
        if job.live:
            raise WrongState(f"the job is {job.state}: cancel it first, or wait for its end", state=job.state)
        if self._transitions.flow_index.any and not needed:
            child = self._transitions.flow_index.live_child(job.id)
            if child is not None:
                name = f"job {child.id}" if child.owner == job.owner else "a job of another owner"
                raise WrongState(f"{name} is live and needs this record: cancel it first", state=job.state)
        self._transitions.delete(job)

    def retry(self, job_id: str, *, now: float) -> Job:
        """Retry a failed job: a new series of attempts, under the same id.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState, Draining, QueueFull, TypeQuarantined, RateLimited: As `Submitter.retry`.
        """
        job = self.get(job_id)
        self._submitter.retry(job, now=now)
        return job

    def run_now(self, job_id: str, *, now: float) -> Job:
        """Queue a delayed job, or one that waits for its next attempt, now.

        Raises:
            JobNotFound, JobGone: As `get`.
            WrongState: The job isn't delayed.
        """
        job = self.get(job_id)
        if job.state is not DELAYED:
            raise WrongState(f"the job is {job.state}: only a delayed one can be run early", state=job.state)
        job.run_at = now
        self._transitions.change_state(job, QUEUED, now)
        self._transitions.events.append(RunNow(job))
        self._transitions.make_ready(job, now)
        return job

    def estimate(self, job: Job, *, now: float) -> Estimate:
        """Estimate when a live job starts and ends, and when to poll again."""
        queue_state = self.queue_states[job.spec.queue]
        if job.state is not QUEUED:
            if job.state is WAITING:
                return Estimate(None, None, POLL_AFTER_S_UNKNOWN, FOR_PARENTS)
            return estimate_of(job, queue_state, None, now)
        position = self.scheduler.position(job)
        if queue_state.paused:
            return Estimate(position, None, POLL_AFTER_S_UNKNOWN, PAUSED)
        waiting_for = self._waiting_for(job) if position is None or self.quarantine.count else None
        return estimate_of(job, queue_state, position, now, waiting_for)

    # -- operations of workers

    def lease(self, job: Job, *, now: float) -> Lease | None:
        """Lease the next attempt of a job that was taken from `scheduler`.

        Returns None if it must not start now: it or its flow was cancelled, its start-by is over, the engine is being
        shut down, or a limiter has no permit (then it becomes ready again when there is one).
        """
        if job.state is not QUEUED or self._shut_down is not None:
            return None
        transitions, limiters = self._transitions, self.limiters
        if transitions.flow_index.cancels and transitions.flow_index.is_being_cancelled(job):
            transitions.cancel(job, now=now)
            return None
        if job.start_by_at is not None and now >= job.start_by_at and job.attempt == 0:
            self._expire(job, now)
            return None
        entered = limiters.enter(job, now)
        if limiters.held or not entered:  # else the job needs no permit
            transitions.apply_offers(now)
        if not entered:
            return None
        transitions.start(job, now)
        extras, recovered = job.extras, False
        if extras is not None:
            extras.progress = extras.stopping = None
            recovered = extras.recovered > 0 and attempts.skip_numbers(job, extras)
        job.attempt += 1
        job.started_at = now
        transitions.events.append(Started(job))
        return Lease(job.id, job.attempt, job.spec, job.args, job.upload, recovered)

    def ack(self, job_id: JobId, *, attempt: int, success: Success, now: float) -> None:
        """Record that an attempt succeeded and free its slot.

        A success counts even if the job was being cancelled, since the work is done, but not after its timeout.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        if job.stopping is TIMED_OUT:
            self._fail(job, attempts.timed_out(job), now)
            return
        if not self.store.has_room_for_result(job, len(success.result)):
            detail = f"the job store has no room for a result of {len(success.result)} bytes"
            self._fail(job, Failure(ErrorCode.RESULT_TOO_LARGE, detail, final=True), now)
            return
        more_bytes = len(success.result) - len(job.args)
        if more_bytes > 0:
            self._transitions.make_room(job.caller, more_jobs=0, more_bytes=more_bytes)
        assert job.started_at is not None, "a job with an outcome was started"
        if self.quarantine.succeeded(job.spec.type, started_at=job.started_at):
            self._transitions.open_type(job.spec.type, now, on_request=False)
        job.result = success.result
        if success.file is not None:
            job.file = success.file
        self._transitions.end(job, SUCCEEDED, now, ATTEMPT_SUCCEEDED)

    def nack(self, job_id: JobId, *, attempt: int, failure: Failure, now: float) -> None:
        """Record that an attempt failed: its job waits for the next one, or is terminal.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        if job.stopping is None:
            self._fail(job, failure, now)
        else:
            self._end_stopped(job, job.stopping, failure, now)

    def stopped(self, job_id: JobId, *, attempt: int, now: float) -> None:
        """Record that an attempt ended because it was told to.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        assert job.stopping is not None, "an attempt that stops was told to"
        self._end_stopped(job, job.stopping, None, now)

    def report(self, job_id: JobId, *, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt.

        Raises:
            StaleLease: The lease was lost, or a newer attempt owns the job.
        """
        job = self._leased(job_id, attempt)
        job.progress = progress
        self._transitions.note_change(job)
        self._transitions.events.append(Progressed(job))

    # -- operations of operators

    def set_policy(self, queue: str, policy: QueuePolicy, *, now: float) -> None:
        """Change a queue's settings while it is in use. Keeps every job, even those over a smaller capacity."""
        queue_state = self.queue_states[queue]
        before, queue_state.policy = queue_state.policy, policy
        self._transitions.events.append(PolicyChanged(queue, policy))
        if not policy.orders_as(before):
            self.scheduler.reorder(queue, now=now)
            self.limiters.reorder(queue, now)
            self._transitions.apply_offers(now)

    def set_quotas(self, quotas: Quotas) -> None:
        """Change what callers may hold. What they hold beyond it is kept."""
        self.store.quotas = quotas

    # -- operations of the backend

    def set_permits(self, pool: str, permits: int, *, now: float) -> None:
        """Change the maximum number of attempts at once in a pool; 0: none for now. It stops none."""
        self.limiters.resize(pool, permits, now)
        self._transitions.apply_offers(now)

    def tick(self, now: float) -> float | None:
        """Do the work that is due, in bounded portions; return when to be called next (None: no deadline is set).

        A return value that is not after `now` means that more is due: call again soon, but let other tasks run first.
        """
        for _ in range(self._tick_work_max):
            job_id = self._transitions.deadlines.pop_due(now)
            if job_id is None:
                break
            self._meet_deadline(self._transitions.held(job_id), now)
        self.limiters.tick(now)
        self.pauses.tick(now)
        self._transitions.apply_offers(now)
        if self._transitions.flow_index.work:
            ends_all = self._shut_down is not None and not self._shut_down.keeps
            self.flows.settle(now, self._tick_work_max, tells=not ends_all)
        gone = self.store.evict_due(now, limit=self._tick_work_max)
        if gone:
            self._transitions.note_evicted(gone, early=False)
        return self.next_at()

    def next_at(self) -> float | None:
        """Return when the next deadline is due; None if none is set."""
        if self._transitions.flow_index.work:
            return 0.0  # at once
        first = self._transitions.deadlines.next_at()
        for at in (self.store.next_eviction_at(), self.limiters.next_at(), self.pauses.at):
            if at is not None and (first is None or at < first):
                first = at
        return first

    def stop_admitting(self) -> None:
        """Reject every submission from now on."""
        self.admission.drain()

    def begin_shut_down(self, *, keep: bool = False) -> ShutDown:
        """Accept and start nothing any more; return what ends the live jobs. Args: keep: As `ShutDown.keeps`."""
        self.stop_admitting()
        self._shut_down = ShutDown(self._transitions, keeps=keep)
        if not keep:
            self.admission.follow_ups = frozenset()  # what is looked at once must not be more a moment later
        return self._shut_down

    def take_events(self) -> list[Event]:
        """Return the events since the last call, in order."""
        events, self._transitions.events = self._transitions.events, []
        return events

    def live(self) -> int:
        """Return the number of live jobs."""
        return self.store.live

    def stats(self, now: float) -> tuple[StoreStats, list[QueueStats]]:
        """Count the records, and each queue."""
        return all_stats(self.store, self.totals(), self.queue_states.values(), self.quarantine.all(), now)

    # -- the parts

    def _waiting_for(self, job: Job) -> WaitingFor | None:
        """Return what a queued job of a running queue waits for."""
        quarantined = self.quarantine.of(job.spec.type)
        if quarantined is not None:
            return WaitingFor(WaitReason.TYPE_QUARANTINED, quarantined.until)
        return WaitingFor(WaitReason.LIMIT) if self.limiters.waits(job) else None

    def _leased(self, job_id: JobId, attempt: int) -> Job:
        job = self.store.get(job_id)
        if job is None or job.state is not RUNNING or job.attempt != attempt:
            raise StaleLease(f"attempt {attempt} of job {job_id} no longer holds its lease")
        return job

    def _meet_deadline(self, job: Job, now: float) -> None:
        if job.state is DELAYED and now >= job.run_at:
            self._transitions.change_state(job, QUEUED, now)
            self._transitions.make_ready(job, now)
        elif job.state is not RUNNING:
            self._expire(job, now)
        elif job.stopping is None:
            self._transitions.request_stop(job, StopReason.TIMED_OUT, now)
        else:
            self._transitions.events.append(LeaseLost(job, job.attempt))
            self._end_stopped(job, job.stopping, None, now, lost=True)

    def _expire(self, job: Job, now: float) -> None:
        self._transitions.events.append(Expired(job))
        self._transitions.end(job, EXPIRED, now)

    def _end_stopped(self, job: Job, why: StopReason, failure: Failure | None, now: float, lost: bool = False) -> None:
        """Conclude a stopped attempt. Args: failure: Its own outcome; None if it reported none."""
        if why is TIMED_OUT:
            self._fail(job, attempts.timed_out(job, failure), now, lost=lost)
            return
        if failure is not None and failure.traceback is not None:  # an error of the handler's clean-up
            self._transitions.events.append(AttemptFailed(job, job.attempt, failure, now))
        outcome = ATTEMPT_LOST if lost else ATTEMPT_CANCELLED
        if why is StopReason.SHUTDOWN:
            if self._shut_down is not None and self._shut_down.keeps:
                self._shut_down.give_back(job, now, outcome)
                return
            job.error = attempts.shut_down(job)
        self._transitions.end(job, CANCELLED, now, outcome)

    def _fail(self, job: Job, failure: Failure, now: float, *, lost: bool = False) -> None:
        outcome = attempts.outcome_of(failure, lost=lost)
        self._transitions.remember(job, attempts.failed_attempt(job, failure, now))
        self._blame(job, failure, now)
        self._transitions.events.append(AttemptFailed(job, job.attempt, failure, now))
        ends_all = self._shut_down is not None and not self._shut_down.keeps
        if failure.final or job.attempt >= job.attempts_max or ends_all:
            job.error = JobError(failure.code, failure.message[:MESSAGE_LENGTH_MAX])
            self._transitions.end(job, FAILED, now, outcome)
            while (out := self.store.next_failed_out()) is not None:
                self._transitions.evict([out], early=True)
        elif failure.code is ErrorCode.WORKER_CRASHED:
            # The fault is the worker's, not the handler's: no backoff, and it keeps its position.
            self._transitions.change_state(job, QUEUED, now, outcome)
            self._transitions.events.append(Requeued(job))
            self._transitions.make_ready(job, now, front=True)
        else:
            wait_s = failure.retry_after_s
            backoff = job.spec.backoff or BACKOFF
            attempt = job.attempt - job.attempts_before
            job.run_at = now + (backoff.wait_s(attempt, self._rng) if wait_s is None else wait_s)
            self._transitions.change_state(job, DELAYED, now, outcome)
            self._transitions.events.append(BackedOff(job))

    def _blame(self, job: Job, failure: Failure, now: float) -> None:
        own_fault = failure.code is ErrorCode.TIMED_OUT and job.spec.own_timeout
        if not own_fault and failure.code not in BLAMELESS and self._shut_down is None:
            reason = f"{failure.code}: {failure.message[:MESSAGE_LENGTH_MAX]}"
            assert job.started_at is not None, "a job with an outcome was started"
            self._transitions.blame(job, reason, now, started_at=job.started_at)
