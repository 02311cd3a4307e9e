"""One run: a stream of clients under one policy; the outcome of each client and of the workers' time."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.overload.clients import Client, RetryBehaviour, Service, arrivals
from bench.overload.figures import Figures, Seen
from jobqueue.core.job import JobSpec, JobState, Uniqueness
from jobqueue.core.record import changed
from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue
from jobqueue.what_if.visits import Returns, Visits

if TYPE_CHECKING:
    from bench.overload.policies import LabPolicy
    from jobqueue.core.job import Job
    from jobqueue.what_if.visits import Visit


class Load(msgspec.Struct, frozen=True):
    """A load in multiples of the capacity, with its warm-up and measured time."""

    factor: float
    warm_s: float
    measured_s: float


SERVICE = Service()

LOADS = (
    Load(0.5, 60.0, 120.0),
    Load(0.9, 60.0, 180.0),
    Load(1.2, 120.0, 120.0),
    Load(2.0, 60.0, 120.0),
    Load(10.0, 20.0, 40.0),
)
"""A small overload takes longer to build up. Ten times the capacity is a hundred clients a second, so less will do."""


def run(policy: LabPolicy, load: Load, behaviour: RetryBehaviour, *, seed: str, service: Service = SERVICE) -> Figures:
    """Simulate one policy under one load, and return its figures."""
    return _Run(policy, load, behaviour, seed, service).figures()


@cache
def _spec(priority: int, group: str) -> JobSpec:
    return JobSpec(type="work", priority=priority, group=group)


@cache
def _uniqueness(caller: str) -> Uniqueness:
    return Uniqueness(caller=caller)


class _Run:
    def __init__(self, policy: LabPolicy, load: Load, behaviour: RetryBehaviour, seed: str, service: Service) -> None:
        self._policy = policy
        self._shedder = shedder = policy.make_shedder(Random(f"{seed}/shedder"), service)
        self._queue = SimulatedQueue(
            policy.queue_policy(service),
            seed=seed,
            on_end=self._end,
            sheds=None if policy.shedder is None else shedder.sheds,
            caller_jobs_max=service.caller_jobs_max if policy.bounded else None,
        )
        self._from, self._to = load.warm_s, load.warm_s + load.measured_s
        # Until the last client of the measured time has its result or has left.
        self._until = self._to + 1.5 * service.patience_s
        self._seen = Seen(
            policy=policy.name(service),
            load=load.factor,
            behaviour=behaviour,
            measured_s=load.measured_s,
            workers=service.workers,
        )
        self._visits = Visits(
            self._queue,
            arrivals(load.factor, until=self._until, seed=seed, service=service),
            job_of=self._job_of,
            returns=Returns(behaviour),
            on_arrival=self._note_arrival,
            refuse=None if policy.shedder is None else self._refuse,
        )

    def figures(self) -> Figures:
        self._queue.run(self._until)
        return self._seen.figures()

    def _note_arrival(self, visit: Visit[Client]) -> None:
        if self._measuring:
            self._seen.visits.append(visit)

    def _job_of(self, client: Client) -> tuple[JobSpec, tuple[Attempt, ...], Uniqueness]:
        spec = _spec(client.priority, client.group)
        if self._policy.start_by:
            spec = changed(spec, start_by_s=max(0.0, client.half_at - self._queue.now))
        return spec, (Attempt(client.work_s),), _uniqueness(client.group)

    def _refuse(self, client: Client) -> float | None:
        now, queue_state = self._queue.now, self._queue.queue_state
        if not self._shedder.refuses(now, priority=client.priority, queued=self._queue.queued):
            return None
        queue_state.arrivals.add(now)
        return queue_state.retry_slot_s(now, client.group)

    def _end(self, job: Job) -> None:
        visit, now = self._visits.end(job), self._queue.now
        if job.state is JobState.SUCCEEDED:
            assert job.started_at is not None
            in_time = now <= visit.client.leaves_at
            if in_time:
                visit.answered_at = now
            if self._measuring:
                self._seen.note_work(visit.client, in_time=in_time, waited_s=job.started_at - job.created_at)

    @property
    def _measuring(self) -> bool:
        return self._from <= self._queue.now < self._to
