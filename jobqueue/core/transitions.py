"""Transitions: the side effects of each state change: slot, permits, deadline, record, uniqueness, event.

The engine decides on a change; this module makes it with all side effects, so that none can be
forgotten. A queued job is either ready (`Scheduler`), or waits for a permit of a limiter (`Limiters`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.attempt_outcome import ATTEMPT_CANCELLED
from jobqueue.core.attempts import longer_history
from jobqueue.core.counting.counts import Durations, QueueCounts, TypeCounts, counts_of, counts_of_type, waits_of
from jobqueue.core.counting.stats import Totals
from jobqueue.core.deadlines import Deadlines
from jobqueue.core.events import Ended, Evicted, FlowChanged, Offered, Quarantined, Ready, Released, StopRequested
from jobqueue.core.flow_index import FlowIndex
from jobqueue.core.job import CANCELLED, DELAYED, LIVE, QUEUED, RUNNING, StopReason
from jobqueue.core.job_store import JobStore
from jobqueue.core.limits.circuit_breaker import CircuitBreaker
from jobqueue.core.limits.limiters import Limiters
from jobqueue.core.scheduling.queue_state import QueueState
from jobqueue.core.scheduling.scheduler import Scheduler
from jobqueue.core.tuning import TUNING
from jobqueue.core.uniqueness import UniquenessIndex

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from jobqueue.core.events import Event
    from jobqueue.core.job import Job, JobId, JobState
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.report import FailedAttempt
    from jobqueue.core.scheduling.scheduler import Shares
    from jobqueue.core.store_bounds import StoreBounds
    from jobqueue.core.tuning import Tuning

LEASE_GRACE_S: Final = 1.0


class Transitions:
    """All jobs, with every structure that refers to them. Args: as the engine's."""

    def __init__(
        self,
        *,
        queues: Mapping[str, QueuePolicy],
        bounds: StoreBounds,
        pools: Mapping[str, int],
        shares: Shares,
        rng: Random,
        tuning: Tuning = TUNING,
    ) -> None:
        self.queue_states = {name: QueueState(name, policy, rng) for name, policy in queues.items()}
        self.store = JobStore(bounds)
        self.scheduler = Scheduler(self.queue_states, shares=shares)
        self.limiters = Limiters(pools=pools, order_of=self.scheduler.order_of, tuning=tuning)
        self.quarantine = CircuitBreaker()
        self.uniqueness_index = UniquenessIndex()
        self.flow_index = FlowIndex(self.store)
        self.deadlines: Deadlines[JobId] = Deadlines()
        self.events: list[Event] = []
        # Types of records of an earlier process that this one has no handler of.
        self.unknown_types: set[str] = set()
        self.accepted = self.evicted = self.evicted_early = self.deleted = 0

    # -- transitions

    def begin(self, job: Job, now: float) -> None:
        """Give an accepted or retried job its slot, and its place by its state."""
        if job.uniqueness is not None and not job.uniqueness.plain:
            self.uniqueness_index.stake(job)
        self.queue_states[job.spec.queue].begin(job, now)
        # No other new job has a deadline, nor an earlier one to take back.
        if job.state is DELAYED or job.start_by_at is not None:
            self.set_deadline(job)

    def start(self, job: Job, now: float) -> None:
        """Start the next attempt of a queued job, which has been taken from the scheduler and has its permits."""
        job.move(RUNNING)
        if self.flow_index.any:
            self.flow_index.changed(job, QUEUED)
        queue_state = self.queue_states[job.spec.queue]
        counts = queue_state.counts
        counts[QUEUED] -= 1
        counts[RUNNING] += 1
        since = queue_state.waiting.pop(job.id)
        type_state = queue_state.types[job.spec.type]
        type_state.waiting -= 1
        type_state.started_total += 1
        queue_state.waits.add(now - since, job.id)
        if queue_state.first_start_at is None:
            queue_state.note_first_start(now)
        if self.scheduler.charges_starts:
            self.scheduler.note_start(job)
        timeout_s = job.spec.timeout_s
        if timeout_s is None:
            self.deadlines.discard(job.id)
        else:
            self.deadlines.set(job.id, now + timeout_s)

    def end(self, job: Job, state: JobState, now: float, outcome: int = ATTEMPT_CANCELLED) -> None:
        """Make a job terminal: free its slot and permits, keep its record for its TTL.

        Args:
            outcome: As `change_state`.
        """
        job.finished_at = now
        self.change_state(job, state, now, outcome)
        self.queue_states[job.spec.queue].note_end(job, now)
        if job.uniqueness is not None and job.uniqueness.unique is not None:
            self.uniqueness_index.end(job)
        self.store.finish(job)
        if self.flow_index.any:
            self.flow_index.ended(job)
        self.events.append(Ended(job))

    def change_state(self, job: Job, state: JobState, now: float, outcome: int = ATTEMPT_CANCELLED) -> None:
        """Change a job's state, with its counts, permits, place and deadline; not that of a start.

        Args:
            outcome: That of the attempt, of a running job (`attempt_outcome`).
        """
        before = job.state
        job.move(state)
        if self.flow_index.any:
            self.flow_index.changed(job, before)
        queue_state = self.queue_states[job.spec.queue]
        queue_state.counts[before] -= 1
        if before is RUNNING:
            queue_state.note_run(job, outcome, now)
            if self.limiters.held:
                self.limiters.leave(job, now)
                self.apply_offers(now)
        elif before is QUEUED:
            del queue_state.waiting[job.id]
            queue_state.types[job.spec.type].waiting -= 1
            self.scheduler.remove(job)
            self.limiters.withdraw(job, now)
            self.apply_offers(now)
        if state in LIVE:
            queue_state.count_in(job, now)
            self.set_deadline(job)
        else:
            self.deadlines.discard(job.id)

    def note_change(self, job: Job) -> None:
        """Give a live job another version, which a client can see, in the state that it has."""
        job.version += 1
        if self.flow_index.any:
            self.flow_index.changed(job, job.state)

    def set_deadline(self, job: Job) -> None:
        """Set the one deadline that a job which does not run has in its state, or none."""
        # Start-by is about the first start: a retry has been started in time.
        at = job.start_by_at if job.attempt == 0 else None
        if job.state is DELAYED:
            at = job.run_at if at is None else min(at, job.run_at)
        if at is None:
            self.deadlines.discard(job.id)
        else:
            self.deadlines.set(job.id, at)

    def excuse(self, gap_s: float) -> None:
        """Extend the deadlines of running attempts, and of those being stopped, by a gap of suspension, in seconds."""
        for job_id, at in self.deadlines.items():
            if self.held(job_id).state is RUNNING:
                self.deadlines.set(job_id, at + gap_s)

    def make_ready(self, job: Job, now: float, *, front: bool = False) -> None:
        self.scheduler.push(job, now=now, front=front)
        self.events.append(Ready(job))

    def apply_offers(self, now: float) -> None:
        """Make jobs ready that were offered a permit, and let those wait again that had their offer revoked."""
        limiters = self.limiters
        if not (limiters.offered or limiters.revoked):
            return
        for job in limiters.take_revoked():
            self.scheduler.remove(job)
        for job in limiters.take_offered():
            # As of when it became ready: its waiting time still counts.
            since = self.queue_states[job.spec.queue].waiting.get(job.id, now)
            self.scheduler.push(job, now=since, front=True)
            self.events.append(Offered(job))

    def request_stop(self, job: Job, reason: StopReason, now: float) -> None:
        if job.stopping is not None:
            return
        job.stopping = reason
        self.note_change(job)
        self.deadlines.set(job.id, now + LEASE_GRACE_S)
        self.events.append(StopRequested(job, job.attempt))

    def cancel(self, job: Job, *, now: float) -> None:
        """Cancel a live job: a waiting one at once, a running one as soon as its attempt has stopped."""
        if job.state is RUNNING:
            self.request_stop(job, StopReason.CANCELLED, now)
        else:
            self.end(job, CANCELLED, now)

    def blame(self, job: Job, reason: str, now: float, *, started_at: float) -> None:
        """Count a failure against a job's type, and quarantine the type above its retry budget.

        Args:
            started_at: When the attempt began.
        """
        job_type, budget = job.spec.type, self.queue_states[job.spec.queue].policy.retry_budget
        until = self.quarantine.failed(
            job_type,
            budget=budget,
            started_at=started_at,
            reason=reason,
            now=now,
            caller=job.caller,
            group=job.spec.group,
        )
        if until is not None:
            self.limiters.shut(job_type, until, now, last=job)
            self.events.append(Quarantined(job_type, until, reason))

    def open_type(self, job_type: str, now: float, *, on_request: bool) -> None:
        """Let the jobs of a type start again, which is no longer in quarantine."""
        self.limiters.open(job_type, now)
        self.events.append(Released(job_type, on_request))

    def release(self, job_type: str, *, now: float) -> bool:
        """End a type's quarantine on request; return whether there was one."""
        released = self.quarantine.release(job_type, now)
        if released:
            self.open_type(job_type, now, on_request=True)
            self.apply_offers(now)
        return released

    # -- records

    def held(self, job_id: JobId) -> Job:
        job = self.store.get(job_id)
        assert job is not None, "a job with a deadline or a unique value is held"
        return job

    def make_room(self, caller: str | None, *, more_jobs: int, more_bytes: int) -> None:
        """Evict terminal records until this much more of a caller fits.

        `AdmissionControl` has checked that there are enough.
        """
        job = self.store.next_out(caller, more_jobs=more_jobs, more_bytes=more_bytes)
        if job is None:
            return
        out = []
        while job is not None:
            self.store.drop(job)
            out.append(job)
            job = self.store.next_out(caller, more_jobs=more_jobs, more_bytes=more_bytes)
        self.note_evicted(out, early=True)

    def remember(self, job: Job, failed: FailedAttempt) -> None:
        """Add a failed attempt to a live job's history, if the store has room."""
        history = longer_history(job, failed)
        more_bytes = sum(each.size_bytes for each in history) - job.history_bytes
        if self.store.has_room_to_grow(more_bytes) and self.store.is_within_quota(job, more_bytes):
            self.make_room(job.caller, more_jobs=0, more_bytes=more_bytes)
            job.history, job.held_bytes = history, job.held_bytes + more_bytes
            self.store.grow(job, more_bytes)

    def delete(self, job: Job) -> None:
        """Remove the record of a terminal job on request."""
        self.deleted += 1
        self.evict([job], early=False)

    def evict(self, jobs: list[Job], *, early: bool) -> None:
        for job in jobs:
            self.store.drop(job)
        self.note_evicted(jobs, early=early)

    def totals(self) -> Totals:
        return Totals(self.accepted, self.evicted, self.evicted_early, self.deleted)

    def counts(self, queue: str) -> QueueCounts:
        """Return what a queue has counted since the start, by type."""
        return counts_of(self.queue_states[queue])

    def type_counts(self, job_type: str, queue: str) -> tuple[TypeCounts, Durations]:
        """Return what all queues together have counted of a type, and the waits of one queue."""
        return counts_of_type(self.queue_states.values(), job_type), waits_of(self.queue_states[queue])

    def note_evicted(self, jobs: list[Job], *, early: bool) -> None:
        self.evicted += len(jobs)
        self.evicted_early += len(jobs) if early else 0
        if self.uniqueness_index.any_keys:
            for job in jobs:
                if job.uniqueness is not None and not job.uniqueness.plain:
                    self.uniqueness_index.drop(job)
        self.events.append(Evicted(tuple(jobs), early=early))
        if self.flow_index.any:
            flows = {flow.id: flow for job in jobs if (flow := self.flow_index.dropped(job)) is not None}
            self.events += map(FlowChanged, flows.values())
