"""Bounds of jobs that wait for others, at their largest: a fan-in of a million links, and a chain of a thousand jobs.

`make test ARGS="-s tests/core/test_flow_bounds.py"` prints the figures of docs/explanation/speed.md.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from random import Random
from typing import TYPE_CHECKING

from jobqueue.api_limits import PARENTS_MAX
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.lineage import Link
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Job

CHILDREN = 100
CHAIN = 1000
ASKED = (JobSpec(type="t"), b"{}", None, None)


class Steps:
    """An engine, and the CPU time of its longest step of each kind, in seconds."""

    def __init__(self) -> None:
        self.longest_s: dict[str, float] = {}
        self.engine = Engine(
            queues={"default": QueuePolicy(capacity=PARENTS_MAX + CHILDREN, workers=PARENTS_MAX + CHILDREN)},
            ids=IdIssuer(secret=bytes(32), run=RUNS[1]),
            rng=Random(1),
            bounds=StoreBounds(jobs_max=PARENTS_MAX + CHILDREN),
        )

    def step(self, name: str, act: Callable[[], object]) -> None:
        """Do one step, which ends with its events."""
        begun = time.thread_time()
        act()
        self.engine.take_events()
        self.longest_s[name] = max(self.longest_s.get(name, 0.0), time.thread_time() - begun)

    def succeed(self) -> None:
        """Let the next ready job succeed, and ticks tell its children."""
        engine = self.engine
        job = engine.scheduler.pop(0.0)
        assert engine.lease(job, now=0.0) is not None
        self.step("end", lambda: engine.ack(job.id, attempt=1, success=Success(b"1"), now=0.0))
        while engine.next_at() == 0.0:
            self.step("tick", lambda: engine.tick(0.0))

    def print(self, what: str) -> None:
        longest = ", ".join(f"{name} {1000 * took:.2f} ms" for name, took in self.longest_s.items())
        print(f"\n{what}; longest steps: {longest}")


def exempt_all() -> None:
    """Exempt all objects from collections, as a server does with those of its modules."""
    gc.collect()
    gc.freeze()


def test_a_fan_in_of_a_million_links_is_made_and_ended_in_short_steps_and_bounded_memory() -> None:
    steps = Steps()
    engine = steps.engine
    parents = tuple(engine.submit(*ASKED, now=0.0).job.id for _ in range(PARENTS_MAX))
    engine.take_events()
    links = CHILDREN * PARENTS_MAX
    tracemalloc.start()
    try:
        for _ in range(CHILDREN - 1):
            engine.submit_together([ASKED], [Link(parents)], now=0.0)
            engine.take_events()
        link_bytes = tracemalloc.get_traced_memory()[0] / (links - PARENTS_MAX)
    finally:
        tracemalloc.stop()
    exempt_all()
    steps.step("submission", lambda: engine.submit_together([ASKED], [Link(parents)], now=0.0))
    children: list[Job] = [job for job in engine.newest_first(None) if job.state is JobState.WAITING]
    assert len(children) == CHILDREN
    exempt_all()
    begun = time.thread_time()
    for _ in range(PARENTS_MAX):
        steps.succeed()
    took_s = time.thread_time() - begun
    assert {child.state for child in children} == {JobState.QUEUED}
    steps.print(f"{links:,} links: {link_bytes:.0f} bytes each, {1e6 * took_s / links:.2f} µs to end each")
    assert link_bytes < 100
    assert max(steps.longest_s.values()) < 0.1


def test_a_chain_of_a_thousand_jobs_takes_the_same_time_for_each_step() -> None:
    steps = Steps()
    links = [Link(beside=(n - 1,) if n else ()) for n in range(CHAIN)]
    steps.step("submission", lambda: steps.engine.submit_flow([ASKED] * CHAIN, links, now=0.0))
    took_s = []
    for _ in range(10):
        begun = time.thread_time()
        for _ in range(CHAIN // 10):
            steps.succeed()
        took_s.append((time.thread_time() - begun) / (CHAIN // 10))
    steps.print(f"a chain of {CHAIN:,}: {1e6 * min(took_s):.0f} µs a step")
    assert not steps.engine.live()
    assert sorted(took_s)[5] < 5 * min(took_s)
