"""Cost of records: bytes each, the loop's longest pauses, memory of a server with a million of them.

    make bench-memory                        # a million statuses, in some minutes
    python -m bench.speed.memory --quick     # a tenth of them, once

Three parts. The engine in a process of its own takes, runs and forgets jobs one after the other, each timed alone: the
longest is the longest pause that its records (their tables' growth, eviction, the garbage collector) can cause in a
loop. The targets are about CPU time, so that the pauses of a busy machine don't count; wall time stands beside it. Then
a server, over HTTP: its memory as it starts, with open connections, and with as many statuses. And another, while it
evicts (`eviction`). The folder gets memory.json and memory.png.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import FOLDER, Generator, end_with_parent, raise_open_files
from bench.load.generator import Order
from bench.load.scripts import Batch, Cycle
from bench.measure.builds import Build, available
from bench.measure.machine import Machine, describe
from bench.measure.meter import rss_bytes
from bench.measure.spread import spread, table
from bench.peers.contenders import Ours, name_of, request
from bench.speed.bench import BUILD, Progress, in_turn
from bench.speed.eviction import EvictionFigures, measure_eviction
from bench.speed.plot import Panel, bars
from bench.speed.targets import Target, target_table
from jobqueue.cli.parser import Parser, end_with
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import Job, JobId, JobSpec, Lease
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

STATUSES = 1_000_000
QUICK_STATUSES = 100_000
CONNECTIONS = 5000
ROUNDS = 3
EVICTION_ROUNDS = 2
TTL_S = 600.0
PER_S = 2000.0
"""Jobs per second on the engine's clock: so they lie in many expiry buckets, as a server's do."""

WAITING, RUNNING = 4, 20
"""Jobs that wait, and that run: so each is submitted, started and finished at three different instants."""

LONGEST_US = 1_000_000
BATCH = 100
SUBMISSION = b'{"type":"echo","args":{"value":1}}'


class Pauses(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of one step: the longest, the one in ten thousand, the mean; and the longest by the wall clock."""

    longest_ms: float
    p9999_ms: float
    mean_us: float
    longest_wall_ms: float


class EngineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one process that held `statuses` records.

    Attributes:
        status_bytes: Memory of the process per record.
        parts_bytes: Size of each part of a record. Records that share an instant share its number.
        growing: A job is submitted, leased and acknowledged.
        at_bound: The same, while each new record makes the oldest one go.
        evicting: A tick, which evicts up to about a thousand.
        evict_us: Of evicting one expired record.
        collecting_ms: A full collection by hand with all records there; the automatic ones are in the pauses above.
        left_bytes: Memory per record that the process still held, once all had been evicted.
    """

    statuses: int
    status_bytes: float
    parts_bytes: dict[str, float]
    growing: Pauses
    at_bound: Pauses
    evicting: Pauses
    evict_us: float
    collecting_ms: float
    collecting_wall_ms: float
    left_bytes: float


class ServerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a server's process, in bytes; `connection_bytes` of each that is open and has asked something once."""

    statuses: int
    connections: int
    started_bytes: int
    connection_bytes: float
    connection_new_bytes: float
    full_bytes: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one build: a measurement a round."""

    engine: list[EngineFigures]
    server: list[ServerFigures]
    eviction: list[EvictionFigures]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of memory.json."""

    machine: Machine
    skipped: list[str]
    builds: dict[Build, Figures]


# -- the engine's part, in a process of its own


class _Steps:
    """Times steps one by one, and keeps no object of its own: one in each arena would keep that arena's memory."""

    def __init__(self) -> None:
        # Made in place: the memory of a temporary one would be filled with records, unseen.
        self._by_us = array("q", [0]) * LONGEST_US
        self._longest_ns = array("q", [0])
        self._longest_wall_ns = array("q", [0])
        self._sum_ns = array("q", [0])

    def do(self, step: Callable[[], object]) -> None:
        wall_before = time.perf_counter_ns()
        before = time.thread_time_ns()
        step()
        ns = time.thread_time_ns() - before
        wall_ns = time.perf_counter_ns() - wall_before
        self._by_us[min(LONGEST_US - 1, ns // 1000)] += 1
        self._sum_ns[0] += ns
        if ns > self._longest_ns[0]:
            self._longest_ns[0] = ns
        if wall_ns > self._longest_wall_ns[0]:
            self._longest_wall_ns[0] = wall_ns

    def pauses(self) -> Pauses:
        count = sum(self._by_us)
        rest = count // 10_000
        p9999_us = LONGEST_US
        while rest >= 0:
            p9999_us -= 1
            rest -= self._by_us[p9999_us]
        return Pauses(
            longest_ms=self._longest_ns[0] / 1e6,
            p9999_ms=p9999_us / 1e3,
            mean_us=self._sum_ns[0] / count / 1e3,
            longest_wall_ms=self._longest_wall_ns[0] / 1e6,
        )

    @property
    def sum_us(self) -> float:
        return self._sum_ns[0] / 1e3


class _Life:
    """Jobs that are submitted, run and kept, some of them at a time."""

    def __init__(self, statuses: int) -> None:
        self._now = 1000.0
        self._count = 0
        self._running: deque[Lease] = deque()
        self.engine = Engine(
            queues={"default": QueuePolicy()},
            ids=IdIssuer(secret=bytes(32), run=RUNS[1]),
            rng=Random(1),
            bounds=StoreBounds(jobs_max=statuses, ttl_s=TTL_S, bytes_max=2**40),
        )
        self._spec = JobSpec(type="echo")

    def one(self) -> None:
        """Submit a job, start an earlier one, and let one that runs succeed."""
        self._now += 1.0 / PER_S
        self._count += 1
        # A text of its own for each, as it comes from a body and from a handler.
        self.engine.submit(self._spec, b'{"value":%d}' % (self._count % 100), None, now=self._instant())
        if len(self.engine.scheduler) > WAITING:
            self._start()
        if len(self._running) > RUNNING:
            self._end()
        self.engine.take_events()

    def settle(self) -> None:
        while self.engine.scheduler:
            self._start()
        while self._running:
            self._end()
        self.engine.take_events()

    def newest(self) -> Job:
        """Return the newest record of one that succeeded."""
        return next(job for job in self.engine.newest_first(None) if not job.live)

    def _start(self) -> None:
        lease = self.engine.lease(self.engine.scheduler.pop(self._now), now=self._instant())
        assert lease is not None
        self._running.append(lease)

    def _end(self) -> None:
        lease = self._running.popleft()
        success = Success(b'{"value":%d}' % (self._count % 100))
        self.engine.ack(lease.job_id, attempt=lease.attempt, success=success, now=self._instant())

    def _instant(self) -> float:
        """Read the clock: each reading is a new number, of whole milliseconds, as uvloop's."""
        return round(self._now, 3)

    def tick(self) -> None:
        at = self.engine.next_at()
        assert at is not None
        self._now = max(self._now, at)
        self.engine.tick(self._now)
        self.engine.take_events()


def measure_engine(statuses: int) -> EngineFigures:
    """Fill an engine, keep it at its bound for a while, and let everything go. Nothing else may be in this process."""
    life = _Life(statuses)
    growing, at_bound, evicting, collecting = _Steps(), _Steps(), _Steps(), _Steps()
    for _ in range(100):
        life.one()
    gc.collect()
    gc.freeze()
    before = rss_bytes(os.getpid())
    for _ in range(statuses - 100):
        growing.do(life.one)
    full = rss_bytes(os.getpid())
    collecting.do(gc.collect)
    for _ in range(statuses // 10):
        at_bound.do(life.one)
    life.settle()
    parts_bytes = _parts_bytes(life)
    while len(life.engine.store):
        evicting.do(life.tick)
    gc.collect()
    left = rss_bytes(os.getpid())
    return EngineFigures(
        statuses=statuses,
        status_bytes=(full - before) / (statuses - 100),
        parts_bytes=parts_bytes,
        growing=growing.pauses(),
        at_bound=at_bound.pauses(),
        evicting=evicting.pauses(),
        evict_us=evicting.sum_us / statuses,
        collecting_ms=collecting.pauses().longest_ms,
        collecting_wall_ms=collecting.pauses().longest_wall_ms,
        left_bytes=(left - before) / statuses,
    )


def _parts_bytes(life: _Life) -> dict[str, float]:
    store, job = life.engine.store, life.newest()
    times = (job.created_at, job.started_at, job.finished_at)

    def each(tables: Collection[dict[JobId, Job]]) -> float:
        return sum(sys.getsizeof(table) for table in tables) / sum(len(table) for table in tables)

    return {
        "record": _taken(job),
        "id": _taken(job.id),
        "result": _taken(job.result),
        "three timestamps, if unshared": sum(_taken(at) for at in times),
        "share of its id page": each(store._id_pages.values()),
        "share of its expiry bucket": each([bucket.jobs for bucket in store._expiry_buckets.values()]),
    }


def _taken(thing: object) -> int:
    """Return the memory of an object, which Python allocates in sixteens."""
    return -(-sys.getsizeof(thing) // 16) * 16


# -- the server's part


def measure_server(statuses: int, connections: int, build: Build = Build.PURE) -> ServerFigures:
    """Start a server, open connections, close them, and have it hold as many statuses."""
    with Ours(build=build) as server:
        pid = server.process.pid
        with Generator(server.port, 1) as generator:  # so that what a first request loads is there
            generator.run(_fill(server, 10 * BATCH))
        started = rss_bytes(pid)
        with Generator(server.port, connections) as generator:
            server.call("GET", "/livez")
            opened = rss_bytes(pid)
            generator.run(Order(script=Cycle(request=request("GET", "/livez")), units=connections))
            asked = rss_bytes(pid)
        with Generator(server.port, 4) as generator:
            generator.run(_fill(server, statuses - 10 * BATCH))
        server.settle()
        full = rss_bytes(pid)
    return ServerFigures(
        statuses=statuses,
        connections=connections,
        started_bytes=started,
        connection_new_bytes=(opened - started) / connections,
        connection_bytes=(asked - started) / connections,
        full_bytes=full,
    )


def _fill(server: Ours, statuses: int) -> Order:
    body = b'{"jobs":[' + b",".join([SUBMISSION] * BATCH) + b"]}"
    look = request("GET", f"{server.jobs}?ids={{id}}", {"Prefer": "wait=10"})
    script = Batch(submit=request("POST", f"{server.jobs}:batch", body=body), look=look, size=BATCH)
    return Order(script=script, units=statuses // BATCH)


# -- both


def run(statuses: int, rounds: int, connections: int, only: Sequence[Build] | None = None) -> Results:
    """Measure the builds, which take turns."""
    raise_open_files()
    machine = describe()
    builds, skipped = available(only)
    progress = Progress()
    engine: dict[Build, list[EngineFigures]] = {build: [] for build in builds}
    for number in range(rounds):
        for build in in_turn(builds, number):
            engine[build].append(_engine_of(build, statuses))
            progress.tell(f"the engine, {build}, round {number + 1} of {rounds}")
    eviction: dict[Build, list[EvictionFigures]] = {build: [] for build in builds}
    for number in range(min(rounds, EVICTION_ROUNDS)):
        for build in in_turn(builds, number):
            eviction[build].append(measure_eviction(build))
            progress.tell(f"evictions, {build}, round {number + 1}")
    found = {}
    for build in builds:
        server = measure_server(statuses, connections, build)
        found[build] = Figures(engine=engine[build], server=[server], eviction=eviction[build])
        progress.tell(f"the server, {build}")
    return Results(machine=machine, skipped=skipped, builds=found)


def _engine_of(build: Build, statuses: int) -> EngineFigures:
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.memory", "--engine", str(statuses)],
        cwd=build.root,
        env={**os.environ, **build.environment},
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=end_with_parent,
    )
    return msgspec.json.decode(done.stdout, type=EngineFigures)


def targets(results: Results) -> list[Target]:
    per_build = [_targets_of(build, figures) for build, figures in results.builds.items()]
    return [target for both in zip(*per_build, strict=True) for target in both]


def _targets_of(build: Build, figures: Figures) -> list[Target]:
    engine = figures.engine
    # A pause that records cause is there in each round; what only one round has is the machine's.
    longest = min(
        max(f.growing.longest_ms, f.at_bound.longest_ms, f.evicting.longest_ms, f.collecting_ms) for f in engine
    )
    measured = {
        "bytes a stored status": spread(f.status_bytes for f in engine),
        "longest pause to a million statuses and back, ms": spread([longest]),
        "evicting a status whose TTL is over, server CPU, µs": spread(f.evict_us for f in figures.eviction),
    }
    statuses = engine[0].statuses
    short_of = f"with {statuses:,} statuses" if statuses < STATUSES else ""
    return [Target(what=what, build=build, measured=found, short_of=short_of) for what, found in measured.items()]


def report(results: Results) -> str:
    """Write the tables."""
    parts = [target_table(targets(results))]
    for build, figures in results.builds.items():
        parts += [f"{name_of(build)}:", *_tables(figures)]
    return "\n\n".join([*parts, *(f"Skipped: {reason}." for reason in results.skipped)])


def _tables(found: Figures) -> list[str]:
    engine, server, eviction = found.engine, found.server, found.eviction
    statuses = engine[0].statuses

    def pauses(of: Callable[[EngineFigures], Pauses]) -> list[object]:
        found = [of(figures) for figures in engine]
        return [
            spread(p.longest_ms for p in found),
            spread(p.p9999_ms for p in found),
            spread(p.mean_us for p in found),
            spread(p.longest_wall_ms for p in found),
        ]

    figures: list[list[object]] = [
        ["bytes left per status after the eviction of all", spread(f.left_bytes for f in engine)],
        ["evicting a status: the engine alone, µs", spread(f.evict_us for f in engine)],
        ["the same: a server, without its idle share, µs", spread(f.evict_us for f in eviction)],
        ["the same: with its idle share, µs", spread(f.whole_us for f in eviction)],
        ["an idle server, CPU in ms a second", spread(f.idle_ms for f in eviction)],
        ["longest lag of the loop while a server evicts, wall, ms", spread(f.lag_ms for f in eviction)],
        ["server at start, MiB", spread(f.started_bytes / 2**20 for f in server)],
        [f"server with {statuses:,} statuses, MiB", spread(f.full_bytes / 2**20 for f in server)],
        ["of which bytes a status", spread((f.full_bytes - f.started_bytes) / f.statuses for f in server)],
        ["an idle connection, KiB", spread(f.connection_bytes / 1024 for f in server)],
        ["a connection without a request yet, KiB", spread(f.connection_new_bytes / 1024 for f in server)],
    ]
    steps: list[list[object]] = [
        ["submit, lease, ack: growing", *pauses(lambda f: f.growing)],
        ["the same, each evicting the oldest one", *pauses(lambda f: f.at_bound)],
        ["a tick that evicts", *pauses(lambda f: f.evicting)],
        [
            "a full garbage collection",
            spread(f.collecting_ms for f in engine),
            None,
            None,
            spread(f.collecting_wall_ms for f in engine),
        ],
    ]
    parts = [[part, round(bytes_)] for part, bytes_ in engine[0].parts_bytes.items()]
    return [
        table(["of a status, by size", "bytes"], parts),
        table(["", "measured"], figures),
        table(["one step, CPU", "longest, ms", "one in 10,000, ms", "mean, µs", "longest, wall, ms"], steps),
    ]


def draw(results: Results, path: Path) -> None:
    """Draw the longest pause of each kind of step."""
    kinds: dict[str, Callable[[EngineFigures], float]] = {
        "growing": lambda f: f.growing.longest_ms,
        "at the bound": lambda f: f.at_bound.longest_ms,
        "evicting": lambda f: f.evicting.longest_ms,
        "collecting": lambda f: f.collecting_ms,
    }
    series = {
        name_of(build): [spread(of(figures) for figures in found.engine) for of in kinds.values()]
        for build, found in results.builds.items()
    }
    statuses = max(found.engine[0].statuses for found in results.builds.values())
    title = f"longest step with {statuses:,} statuses"
    bars([Panel(title=title, groups=list(kinds), series=series)], label="ms of CPU", path=path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m bench.speed.memory", description="Measure memory and pauses of stored records.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STATUSES:,} statuses, one round")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder (default: {FOLDER})")
    for flag, how in BUILD.items():
        parser.add_argument(flag, **how)
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.engine:
        sys.stdout.buffer.write(msgspec.json.encode(measure_engine(options.engine)))
        return 0
    statuses, rounds = (QUICK_STATUSES, 1) if options.quick else (STATUSES, ROUNDS)
    results = run(statuses, rounds, CONNECTIONS, options.build)
    save(results, options.out)
    print(report(results))
    return 0


def save(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    draw(results, folder / "memory.png")


if __name__ == "__main__":
    end_with(main)
