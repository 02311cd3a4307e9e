"""What a shared store costs: a job's life over Valkey, with one to three servers, beside memory and other queues.

    make bench-valkey                        # everything, in ten minutes
    python -m bench.speed.valkey --quick
    python -m bench.speed.valkey --only jobqueue,jobqueue-valkey-1-server --rounds 3

1, 16, 64 and 256 connections, each with one job at a time: submit an echo, and ask by HEAD until it is over. All
processes of a contender, its store included, share one core, the generator has the other; where the store is `apart`,
it shares the generator's core, and the servers have one to themselves. Two and three servers have a generator each. The
other queues run on the same program as their store. The folder gets valkey.json, with the costs that `make scaling`
takes, and valkey.png.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import raise_open_files
from bench.load.generator import Order
from bench.measure.machine import Machine, describe
from bench.measure.spread import Spread, many, spread, table
from bench.peers.contenders import Ours
from bench.peers.over_store import Generators, OverStore
from bench.peers.stacks import Stack, stacks
from bench.scaling.cluster import Costs
from bench.speed.bench import BUSY, Progress, SpeedBench, counts, in_turn
from bench.speed.by_connections import figure_of, panels_of
from bench.speed.comparison import FLAGS, chosen
from bench.speed.life import Via, script
from bench.speed.pipelined import measure_pipelined
from bench.speed.plot import bars
from bench.speed.store_costs import Sample, fit
from bench.speed.targets import Target, target_table
from bench.store import MISSING, executable
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.peers.contenders import Contender

CONNECTIONS = (1, 16, 64, 256)
FULL_CONNECTIONS = (64, 256)
"""Those of which there are targets: with one, each call has one job."""

MEMORY = "jobqueue"
PEERS = ("aiohttp + SAQ", "FastAPI + arq", "Fastify + BullMQ")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of this bench.

    Attributes:
        only: Contenders' names; None: everyone.
        seconds: Of each measurement, `warm_s` coming before it.
        records: Number of finished jobs that this queue holds meanwhile.
    """

    only: tuple[str, ...] | None = None
    connections: tuple[int, ...] = CONNECTIONS
    rounds: int = 5
    seconds: float = 1.5
    warm_s: float = 0.4
    records: int = 20_000


QUICK = Options(rounds=2, seconds=0.5, warm_s=0.3, records=2_000)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        servers_us, store_us: CPU of a job's life: of the servers, with whatever works for them, and of the store; of a
            contender whose store isn't told apart, all is the servers'.
        looks: Requests of a life, beside its submission.
        calls: Of the store, for a life; 0: not known.
        busy: The share of the servers' core that is taken.
    """

    contender: str
    connections: int
    round: int
    servers_us: float
    store_us: float
    jobs_per_s: float
    looks: float
    calls: float
    life_p50_ms: float
    life_p99_ms: float
    busy: float

    @property
    def cpu_us(self) -> float:
        return self.servers_us + self.store_us


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of valkey.json.

    Attributes:
        program: Of the store.
        hset_us: CPU of the store for an HSET of eight fields, in a pipeline: the floor of what it does for a job.
        costs: What `make scaling` takes, of one server: it predicts the others; None: not all was measured.
    """

    machine: Machine
    options: Options
    program: str
    skipped: list[str]
    readings: list[Reading]
    hset_us: list[float]
    costs: Costs | None


def run(options: Options) -> Results:
    """Measure everything that can be measured here. Raises SystemExit: There is no store."""
    raise_open_files()
    program = executable()
    if program is None:
        raise SystemExit(MISSING)
    machine = describe()
    everyone, skipped = _everyone(options)
    readings: list[Reading] = []
    hset_us = []
    progress = Progress()
    with ExitStack() as stack:
        for contender in everyone:
            stack.enter_context(contender)
            if not isinstance(contender, Stack):
                contender.fill(options.records)
            progress.tell(f"{contender.name} is ready")
        for number in range(options.rounds):
            hset_us.append(measure_pipelined())
            for connections in options.connections:
                readings += [_measure(each, connections, number, options) for each in in_turn(everyone, number)]
                progress.tell(f"round {number + 1} of {options.rounds}, {many(connections, 'connection')}")
    return Results(
        machine=machine,
        options=options,
        program=program.name,
        skipped=skipped,
        readings=readings,
        hset_us=hset_us,
        costs=_costs(readings),
    )


def _everyone(options: Options) -> tuple[list[Contender], list[str]]:
    ours: list[Contender] = [Ours(), *(OverStore(servers=number) for number in (1, 2, 3)), OverStore(apart=True)]
    more, skipped = stacks() if options.only is None or any("+" in name for name in options.only) else ([], [])
    everyone = [*ours, *more]
    return (everyone, skipped) if options.only is None else (chosen(everyone, options.only), [])


def _measure(contender: Contender, connections: int, number: int, options: Options) -> Reading:
    ports = contender.ports if isinstance(contender, OverStore) else [contender.port]
    pids = contender.pids
    order = Order(script=script(contender, Via.HEAD), seconds=options.seconds, warm_s=options.warm_s, pids=pids)
    with Generators(ports, connections) as generators:
        before = _calls(contender)
        reports = generators.run(order)
        calls = _calls(contender) - before
    if any(each.lost or not each.done or any(status[0] not in "2" for status in each.answers) for each in reports):
        raise RuntimeError(f"{contender.name}, {many(connections, 'connection')}: {reports}")
    contender.clear()
    done, seconds = sum(each.done for each in reports), reports[0].seconds
    # Each report has the CPU of all processes, over the same time.
    cpu_s = reports[0].cpu_s
    store_s = cpu_s[-1] if isinstance(contender, OverStore) else 0.0
    elsewhere = store_s if isinstance(contender, OverStore) and contender.apart else 0.0
    # Calls are counted over the warm-up, too.
    lives = done * (options.seconds + options.warm_s) / options.seconds
    return Reading(
        contender=contender.name,
        connections=connections,
        round=number,
        servers_us=(sum(cpu_s) - store_s) / done * 1e6,
        store_us=store_s / done * 1e6,
        jobs_per_s=done / seconds,
        looks=sum(sum(each.answers.values()) for each in reports) / done - 1,
        calls=calls / lives,
        life_p50_ms=max(each.latency["all"].p50 for each in reports),
        life_p99_ms=max(each.latency["all"].p99 for each in reports),
        busy=(sum(cpu_s) - elsewhere) / seconds,
    )


def _calls(contender: Contender) -> int:
    return contender.calls() if isinstance(contender, OverStore) else 0


def _costs(readings: Sequence[Reading]) -> Costs | None:
    over = [each for each in readings if each.calls and each.contender == OverStore().name]
    memory = [each for each in readings if each.contender == MEMORY]
    if len({each.connections for each in over}) < 2 or not memory:
        return None
    return fit(
        [Sample(each.servers_us, each.store_us, each.calls, each.looks) for each in over],
        [Sample(each.servers_us, 0.0, 0.0, each.looks) for each in memory],
    )


def targets(results: Results) -> list[Target]:
    """Compare round by round."""
    found = {(each.contender, each.connections, each.round): each for each in results.readings}

    def ratio(one: str, other: str, connections: int, value: Callable[[Reading, Reading], float]) -> Spread | None:
        return spread(
            value(each, theirs)
            for (name, count, number), each in found.items()
            if (name, count) == (one, connections) and (theirs := found.get((other, connections, number))) is not None
        )

    alone, apart = OverStore().name, OverStore(apart=True).name
    rows = []
    for connections in FULL_CONNECTIONS:
        clients = many(connections, "client")
        rows += [
            Target(
                what=f"life by HEAD, {clients}: CPU of the server over valkey / in memory",
                measured=ratio(alone, MEMORY, connections, lambda one, other: one.servers_us / other.servers_us),
            ),
            Target(
                what=f"life by HEAD, {clients}: jobs a second over valkey, store apart / in memory",
                measured=ratio(apart, MEMORY, connections, lambda one, other: one.jobs_per_s / other.jobs_per_s),
            ),
        ]
    floor = spread(results.hset_us)
    stores = [each for each in results.readings if each.contender == alone and each.connections == max(CONNECTIONS)]
    rows.append(
        Target(
            what="CPU of valkey for a life / for one pipelined HSET of 8 fields",
            measured=None if floor is None else spread(each.store_us / floor.median for each in stores),
        )
    )
    rows += [
        Target(
            what=f"life by HEAD over valkey: CPU a job, times less than {peer}",
            measured=ratio(alone, peer, 64, lambda one, other: other.cpu_us / one.cpu_us),
        )
        for peer in PEERS
    ]
    return rows


def report(results: Results) -> str:
    """Write the tables: ratios first."""
    columns: dict[str, Callable[[Reading], float | None]] = {
        "CPU of servers, µs": lambda reading: reading.servers_us,
        "of the store, µs": lambda reading: reading.store_us or None,
        "jobs a second": lambda reading: reading.jobs_per_s,
        "looks a job": lambda reading: reading.looks,
        "calls a job": lambda reading: reading.calls or None,
        "life p50, ms": lambda reading: reading.life_p50_ms,
        "life p99, ms": lambda reading: reading.life_p99_ms,
        "their core": lambda reading: reading.busy,
    }
    everyone = list(dict.fromkeys(reading.contender for reading in results.readings))
    parts = [
        target_table(targets(results)),
        f"The store is `{results.program}`; an HSET: {spread(results.hset_us)} µs.",
    ]
    for connections in results.options.connections:
        at = [reading for reading in results.readings if reading.connections == connections]
        rows = [[name, *(figure_of(at, name, of) for of in columns.values())] for name in everyone]
        parts.append(f"{many(connections, 'connection')}:\n\n{table(['', *columns], rows)}")
    if results.costs is not None:
        parts.append(f"Costs for the model: `{msgspec.json.encode(results.costs).decode()}`.")
    idle = sorted({f"{r.contender} at {r.connections}" for r in results.readings if r.busy < BUSY})
    if idle:
        parts.append(f"Below the limit of their core, in some round: {'; '.join(idle)}.")
    return "\n\n".join([*parts, *(f"Skipped: {reason}." for reason in results.skipped)])


def draw(results: Results, path: Path) -> None:
    """Draw the CPU of a life, and the jobs a second, by contender and number of connections."""
    titles: dict[str, Callable[[Reading], float | None]] = {
        "CPU of a job's life, with its store, µs": lambda reading: reading.cpu_us,
        "jobs a second": lambda reading: reading.jobs_per_s,
    }
    bars(panels_of(results.readings, results.options.connections, titles), label="", path=path)


BENCH = SpeedBench(
    name="valkey",
    about="Measure what a shared store costs.",
    whole=Options(),
    quick=QUICK,
    flags={
        **FLAGS,
        "--connections": {"type": counts, "metavar": "N,N", "help": "numbers of connections"},
        "--records": {"type": int, "metavar": "N", "help": "finished jobs that this queue holds meanwhile"},
    },
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
