"""Limiters as the engine uses them, beside a naive model that recounts everything at each step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from jobqueue.core.job import Job, JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.limits.limiter import GroupName
from jobqueue.core.limits.limiters import Limiters
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.rate import Rate
from jobqueue.core.scheduling.order import Order, make_order
from tests.core.limits.exact_bucket import ExactBucket


@dataclass
class Shut:
    until: float
    probe: Job | None = None


@dataclass
class World:
    """The part of the engine that uses limiters: ready orders, runs, a clock; and the model's view of it.

    After each step it checks that no job passed a full limiter, and that each job is in exactly one place.
    """

    pools: dict[str, int]
    disciplines: dict[str, Discipline]
    now: float = 1000.0
    waiting: dict[JobId, Job] = field(default_factory=dict)
    running: dict[JobId, Job] = field(default_factory=dict)
    started: list[Job] = field(default_factory=list)
    shut: dict[str, Shut] = field(default_factory=dict)
    offers: int = 0

    def __post_init__(self) -> None:
        self.limiters = Limiters(pools=self.pools, order_of=self.order_of)
        self.ready: dict[str, Order] = {queue: self.order_of(queue) for queue in self.disciplines}
        self.buckets: dict[tuple[str, GroupName | None], ExactBucket] = {}
        self.count = 0

    def order_of(self, queue: str) -> Order:
        return make_order(QueuePolicy(discipline=self.disciplines[queue], aging_s=5.0, patience_s=3.0))

    # -- steps of the engine

    def add(self, type_: str = "t", queue: str = "default", owner: str | None = None, **spec: object) -> Job:
        """Make a job ready."""
        self.count += 1
        return self.add_again(
            Job(
                id=JobId(f"j{self.count}"),
                spec=JobSpec(type=type_, queue=queue, **spec),  # type: ignore[arg-type]  # options of any field
                args=b"{}",
                upload=None,
                state=JobState.QUEUED,
                created_at=self.now,
                run_at=self.now,
                uniqueness=None if owner is None else Uniqueness(caller=owner, plain=True, owner=owner),
            )
        )

    def add_again(self, job: Job) -> Job:
        job.run_at = self.now
        self.waiting[job.id] = job
        self.ready[job.spec.queue].push(job, now=self.now)
        return job

    def try_next(self, queue: str = "default") -> Job | None:
        """Let a worker try the next ready job of a queue; return it if it started."""
        job = self.ready[queue].pop(self.now)
        return job if self.enter(job) else None

    def enter(self, job: Job) -> bool:
        """Let a worker try a ready job, at any position; return whether it started."""
        self.ready[job.spec.queue].remove(job)
        full = self.full_limiters(job)
        entered = self.limiters.enter(job, self.now)
        if entered:
            assert not full, f"{job.id} started while {full} had no permit"
            self.start(job)
        else:
            assert full or self.others_wait(job), f"{job.id} was requeued although all limiters had a permit"
        self.settle()
        return entered

    def start(self, job: Job) -> None:
        del self.waiting[job.id]
        self.running[job.id] = job
        self.started.append(job)
        for key, rate in self.rates(job):
            assert self.buckets.setdefault((job.spec.type, key), ExactBucket(rate, self.now)).take(self.now)
        if job.spec.type in self.shut:
            self.shut[job.spec.type].probe = job

    def end(self, job: Job) -> None:
        del self.running[job.id]
        shut = self.shut.get(job.spec.type)
        if shut is not None and shut.probe is job:
            shut.probe = None
        self.limiters.leave(job, self.now)
        self.settle()

    def withdraw(self, job: Job) -> None:
        del self.waiting[job.id]
        self.ready[job.spec.queue].remove(job)
        self.limiters.withdraw(job, self.now)
        self.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass, with a tick at each instant at which one is due."""
        end = self.now + seconds
        while (at := self.limiters.next_at()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tick()
        self.now = end

    def tick(self) -> None:
        self.limiters.tick(self.now)
        self.settle()

    def shut_type(self, type_: str, until: float) -> None:
        if type_ in self.shut:
            self.shut[type_].until = until
        else:
            self.shut[type_] = Shut(until)
        self.limiters.shut(type_, until, self.now)
        self.settle()

    def open_type(self, type_: str) -> None:
        self.shut.pop(type_, None)
        self.limiters.open(type_, self.now)
        self.settle()

    def resize(self, pool: str, permits: int) -> None:
        self.pools[pool] = permits
        self.limiters.resize(pool, permits, self.now)
        self.settle()

    def reorder(self, queue: str, discipline: Discipline) -> None:
        self.disciplines[queue] = discipline
        before, self.ready[queue] = self.ready[queue], self.order_of(queue)
        for job in before:
            self.ready[queue].push(job, now=job.run_at)
        self.limiters.reorder(queue, self.now)
        self.settle()

    def settle(self) -> None:
        """Carry out the revocations and offers of the limiters."""
        for job in self.limiters.take_revoked():
            assert self.ready[job.spec.queue].remove(job), f"{job.id} was revoked but not ready"
        for job in self.limiters.take_offered():
            self.offers += 1
            self.ready[job.spec.queue].push(job, now=self.now, front=True)

    def try_all(self, queues: list[str]) -> None:
        """Run due ticks and let workers try until no job is ready."""
        while True:
            while (at := self.limiters.next_at()) is not None and at <= self.now:
                self.tick()
            queue = next((queue for queue in queues if self.ready[queue]), None)
            if queue is None:
                return
            self.try_next(queue)

    # -- the model

    @staticmethod
    def rates(job: Job) -> list[tuple[GroupName | None, Rate]]:
        limits = job.spec.limits or Limits()
        keyed: list[tuple[GroupName | None, Rate | None]] = [(None, limits.rate)]
        if job.spec.group is not None:
            keyed.append((group_of(job), limits.group_rate))
        return [(key, rate) for key, rate in keyed if rate is not None]

    def full_limiters(self, job: Job) -> list[str]:
        """Return the names of the limiters of a job that have no permit."""
        spec, limits = job.spec, job.spec.limits or Limits()
        runs = [other.spec for other in self.running.values()]
        full = []
        if spec.pool in self.pools and sum(run.pool == spec.pool for run in runs) >= self.pools[spec.pool]:
            full.append("pool")
        same_type = [run for run in runs if run.type == spec.type]
        if limits.concurrency is not None and len(same_type) >= limits.concurrency:
            full.append("type")
        if spec.group is not None and limits.group_concurrency is not None:
            in_group = sum(
                run.spec.type == spec.type and group_of(run) == group_of(job) for run in self.running.values()
            )
            full += ["group"] if in_group >= limits.group_concurrency else []
        for key, _ in self.rates(job):
            bucket = self.buckets.get((spec.type, key))
            if bucket is not None and bucket.fill(self.now) < 1:
                full.append(f"rate of {key}")
        shut = self.shut.get(spec.type)
        if shut is not None and (shut.probe is not None or self.now < shut.until):
            full.append("shut")
        return full

    def others_wait(self, job: Job) -> bool:
        """Whether other jobs of its queue wait for a permit: those come first."""
        queue = job.spec.queue
        return any(self.limiters.waits(other) for other in self.waiting.values() if other.spec.queue == queue)

    # -- invariants

    def check_positions(self) -> None:
        """Every queued job is either ready or in a wait list, never both."""
        ready: dict[str, set[JobId]] = {queue: {job.id for job in order} for queue, order in self.ready.items()}
        for job in self.waiting.values():
            assert self.limiters.waits(job) != (job.id in ready[job.spec.queue]), job.id
        assert sum(map(len, ready.values())) + sum(map(self.limiters.waits, self.waiting.values())) == len(self.waiting)

        for limiter in self.limiters._all():
            assert all(len(each.order) or each.offered for each in limiter.wait_lists.values()), "an empty list is kept"

    def check_stats(self) -> None:
        """The statistics of the limiters equal the counts of the model."""
        stats = self.limiters.stats()
        assert sum(limiter.waiting for limiter in stats) == sum(map(self.limiters.waits, self.waiting.values()))
        held = {limiter.name: limiter.held for limiter in stats if limiter.kind == "pool"}
        for pool, permits in self.pools.items():
            assert held[pool] == sum(job.spec.pool == pool for job in self.running.values())
            assert (
                next(limiter.permits for limiter in stats if limiter.kind == "pool" and limiter.name == pool) == permits
            )

    def check_no_job_forgotten(self, queues: list[str]) -> None:
        """Once all offers are used, each job that still waits needs a limiter without a free permit."""
        for job in self.waiting.values():
            if job.spec.queue in queues:
                assert self.limiters.waits(job)
                assert self.full_limiters(job), f"{job.id} waits for nothing"

    def check_nothing_left(self) -> None:
        """The limiters hold no state of groups and jobs that are gone."""
        limiters = self.limiters
        assert not limiters._groups
        assert not limiters._waiters
        assert not limiters.held
        assert not any(limiter.wait_lists or limiter.held for limiter in limiters._all())
        assert limiters.next_at() is None


def group_of(job: Job) -> GroupName:
    if job.uniqueness is None or (job.spec.limits is not None and job.spec.limits.across_owners):
        return None, job.spec.group
    return job.uniqueness.owner, job.spec.group


def orders_of_start(jobs: list[Job]) -> dict[tuple[str, str, GroupName], list[int]]:
    """Return the numbers of started jobs in the order of their starts, by queue, type and group."""
    numbers = defaultdict(list)
    for job in jobs:
        numbers[job.spec.queue, job.spec.type, group_of(job)].append(int(job.id[1:]))
    return numbers
