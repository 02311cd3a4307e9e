"""The steps of a snapshot: how long each holds up the loop, with a million jobs.

    python -m bench.speed.snapshot pure|compiled JOBS      # its figures as JSON on stdout

In a process of its own, whose garbage collector runs as in a server. Half of the jobs wait, half have succeeded. What a
step has encoded is dropped: the server hands it to a thread.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import end_with_parent
from bench.measure.builds import Build
from jobqueue.backend.journal.snapshot_walk import SnapshotWalk
from jobqueue.backend.journal.snapshotting import TURN_S, Bodies
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.server import COLLECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

TTL_S = 3600.0
PER_S = 2000.0


class SnapshotFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one snapshot.

    Attributes:
        longest_ms: CPU time of the longest step.
        longest_wall_ms: The longest by the wall clock, on a machine that does other things, too.
        mean_ms: CPU time of a step.
        cpu_s: Of all steps.
    """

    build: Build
    jobs: int
    longest_ms: float
    longest_wall_ms: float
    mean_ms: float
    cpu_s: float
    size_bytes: int


def measure_snapshot(build: Build, jobs: int) -> SnapshotFigures:
    """Have a process of a build measure itself."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.snapshot", str(build), str(jobs)],
        cwd=build.root,
        env={**os.environ, **build.environment},
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=end_with_parent,
    )
    return msgspec.json.decode(done.stdout, type=SnapshotFigures)


def _measure(build: Build, jobs: int) -> SnapshotFigures:
    policy = QueuePolicy(capacity=jobs)
    ids = IdIssuer(secret=bytes(32), run=RUNS[1])
    engine = Engine(
        queues={"default": policy},
        ids=ids,
        rng=Random(1),
        bounds=StoreBounds(jobs_max=jobs, ttl_s=TTL_S, bytes_max=2**40),
    )
    now = _fill(engine, jobs)
    cpu_s: list[float] = []
    wall_s: list[float] = []
    bodies, size_bytes, more = Bodies(), 0, True
    walk = SnapshotWalk(engine, ids, bodies, configured=lambda name: policy, offset_s=1e9, starts=[])
    while more:
        wall, cpu = time.perf_counter(), time.thread_time()
        while more and time.perf_counter() < wall + TURN_S:  # as the server's
            more = walk.go_on(now)
        cpu_s.append(time.thread_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
        size_bytes += sum(map(len, bodies.take()))
    if walk.jobs != jobs:
        raise RuntimeError(f"the snapshot has {walk.jobs} jobs of {jobs}")
    return SnapshotFigures(
        build=build,
        jobs=jobs,
        longest_ms=max(cpu_s) * 1e3,
        longest_wall_ms=max(wall_s) * 1e3,
        mean_ms=sum(cpu_s) / len(cpu_s) * 1e3,
        cpu_s=sum(cpu_s),
        size_bytes=size_bytes,
    )


def _fill(engine: Engine, jobs: int) -> float:
    """Have half of the jobs succeed, and the others wait; return the time on the engine's clock."""
    spec, now = JobSpec(type="echo"), 1000.0
    for number in range(jobs):
        now = round(now + 1 / PER_S, 3)
        engine.submit(spec, b'{"value":%d}' % number, None, now=now)
        if number % 2:
            lease = engine.lease(engine.scheduler.pop(now), now=now)
            assert lease is not None
            engine.ack(lease.job_id, attempt=lease.attempt, success=Success(b'{"value":%d}' % number), now=now)
        engine.take_events()
    return now


def main(arguments: Iterable[str]) -> None:
    build, jobs = arguments
    gc.set_threshold(*COLLECTIONS)
    sys.stdout.buffer.write(msgspec.json.encode(_measure(Build(build), int(jobs))))


if __name__ == "__main__":
    main(sys.argv[1:])
