"""What an operation costs, of the engine and of each Order, among a hundred jobs and among a million.

    make bench-core                          # everything, in two minutes
    python -m bench.speed_core --quick       # to a hundred thousand

One process, no loop, no HTTP. What is measured is CPU time, so that others on the machine disturb less. Each operation
is done to so many jobs that the clock costs nothing, and what it did is undone before the next round, so that there
are always as many jobs as the column says. An operation whose cost grows with their number shows in the last column;
caches alone make it two to five. The folder gets core.json and core.png.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.driving import FOLDER
from bench.machine import Machine, describe
from bench.speed_plot import Curves, curves
from bench.spread import Spread, short, spread, table
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import ErrorCode, Failure, Job, JobId, JobSpec, JobState, Success
from jobqueue.core.order import make_order
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.statuses import StatusBounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SIZES = (100, 10_000, 1_000_000)
QUICK_SIZES = (100, 10_000, 100_000)
ROUNDS = 9
BATCH = 1000
GROUPS = 100
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


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What core.json holds."""

    machine: Machine
    figures: list[Figure]


class Timings:
    """The nanoseconds of each operation, a reading a round."""

    def __init__(self, part: str, size: int) -> None:
        self._part = part
        self._size = size
        self._ns: dict[str, list[float]] = {}

    def time(self, operation: str, act: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Do something to each job, and note what one took."""
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
        timings.time("pop", lambda _: taken.append(order.pop(now)), some)  # noqa: B023
        timings.time("push to the front", lambda job: order.push(job, now=now, front=True), reversed(taken))  # noqa: B023
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
            bounds=StatusBounds(jobs_max=3 * size + 4 * BATCH, failed_max=size + BATCH, ttl_s=TTL_S),
        )
        self.spec = JobSpec(type="echo")
        self.delayed = JobSpec(type="echo", delay_s=3600.0)
        self.jobs = [self.submit() for _ in range(size)]
        self.engine.take_facts()

    def submit(self, spec: JobSpec | None = None) -> Job:
        return self.engine.submit(spec or self.spec, b'{"value":1}', None, now=self.now).job

    def start(self) -> Job:
        lease = self.engine.lease(self.engine.ready.pop(self.now), now=self.now)
        assert lease is not None
        return lease.job

    def ack(self, job: Job) -> None:
        self.engine.ack(job.id, attempt=job.attempt, success=Success(b'{"value":1}'), now=self.now)

    def nack(self, job: Job) -> None:
        self.engine.nack(job.id, attempt=job.attempt, failure=FINAL, now=self.now)

    def run(self, rounds: int) -> list[Figure]:
        timings = Timings("engine", self.size)
        for _ in range(rounds):
            self._round(timings)
            self.engine.take_facts()
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
        timings.time("redrive", lambda job: engine.redrive(job.id, now=now), failed)
        timings.time("cancel", lambda job: engine.cancel(job.id, now=now), failed)
        later = []
        timings.time("submit, delayed", lambda _: later.append(self.submit(self.delayed)), some)
        timings.time("promote", lambda job: engine.promote(job.id, now=now), later)
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
        self.engine.take_facts()
        before = time.thread_time_ns()
        while (at := self.engine.next_at()) is not None:
            self.now = max(self.now, at)
            self.engine.tick(self.now)
            self.engine.take_facts()
        timings.note("evict", (time.thread_time_ns() - before) / self.size)
        assert not len(self.engine.statuses)


def run(sizes: Sequence[int], rounds: int) -> Results:
    """Measure everything at each size."""
    machine = describe()
    figures: list[Figure] = []
    for size in sizes:
        jobs = make_jobs(size)
        with _settled():
            for name in ORDERS:
                figures += measure_order(name, jobs, rounds)
        del jobs
        bench = EngineBench(size)
        with _settled():
            figures += bench.run(rounds)
        del bench
        print(f"{size:,} jobs: done", file=sys.stderr, flush=True)
    return Results(machine=machine, figures=figures)


@contextmanager
def _settled() -> Iterator[None]:
    """Have the collector look at what is made from now on, and no more at what was made before: as in the server."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


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


def report(results: Results) -> str:
    """Write the table: a row for each operation, a column for each size, and how much it grew."""
    sizes = sorted({figure.size for figure in results.figures})
    found = {(figure.part, figure.operation, figure.size): figure.ns for figure in results.figures}
    rows = []
    for part, operation in dict.fromkeys((figure.part, figure.operation) for figure in results.figures):
        line = [found.get((part, operation, size)) for size in sizes]
        grown = line[-1].median / line[0].median if line[0] is not None and line[-1] is not None else None
        rows.append([part, operation, *line, None if grown is None else f"{short(grown)}x"])
    head = ["ns an operation", "", *(f"among {size:,}" for size in sizes), "last / first"]
    return table(head, rows)


def draw(results: Results, path: Path) -> None:
    """Draw operations over the number of jobs: the engine's on the left, the orders' pops on the right."""
    sizes = sorted({figure.size for figure in results.figures})
    found = {(figure.part, figure.operation, figure.size): figure.ns for figure in results.figures}

    def lines(names: Iterable[tuple[str, str, str]]) -> dict[str, list[Spread | None]]:
        return {label: [found.get((part, operation, size)) for size in sizes] for label, part, operation in names}

    parts = list(dict.fromkeys(figure.part for figure in results.figures))
    engine = [(f.operation, "engine", f.operation) for f in results.figures if f.part == "engine"]
    orders = [(part.removeprefix("order: "), part, "pop") for part in parts if part != "engine"]
    panels = [
        Curves(title="engine", x=sizes, series=lines(dict.fromkeys(engine))),
        Curves(title="orders: pop", x=sizes, series=lines(orders)),
    ]
    curves(panels, x_label="jobs held", y_label="ns an operation", path=path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.speed_core", description="Measure the core's operations.")
    parser.add_argument("--quick", action="store_true", help="to a hundred thousand jobs, fewer rounds")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder (default: {FOLDER})")
    options = parser.parse_args(arguments)
    results = run(QUICK_SIZES, 5) if options.quick else run(SIZES, ROUNDS)
    save(results, options.out)
    print(report(results))
    return 0


def save(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "core.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    draw(results, folder / "core.png")


if __name__ == "__main__":
    sys.exit(main())
