"""One run: a stream of clients under one policy; the outcome of each client and of the workers' time."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.overload.clients import PAUSE_S, Client, RetryBehaviour, Service, arrivals, whole_seconds
from bench.overload.figures import Figures, Seen, Visit
from bench.overload.simulated_queue import SimulatedQueue
from jobqueue.core.job import JobSpec, JobState, Uniqueness
from jobqueue.core.record import changed
from jobqueue.errors import Refused

if TYPE_CHECKING:
    from bench.overload.policies import LabPolicy
    from jobqueue.core.job import Job, JobId


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
        self._load = load
        self._obedient = behaviour is RetryBehaviour.OBEDIENT
        self._shedder = policy.make_shedder(Random(f"{seed}/shedder"), service)
        self._queue = SimulatedQueue(
            policy.queue_policy(service),
            seed=seed,
            on_end=self._end,
            shedder=self._shedder,
            caller_jobs_max=service.caller_jobs_max if policy.bounded else None,
        )
        self._from, self._to = load.warm_s, load.warm_s + load.measured_s
        # Until the last client of the measured time has its result or has left.
        self._until = self._to + 1.5 * service.patience_s
        self._arrivals = iter(arrivals(load.factor, until=self._until, seed=seed, service=service))
        self._visits: dict[JobId, Visit] = {}
        self._seen = Seen(
            policy=policy.name(service),
            load=load.factor,
            behaviour=behaviour,
            measured_s=load.measured_s,
            workers=service.workers,
        )

    def figures(self) -> Figures:
        self._expect_next()
        self._queue.run(self._until)
        return self._seen.figures()

    # -- clients

    def _expect_next(self) -> None:
        client = next(self._arrivals, None)
        if client is not None:
            self._queue.at(client.at, self._arrive, client)

    def _arrive(self, client: Client) -> None:
        visit = Visit(client=client)
        if self._measuring:
            self._seen.visits.append(visit)
        self._submit(visit)
        self._expect_next()

    def _submit(self, visit: Visit) -> None:
        client, now = visit.client, self._queue.now
        visit.tries += 1
        if self._shedder.refuses(now, priority=client.priority, queued=self._queue.queued):
            self._queue.queue_state.arrivals.add(now)
            self._refuse(visit, self._queue.queue_state.retry_slot_s(now, client.group))
            return
        spec = _spec(client.priority, client.group)
        if self._policy.start_by:
            spec = changed(spec, start_by_s=max(0.0, client.half_at - now))
        try:
            job = self._queue.submit(spec, client.work_s, _uniqueness(client.group))
        except Refused as refusal:
            self._refuse(visit, refusal.retry_after_s)
        else:
            visit.accepted = True
            self._visits[job.id] = visit

    def _refuse(self, visit: Visit, retry_after_s: float) -> None:
        visit.refused += 1
        self._come_again(visit, whole_seconds(retry_after_s) if self._obedient else PAUSE_S)

    def _come_again(self, visit: Visit, pause_s: float) -> None:
        """Schedule a client's return, unless its patience ends before."""
        at = self._queue.now + pause_s
        if at < visit.client.leaves_at:
            self._queue.at(at, self._submit, visit)

    # -- jobs

    def _end(self, job: Job) -> None:
        visit, now = self._visits.pop(job.id), self._queue.now
        if job.state is JobState.SUCCEEDED:
            assert job.started_at is not None
            in_time = now <= visit.client.leaves_at
            if in_time:
                visit.answered_at = now
            if self._measuring:
                self._seen.note_work(visit.client, in_time=in_time, waited_s=job.started_at - job.created_at)
        else:
            # Shed or expired: there was no Retry-After to obey.
            visit.shed += 1
            self._come_again(visit, PAUSE_S)

    @property
    def _measuring(self) -> bool:
        return self._from <= self._queue.now < self._to
