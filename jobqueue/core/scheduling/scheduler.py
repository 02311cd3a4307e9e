"""The scheduler: the ready jobs of all queues; chooses the next queue, and by its Order the next job.

Rules:

1. A job is popped only while its queue is neither paused nor closed, and runs fewer jobs than its `workers`.
2. Weighted: queues that have jobs share the workers' time by their weights. Strict: a queue of a higher weight
   goes first, always.
3. A queue that had no job to start, or could not start it (idle, paused, at its cap), saves nothing: it rejoins at the
   level of the served queues.
4. Only a start is charged to a queue: a popped job that then waits at a limiter has used no worker.

Weighted shares are stride scheduling (Waldspurger & Weihl, 1995) with a job's typical run as its stride, so
that time is shared, not the number of jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jobqueue.core.job import RUNNING
from jobqueue.core.scheduling.order import make_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.job import Job
    from jobqueue.core.scheduling.order import Order
    from jobqueue.core.scheduling.queue_state import QueueState

Shares = Literal["weighted", "strict"]


class Scheduler:
    """The jobs that may start, of all queues. It reads the states of the queues, and never changes them.

    Attributes:
        charges_starts: Whether starts are charged to their queues: only where there are several.
    """

    def __init__(self, queue_states: Mapping[str, QueueState], *, shares: Shares = "weighted") -> None:
        self._queue_states = queue_states
        self._strict = shares == "strict"
        self.charges_starts = len(queue_states) > 1
        self._orders = {name: self.order_of(name) for name in queue_states}
        self._passes = dict.fromkeys(queue_states, 0.0)

    def __len__(self) -> int:
        """Number of jobs that may be taken now."""
        return sum(self._takeable(name) for name in self._orders)

    def __bool__(self) -> bool:
        for name, order in self._orders.items():  # noqa: SIM110  # runs for each job: `any` costs as much again
            if order and self._queue_states[name].has_worker:
                return True
        return False

    def order_of(self, queue: str) -> Order:
        """Make an empty Order of a queue's discipline."""
        queue_state = self._queue_states[queue]
        return make_order(queue_state.policy, cost=queue_state.cost)

    def push(self, job: Job, *, now: float, front: bool = False) -> None:
        """Add a ready job; `front` requeues one that was taken before and keeps its turn."""
        self._orders[job.spec.queue].push(job, now=now, front=front)

    def pop(self, now: float) -> Job:
        """Take the next job. Raises IndexError if none may be taken."""
        job = self.take(now)
        if job is None:
            raise IndexError("no job may be taken")
        return job

    def take(self, now: float) -> Job | None:
        """Take the next job; None: none may be taken."""
        first: str | None = None
        for name, order in self._orders.items():
            if order and self._queue_states[name].has_worker and (first is None or self._goes_before(name, first)):
                first = name
        return None if first is None else self._orders[first].pop(now)

    def note_start(self, job: Job) -> None:
        """Charge a queue for the start of one of its jobs."""
        queue = job.spec.queue
        queue_state, level = self._queue_states[queue], self._passes[queue]
        self._passes[queue] += (queue_state.run_s or 1.0) / queue_state.policy.weight
        for name, other in self._queue_states.items():
            if self._passes[name] < level and not (self._orders[name] and other.has_worker):
                self._passes[name] = level

    def may_start(self, queue: str) -> bool:
        """Whether one more job of this queue may run now."""
        return self._queue_states[queue].has_worker

    def held_back(self, queue: str) -> bool:
        """Whether a slot that has just been freed lets one more job start, which the queue's `workers` held back."""
        queue_state = self._queue_states[queue]
        if not queue_state.waiting or not queue_state.has_worker:
            return False
        # With a free slot for each ready job, none was held back.
        return len(self._orders[queue]) >= queue_state.policy.workers - queue_state.counts[RUNNING]

    def remove(self, job: Job) -> None:
        """Remove a job that is ready no longer, if it is here."""
        self._orders[job.spec.queue].remove(job)

    def position(self, job: Job) -> int | None:
        """Estimate the number of starts of its queue until this job's, 1 for the next; None: it isn't here."""
        return self._orders[job.spec.queue].position(job)

    def waiting(self, queue: str) -> int:
        """Number of a queue's ready jobs, whether or not they may be taken now."""
        return len(self._orders[queue])

    def reorder(self, queue: str, *, now: float) -> None:
        """Re-sort a queue's jobs by the present discipline of its policy; no job is lost."""
        before, after = self._orders[queue], self.order_of(queue)
        since = self._queue_states[queue].waiting
        for job in before:
            # As of when it became ready: its waiting time still counts.
            after.push(job, now=since.get(job.id, now))
        self._orders[queue] = after

    def _takeable(self, name: str) -> int:
        queue_state = self._queue_states[name]
        if not queue_state.has_worker:
            return 0
        return min(len(self._orders[name]), queue_state.policy.workers - queue_state.counts[RUNNING])

    def _goes_before(self, queue: str, other: str) -> bool:
        if self._strict:
            weight, other_weight = self._queue_states[queue].policy.weight, self._queue_states[other].policy.weight
            if weight != other_weight:
                return weight > other_weight
        return self._passes[queue] < self._passes[other]
