"""Mutants: each patches one method so that it breaks one promise. The simulation must detect every one of them.

The name of a mutant says the fault. Its function takes the original method and returns the replacement, which is
patched in for the duration of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from jobqueue.backend import searches
from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.recorder import Recorder
from jobqueue.backend.memory import MemoryBackend
from jobqueue.backend.ready_queue import ReadyQueue
from jobqueue.backend.timer import Timer
from jobqueue.backend.waits import Waits
from jobqueue.core.admission import AdmissionControl
from jobqueue.core.engine import Engine
from jobqueue.core.events import Offered, Ready
from jobqueue.core.flow_index import FlowIndex
from jobqueue.core.job import JobState, StopReason
from jobqueue.core.job_store import JobStore
from jobqueue.core.limits.circuit_breaker import CircuitBreaker
from jobqueue.core.limits.limiter import Limiter
from jobqueue.core.limits.limiters import Limiters
from jobqueue.core.pauses import Pauses
from jobqueue.core.report import ErrorCode, Success
from jobqueue.core.scheduling.queue_state import QueueState
from jobqueue.core.scheduling.scheduler import Scheduler
from jobqueue.core.submit import Submitter
from jobqueue.core.transitions import Transitions
from jobqueue.core.uniqueness import UniquenessIndex
from jobqueue.errors import QueueFull
from jobqueue.runtime.spool import Spool
from jobqueue.runtime.workers import WorkerPool

MUTANTS: dict[str, Callable[[], Any]] = {}


def mutant(home: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a mutant of a method: a function that takes the method and returns its replacement."""

    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        MUTANTS[make.__name__] = lambda: patch.object(home, name, make(getattr(home, name)))
        return make

    return register


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Apply a mutant within the context."""
    with MUTANTS[name]():
        yield


# -- permits


@mutant(Limiters, "leave")
def permits_of_a_failed_attempt_are_not_released(leave: Any) -> Any:
    def left(self: Limiters, job: Any, now: float) -> None:
        if job.state is not JobState.DELAYED:
            leave(self, job, now)

    return left


@mutant(Limiters, "take_offered")
def an_offered_job_is_lost(take_offered: Any) -> Any:
    return lambda self: take_offered(self)[1:]


@mutant(Limiters, "take_revoked")
def a_revoked_job_stays_ready(take_revoked: Any) -> Any:
    return lambda self: take_revoked(self)[:0]


@mutant(Limiter, "room")
def a_limiter_exceeds_its_permits_by_one(room: Any) -> Any:
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
def a_cancelled_job_stays_in_the_queue_of_its_limiter(withdraw: Any) -> Any:
    return lambda self, job, now: None


@mutant(Limiters, "next_at")
def limiters_have_no_deadline(next_at: Any) -> Any:
    return lambda self: None


@mutant(Limiters, "open")
def a_released_type_stays_in_quarantine(open_: Any) -> Any:
    return lambda self, job_type, now: None


@mutant(Limiters, "shut")
def a_quarantine_stops_no_job(shut: Any) -> Any:
    return lambda self, job_type, until, now: None


@mutant(CircuitBreaker, "succeeded")
def a_successful_probe_does_not_release_its_type(succeeded: Any) -> Any:
    return lambda self, job_type, **given: False


# -- leases, outcomes and attempts


@mutant(Engine, "ack")
def results_are_lost(ack: Any) -> Any:
    return lambda self, job_id, **given: ack(self, job_id, **{**given, "success": Success(b"null")})


@mutant(Engine, "_end_stopped")
def a_timeout_ends_as_a_cancel(end_stopped: Any) -> Any:
    return lambda self, job, reason, failure, now: end_stopped(self, job, StopReason.CANCELLED, failure, now)


@mutant(Engine, "_leased")
def any_job_can_be_acknowledged_with_any_attempt(leased: Any) -> Any:
    return lambda self, job_id, attempt: self.store.get(job_id)


@mutant(Engine, "_leased")
def the_attempt_number_is_ignored(leased: Any) -> Any:
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
def a_retry_resets_the_attempt_number(retry: Any) -> Any:
    def retried(self: Submitter, job: Any, *, now: float) -> None:
        retry(self, job, now=now)
        job.attempt = job.attempts_before = 0

    return retried


@mutant(Transitions, "set_deadline")
def a_backoff_has_no_deadline(set_deadline: Any) -> Any:
    def set_but(self: Transitions, job: Any) -> None:
        if not (job.state is JobState.DELAYED and job.attempt):
            set_deadline(self, job)

    return set_but


@mutant(Transitions, "set_deadline")
def a_queued_job_never_expires(set_deadline: Any) -> Any:
    def set_but(self: Transitions, job: Any) -> None:
        if job.state is JobState.QUEUED:
            self.deadlines.discard(job.id)
        else:
            set_deadline(self, job)

    return set_but


@mutant(Transitions, "make_ready")
def a_job_of_a_dead_worker_becomes_ready_without_an_event(make_ready: Any) -> Any:
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
def a_backoff_frees_the_slot_of_its_job(change_state: Any) -> Any:
    def changed(self: Transitions, job: Any, state: Any, now: float, *outcome: int) -> None:
        change_state(self, job, state, now, *outcome)
        if job.state is JobState.DELAYED and job.attempt:
            self.queue_states[job.spec.queue].counts[JobState.DELAYED] -= 1

    return changed


@mutant(AdmissionControl, "admit")
def a_full_queue_accepts_submissions(admit: Any) -> Any:
    def admitted(self: AdmissionControl, *args: Any, **given: Any) -> None:
        with suppress(QueueFull):
            admit(self, *args, **given)

    return admitted


@mutant(QueueState, "has_worker")
def a_queue_runs_more_jobs_than_its_workers(has_worker: Any) -> Any:
    return property(lambda self: not self.paused)


@mutant(QueueState, "has_worker")
def a_paused_queue_starts_jobs(has_worker: Any) -> Any:
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


# -- records and uniqueness


@mutant(JobStore, "revive")
def a_retried_record_stays_in_its_expiry_bucket(revive: Any) -> Any:
    def revived(self: JobStore, job: Any) -> None:
        self._take_out = lambda job: None  # the fault: it stays in its expiry bucket
        revive(self, job)
        del self._take_out

    return revived


@mutant(JobStore, "finish")
def the_bytes_of_a_failed_job_are_counted_wrongly(finish: Any) -> Any:
    def finished(self: JobStore, job: Any, **given: Any) -> None:
        finish(self, job, **given)
        if job.state is JobState.FAILED:
            self.bytes_used += 1

    return finished


@mutant(JobStore, "finish")
def a_failed_job_loses_its_arguments(finish: Any) -> Any:
    def finished(self: JobStore, job: Any, **given: Any) -> None:
        finish(self, job, **given)
        self.bytes_used -= len(job.args)
        job.args = b""

    return finished


@mutant(JobStore, "next_failed_out")
def failed_jobs_are_not_bounded(next_failed_out: Any) -> Any:
    return lambda self: None


@mutant(JobStore, "next_out")
def early_evictions_spare_the_largest_holding(next_out: Any) -> Any:
    def found(self: JobStore, **more: int) -> Any:
        return None if next_out(self, **more) is None else self._first_ended()

    return found


@mutant(Transitions, "note_evicted")
def early_evictions_are_not_counted(note_evicted: Any) -> Any:
    def noted(self: Transitions, jobs: Any, *, early: bool) -> None:
        note_evicted(self, jobs, early=early)
        self.evicted -= len(jobs) if early else 0

    return noted


@mutant(UniquenessIndex, "end")
def a_terminal_job_keeps_its_unique_value(end: Any) -> Any:
    def ended(self: UniquenessIndex, job: Any) -> None:
        kept = dict(self._by_value)
        end(self, job)
        self._by_value = kept

    return ended


@mutant(UniquenessIndex, "holder")
def a_unique_value_is_not_found(holder: Any) -> Any:
    def held(self: UniquenessIndex, job_type: str, unique: Any) -> Any:
        return None if unique is not None and unique.value == "y" else holder(self, job_type, unique)

    return held


@mutant(UniquenessIndex, "under_key")
def an_idempotency_key_is_not_found(under_key: Any) -> Any:
    return lambda self, uniqueness: None


@mutant(UniquenessIndex, "share")
def the_idempotency_key_of_a_duplicate_is_not_stored(share: Any) -> Any:
    return lambda self, uniqueness, job: None


# -- the backend and the runtime


@mutant(searches, "_applies")
def a_bulk_action_applies_to_the_wrong_jobs(applies: Any) -> Any:
    return lambda action, job: not applies(action, job)


@mutant(Pauses, "begin")
def a_pause_does_nothing(begin: Any) -> Any:
    return lambda self, queue, **pause: None


@mutant(Pauses, "tick")
def a_pause_never_ends_by_itself(tick: Any) -> Any:
    return lambda self, now: None


@mutant(MemoryBackend, "resume")
def a_resumed_queue_wakes_no_worker(resume: Any) -> Any:
    async def resumed(self: MemoryBackend, queue: str, *, by: str | None = None) -> None:
        self._engine.pauses.end(queue)
        self._engine.take_events()

    return resumed


@mutant(Waits, "ended")
def waiters_of_an_expired_job_are_not_woken(tell: Any) -> Any:
    return lambda self, job: None if job.state is JobState.EXPIRED else tell(self, job)


@mutant(Waits, "changed")
def watchers_are_woken_by_an_offer(tell: Any) -> Any:
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


@mutant(MemoryBackend, "pass_on")
def the_rest_of_a_burst_wakes_no_worker(pass_on: Any) -> Any:
    def passed_on(self: MemoryBackend) -> None:
        self._ready.searching = False

    return passed_on


@mutant(MemoryBackend, "pass_on")
def a_worker_that_passes_on_counts_as_searching(pass_on: Any) -> Any:
    return lambda self: None


@mutant(ReadyQueue, "empty")
def a_worker_that_found_nothing_counts_as_searching(empty: Any) -> Any:
    return lambda self: not self._ready


@mutant(WorkerPool, "_replace_crashed")
def a_dead_worker_is_not_replaced(replace: Any) -> Any:
    def replaced(self: WorkerPool, worker: Any, task: Any) -> None:
        with patch.object(self, "_hire", lambda: None):
            replace(self, worker, task)

    return replaced


@mutant(WorkerPool, "_replace_crashed")
def the_job_of_a_dead_worker_is_lost(replace: Any) -> Any:
    def replaced(self: WorkerPool, worker: Any, task: Any) -> None:
        self._release(worker)
        replace(self, worker, task)

    return replaced


@mutant(WorkerPool, "resize")
def surplus_workers_stay(resize: Any) -> Any:
    def resized(self: WorkerPool, size: int) -> None:
        if size >= self.size:
            resize(self, size)
        self.size = size

    return resized


@mutant(WorkerPool, "_abandon")
def an_abandoned_worker_still_reports_its_outcome(abandon: Any) -> Any:
    def abandoned(self: WorkerPool, worker: Any, job_id: Any) -> None:
        self._hire()

    return abandoned


@mutant(Timer, "look")
def the_timer_ignores_an_earlier_deadline(look: Any) -> Any:
    def looked(self: Timer) -> None:
        if self._handle is None:
            look(self)

    return looked


@mutant(Spool, "_end")
def a_failed_job_loses_its_files(end: Any) -> Any:
    def ended(self: Spool, job: Any) -> None:
        before, job.state = job.state, JobState.SUCCEEDED
        end(self, job)
        job.state = before

    return ended


# -- the journal


@mutant(Recorder, "_on_backed_off")
def the_journal_misses_backoffs(on_backed_off: Any) -> Any:
    return lambda self, event: None


@mutant(Image, "_note_value")
def the_journal_gives_a_unique_value_to_its_first_job(note_value: Any) -> Any:
    def noted(self: Image, name: Any, position: str, job_id: Any) -> None:
        if name not in self._last_with:
            note_value(self, name, position, job_id)

    return noted


@mutant(Image, "_gone")
def the_journal_keeps_evicted_records(gone: Any) -> Any:
    return lambda self, record: None


@mutant(Engine, "_blame")
def a_reject_counts_against_its_handler(blame: Any) -> Any:
    def blamed(self: Engine, job: Any, failure: Any, now: float) -> None:
        with patch("jobqueue.core.engine.BLAMELESS", frozenset({ErrorCode.SHUTDOWN})):
            blame(self, job, failure, now)

    return blamed


# -- parents


@mutant(FlowIndex, "link")
def a_child_does_not_wait_for_its_last_parent(link: Any) -> Any:
    def linked(self: FlowIndex, child: Any) -> Any:
        failed = link(self, child)
        self.pending[child.id] = max(0, self.pending[child.id] - 1)
        return failed

    return linked


@mutant(FlowIndex, "release")
def records_of_parents_are_kept_for_ever(release: Any) -> Any:
    return lambda self, links, limit: setattr(links, "removed", len(links.parents)) or limit
