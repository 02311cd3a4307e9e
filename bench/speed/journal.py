"""What durability costs: a job's life with the journal off, `interval` and `always`, and beside other queues on disk.

    make bench-journal                       # everything, in a quarter of an hour
    python -m bench.speed.journal --quick
    python -m bench.speed.journal --only jobqueue,jobqueue-always,SQLite-FULL --rounds 3

1, 64 and 512 connections, each with one job at a time: submit an echo, and ask by HEAD until it is over. Then the same
connections submit alone, as fast as they are answered; and 64 of them at a rate, where nothing waits for the CPU. All
processes of a contender share one core, the generator has the other, and contenders take turns within every round.
Then the time and the memory of a start with a million jobs in the journal (`recovery`), and the steps of a snapshot of
as many (`snapshot`). The folder gets journal.json and journal.png.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import Generator, raise_open_files
from bench.load.generator import Order
from bench.load.scripts import Cycle
from bench.measure.builds import Build
from bench.measure.machine import Machine, describe
from bench.measure.spread import Spread, many, spread, table
from bench.peers.contenders import SUBMISSION, name_of, request
from bench.peers.durable import SYNCS, Journaled, durable
from bench.speed.bench import BUSY, Progress, SpeedBench, counts, in_turn
from bench.speed.by_connections import figure_of, panels_of
from bench.speed.comparison import FLAGS, chosen
from bench.speed.life import Via, script
from bench.speed.plot import bars
from bench.speed.recovery import JOBS, Left, Recovery, measure_recovery
from bench.speed.snapshot import SnapshotFigures, measure_snapshot
from bench.speed.targets import Target, target_table
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.load.generator import Report
    from bench.peers.contenders import Contender

CONNECTIONS = (1, 64, 512)
AT_RATE = 64
"""The connections that submit at a rate."""


SNAPSHOT = "longest step of a snapshot of a million jobs, ms"
READING = "CPU of reading a million jobs from the journal at a start, s"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of this bench.

    Attributes:
        only: Contenders' names; None: everyone.
        seconds: Of each measurement, `warm_s` coming before it.
        records: Number of finished jobs that each queue holds meanwhile.
        rate: Submissions a second, of those at a rate.
        jobs: Number of jobs of which starts and snapshots are measured.
        recoveries: Rounds of these.
    """

    only: tuple[str, ...] | None = None
    connections: tuple[int, ...] = CONNECTIONS
    rounds: int = 5
    seconds: float = 1.5
    warm_s: float = 0.3
    records: int = 20_000
    rate: float = 1000.0
    jobs: int = JOBS
    recoveries: int = 2


QUICK = Options(rounds=3, seconds=0.5, warm_s=0.2, records=5_000, jobs=100_000, recoveries=1)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of a contender.

    Attributes:
        cpu_us: Of all the contender's processes, for each job's life.
        looks: Requests of a life, its submission included.
        life_p50_ms: From the submission until the client knows that the job is over.
        post_p50_ms, post_p99_ms: Of a submission, while every connection submits as fast as it is answered.
        rate_p50_ms, rate_p99_ms: Of a submission at a rate; None: not with this number of connections.
        server: The share of its core that the contender took during the lives.
    """

    contender: str
    connections: int
    round: int
    cpu_us: float
    jobs_per_s: float
    looks: float
    life_p50_ms: float
    life_p99_ms: float
    post_p50_ms: float
    post_p99_ms: float
    posts_per_s: float
    rate_p50_ms: float | None
    rate_p99_ms: float | None
    server: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of journal.json."""

    machine: Machine
    options: Options
    skipped: list[str]
    readings: list[Reading]
    recoveries: list[Recovery]
    snapshots: list[SnapshotFigures]


def run(options: Options) -> Results:
    """Measure everything that can be measured here."""
    raise_open_files()
    machine = describe()
    everyone, skipped = durable()
    if options.only is not None:
        everyone, skipped = chosen(everyone, options.only), []
    readings: list[Reading] = []
    progress = Progress()
    with ExitStack() as stack:
        for contender in everyone:
            stack.enter_context(contender)
            contender.fill(options.records)
            progress.tell(f"{contender.name} is ready")
        for number in range(options.rounds):
            for connections in options.connections:
                for contender in in_turn(everyone, number):
                    readings.append(_measure(contender, connections, number, options))
                progress.tell(f"round {number + 1} of {options.rounds}, {many(connections, 'connection')}")
    recoveries: list[Recovery] = []
    snapshots: list[SnapshotFigures] = []
    builds = [build for build in Build if any(isinstance(each, Journaled) and each.build is build for each in everyone)]
    for number in range(options.recoveries if builds else 0):
        for build in in_turn(builds, number):
            recoveries += measure_recovery(build, options.jobs)
            snapshots.append(measure_snapshot(build, options.jobs))
            progress.tell(f"starts, {build}, round {number + 1} of {options.recoveries}")
    return Results(
        machine=machine, options=options, skipped=skipped, readings=readings, recoveries=recoveries, snapshots=snapshots
    )


def _measure(contender: Contender, connections: int, number: int, options: Options) -> Reading:
    post = Cycle(request=request("POST", contender.jobs, body=SUBMISSION))
    with Generator(contender.port, connections) as generator:

        def ordered(order: Order) -> Report:
            report = generator.run(msgspec.structs.replace(order, seconds=options.seconds, warm_s=options.warm_s))
            if report.lost or not report.done or any(status[0] not in "2" for status in report.answers):
                raise RuntimeError(f"{contender.name}, {many(connections, 'connection')}: {report}")
            contender.clear()
            return report

        lives = ordered(Order(script=script(contender, Via.HEAD), pids=contender.pids))
        posts = ordered(Order(script=post))
        at_rate = ordered(Order(script=post, rate=options.rate)) if connections == AT_RATE else None
    rated = at_rate.latency["all"] if at_rate is not None else None
    return Reading(
        contender=contender.name,
        connections=connections,
        round=number,
        cpu_us=sum(lives.cpu_s) / lives.done * 1e6,
        jobs_per_s=lives.done / lives.seconds,
        looks=sum(lives.answers.values()) / lives.done,
        life_p50_ms=lives.latency["all"].p50,
        life_p99_ms=lives.latency["all"].p99,
        post_p50_ms=posts.latency["all"].p50,
        post_p99_ms=posts.latency["all"].p99,
        posts_per_s=posts.done / posts.seconds,
        rate_p50_ms=None if rated is None else rated.p50,
        rate_p99_ms=None if rated is None else rated.p99,
        server=sum(lives.cpu_s) / lives.seconds,
    )


def targets(results: Results) -> list[Target]:
    """Divide round by round."""
    there = {each.contender for each in results.readings}
    builds = [build for build in Build if name_of(build) in there or build is Build.PURE]
    of_jobs = [target for build in builds for target in _targets_of_jobs(build, results)]
    return of_jobs + [
        Target(
            what=f"life by HEAD, {many(connections, 'client')}: CPU with the journal, {sync} / without",
            build=build,
            measured=_ratio(results, f"{name_of(build)}, {sync}", name_of(build), connections),
        )
        for connections in results.options.connections
        if connections > 1
        for sync in SYNCS
        for build in builds
    ]


def _ratio(results: Results, kept: str, forgotten: str, connections: int) -> Spread | None:
    """Divide the CPU of a life in a contender that keeps its jobs by that in one that doesn't."""
    costs = {(each.contender, each.round): each.cpu_us for each in results.readings if each.connections == connections}
    return spread(
        cost / other
        for (name, number), cost in costs.items()
        if name == kept and (other := costs.get((forgotten, number)))
    )


def _targets_of_jobs(build: Build, results: Results) -> list[Target]:
    ready = [reading for reading in results.recoveries if reading.build is build]
    empty = min((reading.cpu_s for reading in ready if reading.left is Left.NOTHING), default=0.0)
    found = spread((each.cpu_s - empty) * JOBS / each.jobs for each in ready if each.left is not Left.NOTHING)
    jobs = results.options.jobs
    short_of = f"with {jobs:,} jobs" if jobs < JOBS else ""
    # A pause that the walk causes is there in each round; what only one round has is the machine's.
    longest = min((each.longest_ms for each in results.snapshots if each.build is build), default=None)
    of_snapshots = None if longest is None else spread([longest])
    return [
        Target(what=READING, build=build, measured=found, short_of=short_of and f"scaled up: {short_of}"),
        Target(what=SNAPSHOT, build=build, measured=of_snapshots, short_of=short_of),
    ]


def report(results: Results) -> str:
    """Write the tables: ratios first."""
    figures: dict[str, Callable[[Reading], float | None]] = {
        "CPU a job, µs": lambda reading: reading.cpu_us,
        "jobs a second": lambda reading: reading.jobs_per_s,
        "requests a job": lambda reading: reading.looks,
        "life p50, ms": lambda reading: reading.life_p50_ms,
        "POST p50, ms": lambda reading: reading.post_p50_ms,
        "POST p99, ms": lambda reading: reading.post_p99_ms,
        "core of the server": lambda reading: reading.server,
    }
    rated = f" at {results.options.rate:,.0f} a second, ms"
    at_rate: dict[str, Callable[[Reading], float | None]] = {
        f"POST p50{rated}": lambda reading: reading.rate_p50_ms,
        f"POST p99{rated}": lambda reading: reading.rate_p99_ms,
    }
    everyone = list(dict.fromkeys(reading.contender for reading in results.readings))
    parts = [target_table(targets(results)), _table_of_ratios(results, everyone)]
    for connections in results.options.connections:
        columns = {**figures, **(at_rate if connections == AT_RATE else {})}
        at = [reading for reading in results.readings if reading.connections == connections]
        rows = [[name, *(figure_of(at, name, of) for of in columns.values())] for name in everyone]
        parts.append(f"{many(connections, 'connection')}:\n\n{table(['', *columns], rows)}")
    parts += [_table_of_starts(results.recoveries), _table_of_snapshots(results.snapshots)]
    idle = sorted({f"{r.contender} at {r.connections}" for r in results.readings if r.server < BUSY})
    if idle:
        parts.append(f"Below the limit of their core, in some round: {'; '.join(idle)}.")
    return "\n\n".join([*parts, *(f"Skipped: {reason}." for reason in results.skipped)])


def _table_of_ratios(results: Results, everyone: Iterable[str]) -> str:
    counts = results.options.connections
    builds = [name_of(build) for build in Build]
    rows = []
    for kept in everyone:
        if kept not in (*builds, "naive"):
            forgotten = before if (before := kept.rpartition(", ")[0]) in builds else "naive"
            rows.append([kept, forgotten, *(_ratio(results, kept, forgotten, count) for count in counts)])
    head = ["", "without", *(many(count, "connection") for count in counts)]
    return f"CPU of a life, times that in the same queue without a disk:\n\n{table(head, rows)}"


def _table_of_starts(recoveries: Sequence[Recovery]) -> str:
    figures: dict[str, Callable[[Recovery], float]] = {
        "ready after, s": lambda reading: reading.ready_s,
        "CPU, s": lambda reading: reading.cpu_s,
        "journal, MiB": lambda reading: reading.disk_bytes / 2**20,
        "memory, MiB": lambda reading: reading.after_bytes / 2**20,
        "at most, MiB": lambda reading: reading.most_bytes / 2**20,
        "of the server before, MiB": lambda reading: reading.before_bytes / 2**20,
    }
    rows = []
    for build, left, jobs in dict.fromkeys((each.build, each.left, each.jobs) for each in recoveries):
        found = [each for each in recoveries if (each.build, each.left) == (build, left)]
        rows.append(
            [name_of(build), left, f"{jobs:,}", *(spread(of(each) for each in found) for of in figures.values())]
        )
    return f"A start, by what is in the journal:\n\n{table(['', 'in the journal', 'jobs', *figures], rows)}"


def _table_of_snapshots(snapshots: Sequence[SnapshotFigures]) -> str:
    figures: dict[str, Callable[[SnapshotFigures], float]] = {
        "longest step, CPU, ms": lambda found: found.longest_ms,
        "the same by the clock, ms": lambda found: found.longest_wall_ms,
        "a step, CPU, ms": lambda found: found.mean_ms,
        "CPU a job, µs": lambda found: found.cpu_s / found.jobs * 1e6,
        "snapshot, MiB": lambda found: found.size_bytes / 2**20,
    }
    rows = []
    for build in dict.fromkeys(each.build for each in snapshots):
        found = [each for each in snapshots if each.build is build]
        rows.append([name_of(build), f"{found[0].jobs:,}", *(spread(map(of, found)) for of in figures.values())])
    return f"A snapshot, in steps between which the loop goes on:\n\n{table(['', 'jobs', *figures], rows)}"


def draw(results: Results, path: Path) -> None:
    """Draw the CPU of a life, and the wait for a submission's answer, by contender and number of connections."""
    titles: dict[str, Callable[[Reading], float | None]] = {
        "CPU of a job's life, µs": lambda reading: reading.cpu_us,
        "a submission's answer, p50 in ms": lambda reading: reading.post_p50_ms,
    }
    bars(panels_of(results.readings, results.options.connections, titles), label="", path=path)


BENCH = SpeedBench(
    name="journal",
    about="Measure what durability costs.",
    whole=Options(),
    quick=QUICK,
    flags={
        **FLAGS,
        "--connections": {"type": counts, "metavar": "N,N", "help": f"default: {','.join(map(str, CONNECTIONS))}"},
    },
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
