"""Cost of a job's whole life: submit, run, read until terminal; by every way to read, and beside other queues.

    make bench-life                          # everything, in seven minutes
    python -m bench.speed.life --quick
    python -m bench.speed.life --only jobqueue,go --rounds 3

64 connections, each with one job at a time: an echo, to measure the queue alone, among 100,000 finished jobs (the
stacks on Redis hold none). Polling clients ask at once and then after 1, 2, 4 ... 64 ms. All processes of a contender
share one core, the generator has the other, and contenders take turns within every round. Event streams come last: a
server goes on recording events for a while after the last of them. The folder gets life.json and life.png.
"""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import Generator, raise_open_files
from bench.load.generator import Order
from bench.load.scripts import Batch, Life
from bench.measure.builds import Build
from bench.measure.machine import describe
from bench.measure.spread import Spread, spread, table
from bench.peers.contenders import SUBMISSION, Contender, Ours, contenders, name_of, request
from bench.peers.stacks import Stack, stacks
from bench.speed.bench import BUSY, Progress, SpeedBench, in_turn
from bench.speed.comparison import FLAGS, Comparison, chosen
from bench.speed.plot import Panel, bars
from bench.speed.targets import Target, target_table
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

CONNECTIONS = 64
BATCH = 50
WAIT = {"Prefer": "wait=10"}


class Via(StrEnum):
    """How a client learns that its job is over."""

    HEAD = "HEAD"
    GET = "GET"
    WAIT = "GET, Prefer: wait"
    AT_ONCE = "POST, Prefer: wait"
    EVENTS = "event stream"
    BATCH = f"batches of {BATCH}"


EVERYONE = (Via.HEAD, Via.GET)
"""The ways that every contender has."""

BEFORE_EVENTS = tuple(via for via in Via if via is not Via.EVENTS)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of this bench.

    Attributes:
        only: Contenders' names; None: everyone, but `without` these.
        seconds: Of each measurement, `warm_s` coming before it.
        records: Number of finished jobs that each queue holds meanwhile; the stacks on Redis hold none.
    """

    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    rounds: int = 5
    seconds: float = 1.5
    warm_s: float = 0.3
    records: int = 100_000


QUICK = Options(rounds=3, seconds=0.5, warm_s=0.2, without=("jobqueue, stock path",))


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        cpu_us: Of all the contender's processes, for each job.
        requests: For each job.
        p50_ms, p95_ms: From the submission until the client knows that the job is over.
        server, generator: The share of its core that each side took.
    """

    contender: str
    via: Via
    round: int
    cpu_us: float
    jobs_per_s: float
    requests: float
    p50_ms: float
    p95_ms: float
    server: float
    generator: float


Results = Comparison[Options, Reading]
"""The content of life.json."""


RATIOS = (
    ("life by HEAD: jobs a second, times Go's", "go", True),
    ("life by HEAD: jobs a second, times naive's", "naive", True),
    ("life by HEAD: CPU a job, times less than Go", "go", False),
    ("life by HEAD: CPU a job, times less than naive", "naive", False),
    ("life by HEAD: CPU a job, times less than Fastify + BullMQ", "Fastify + BullMQ", False),
    ("life by HEAD: CPU a job, times less than FastAPI + arq", "FastAPI + arq", False),
    ("life by HEAD: CPU a job, times less than aiohttp + SAQ", "aiohttp + SAQ", False),
)
"""Contender, and whether jobs a second are compared, or CPU a job. Bounds, if any: `AIMS`."""

WAITS = "life by one POST, Prefer: wait: CPU / life by HEAD"


def run(options: Options) -> Results:
    """Measure everything that can be measured here."""
    raise_open_files()
    machine = describe()
    everyone, skipped = _everyone(options)
    readings: list[Reading] = []
    progress = Progress()
    with ExitStack() as stack:
        for contender in everyone:
            stack.enter_context(contender)
            if not isinstance(contender, Stack):
                contender.fill(options.records)
        progress.tell(f"ready: {', '.join(contender.name for contender in everyone)}")
        for vias in (BEFORE_EVENTS, (Via.EVENTS,)):
            for number in range(options.rounds):
                for contender in in_turn(everyone, number):
                    readings += _measure(contender, number, options, vias)
                progress.tell(f"round {number + 1} of {options.rounds}, up to {vias[-1]}")
    return Results(machine=machine, options=options, skipped=skipped, readings=readings)


def _everyone(options: Options) -> tuple[list[Contender], list[str]]:
    found, skipped = contenders()
    more, skipped_too = stacks() if options.only is None or any("+" in name for name in options.only) else ([], [])
    everyone = [each for each in (*found, *more) if each.name != "aiohttp" and each.name not in options.without]
    if options.only is None:
        return everyone, [*skipped, *skipped_too]
    return chosen(everyone, options.only), []


def _measure(contender: Contender, number: int, options: Options, vias: Sequence[Via] = tuple(Via)) -> list[Reading]:
    readings: list[Reading] = []
    possible = [via for via in vias if isinstance(contender, Ours) or via in EVERYONE]
    if not possible:
        return readings
    with Generator(contender.port, CONNECTIONS) as generator:
        for via in possible:
            order = Order(
                script=script(contender, via), seconds=options.seconds, warm_s=options.warm_s, pids=contender.pids
            )
            report = generator.run(order)
            if report.lost or not report.done or any(status[0] not in "2" for status in report.answers):
                raise RuntimeError(f"{contender.name}, {via}: {report}")
            readings.append(
                Reading(
                    contender=contender.name,
                    via=via,
                    round=number,
                    cpu_us=sum(report.cpu_s) / report.done * 1e6,
                    jobs_per_s=report.done / report.seconds,
                    requests=sum(report.answers.values()) / report.done,
                    p50_ms=report.latency["all"].p50,
                    p95_ms=report.latency["all"].p95,
                    server=sum(report.cpu_s) / report.seconds,
                    generator=report.own_cpu_s / report.seconds,
                )
            )
            contender.clear()
    return readings


def script(contender: Contender, via: Via) -> Life | Batch:
    """Return what a connection does for a job."""
    jobs = contender.jobs
    one = f"{jobs}/{{id}}"
    submit = request("POST", jobs, body=SUBMISSION)
    match via:
        case Via.HEAD | Via.GET:
            return Life(submit=submit, look=request(via, one))
        case Via.WAIT:
            return Life(submit=submit, look=request("GET", one, WAIT))
        case Via.AT_ONCE:
            return Life(submit=request("POST", jobs, WAIT, body=SUBMISSION), via="submission")
        case Via.EVENTS:
            return Life(submit=submit, look=request("GET", f"{one}/events"), via="answer")
        case Via.BATCH:
            body = b'{"jobs":[' + b",".join([SUBMISSION] * BATCH) + b"]}"
            look = request("GET", f"{jobs}?ids={{id}}", WAIT)
            return Batch(submit=request("POST", f"{jobs}:batch", body=body), look=look, size=BATCH)


def targets(results: Results) -> list[Target]:
    """Compare round by round."""
    found = {(r.contender, r.via, r.round): r for r in results.readings}

    def pairs(ours: str, via: Via, theirs: str, their_via: Via) -> list[tuple[Reading, Reading]]:
        return [
            (one, other)
            for (name, by, number), one in found.items()
            if (name, by) == (ours, via) and (other := found.get((theirs, their_via, number))) is not None
        ]

    def ratio(ours: str, theirs: str, per_s: bool) -> Spread | None:
        both = pairs(ours, Via.HEAD, theirs, Via.HEAD)
        return spread(a.jobs_per_s / b.jobs_per_s if per_s else b.cpu_us / a.cpu_us for a, b in both)

    def of_waits(ours: str) -> Spread | None:
        return spread(wait.cpu_us / head.cpu_us for wait, head in pairs(ours, Via.AT_ONCE, ours, Via.HEAD))

    there = {reading.contender for reading in results.readings}
    builds = [build for build in Build if name_of(build) in there or build is Build.PURE]
    targets = [
        Target(what=what, build=build, measured=ratio(name_of(build), theirs, per_s))
        for what, theirs, per_s in RATIOS
        for build in builds
    ]
    return [*targets, *(Target(what=WAITS, build=build, measured=of_waits(name_of(build))) for build in builds)]


def report(results: Results) -> str:
    """Write the tables: ratios first."""
    figures: dict[str, Callable[[Reading], float]] = {
        "jobs a second": lambda reading: reading.jobs_per_s,
        "CPU a job, µs": lambda reading: reading.cpu_us,
        "requests a job": lambda reading: reading.requests,
        "p50, ms": lambda reading: reading.p50_ms,
        "p95, ms": lambda reading: reading.p95_ms,
        "core of the server": lambda reading: reading.server,
    }
    pairs = dict.fromkeys((reading.contender, reading.via) for reading in results.readings)
    lines = [
        [contender, via, *(_of(results.readings, contender, via, of) for of in figures.values())]
        for contender, via in sorted(pairs, key=lambda pair: list(Via).index(pair[1]))
    ]
    notes = [f"Skipped: {reason}." for reason in results.skipped]
    idle = [
        f"{contender} by {via}"
        for contender, via in pairs
        if (share := _of(results.readings, contender, via, figures["core of the server"])) and share.median < BUSY
    ]
    if idle:
        notes.append(
            f"Below the limit of their core, so jobs a second depend on more than CPU a job: {'; '.join(idle)}."
        )
    return "\n\n".join([target_table(targets(results)), table(["", "by", *figures], lines), *notes])


def _of(readings: Iterable[Reading], contender: str, via: Via, value: Callable[[Reading], float]) -> Spread | None:
    return spread(value(reading) for reading in readings if (reading.contender, reading.via) == (contender, via))


def draw(results: Results, path: Path) -> None:
    """Draw jobs a second, by way and contender."""
    everyone = dict.fromkeys(reading.contender for reading in results.readings)
    series = {
        name: [_of(results.readings, name, via, lambda reading: reading.jobs_per_s) for via in Via] for name in everyone
    }
    title = f"submit, run, poll until terminal: {CONNECTIONS} connections, one core for the server"
    bars([Panel(title=title, groups=list(Via), series=series)], label="jobs a second", path=path)


BENCH = SpeedBench(
    name="life",
    about="Measure the cost of a job's life cycle.",
    whole=Options(),
    quick=QUICK,
    flags=FLAGS,
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
