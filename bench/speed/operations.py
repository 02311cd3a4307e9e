"""Operations of the engine and of each Order, done to many jobs and timed: the part of the bench that does the work.

    python -m bench.speed.operations SIZE ROUNDS    # the figures, as JSON

CPU time is measured, so that other programs disturb less. Each operation is done to enough jobs to make the clock's
cost negligible, and undone before the next round, so that the number of jobs stays the same.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from bench.load.driving import end_with_parent
from bench.measure.spread import Spread, spread
from bench.speed.deliveries import measure_deliveries
from bench.speed.flow_costs import measure_flows
from bench.speed.publishes import Publisher
from jobqueue.api_limits import SCHEDULES_MAX
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.recurrence import Cron, Every
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.schedule import Plan
from jobqueue.core.schedules import Outcome, Schedules
from jobqueue.core.scheduling.order import make_order
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.measure.builds import Build

BATCH = 1000
GROUPS = 100
PUBLISHES = 10
FLOWS_MAX = 10_000
FINAL = Failure(ErrorCode.HANDLER_ERROR, "it can't be done", final=True)
TTL_S = 600.0

ORDERS = {
    "fifo": QueuePolicy(),
    "lifo": QueuePolicy(discipline=Discipline.LIFO),
    "priority": QueuePolicy(discipline=Discipline.PRIORITY),
    "priority, aging": QueuePolicy(discipline=Discipline.PRIORITY, aging_s=60.0),
    "fair, 100 groups": QueuePolicy(discipline=Discipline.FAIR),
    "adaptive": QueuePolicy(discipline=Discipline.ADAPTIVE),
}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of one operation among `size` jobs, over the rounds."""

    part: str
    operation: str
    size: int
    ns: Spread


class Timings:
    """The nanoseconds of each operation, a reading a round."""

    def __init__(self, part: str, size: int) -> None:
        self._part = part
        self._size = size
        self._ns: dict[str, list[float]] = {}

    def time(self, operation: str, act: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Do something to each job, and note the time per job."""
        jobs = list(jobs)
        before = time.thread_time_ns()
        for job in jobs:
            act(job)
        self.note(operation, (time.thread_time_ns() - before) / len(jobs))

    def note(self, operation: str, ns: float) -> None:
        self._ns.setdefault(operation, []).append(ns)

    def figures(self) -> list[Figure]:
        return [
            Figure(part=self._part, operation=operation, size=self._size, ns=found)
            for operation, readings in self._ns.items()
            if (found := spread(readings))
        ]


def measure_order(name: str, jobs: Sequence[Job], rounds: int) -> list[Figure]:
    """Push all jobs, then take some out and put them back, in every way."""
    order = make_order(ORDERS[name])
    timings = Timings(f"order: {name}", len(jobs))
    now = 1000.0
    rng = Random(1)
    batch = min(BATCH, len(jobs) // 2)
    for job in jobs:
        order.push(job, now=now)
    for _ in range(rounds):
        taken: list[Job] = []
        some = rng.sample(jobs, batch)
        # The clock goes on by less than patience, so that `adaptive` doesn't turn into another order.
        now += 0.001
        timings.time("position", order.position, some)
        timings.time("remove", order.remove, some)
        timings.time("push", lambda job: order.push(job, now=now), some)  # noqa: B023  # called at once
        timings.time("pop", lambda _: taken.append(order.pop(now)), some)  # noqa: B023  # called at once
        given_back = reversed(taken)
        timings.time("push to the front", lambda job: order.push(job, now=now, front=True), given_back)  # noqa: B023  # as above
    assert len(order) == len(jobs)
    return timings.figures()


class EngineBench:
    """An engine that holds `size` queued jobs, before and after every operation that is timed."""

    def __init__(self, size: int) -> None:
        self.now = 1000.0
        self.size = size
        self.engine = Engine(
            queues={"default": QueuePolicy(capacity=2 * size + 2 * BATCH, workers=size + 2 * BATCH, retry_budget=0)},
            ids=IdIssuer(secret=bytes(32), run=RUNS[1]),
            rng=Random(1),
            bounds=StoreBounds(jobs_max=3 * size + 4 * BATCH, failed_max=size + BATCH, ttl_s=TTL_S),
        )
        self.spec = JobSpec(type="echo")
        self.delayed = JobSpec(type="echo", delay_s=3600.0)
        self.publisher = Publisher()
        self.jobs = [self.submit() for _ in range(size)]
        self.engine.take_events()

    def submit(self, spec: JobSpec | None = None) -> Job:
        return self.engine.submit(spec or self.spec, b'{"value":1}', None, now=self.now).job

    def start(self) -> Job:
        job = self.engine.scheduler.pop(self.now)
        lease = self.engine.lease(job, now=self.now)
        assert lease is not None
        return job

    def ack(self, job: Job) -> None:
        self.engine.ack(job.id, attempt=job.attempt, success=Success(b'{"value":1}'), now=self.now)

    def nack(self, job: Job) -> None:
        self.engine.nack(job.id, attempt=job.attempt, failure=FINAL, now=self.now)

    def run(self, rounds: int) -> list[Figure]:
        timings = Timings("engine", self.size)
        for _ in range(rounds):
            self._round(timings)
            self.engine.take_events()
        self._evict(timings)
        return timings.figures()

    def _round(self, timings: Timings) -> None:
        engine, now = self.engine, self.now
        batch = [None] * min(BATCH, self.size // 2)
        some = Random(2).sample(self.jobs, len(batch))
        timings.time("get", lambda job: engine.get(job.id), some)
        timings.time("list a page of 50", lambda _: [*zip(range(50), engine.newest_first(None), strict=False)], some)
        new: list[Job] = []
        running: list[Job] = []
        timings.time("submit", lambda _: new.append(self.submit()), some)
        timings.time("lease", lambda _: running.append(self.start()), some)
        timings.time("ack", self.ack, running)
        timings.time("delete", lambda job: engine.delete(job.id), running)
        failed = [self.start() for _ in batch]
        timings.time("nack, for good", self.nack, failed)
        timings.time("retry", lambda job: engine.retry(job.id, now=now), failed)
        timings.time("cancel", lambda job: engine.cancel(job.id, now=now), failed)
        later = []
        timings.time("submit, delayed", lambda _: later.append(self.submit(self.delayed)), some)
        timings.time("run now", lambda job: engine.run_now(job.id, now=now), later)
        published: list[Job] = []
        timings.time(
            "publish to 100 subscribers",
            lambda _: published.extend(self.publisher.publish(engine, now)),
            some[:PUBLISHES],
        )
        for job in published:
            engine.cancel(job.id, now=now)
            engine.delete(job.id)
        timings.time("tick, with nothing due", lambda _: engine.tick(now), some)
        for job in failed:
            engine.delete(job.id)
        self.jobs = list(engine.newest_first(None))
        assert len(self.jobs) == self.size, len(self.jobs)
        assert all(job.state is JobState.QUEUED for job in self.jobs[:BATCH])

    def _evict(self, timings: Timings) -> None:
        """Let all jobs succeed, ten thousand a second, and go when their TTLs are over."""
        for number in range(self.size):
            self.now = 1000.0 + number / 10_000
            self.ack(self.start())
        self.engine.take_events()
        before = time.thread_time_ns()
        while (at := self.engine.next_at()) is not None:
            self.now = max(self.now, at)
            self.engine.tick(self.now)
            self.engine.take_events()
        timings.note("evict", (time.thread_time_ns() - before) / self.size)
        assert not len(self.engine.store)


def measure_schedules(size: int, rounds: int) -> list[Figure]:
    """Have all of this number of schedules give a tick, half of them by an interval and half by a cron notation."""
    timings = Timings("schedules", size)
    schedules = Schedules(Random(1))
    plans = (Plan(recurrence=Every(60)), Plan(recurrence=Cron("* * * * *", ZoneInfo("Europe/Berlin"))))
    for number in range(size):
        schedules.add((None, str(number)), plans[number % 2], reached=0.0, now=0.0)
    done = [Outcome(job_id=JobId("0" * 22))]
    for number in range(1, rounds + 1):
        now, ticks, before = 60.0 * number, 0, time.thread_time_ns()
        while taken := schedules.take(now):
            for due in taken:
                schedules.settle(due, done, now)
            ticks += len(taken)
        timings.note("tick", (time.thread_time_ns() - before) / ticks)
        assert ticks == size
    return timings.figures()


def make_jobs(size: int) -> list[Job]:
    """Make ready jobs of some groups and all priorities."""
    rng = Random(1)
    specs = [JobSpec(type="echo", group=f"group {n}", priority=n % 10) for n in range(GROUPS)]
    return [
        Job(
            id=JobId(f"{number:022}"),
            spec=rng.choice(specs),
            args=b"{}",
            upload=None,
            state=JobState.QUEUED,
            created_at=0.0,
            run_at=0.0,
        )
        for number in range(size)
    ]


def measure(size: int, rounds: int) -> list[Figure]:
    """Measure every operation among this number of jobs, in this process."""
    figures: list[Figure] = []
    jobs = make_jobs(size)
    with _settled():
        for name in ORDERS:
            figures += measure_order(name, jobs, rounds)
    del jobs
    bench = EngineBench(size)
    with _settled():
        figures += bench.run(rounds)
        if size <= SCHEDULES_MAX:
            figures += measure_schedules(size, rounds)
        if size <= FLOWS_MAX:
            timings = Timings("flows", size)
            measure_flows(size, rounds, timings.note)
            figures += timings.figures()
            timings = Timings("webhooks", size)
            measure_deliveries(size, rounds, timings.note)
            figures += timings.figures()
    return figures


def measured(build: Build, size: int, rounds: int) -> list[Figure]:
    """Measure every operation of a build, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.operations", str(size), str(rounds)],
        cwd=build.root,
        env={**os.environ, **build.environment},
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=end_with_parent,
    )
    return msgspec.json.decode(done.stdout, type=list[Figure])


@contextmanager
def _settled() -> Iterator[None]:
    """Exclude the existing objects from garbage collection, as the server does."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure(*map(int, sys.argv[1:]))))
