"""Cost of jobs that wait for others: a fan-out, a chain, and a fan-in.

python -m bench.speed.flow_costs         # the same alone, with ten thousand children and a million links
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec
from jobqueue.core.lineage import Link
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Job

CHILDREN_MAX = 10_000
CHAIN = 1000
FAN_IN_PARENTS = 10_000
PORTION = 100
ASKED = (JobSpec(type="echo"), b'{"value":1}', None, None)


class FlowBench:
    """An engine for one flow at a time. Args: note: Takes the name of an operation and its nanoseconds."""

    def __init__(self, note: Callable[[str, float], None]) -> None:
        self._note = note
        self._engine = Engine(
            queues={"default": QueuePolicy(capacity=50_000, workers=50_000, retry_budget=0)},
            ids=IdIssuer(secret=bytes(32), run=RUNS[1]),
            rng=Random(1),
            bounds=StoreBounds(jobs_max=100_000),
        )

    def fan_out(self, children: int) -> None:
        """One parent with many children: their submission, in portions, and their release."""
        engine = self._engine
        parent = engine.submit(*ASKED, now=0.0).job
        begun = time.thread_time_ns()
        for _ in range(children // PORTION):
            engine.submit_together([ASKED] * PORTION, [Link((parent.id,))] * PORTION, now=0.0)
            engine.take_events()
        submitted = time.thread_time_ns()
        self._run()
        self._tick()
        released = time.thread_time_ns()
        self._note("submit a child, of many", (submitted - begun) / children)
        self._note("release a child", (released - submitted) / children)
        while engine.scheduler:
            self._run()
        self._clear()

    def chain(self, jobs: int) -> None:
        """Jobs one after the other: the life of each, with the release of the next one."""
        begun = time.thread_time_ns()
        links = [Link(beside=(n - 1,) if n else ()) for n in range(jobs)]
        self._engine.submit_flow([ASKED] * jobs, links, now=0.0)
        for _ in range(jobs):
            self._run()
            self._tick()
        self._note("a step of a chain", (time.thread_time_ns() - begun) / jobs)
        self._clear()

    def fan_in(self, children: int, parents: int = FAN_IN_PARENTS) -> None:
        """Children that each wait for all parents: their links, and the ends of the parents."""
        engine = self._engine
        waited = tuple(engine.submit(*ASKED, now=0.0).job.id for _ in range(parents))
        begun = time.thread_time_ns()
        for _ in range(children):
            engine.submit_together([ASKED], [Link(waited)], now=0.0)
        linked = time.thread_time_ns()
        for _ in range(parents):
            self._run()
        self._tick()
        ended = time.thread_time_ns()
        self._note("link a child to a parent", (linked - begun) / children / parents)
        self._note("a parent's end, by link", (ended - linked) / children / parents)
        while engine.scheduler:
            self._run()
        self._clear()

    def _run(self) -> Job:
        """Let the next job succeed."""
        engine = self._engine
        job = engine.scheduler.pop(0.0)
        assert engine.lease(job, now=0.0) is not None
        engine.ack(job.id, attempt=job.attempt, success=Success(b"1"), now=0.0)
        engine.take_events()
        return job

    def _tick(self) -> None:
        """Let ticks tell all children."""
        while self._engine.next_at() == 0.0:
            self._engine.tick(0.0)
            self._engine.take_events()

    def _clear(self) -> None:
        """Forget all records."""
        self._tick()
        for job in list(self._engine.newest_first(None)):
            self._engine.delete(job.id)
        self._engine.take_events()
        assert not self._engine.live()


def measure_flows(size: int, rounds: int, note: Callable[[str, float], None]) -> None:
    """Measure flows of up to this number of jobs."""
    bench = FlowBench(note)
    for _ in range(rounds):
        bench.fan_out(min(size, CHILDREN_MAX))
        bench.chain(min(size, CHAIN))
        bench.fan_in(max(1, min(size, CHILDREN_MAX) // PORTION), min(size, FAN_IN_PARENTS))


if __name__ == "__main__":
    measure_flows(CHILDREN_MAX, 1, lambda name, ns: print(f"{name}: {ns / 1000:.2f} µs"))
