"""Cost of a job within one process: submit an echo and await its result, beside queues that need no broker.

    make bench-in-process                    # two minutes
    python -m bench.speed.in_process --quick
    python -m bench.speed.in_process --only jobqueue,aiojobs

No HTTP and no load generator: one task that submits the next job once it has the result of the last, and 64 of them.
Each measurement is a process of its own on one core (bench/peers/in_process.py), and contenders take turns within every
round. The folder gets in_process.json and in_process.png.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import SERVER_CORE, end_with_parent, pinned
from bench.measure.builds import Build, available
from bench.measure.machine import describe
from bench.measure.spread import Spread, spread, table
from bench.peers.contenders import name_of
from bench.peers.packages import Uninstalled, install_python
from bench.speed.bench import Progress, SpeedBench, in_turn
from bench.speed.comparison import FLAGS, Comparison, chosen
from bench.speed.plot import Panel, bars
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.speed.targets import Target

PATIENCE_S = 60.0
"""Maximum time of a process beyond its measurement."""

BARE = "asyncio.Queue, dict"
PEERS = ("aiojobs", "taskiq, in memory", "huey, in memory", "huey, immediate")
"""Contenders that are installed first."""

FEATURES = {
    "jobqueue": ("state, result, errors", "by TTL and number", "with backoff", "on waiting and running jobs"),
    BARE: ("state, result", "never", "-", "on running jobs"),
    "aiojobs": ("-", "-", "-", "on waiting and running jobs"),
    "taskiq, in memory": ("result", "by number", "by a middleware, not in use here", "-"),
    "huey, in memory": ("result, once", "when it is read", "as an option, not in use here", "on running jobs"),
    "huey, immediate": ("result, once", "when it is read", "as an option, not in use here", "no queue"),
}
"""What each has of: status by id; records that go; retries; bounds."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of this bench.

    Attributes:
        at_once: Numbers of tasks that submit jobs.
        only: Contenders' names; None: everyone.
        seconds: Of each measurement, `warm_s` coming before it.
    """

    at_once: tuple[int, ...] = (1, 64)
    only: tuple[str, ...] | None = None
    rounds: int = 5
    seconds: float = 1.0
    warm_s: float = 0.3


QUICK = Options(rounds=3, seconds=0.5, warm_s=0.2)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement; `cpu_us` of all threads, for each job."""

    contender: str
    at_once: int
    round: int
    cpu_us: float
    jobs_per_s: float


Results = Comparison[Options, Reading]
"""The content of in_process.json."""


class Contender(msgspec.Struct, frozen=True):
    """A queue, the interpreter that has its packages, and the build of this program."""

    name: str
    python: str = sys.executable
    build: Build = Build.PURE


class Done(msgspec.Struct, frozen=True):
    """What a process of bench.peers.in_process says."""

    jobs: int
    seconds: float
    cpu_s: float


def contenders() -> tuple[list[Contender], list[str]]:
    """Install the peers; return the contenders that can be measured here, and the reasons for those that can't."""
    builds, skipped = available()
    found = [*(Contender(name_of(build), build=build) for build in builds), Contender(BARE)]
    try:
        python = str(install_python())
        found += [Contender(name, python) for name in PEERS]
    except Uninstalled as error:
        skipped.append(f"{'; '.join(PEERS)}: {error}")
    return found, skipped


def run(options: Options) -> Results:
    """Measure everything that can be measured here."""
    machine = describe()
    everyone, skipped = contenders()
    if options.only is not None:
        everyone, skipped = chosen(everyone, options.only), []
    progress = Progress()
    readings = []
    for number in range(options.rounds):
        for at_once in options.at_once:
            for contender in in_turn(everyone, number):
                done = _measure(contender, at_once, options)
                readings.append(
                    Reading(
                        contender=contender.name,
                        at_once=at_once,
                        round=number,
                        cpu_us=done.cpu_s / done.jobs * 1e6,
                        jobs_per_s=done.jobs / done.seconds,
                    )
                )
        progress.tell(f"round {number + 1} of {options.rounds}")
    return Results(machine=machine, options=options, skipped=skipped, readings=readings)


def _measure(contender: Contender, at_once: int, options: Options) -> Done:
    queue = "jobqueue" if contender.name.startswith("jobqueue") else contender.name
    words = [queue, str(at_once), str(options.warm_s), str(options.seconds)]
    with pinned(SERVER_CORE):
        done = subprocess.run(
            [contender.python, "-m", "bench.peers.in_process", *words],
            cwd=contender.build.root,
            env={**os.environ, **contender.build.environment},
            stdout=subprocess.PIPE,
            timeout=options.warm_s + options.seconds + PATIENCE_S,
            check=True,
            preexec_fn=end_with_parent,
        )
    return msgspec.json.decode(done.stdout, type=Done)


def targets(results: Results) -> list[Target]:
    """None of its figures has a target."""
    return []


def report(results: Results) -> str:
    """Write the figures, and what each contender does for them."""
    names = dict.fromkeys(reading.contender for reading in results.readings)
    counts = dict.fromkeys(reading.at_once for reading in results.readings)
    rows = [
        [name, *(_of(results, name, count, of) for count in counts for of in (_jobs_per_s, _cpu_us))] for name in names
    ]
    head = [f"{what}, {count} at once" for count in counts for what in ("jobs a second", "CPU a job, µs")]
    features = [[name, *FEATURES["jobqueue" if name.startswith("jobqueue") else name]] for name in names]
    return "\n\n".join(
        [
            table(["", *head], rows),
            "Each leaves out what this table does not name; only jobqueue has deadlines, orders, limits by group, "
            "cancellation by id and a drain besides. An echo never suspends.",
            table(["", "status by id", "records go", "retries", "bounds"], features),
            *(f"Skipped: {reason}." for reason in results.skipped),
        ]
    )


def _of(results: Results, name: str, at_once: int, value: Callable[[Reading], float]) -> Spread | None:
    return spread(value(r) for r in results.readings if (r.contender, r.at_once) == (name, at_once))


def _cpu_us(reading: Reading) -> float:
    return reading.cpu_us


def _jobs_per_s(reading: Reading) -> float:
    return reading.jobs_per_s


def draw(results: Results, path: Path) -> None:
    """Draw the CPU a job, by contender and number of tasks."""
    names = dict.fromkeys(reading.contender for reading in results.readings)
    counts = dict.fromkeys(reading.at_once for reading in results.readings)
    series = {name: [_of(results, name, count, _cpu_us) for count in counts] for name in names}
    groups = [f"{count} at once" for count in counts]
    title = "submit an echo and await its result, in one process"
    bars([Panel(title=title, groups=groups, series=series)], label="CPU a job, µs", path=path)


BENCH = SpeedBench(
    name="in_process",
    about="Measure the cost of a job within one process.",
    whole=Options(),
    quick=QUICK,
    flags=FLAGS,
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
