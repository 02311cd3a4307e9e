"""Broken engines: each breaks one promise in one place, as a slip of the hand might. The simulation must notice each.

A mutant is a function that puts the slip in, and is undone by its patcher: the code itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from jobqueue.backend import memory
from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.admission import AdmissionControl
from jobqueue.core.engine import Engine
from jobqueue.core.events import Offered, Ready
from jobqueue.core.job import ErrorCode, JobState, StopReason, Success
from jobqueue.core.job_store import JobStore
from jobqueue.core.limits.circuit_breaker import CircuitBreaker
from jobqueue.core.limits.limiter import Limiter
from jobqueue.core.limits.limiters import Limiters
from jobqueue.core.scheduling.queue_state import QueueState
from jobqueue.core.scheduling.scheduler import Scheduler
from jobqueue.core.submit import Submitter
from jobqueue.core.transitions import Transitions
from jobqueue.core.uniqueness import UniquenessIndex
from jobqueue.errors import QueueFull
from jobqueue.runtime.spool import Spool
from jobqueue.runtime.timer import Timer
from jobqueue.runtime.workers import WorkerPool

MUTANTS: dict[str, Callable[[], Any]] = {}


def mutant(home: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what takes the place of a method: it gets the method, and returns what stands in for it."""

    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        MUTANTS[make.__name__] = lambda: patch.object(home, name, make(getattr(home, name)))
        return make

    return register


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Let everything run with this slip in it."""
    with MUTANTS[name]():
        yield


# -- permits


@mutant(Limiters, "leave")
def permits_of_a_failed_attempt_are_not_given_back(leave: Any) -> Any:
    def left(self: Limiters, job: Any, now: float) -> None:
        if job.state is not JobState.DELAYED:
            leave(self, job, now)

    return left


@mutant(Limiters, "take_offered")
def an_offered_job_is_forgotten(take_offered: Any) -> Any:
    return lambda self: take_offered(self)[1:]


@mutant(Limiters, "take_revoked")
def a_revoked_job_stays_ready(take_revoked: Any) -> Any:
    return lambda self: take_revoked(self)[:0]


@mutant(Limiter, "room")
def a_limiter_passes_one_too_many(room: Any) -> Any:
    return lambda self, now: room(self, now) + (self.permits is not None and self.held == self.permits)


@mutant(Limiter, "take")
def a_rate_is_not_counted(take: Any) -> Any:
    def taken(self: Limiter, job_id: Any, now: float) -> None:
        bucket, self.bucket = self.bucket, None
        take(self, job_id, now)
        self.bucket = bucket

    return taken


@mutant(Limiter, "give_back")
def a_probe_without_an_outcome_blocks_its_type(give_back: Any) -> Any:
    def given(self: Limiter, job_id: Any) -> None:
        probe = self.probe
        give_back(self, job_id)
        self.probe = probe

    return given


@mutant(Limiters, "withdraw")
def who_is_cancelled_in_line_stays_there(withdraw: Any) -> Any:
    return lambda self, job, now: None


@mutant(Limiters, "next_at")
def no_limiter_is_checked_when_time_makes_room(next_at: Any) -> Any:
    return lambda self: None


@mutant(Limiters, "open")
def a_released_type_stays_shut(open_: Any) -> Any:
    return lambda self, job_type, now: None


@mutant(Limiters, "shut")
def a_quarantine_shuts_nothing(shut: Any) -> Any:
    return lambda self, job_type, until, now: None


@mutant(CircuitBreaker, "succeeded")
def a_probe_that_succeeds_releases_nothing(succeeded: Any) -> Any:
    return lambda self, job_type, **given: False


# -- a job's way


@mutant(Engine, "ack")
def results_are_lost(ack: Any) -> Any:
    return lambda self, job_id, **given: ack(self, job_id, **{**given, "success": Success(b"null")})


@mutant(Engine, "_end_stopped")
def a_timeout_ends_as_a_cancel(end_stopped: Any) -> Any:
    return lambda self, job, reason, failure, now: end_stopped(self, job, StopReason.CANCELLED, failure, now)


@mutant(Engine, "_leased")
def acks_are_not_fenced(leased: Any) -> Any:
    return lambda self, job_id, attempt: self.store.get(job_id)


@mutant(Engine, "_leased")
def the_attempts_number_is_not_looked_at(leased: Any) -> Any:
    def found(self: Engine, job_id: Any, attempt: int) -> Any:
        job = self.store.get(job_id)
        return leased(self, job_id, attempt if job is None else job.attempt)

    return found


@mutant(Engine, "_fail")
def a_job_gets_one_attempt_too_many(fail: Any) -> Any:
    def failed(self: Engine, job: Any, failure: Any, now: float) -> None:
        job.attempts_before += 1
        fail(self, job, failure, now)
        job.attempts_before -= 1

    return failed


@mutant(Submitter, "retry")
def a_retry_counts_attempts_anew(retry: Any) -> Any:
    def retried(self: Submitter, job: Any, *, now: float) -> None:
        retry(self, job, now=now)
        job.attempt = job.attempts_before = 0

    return retried


@mutant(Transitions, "set_deadline")
def a_retry_is_never_due(set_deadline: Any) -> Any:
    def set_but(self: Transitions, job: Any, now: float) -> None:
        if not (job.state is JobState.DELAYED and job.attempt):
            set_deadline(self, job, now)

    return set_but


@mutant(Transitions, "set_deadline")
def a_queued_job_never_expires(set_deadline: Any) -> Any:
    def set_but(self: Transitions, job: Any, now: float) -> None:
        if job.state is JobState.QUEUED:
            self.deadlines.discard(job.id)
        else:
            set_deadline(self, job, now)

    return set_but


@mutant(Transitions, "make_ready")
def nobody_is_told_of_a_job_whose_worker_died(make_ready: Any) -> Any:
    def made(self: Transitions, job: Any, now: float, *, front: bool = False) -> None:
        make_ready(self, job, now, front=front)
        if front:
            self.events.pop()

    return made


@mutant(Transitions, "request_stop")
def a_stop_has_no_deadline(request_stop: Any) -> Any:
    def requested(self: Transitions, job: Any, reason: Any, now: float) -> None:
        request_stop(self, job, reason, now)
        self.deadlines.discard(job.id)

    return requested


# -- slots, counts and queues


@mutant(Transitions, "change_state")
def a_retry_frees_its_slot(change_state: Any) -> Any:
    def changed(self: Transitions, job: Any, state: Any, now: float) -> None:
        change_state(self, job, state, now)
        if job.state is JobState.DELAYED and job.attempt:
            self.queue_states[job.spec.queue].counts[JobState.DELAYED] -= 1

    return changed


@mutant(AdmissionControl, "admit")
def a_full_queue_lets_in(admit: Any) -> Any:
    def admitted(self: AdmissionControl, *args: Any, **given: Any) -> None:
        with suppress(QueueFull):
            admit(self, *args, **given)

    return admitted


@mutant(QueueState, "has_worker")
def a_queue_runs_more_jobs_than_its_workers(has_worker: Any) -> Any:
    return property(lambda self: not self.paused)


@mutant(QueueState, "has_worker")
def a_paused_queue_goes_on(has_worker: Any) -> Any:
    return property(lambda self: self.counts[JobState.RUNNING] < self.policy.workers)


@mutant(Scheduler, "reorder")
def a_change_of_discipline_loses_a_job(reorder: Any) -> Any:
    def reordered(self: Scheduler, queue: str, *, now: float) -> None:
        reorder(self, queue, now=now)
        if len(self._orders[queue]) > 1:
            self._orders[queue].pop(now)

    return reordered


@mutant(Scheduler, "remove")
def a_cancelled_job_stays_ready(remove: Any) -> Any:
    return lambda self, job: None


# -- records and claims


@mutant(JobStore, "revive")
def a_retried_record_is_evicted_all_the_same(revive: Any) -> Any:
    def revived(self: JobStore, job: Any) -> None:
        self._take_out = lambda job: None  # the fault: it stays filed
        revive(self, job)
        del self._take_out

    return revived


@mutant(JobStore, "finish")
def a_failed_jobs_bytes_are_counted_twice(finish: Any) -> Any:
    def finished(self: JobStore, job: Any, **given: Any) -> None:
        finish(self, job, **given)
        if job.state is JobState.FAILED:
            self.bytes_used += 1

    return finished


@mutant(JobStore, "finish")
def a_dead_letter_loses_its_arguments(finish: Any) -> Any:
    def finished(self: JobStore, job: Any, **given: Any) -> None:
        finish(self, job, **given)
        self.bytes_used -= len(job.args)
        job.args = b""

    return finished


@mutant(JobStore, "next_failed_out")
def dead_letters_are_not_bounded(next_failed_out: Any) -> Any:
    return lambda self: None


@mutant(Transitions, "note_evicted")
def what_a_bound_drove_out_is_not_counted(note_evicted: Any) -> Any:
    def noted(self: Transitions, jobs: Any, *, early: bool) -> None:
        note_evicted(self, jobs, early=early)
        self.evicted -= len(jobs) if early else 0

    return noted


@mutant(UniquenessIndex, "end")
def a_unique_value_is_kept_after_the_end(end: Any) -> Any:
    def ended(self: UniquenessIndex, job: Any) -> None:
        kept = dict(self._by_value)
        end(self, job)
        self._by_value = kept

    return ended


@mutant(UniquenessIndex, "holder")
def a_unique_value_holds_only_for_who_waits(holder: Any) -> Any:
    def held(self: UniquenessIndex, job_type: str, unique: Any) -> Any:
        return None if unique is not None and unique.value == "y" else holder(self, job_type, unique)

    return held


@mutant(UniquenessIndex, "under_key")
def a_key_is_forgotten(under_key: Any) -> Any:
    return lambda self, uniqueness: None


@mutant(UniquenessIndex, "share")
def a_duplicates_key_is_forgotten(share: Any) -> Any:
    return lambda self, uniqueness, job: None


# -- the backend and the runtime


@mutant(memory, "_applies")
def a_bulk_takes_the_others(applies: Any) -> Any:
    return lambda action, job: not applies(action, job)


@mutant(Engine, "set_paused")
def a_pause_does_nothing(set_paused: Any) -> Any:
    return lambda self, queue, paused: None


@mutant(MemoryBackend, "resume")
def nobody_is_woken_when_a_queue_goes_on(resume: Any) -> Any:
    async def resumed(self: MemoryBackend, queue: str) -> None:
        self._engine.set_paused(queue, False)

    return resumed


@mutant(MemoryBackend, "_tell_waiters")
def who_waits_for_an_expired_job_waits_on(tell: Any) -> Any:
    return lambda self, job: None if job.state is JobState.EXPIRED else tell(self, job)


@mutant(MemoryBackend, "_tell_watchers")
def a_watcher_is_told_of_an_offer(tell: Any) -> Any:
    return lambda self, event: tell(self, Ready(event.job) if isinstance(event, Offered) else event)


@mutant(MemoryBackend, "_publish")
def a_freed_slot_wakes_no_worker(publish: Any) -> Any:
    def published(self: MemoryBackend) -> None:
        if any(isinstance(event, Ready | Offered) for event in self._engine._transitions.events):
            publish(self)
        else:
            with patch.object(self, "_wake", lambda: None):
                publish(self)

    return published


@mutant(WorkerPool, "_replace_crashed")
def a_worker_that_died_is_not_replaced(replace: Any) -> Any:
    def replaced(self: WorkerPool, worker: Any, task: Any) -> None:
        with patch.object(self, "_hire", lambda: None):
            replace(self, worker, task)

    return replaced


@mutant(WorkerPool, "_replace_crashed")
def the_job_of_a_worker_that_died_is_forgotten(replace: Any) -> Any:
    def replaced(self: WorkerPool, worker: Any, task: Any) -> None:
        self._release(worker)
        replace(self, worker, task)

    return replaced


@mutant(WorkerPool, "resize")
def workers_that_are_too_many_stay(resize: Any) -> Any:
    def resized(self: WorkerPool, size: int) -> None:
        if size >= self.size:
            resize(self, size)
        self.size = size

    return resized


@mutant(WorkerPool, "_abandon")
def an_abandoned_worker_still_delivers(abandon: Any) -> Any:
    def abandoned(self: WorkerPool, worker: Any, job_id: Any) -> None:
        self._hire()

    return abandoned


@mutant(Timer, "look")
def the_timer_does_not_look_again(look: Any) -> Any:
    def looked(self: Timer) -> None:
        if self._handle is None:
            look(self)

    return looked


@mutant(Spool, "_end")
def a_dead_letter_loses_its_files(end: Any) -> Any:
    def ended(self: Spool, job: Any) -> None:
        before, job.state = job.state, JobState.SUCCEEDED
        end(self, job)
        job.state = before

    return ended


@mutant(Engine, "_blame")
def a_reject_counts_against_its_handler(blame: Any) -> Any:
    def blamed(self: Engine, job: Any, failure: Any, now: float) -> None:
        with patch("jobqueue.core.engine.BLAMELESS", frozenset({ErrorCode.SHUTDOWN})):
            blame(self, job, failure, now)

    return blamed
