"""Cost of a request: CPU of the server's own process, and requests per second, beside aiohttp, a naive queue and Go.

    make bench-http                                               # everything, in ten minutes
    python -m bench.speed.http --connections 64 --rounds 3        # a part of it
    python -m bench.speed.http --quick

Each server runs on one core, the generator on the other, and they take turns within every round, because a machine's
speed drifts: only ratios of figures from the same round are claims. The table goes to stdout, progress to stderr; the
folder gets http.json, with every reading, and http.png.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import Generator, raise_open_files
from bench.load.generator import Order
from bench.measure.builds import Build
from bench.measure.machine import describe
from bench.measure.spread import Spread, many, spread, table
from bench.peers.contenders import Contender, Kind, contenders, name_of
from bench.speed.bench import BUSY, Progress, SpeedBench, counts, in_turn
from bench.speed.comparison import FLAGS, Comparison, chosen
from bench.speed.plot import Panel, bars
from bench.speed.targets import Target, target_table
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CONNECTIONS = (1, 64, 1000, 8000)
TARGETED = 64
RECORDS = 100_000
FILES_SPARE = 600
TURN_S = 200e-6
"""Minimum duration of a measurement per connection, so that each has several turns."""

UNEXPECTED_MAX = 0.05


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of this bench.

    Attributes:
        rounds: With as many connections as the targets name; with another number of them, `other_rounds`.
        seconds: Of each measurement, `warm_s` coming before it; longer for very many connections.
        records: Number of finished jobs that each queue holds meanwhile.
        only: Contenders' names; None: everyone, but `without` these.
    """

    connections: tuple[int, ...] = CONNECTIONS
    rounds: int = 5
    other_rounds: int = 2
    seconds: float = 0.7
    warm_s: float = 0.2
    records: int = RECORDS
    kinds: tuple[Kind, ...] = tuple(Kind)
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()


QUICK = Options(connections=(64,), rounds=3, seconds=0.4, warm_s=0.15, without=("jobqueue, stock path",))


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        cpu_us: Of the server's processes, for each request.
        server, generator: The share of its core that each side took.
        unexpected: The share of answers with another status code than the one that was meant to be measured. Beyond
            a twentieth the reading stands in no table: it is of something else.
        p50_ms, p99_ms: From sending to the answer; in a closed loop, so they measure the length of the line.
    """

    contender: str
    kind: Kind
    connections: int
    round: int
    cpu_us: float
    per_s: float
    server: float
    generator: float
    unexpected: float
    p50_ms: float
    p99_ms: float


Results = Comparison[Options, Reading]
"""The content of http.json."""


RATIOS = (
    ("POST, run: CPU / Go's", Kind.RUN, "go", Kind.RUN),
    ("POST, run: CPU / naive's", Kind.RUN, "naive", Kind.RUN),
    ("POST, held: CPU / Go's", Kind.HELD, "go", Kind.HELD),
    ("POST, held: CPU / naive's", Kind.HELD, "naive", Kind.HELD),
    ("POST, held: CPU / aiohttp's read + orjson", Kind.HELD, "aiohttp", Kind.HELD),
    ("POST refused: CPU / POST, held", Kind.REFUSED, None, Kind.HELD),
    ("POST, batch of 100: CPU a job / POST, held", Kind.BATCH, None, Kind.HELD),
    ("GET: CPU / Go's", Kind.GET, "go", Kind.GET),
    ("GET: CPU / bare aiohttp's 204", Kind.GET, "aiohttp", Kind.GET),
    ("HEAD: CPU / Go's", Kind.HEAD, "go", Kind.HEAD),
    ("HEAD: CPU / bare aiohttp's 204", Kind.HEAD, "aiohttp", Kind.GET),
)
"""Numerator; contender (None: the same server) and kind of the denominator. Bounds, if any: `AIMS`."""


def run(options: Options) -> Results:
    """Measure everything that can be measured here."""
    files = raise_open_files()
    machine = describe()
    everyone, skipped = contenders()
    everyone = [each for each in everyone if each.name not in options.without]
    if options.only is not None:
        everyone, skipped = chosen(everyone, options.only), []
    fitting = [count for count in options.connections if count + FILES_SPARE <= files]
    skipped += [
        f"{count:,} connections: the limit on open files is {files:,}"
        for count in options.connections
        if count not in fitting
    ]
    readings: list[Reading] = []
    progress = Progress()
    with ExitStack() as stack:
        for contender in everyone:
            stack.enter_context(contender)
            contender.fill(options.records)
            progress.tell(f"{contender.name} is ready")
        for number in range(options.rounds):
            for connections in fitting:
                if connections != TARGETED and number >= options.other_rounds:
                    continue
                for contender in in_turn(everyone, number):
                    readings += _measure(contender, connections, number, options)
                progress.tell(f"round {number + 1} of {options.rounds}, {many(connections, 'connection')}")
    return Results(machine=machine, options=options, skipped=skipped, readings=readings)


def _measure(contender: Contender, connections: int, number: int, options: Options) -> list[Reading]:
    readings = []
    pids, least_s = contender.pids, TURN_S * connections
    seconds, warm_s = max(options.seconds, least_s), max(options.warm_s, least_s)
    with Generator(contender.port, connections) as generator:
        for kind in (kind for kind in contender.kinds if kind in options.kinds):
            with contender.scene(kind):
                order = Order(script=contender.script(kind), seconds=seconds, warm_s=warm_s, pids=pids)
                report = generator.run(order)
            if report.lost or not report.done:
                raise RuntimeError(
                    f"{contender.name}, {kind}, {many(connections, 'connection')}: {report.done} answers in "
                    f"{report.seconds:.1f} s, and {report.lost} connections lost"
                )
            readings.append(
                Reading(
                    contender=contender.name,
                    kind=kind,
                    connections=connections,
                    round=number,
                    cpu_us=sum(report.cpu_s) / report.done * 1e6,
                    per_s=report.done / report.seconds,
                    server=sum(report.cpu_s) / report.seconds,
                    generator=report.own_cpu_s / report.seconds,
                    unexpected=1 - report.answers.get(contender.expects(kind), 0) / report.done,
                    p50_ms=report.latency["all"].p50,
                    p99_ms=report.latency["all"].p99,
                )
            )
    return readings


def targets(results: Results, connections: int = TARGETED) -> list[Target]:
    """Divide round by round."""
    at = [reading for reading in results.readings if reading.connections == connections and _is_sound(reading)]
    costs = {(reading.contender, reading.kind, reading.round): reading.cpu_us for reading in at}

    def ratio(ours: str, kind: Kind, theirs: str, their_kind: Kind) -> Spread | None:
        return spread(
            (cost / kind.jobs) / (other / their_kind.jobs)
            for (name, of, number), cost in costs.items()
            if (name, of) == (ours, kind) and (other := costs.get((theirs, their_kind, number)))
        )

    records = results.options.records
    short_of = f"with {records:,} records, not {RECORDS:,}" if records < RECORDS else ""
    names = _names(results.readings)
    return [
        Target(what=what, build=build, measured=ratio(ours, kind, theirs or ours, their_kind), short_of=short_of)
        for what, kind, theirs, their_kind in RATIOS
        for build in Build
        if (ours := name_of(build)) in names or build is Build.PURE
    ]


def report(results: Results) -> str:
    """Write the tables: ratios first."""
    counts = sorted({reading.connections for reading in results.readings})
    parts = [f"{many(count, 'connection')}:\n\n{target_table(targets(results, count))}" for count in counts]
    for what, value in (("CPU of the server, in µs a request", _cpu_us), ("Requests per second", _per_s)):
        parts += [_table(results, count, f"{what}, {many(count, 'connection')}", value) for count in counts]
    parts += _notes(results)
    return "\n\n".join(parts)


def _table(results: Results, count: int, title: str, value: Callable[[Reading], float]) -> str:
    at = [reading for reading in results.readings if reading.connections == count]
    rows = [
        [kind, *(_of(at, name, kind, value) for name in _names(results.readings))] for kind in results.options.kinds
    ]
    return f"{title}:\n\n" + table(["", *_names(results.readings)], rows)


def _of(readings: Iterable[Reading], name: str, kind: Kind, value: Callable[[Reading], float]) -> Spread | None:
    return spread(
        value(reading)
        for reading in readings
        if (reading.contender, reading.kind) == (name, kind) and _is_sound(reading)
    )


def _is_sound(reading: Reading) -> bool:
    return reading.unexpected <= UNEXPECTED_MAX


def _cpu_us(reading: Reading) -> float:
    return reading.cpu_us


def _per_s(reading: Reading) -> float:
    return reading.per_s


def draw(results: Results, path: Path) -> None:
    """Draw the CPU a request, by kind and contender: a panel for each number of connections."""
    panels = []
    for count in sorted({reading.connections for reading in results.readings}):
        at = [reading for reading in results.readings if reading.connections == count]
        series = {
            name: [_of(at, name, kind, _cpu_us) for kind in results.options.kinds] for name in _names(results.readings)
        }
        label = many(count, "connection")
        panels.append(Panel(title=label, groups=[str(kind) for kind in results.options.kinds], series=series))
    bars(panels, label="server CPU, µs a request", path=path)


def _names(readings: Iterable[Reading]) -> list[str]:
    """Return the contenders, in the order in which they were measured first."""
    return list(dict.fromkeys(reading.contender for reading in readings))


def _notes(results: Results) -> list[str]:
    """Say what limits the figures."""
    notes = [f"Skipped: {reason}." for reason in results.skipped]
    for r in (reading for reading in results.readings if reading.unexpected > 0.001):
        notes.append(
            f"{r.contender}, {r.kind}, {many(r.connections, 'connection')}, round {r.round + 1}: {r.unexpected:.1%} of "
            f"the answers had another code than the one to be measured{'' if _is_sound(r) else ', so it is left out'}."
        )
    limited = [r for r in results.readings if r.generator >= BUSY and r.server < BUSY]
    if limited:
        which = sorted({f"{r.contender}, {r.kind}, {many(r.connections, 'connection')}" for r in limited})
        notes.append(
            f"The generator was the limit of requests per second (not of CPU a request) in: {'; '.join(which)}."
        )
    return notes


BENCH = SpeedBench(
    name="http",
    about="Measure the cost of a request.",
    whole=Options(),
    quick=QUICK,
    flags={
        **FLAGS,
        "--connections": {"type": counts, "metavar": "N,N", "help": f"default: {','.join(map(str, CONNECTIONS))}"},
        "--records": {"type": int, "metavar": "N", "help": f"finished jobs that are held (default: {RECORDS})"},
    },
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
