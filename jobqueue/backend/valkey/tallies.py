"""Tallies: what this process has counted of the jobs that it submitted, ran and ended.

Rules:

1. Each change is counted by the process that made it, so the sum over all processes is that of the store. Live numbers
   are the store's, not these.
2. An attempt is counted by its outcome when it ends here: a later event of the same attempt adds nothing.
3. `waiting` of a type is what this process knows of: submitted here, and not started here. In several processes it only
   tells the mix of the types that wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core import events as of
from jobqueue.core.attempt_outcome import ATTEMPT_CANCELLED, ATTEMPT_LOST, ATTEMPT_SUCCEEDED
from jobqueue.core.attempts import outcome_of
from jobqueue.core.counting.counts import (
    Durations,
    QueueCounts,
    TypeCounts,
    counts_of_states,
    durations_of,
    type_counts_of,
)
from jobqueue.core.counting.stats import Totals
from jobqueue.core.histogram import Histogram
from jobqueue.core.job import CANCELLED, EXPIRED, FAILED, QUEUED, SUCCEEDED, StopReason
from jobqueue.core.scheduling.queue_state import RUN_WEIGHT
from jobqueue.core.scheduling.type_state import TypeState
from jobqueue.errors import QueueFull, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.core.events import Event
    from jobqueue.core.job import Job, JobId


class QueueTally:
    """What this process has counted of one queue.

    Attributes:
        waits: From when a job is due to the start of its attempt.
        run_s: Typical run time; None before the first one ended.
        ends: Jobs that became terminal.
        refused: Rejected submissions by the error's class.
    """

    __slots__ = ("ends", "name", "refused", "run_s", "types", "waits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waits = Histogram()
        self.types: dict[str, TypeState] = {}
        self.run_s: float | None = None
        self.ends = 0
        self.refused: dict[type[Refused], int] = {QueueFull: 0}

    def type_state(self, job_type: str) -> TypeState:
        """Return what is counted of a type; it begins with nothing."""
        found = self.types.get(job_type)
        if found is None:
            found = self.types[job_type] = TypeState()
        return found

    def refuse(self, kind: type[Refused]) -> None:
        self.refused[kind] = self.refused.get(kind, 0) + 1

    def typical_run_s(self, job_type: str) -> float | None:
        """Return a type's typical run time; None before the first one ended here."""
        found = self.types.get(job_type)
        return None if found is None else found.run_s

    def note_run(self, job: Job, outcome: int, run_s: float) -> None:
        """Count an attempt that ended, and include it in the typical run times."""
        type_state = self.type_state(job.spec.type)
        self.run_s = run_s if self.run_s is None else self.run_s + RUN_WEIGHT * (run_s - self.run_s)
        known = type_state.run_s
        type_state.run_s = run_s if known is None else known + RUN_WEIGHT * (run_s - known)
        (type_state.runs[outcome] or type_state.first_run(outcome)).add(run_s, job.id)

    def counts(self) -> QueueCounts:
        """Copy all counts."""
        return QueueCounts(
            name=self.name,
            waits=durations_of(self.waits),
            refused=dict(self.refused),
            types={name: type_counts_of(state) for name, state in self.types.items()},
        )


class Tallies:
    """The tallies of all queues, fed with the events of this process.

    Args:
        queues: Their names.
        now: The clock of every instant.

    Attributes:
        queues: By name.
        hears: What counts each kind of event.
        accepted, evicted, evicted_early, deleted: Records that this process added and removed.
    """

    def __init__(self, queues: Iterable[str], now: Callable[[], float]) -> None:
        self.queues = {name: QueueTally(name) for name in queues}
        self.accepted = self.evicted = self.evicted_early = self.deleted = 0
        self._now = now
        self._running: dict[JobId, bool] = {}  # attempts of this process; True: it did not stop in time
        self.hears: dict[type[Event], Callable[[Any], None]] = {
            of.Submitted: self._submitted,
            of.Ready: self._ready,
            of.Started: self._started,
            of.LeaseLost: self._lost,
            of.BackedOff: _leave_alone,
            of.AttemptFailed: self._attempt_failed,
            of.Requeued: self._requeued,
            of.Retried: self._retried,
            of.Ended: self._ended,
            of.Evicted: self._evicted,
        }

    def hear(self, event: Event) -> None:
        """Count an event of this process."""
        count = self.hears.get(type(event))
        if count is not None:
            count(event)

    def totals(self) -> Totals:
        """Return the counts of records."""
        return Totals(self.accepted, self.evicted, self.evicted_early, self.deleted)

    def of_type(self, job_type: str, queue: str) -> tuple[TypeCounts, Durations]:
        """Add up a type in all queues; return that, and the waits of one queue."""
        states = [found for each in self.queues.values() if (found := each.types.get(job_type)) is not None]
        return counts_of_states(states), durations_of(self.queues[queue].waits)

    def shared(self, queue: str, job_type: str, *, by_key: bool) -> None:
        """Count a submission that was answered with an existing job."""
        state = self.queues[queue].type_state(job_type)
        if by_key:
            state.same_key_total += 1
        else:
            state.same_value_total += 1

    # -- events

    def _state(self, job: Job) -> TypeState:
        return self.queues[job.spec.queue].type_state(job.spec.type)

    def _submitted(self, event: of.Submitted) -> None:
        job = event.job
        state = self.queues[job.spec.queue].type_state(job.spec.type)
        self.accepted += 1
        state.begun_total += 1
        if job.state is QUEUED:
            state.waiting += 1

    def _ready(self, event: of.Ready) -> None:
        if event.job.version:  # else its submission told so
            self._state(event.job).waiting += 1

    def _retried(self, event: of.Retried) -> None:
        state = self._state(event.job)
        state.begun_total += 1
        state.retried_total += 1

    def _started(self, event: of.Started) -> None:
        job = event.job
        queue = self.queues[job.spec.queue]
        state = queue.type_state(job.spec.type)
        self._running[job.id] = False
        state.started_total += 1
        if state.waiting:  # of jobs that another process submitted none was counted
            state.waiting -= 1
        if job.started_at is not None:
            wait_s = job.started_at - job.run_at
            queue.waits.add(wait_s if wait_s > 0.0 else 0.0, job.id)

    def _lost(self, event: of.LeaseLost) -> None:
        if event.job.id in self._running:
            self._running[event.job.id] = True

    def _attempt_failed(self, event: of.AttemptFailed) -> None:
        job = event.job
        if job.stopping is not None and job.stopping is not StopReason.TIMED_OUT:
            return  # an error of its clean-up: its end is counted
        lost = self._running.pop(job.id, None)
        if lost is not None:
            self._note_run(job, outcome_of(event.failure, lost=lost), event.at)

    def _requeued(self, event: of.Requeued) -> None:
        self._cut_off(event.job, self._now())

    def _ended(self, event: of.Ended) -> None:
        job = event.job
        queue = self.queues[job.spec.queue]
        queue.ends += 1
        ended_at = self._now() if job.finished_at is None else job.finished_at
        if job.state is SUCCEEDED:
            self._running.pop(job.id, None)
            queue.note_run(job, ATTEMPT_SUCCEEDED, 0.0 if job.started_at is None else ended_at - job.started_at)
            return
        state = queue.type_state(job.spec.type)
        ran = self._cut_off(job, ended_at)
        if job.state is FAILED:
            state.failed_total += 1
            return
        if job.state is CANCELLED:
            state.cancelled_total += 1
        elif job.state is EXPIRED:
            state.expired_total += 1
        if not ran and state.waiting and job.run_at <= ended_at:  # else it was delayed
            state.waiting -= 1

    def _cut_off(self, job: Job, at: float) -> bool:
        """Count the end of an attempt that has no outcome of its own; return whether it ran here."""
        lost = self._running.pop(job.id, None)
        if lost is None:
            return False
        self._note_run(job, ATTEMPT_LOST if lost else ATTEMPT_CANCELLED, at)
        return True

    def _evicted(self, event: of.Evicted) -> None:
        self.evicted += len(event.jobs)
        if event.early:
            self.evicted_early += len(event.jobs)

    def _note_run(self, job: Job, outcome: int, at: float) -> None:
        run_s = 0.0 if job.started_at is None else max(0.0, at - job.started_at)
        self.queues[job.spec.queue].note_run(job, outcome, run_s)


def _leave_alone(_: of.BackedOff) -> None:
    """Count nothing: the failure of its attempt was counted."""
