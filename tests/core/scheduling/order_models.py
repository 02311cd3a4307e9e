"""Naive models of the orders: sorted lists, simple and O(n)."""

from __future__ import annotations

from bisect import insort
from fractions import Fraction
from random import Random
from typing import Protocol

from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.scheduling.fair import COST_MIN
from jobqueue.core.scheduling.order import Order


def ready_job(name: str, *, priority: int = 0, group: str | None = None) -> Job:
    return Job(
        id=JobId(name),
        spec=JobSpec(type="t", priority=priority, group=group),
        args=b"{}",
        upload=None,
        state=JobState.QUEUED,
        created_at=0.0,
        run_at=0.0,
    )


def fill(order: Order, *jobs: Job, now: float = 0.0) -> None:
    for job in jobs:
        order.push(job, now=now)


def named(order: Order, names: str, *, now: float = 0.0) -> dict[str, Job]:
    """Push a job for each letter; return them by name."""
    jobs = {name: ready_job(name) for name in names}
    fill(order, *jobs.values(), now=now)
    return jobs


def popped(order: Order, *, now: float = 0.0) -> list[str]:
    return [order.pop(now).id for _ in range(len(order))]


class Model(Protocol):
    def push(self, job: Job, now: float, stamp: int) -> None: ...
    def pop(self, now: float) -> Job: ...
    def remove(self, job: Job) -> None: ...
    def turn(self, job: Job) -> int: ...


class Sorted:
    """All jobs in one list, sorted by a key. A stamp below 0 marks a job that was pushed to the front."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[float, ...], JobId, Job]] = []
        self.keys: dict[JobId, tuple[float, ...]] = {}

    def key(self, job: Job, now: float, stamp: int) -> tuple[float, ...]:
        raise NotImplementedError

    def push(self, job: Job, now: float, stamp: int) -> None:
        key = self.keys[job.id] = self.key(job, now, stamp)
        insort(self.rows, (key, job.id, job))

    def pop(self, now: float) -> Job:
        return self.rows.pop(0)[2]

    def remove(self, job: Job) -> None:
        self.rows.remove((self.keys[job.id], job.id, job))

    def turn(self, job: Job) -> int:
        return self.rows.index((self.keys[job.id], job.id, job)) + 1


class FifoModel(Sorted):
    def key(self, job: Job, now: float, stamp: int) -> tuple[float, ...]:
        return (stamp,)


class LifoModel(Sorted):
    def key(self, job: Job, now: float, stamp: int) -> tuple[float, ...]:
        return (0, stamp) if stamp < 0 else (1, -stamp)


class PriorityModel(Sorted):
    def key(self, job: Job, now: float, stamp: int) -> tuple[float, ...]:
        return (-job.spec.priority, stamp)


class AgingModel(Sorted):
    """Priorities as if each job had arrived earlier by its priority times `aging_s`."""

    def __init__(self, aging_s: float) -> None:
        super().__init__()
        self.aging_s = aging_s

    def key(self, job: Job, now: float, stamp: int) -> tuple[float, ...]:
        priority = job.spec.priority
        came_at = now - priority * self.aging_s
        if stamp < 0:
            level = [key[0] for key, _, other in self.rows if other.spec.priority == priority]
            came_at = min([came_at, *level])
        return (came_at, -priority, stamp)


class AdaptiveModel:
    """Two lists, and the whole history of the oldest job's waiting time at each pop."""

    def __init__(self, target_s: float, interval_s: float) -> None:
        self.target_s, self.interval_s = target_s, interval_s
        self.returned: list[tuple[int, Job]] = []
        self.fresh: list[tuple[float, Job]] = []
        self.above: list[float] = []  # the times of pops since the wait was last below the target
        self.switches = 0
        self.standing = False

    def push(self, job: Job, now: float, stamp: int) -> None:
        if stamp < 0:
            self.returned.insert(0, (stamp, job))
        else:
            self.fresh.append((now, job))

    def pop(self, now: float) -> Job:
        if self.fresh:
            waited_s = now - self.fresh[0][0]
            self.above = [*self.above[:1], now] if waited_s >= self.target_s and len(self.fresh) > 2 else []
        self.judge(bool(self.above) and now >= self.above[0] + self.interval_s and len(self.above) > 1)
        if self.returned:
            return self.returned.pop(0)[1]
        return self.fresh.pop(-1 if self.standing else 0)[1]

    def judge(self, standing: bool) -> None:
        self.switches += standing is not self.standing
        self.standing = standing

    def remove(self, job: Job) -> None:
        self.returned = [row for row in self.returned if row[1] is not job]
        if any(row[1] is job for row in self.fresh):
            self.fresh = [row for row in self.fresh if row[1] is not job]
            if not self.fresh:
                self.above = []
                self.judge(False)

    def turn(self, job: Job) -> int:
        fresh = self.fresh[::-1] if self.standing else self.fresh
        return [row[1] for row in (*self.returned, *fresh)].index(job) + 1


class FairModel:
    """Deficit round robin as in the paper, in fractions; the quantum is the highest cost since it was empty."""

    def __init__(self, costs: dict[JobId, Fraction]) -> None:
        self.costs = costs
        self.quantum = Fraction(COST_MIN)
        self.active: list[str | None] = []
        self.queues: dict[str | None, list[Job]] = {}
        self.deficits: dict[str | None, Fraction] = {}
        self.visiting = False

    def cost(self, job: Job) -> Fraction:
        return self.costs.get(job.id, Fraction(1))

    def push(self, job: Job, now: float, stamp: int) -> None:
        group = job.spec.group
        if group not in self.active:
            self.active.append(group)
            self.queues[group] = []
            self.deficits[group] = Fraction(0)
        self.queues[group].insert(0 if stamp < 0 else len(self.queues[group]), job)

    def pop(self, now: float) -> Job:
        while True:
            group = self.active[0]
            head = self.queues[group][0]
            if not self.visiting:
                self.visiting = True
                self.quantum = max(self.quantum, self.cost(head))
                self.deficits[group] += self.quantum
            if self.cost(head) <= self.deficits[group]:
                self.deficits[group] -= self.cost(head)
                self.remove(head)
                return head
            self.visiting = False
            self.active.append(self.active.pop(0))

    def remove(self, job: Job) -> None:
        group = job.spec.group
        self.queues[group].remove(job)
        if not self.queues[group]:
            if self.active[0] == group:
                self.visiting = False
            self.active.remove(group)
            del self.deficits[group]
        if not self.active:
            self.quantum = Fraction(COST_MIN)

    def turn(self, job: Job) -> int:
        raise NotImplementedError("positions of a fair order are estimates")


class Walk:
    """The same operations on an order and its model, compared at each step."""

    def __init__(self, order: Order, model: Model, *, exact_positions: bool) -> None:
        self.order, self.model = order, model
        self.exact_positions = exact_positions
        self.removed_any = False
        self.now = 0.0
        self.serial = 0
        self.stamps: dict[JobId, int] = {}
        self.jobs: list[Job] = []  # all jobs in the order, unsorted
        self.indices: dict[JobId, int] = {}
        self.taken: list[Job] = []

    def push(self, job: Job, *, front: bool = False) -> None:
        self.serial += 1
        stamp = self.stamps[job.id] = -self.serial if front else self.serial
        self.order.push(job, now=self.now, front=front)
        self.model.push(job, self.now, stamp)
        self.indices[job.id] = len(self.jobs)
        self.jobs.append(job)

    def push_new(self, *, priority: int, group: str | None) -> None:
        self.push(ready_job(f"job-{self.serial:06}", priority=priority, group=group))

    def give_back(self) -> None:
        """Push a job that was popped back to the front."""
        if self.taken:
            self.push(self.taken.pop(), front=True)

    def pop(self) -> None:
        if not self.jobs:
            try:
                job = self.order.pop(self.now)
            except IndexError:
                return
            raise AssertionError(f"{job.id} came out of an empty order")
        job = self.order.pop(self.now)
        assert job is self.model.pop(self.now)
        self._out(job)
        self.taken = [*self.taken[-9:], job]

    def remove(self, pick: int) -> None:
        if not self.jobs:
            return
        job = self.jobs[pick % len(self.jobs)]
        assert self.order.remove(job)
        self.model.remove(job)
        self._out(job)
        assert not self.order.remove(job)
        assert self.order.position(job) is None
        self.removed_any = True

    def look(self, pick: int) -> None:
        if not self.jobs:
            return
        job = self.jobs[pick % len(self.jobs)]
        position = self.order.position(job)
        assert position is not None
        assert 1 <= position <= len(self.jobs)
        if self.exact_positions:
            turn = self.model.turn(job)
            assert position >= turn if self.removed_any else position == turn

    def compare(self) -> None:
        assert len(self.order) == len(self.jobs)
        assert list(self.order) == sorted(self.jobs, key=lambda job: self.stamps[job.id])

    def drain(self) -> None:
        self.compare()
        while self.jobs:
            self.pop()
        self.compare()

    def _out(self, job: Job) -> None:
        index, last = self.indices.pop(job.id), self.jobs.pop()
        if last is not job:
            self.jobs[index] = last
            self.indices[last.id] = index
        assert len(self.order) == len(self.jobs)

    def stroll(self, rng: Random, operations: int, *, removals: bool = True, step_s: float = 1.0) -> None:
        """Run random operations; the order alternately grows to some hundred jobs and shrinks to none."""
        growing = True
        for operation in range(operations):
            self.now += rng.random() * step_s
            growing = len(self.jobs) < 300 if growing else rng.random() < 0.01 and not self.jobs
            dice = rng.random()
            if dice < (0.50 if growing else 0.25):
                self.push_new(priority=rng.choice((0, 0, 0, 4, 5, 9)), group=rng.choice((None, *"aaaabcdefg")))
            elif dice < 0.80:
                self.pop()
            elif dice < 0.85:
                self.give_back()
            elif dice < 0.90 and removals:
                self.remove(rng.randrange(1 << 30))
            else:
                self.look(rng.randrange(1 << 30))
            if operation % 1000 == 0:
                self.compare()
        self.drain()
