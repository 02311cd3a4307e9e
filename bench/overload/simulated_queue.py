"""A simulated queue: the real engine, simulated workers, and a virtual clock.

A discrete-event simulation: the clock jumps from one event to the next, so hours take moments, and the order of events
is always the same. It knows jobs and the length of their work; clients are in `run` and `returns`.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import TYPE_CHECKING, Any

from bench.overload.policies import Shedder
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobState
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Job, JobId, JobSpec, Lease, Uniqueness
    from jobqueue.core.policy import QueuePolicy

QUEUE = "default"
TTL_S = 5.0  # records are not read after a job's end here, so few are kept
DONE = Success(b"null")


class SimulatedQueue:
    """One queue, its workers and the clock.

    Args:
        seed: Of all that the engine draws.
        shedder: Looks at each job that is about to start.
        on_end: Called with each job that ended, when it ended.
    """

    def __init__(
        self,
        policy: QueuePolicy,
        *,
        seed: str,
        on_end: Callable[[Job], None],
        shedder: Shedder | None = None,
        caller_jobs_max: int | None = None,
    ) -> None:
        self.engine = Engine(
            queues={QUEUE: policy},
            ids=IdIssuer(secret=seed.encode().ljust(16, b"."), run=RUNS[0]),
            rng=Random(f"{seed}/engine"),
            bounds=StoreBounds(ttl_s=TTL_S),
            quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
        )
        self.queue_state = self.engine.queue_states[QUEUE]
        self.now = 0.0
        self._on_end = on_end
        self._shedder = shedder or Shedder()
        self._work_s: dict[JobId, float] = {}
        self._due: float | None = None  # the engine's next tick
        # The serial keeps events of one instant in the order in which they were scheduled.
        self._agenda: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._serial = 0

    @property
    def queued(self) -> int:
        """Number of jobs that wait for their start."""
        return self.queue_state.counts[JobState.QUEUED]

    def at(self, when: float, act: Callable[[Any], None], what: Any) -> None:
        """Let `act(what)` happen at an instant."""
        self._serial += 1
        heapq.heappush(self._agenda, (when, self._serial, act, what))

    def submit(self, spec: JobSpec, work_s: float, uniqueness: Uniqueness | None = None) -> Job:
        """Submit a job that takes `work_s`. Raises Refused."""
        job = self.engine.submit(spec, b"{}", None, uniqueness, now=self.now).job
        self._work_s[job.id] = work_s
        return job

    def run(self, until: float) -> None:
        """Run all events that are due before `until`."""
        agenda = self._agenda
        while True:
            at = agenda[0][0] if agenda else until
            if self._due is not None and self._due <= at and self._due < until:
                self.now = max(self.now, self._due)
                self._due = self.engine.tick(self.now)
            elif at < until:
                self.now, _, act, what = heapq.heappop(agenda)
                act(what)
            else:
                break
            self._settle()
        self.now = until

    def _settle(self) -> None:
        """Report ended jobs, and start ready ones on idle workers. Without an event nothing has changed."""
        ready = self.engine.scheduler
        while events := self.engine.take_events():
            for event in events:
                if isinstance(event, Ended):
                    self._on_end(event.job)
                    del self._work_s[event.job.id]
            while ready:
                self._take(ready.pop(self.now))
            self._due = self.engine.next_at()

    def _take(self, job: Job) -> None:
        if self._shedder.sheds(self.now, waited_s=self.now - job.created_at, backlog=self.queued - 1):
            self.engine.cancel(job.id, now=self.now)
            return
        lease = self.engine.lease(job, now=self.now)
        if lease is not None:
            self.at(self.now + self._work_s[job.id], self._finish, lease)

    def _finish(self, lease: Lease) -> None:
        self.engine.ack(lease.job_id, attempt=lease.attempt, success=DONE, now=self.now)
