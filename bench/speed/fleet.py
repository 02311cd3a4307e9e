"""Known load: latency and CPU of 500, 8,000 and 15,000 clients that submit jobs and read their statuses.

    make bench-fleet                         # four minutes
    python -m bench.speed.fleet --quick

Each client has a connection of its own and one job at a time, which takes one to three seconds, and looks at it by
HEAD, every fourth time by GET with If-None-Match. The server has its default settings, but a TTL of 10 s, so that it
evicts meanwhile: 500 clients' jobs all run at once, of 8,000 most wait, and of 15,000 not all are held: the rest are
rejected, and return at once.

Requests have an intended start, at an even rate over all clients, and latency counts from there (no coordinated
omission). A lost connection, a job that is not found and a late generator are reported.
The folder gets fleet.json and fleet.png.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import Generator, raise_open_files
from bench.load.generator import Order
from bench.load.scripts import Visit
from bench.measure.builds import Build, available
from bench.measure.machine import Machine, describe
from bench.measure.meter import cpu_s, rss_bytes
from bench.measure.spread import Spread, short, table
from bench.peers.contenders import Contender, Ours, name_of, request
from bench.speed.bench import BUILD, BUSY, Progress, SpeedBench
from bench.speed.plot import timeline
from bench.speed.targets import Target, target_table
from clients.counters import Latency
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES_SPARE = 600
LATE_MS = 1.0
LOST = ("404", "410")
SUBMISSION = b'{"type":"sleep","args":{"min_s":1,"max_s":3}}'


class Load(msgspec.Struct, frozen=True):
    """Number of clients, and of requests per second of all of them together."""

    clients: int
    per_s: float


LOADS = (Load(500, 500.0), Load(8000, 3000.0), Load(15_000, 22_500.0))


class Options(msgspec.Struct, frozen=True, kw_only=True):
    loads: tuple[Load, ...] = LOADS
    build: tuple[Build, ...] | None = None
    seconds: float = 30.0
    warm_s: float = 5.0


QUICK = Options(seconds=6.0, warm_s=3.0)


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """The server in the second before `at`, which counts from its start; `cpu` in shares of a core."""

    build: Build
    at: float
    clients: int
    cpu: float
    rss_bytes: int


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements of one load.

    Attributes:
        connected: Clients that had a connection; `lost` of these lost it.
        answers: Per status code; 404 and 410 would be lost jobs.
        latency: Per status code, and "all"; "none" is what was due but not answered by the end.
        server: Its share of its core.
        late_ms: How late the generator was, in the worst hundredth: beyond a millisecond it was the limit.
    """

    build: Build
    load: Load
    connected: int
    lost: int
    per_s: float
    answers: dict[str, int]
    latency: dict[str, Latency]
    server: float
    late_ms: float
    rss_bytes_max: int

    @property
    def jobs_lost(self) -> int:
        return sum(self.answers.get(status, 0) for status in LOST)

    @property
    def limit(self) -> str:
        """Return the side that was at its limit."""
        reached = [name for name, at in (("server", self.server >= BUSY), ("generator", self.late_ms > LATE_MS)) if at]
        return " and ".join(reached) or "neither"


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of fleet.json."""

    machine: Machine
    skipped: list[str]
    phases: list[Phase]
    seconds: list[Second]


def run(options: Options) -> Results:
    """Put a server of each build under one load after the other."""
    files = raise_open_files()
    machine = describe()
    builds, skipped = available(options.build)
    fitting = [load for load in options.loads if load.clients + FILES_SPARE <= files]
    skipped += [
        f"{load.clients:,} clients: the limit on open files is {files:,}"
        for load in options.loads
        if load not in fitting
    ]
    phases: list[Phase] = []
    seconds: list[Second] = []
    progress = Progress()
    for build in builds:
        with DefaultServer(build=build) as server:
            began = time.monotonic()
            for load in fitting:
                phases.append(_phase(server, build, load, options, began, seconds))
                server.clear()
                progress.tell(f"{load.clients:,} clients, {build}")
    return Results(machine=machine, skipped=skipped, phases=phases, seconds=seconds)


class DefaultServer(Ours):
    """This server with its default settings, but for the TTL and the time that it takes to stop."""

    def command(self) -> list[str]:
        others = ("statuses.ttl_s=10s", "server.drain_s=0", "server.linger_s=0")
        return [sys.executable, "-m", "jobqueue", "serve", "--port", "0", *(f"--set={other}" for other in others)]

    def clear(self) -> None:
        """Drop the jobs of earlier clients, so that each load begins with an empty queue."""
        self.call("POST", "/v1/jobs:cancel", b'{"type":"sleep"}')
        self.settle()
        self.call("POST", "/v1/jobs:delete", b'{"type":"sleep"}')


def _phase(server: Contender, build: Build, load: Load, options: Options, began: float, seconds: list[Second]) -> Phase:
    pids = server.pids
    one = f"{server.jobs}/{{id}}"
    script = Visit(
        submit=request("POST", server.jobs, body=SUBMISSION),
        look=request("HEAD", one),
        changed=request("GET", one, {"If-None-Match": "{etag}"}),
    )
    order = Order(script=script, rate=load.per_s, seconds=options.seconds, warm_s=options.warm_s, pids=pids)
    with Generator(server.port, load.clients) as generator, ThreadPoolExecutor(1) as thread:
        running = thread.submit(generator.run, order)
        before, at = sum(map(cpu_s, pids)), time.monotonic()
        first = len(seconds)
        while not running.done():
            time.sleep(1.0)
            now, used = time.monotonic(), sum(map(cpu_s, pids))
            cpu = (used - before) / (now - at)
            rss = rss_bytes(server.process.pid)
            at_s = now - began
            seconds.append(Second(build=build, at=at_s, clients=load.clients, cpu=cpu, rss_bytes=rss))
            before, at = used, now
        report = running.result()
    return Phase(
        build=build,
        load=load,
        connected=generator.connections,
        lost=report.lost,
        per_s=report.done / report.seconds,
        answers=report.answers,
        latency=report.latency,
        server=sum(report.cpu_s) / report.seconds,
        late_ms=report.late_ms,
        rss_bytes_max=max((second.rss_bytes for second in seconds[first:]), default=0),
    )


def targets(results: Results) -> list[Target]:
    """Judge the phases that have a target, by the whole phase."""
    found = {(phase.load.clients, phase.build): phase for phase in results.phases}
    builds = list(dict.fromkeys(phase.build for phase in results.phases)) or [Build.PURE]

    def target(clients: int, what: str, of: Callable[[Phase], float]) -> list[Target]:
        phases = {build: found.get((clients, build)) for build in builds}
        return [
            Target(
                what=f"{clients:,} clients: {what}",
                build=build,
                measured=None if phase is None else Spread(of(phase), of(phase), of(phase)),
                short_of=_short_of(phase),
            )
            for build, phase in phases.items()
        ]

    return [
        *target(8000, "p95, ms", lambda phase: phase.latency["all"].p95),
        *target(8000, "p99, ms", lambda phase: phase.latency["all"].p99),
        *target(15_000, "connections lost", lambda phase: phase.lost),
        *target(15_000, "jobs lost", lambda phase: phase.jobs_lost),
        *target(15_000, "p95, ms", lambda phase: phase.latency["all"].p95),
        *target(15_000, "memory of the server, MiB", lambda phase: phase.rss_bytes_max / 2**20),
    ]


def _short_of(phase: Phase | None) -> str:
    """Name the generator's delay where latencies are its own, not the server's."""
    if phase is None or phase.late_ms <= LATE_MS:
        return ""
    return f"the generator was {short(phase.late_ms)} ms late"


def report(results: Results) -> str:
    """Write the tables."""
    loads = [
        [
            f"{phase.load.clients:,}",
            phase.build,
            f"{phase.load.per_s:,.0f}",
            f"{phase.per_s:,.0f}",
            phase.lost,
            phase.jobs_lost,
            f"{phase.server:.0%}",
            f"{phase.rss_bytes_max / 2**20:.0f}",
            short(phase.late_ms),
            phase.limit,
        ]
        for phase in results.phases
    ]
    head = [
        "clients",
        "build",
        "due, 1/s",
        "answered, 1/s",
        "connections lost",
        "jobs lost",
        "CPU",
        "RSS, MiB",
        "late, ms",
        "limit",
    ]
    latencies = [
        [
            f"{phase.load.clients:,}",
            phase.build,
            status,
            f"{of.count:,}",
            *(short(ms) for ms in (of.p50, of.p95, of.p99, of.max)),
        ]
        for phase in results.phases
        for status, of in phase.latency.items()
    ]
    notes = [f"Skipped: {reason}." for reason in results.skipped]
    return "\n\n".join(
        [
            target_table(targets(results)),
            table(head, loads),
            table(["clients", "build", "status", "answers", "p50, ms", "p95, ms", "p99, ms", "longest, ms"], latencies),
            *notes,
        ]
    )


def draw(results: Results, path: Path) -> None:
    """Draw clients, CPU and memory by second."""
    title = "\n".join(
        f"{phase.load.clients:,} clients, {phase.build}, {phase.per_s:,.0f}/s: p95 {short(phase.latency['all'].p95)} ms"
        for phase in results.phases
    )
    by_build = {
        build: [second for second in results.seconds if second.build is build]
        for build in dict.fromkeys(second.build for second in results.seconds)
    }
    values: dict[str, Callable[[Second], float]] = {
        "clients": lambda second: second.clients,
        "CPU, % of a core": lambda second: second.cpu * 100,
        "memory, MiB": lambda second: second.rss_bytes / 2**20,
    }
    panels = {
        what: {name_of(build): [(s.at, of(s)) for s in seconds] for build, seconds in by_build.items()}
        for what, of in values.items()
    }
    timeline(panels, title=title, path=path)


def _loads(text: str) -> tuple[Load, ...]:
    pairs = (part.split(":") for part in text.split(","))
    return tuple(Load(int(clients), float(per_s)) for clients, per_s in pairs)


BENCH = SpeedBench(
    name="fleet",
    about="Put the server under known loads.",
    whole=Options(),
    quick=QUICK,
    flags={
        **BUILD,
        "--seconds": {"type": float, "metavar": "S", "help": "how long each load counts"},
        "--loads": {"type": _loads, "metavar": "CLIENTS:PER_S,...", "help": "other loads"},
    },
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
