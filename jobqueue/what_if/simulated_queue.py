"""A simulated queue: the real engine, simulated workers, and a virtual clock.

A discrete-event simulation: the clock jumps from one event to the next, so hours take moments, and the order of events
is always the same. It knows jobs and their attempts; clients are in `visits`.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobState
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.core.job import Job, JobId, JobSpec, Lease, Uniqueness
    from jobqueue.core.policy import QueuePolicy

QUEUE = "default"
TTL_S = 5.0  # records are not read after a job's end here, so few are kept
DONE = Success(b"null")
FAILED = Failure(ErrorCode.HANDLER_ERROR, "simulated")


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """How one attempt of a job goes: its run time, and whether it succeeds."""

    run_s: float
    succeeds: bool = True


class SimulatedQueue:
    """One queue, its workers and the clock.

    Args:
        seed: Of all that the engine draws.
        on_end: Called with each job that ended, when it ended.
        on_start: Called with each job when an attempt of it starts, and that attempt.
        sheds: Called with the time, the wait and the backlog of each job that is about to start: whether it is dropped
            instead. The server has no such policy; the overload lab compares some.
        caller_jobs_max: Live jobs that each caller may have; None: no bound.
        pools: Attempts at once in each pool, by its name.
    """

    def __init__(
        self,
        policy: QueuePolicy,
        *,
        seed: str,
        on_end: Callable[[Job], None],
        on_start: Callable[[Job, Attempt], None] | None = None,
        sheds: Callable[[float, float, int], bool] | None = None,
        caller_jobs_max: int | None = None,
        pools: Mapping[str, int] | None = None,
    ) -> None:
        self.engine = Engine(
            queues={QUEUE: policy},
            ids=IdIssuer(secret=seed.encode().ljust(16, b"."), run=RUNS[0]),
            rng=Random(f"{seed}/engine"),
            bounds=StoreBounds(ttl_s=TTL_S, failed_ttl_s=TTL_S),
            quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
            pools=pools,
        )
        self.queue_state = self.engine.queue_states[QUEUE]
        self.now = 0.0
        self._on_end = on_end
        self._on_start = on_start
        self._sheds = sheds
        self._attempts: dict[JobId, Sequence[Attempt]] = {}
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

    def submit(self, spec: JobSpec, attempts: Sequence[Attempt], uniqueness: Uniqueness | None = None) -> Job:
        """Submit a job with these attempts, the last of which is repeated if there are more. Raises Refused."""
        job = self.engine.submit(spec, b"{}", None, uniqueness, now=self.now).job
        self._attempts[job.id] = attempts
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
                    del self._attempts[event.job.id]
            while ready:
                self._take(ready.pop(self.now))
            self._due = self.engine.next_at()

    def _take(self, job: Job) -> None:
        if self._sheds is not None and self._sheds(self.now, self.now - job.created_at, self.queued - 1):
            self.engine.cancel(job.id, now=self.now)
            return
        lease = self.engine.lease(job, now=self.now)
        if lease is not None:
            attempts = self._attempts[job.id]
            attempt = attempts[min(lease.attempt, len(attempts)) - 1]
            if self._on_start is not None:
                self._on_start(job, attempt)
            self.at(self.now + attempt.run_s, self._succeed if attempt.succeeds else self._fail, lease)

    def _succeed(self, lease: Lease) -> None:
        self.engine.ack(lease.job_id, attempt=lease.attempt, success=DONE, now=self.now)

    def _fail(self, lease: Lease) -> None:
        self.engine.nack(lease.job_id, attempt=lease.attempt, failure=FAILED, now=self.now)
