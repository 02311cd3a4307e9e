"""A guard against getting slower: compares with what was measured before, in figures that a machine's speed is not in.

    make bench-guard                         # exit code 1, and which, if something costs more than before
    make bench-guard ARGS=--update           # what is measured now is what counts from now on

Instructions a request and an operation, where `perf stat` can count them: they hardly vary. Else ratios of CPU time
within one run: a request's to aiohttp's empty answer, an operation's to a fixed piece of Python. Never seconds. What
is compared is the least of all rounds, which others on the machine disturb least, and what seems slower is measured
again, twice at most; even so, ratios on a busy machine vary by a fifth.

The baseline is bench/baseline.json; it is of one Python and one kind of machine, and says which.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import speed_http
from bench.contenders import Kind, Ours
from bench.driving import ROOT, Generator, Process
from bench.generator import Order
from bench.machine import Machine, describe
from bench.operations import ORDERS, EngineBench, make_jobs, measure_order
from bench.spread import short, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BASELINE = ROOT / "bench" / "baseline.json"
ROUNDS = 7
CONNECTIONS = 64
REQUESTS = 5000
RECORDS = 2000
JOBS = 10_000
REPEATS = 5  # of operations, in each round: they are a thousand times quicker than requests
DOUBTS = 2
ATTACH_S = 0.5
RATIO_TOLERANCE = 0.2
INSTRUCTIONS_TOLERANCE = 0.03
COUNTING = ["perf", "stat", "-x", ",", "-e", "instructions:u"]


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs by name. Either may be empty: instructions where they can't be counted, ratios where they can."""

    machine: Machine
    ratios: dict[str, float]
    instructions: dict[str, float]


class Change(msgspec.Struct, frozen=True):
    """One cost, before and now; None where it was not measured."""

    name: str
    before: float | None
    now: float | None
    tolerance: float

    @property
    def slower(self) -> bool:
        return self.before is not None and self.now is not None and self.now > self.before * (1 + self.tolerance)


def measure(*, rounds: int = ROUNDS) -> Costs:
    """Count instructions, or if that can't be done here measure ratios."""
    machine = describe()
    if can_count():
        return Costs(machine=machine, ratios={}, instructions=count_instructions())
    return Costs(machine=machine, ratios=request_ratios(rounds) | operation_ratios(rounds), instructions={})


def least(one: Costs, other: Costs) -> Costs:
    """Take the lesser of both for each cost."""

    def lesser(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
        return {name: min(cost, b.get(name, cost)) for name, cost in a.items()}

    return msgspec.structs.replace(
        one, ratios=lesser(one.ratios, other.ratios), instructions=lesser(one.instructions, other.instructions)
    )


def compare(before: Costs, now: Costs, *, tolerance: float | None = None) -> list[Change]:
    """Pair what was measured before with what is measured now, by name."""
    changes = []
    for old, new, usual in (
        (before.ratios, now.ratios, RATIO_TOLERANCE),
        (before.instructions, now.instructions, INSTRUCTIONS_TOLERANCE),
    ):
        if new:
            allowed = usual if tolerance is None else tolerance
            changes += [Change(name, old.get(name), new.get(name), allowed) for name in {**old, **new}]
    return changes


# -- ratios


def request_ratios(rounds: int) -> dict[str, float]:
    """Measure each kind of request beside aiohttp's empty answer."""
    options = speed_http.Options(
        connections=(CONNECTIONS,),
        rounds=rounds,
        seconds=0.4,
        warm_s=0.15,
        records=RECORDS,
        only=("jobqueue", "aiohttp"),
    )
    readings = speed_http.run(options).readings

    def least(contender: str, kind: Kind) -> float:
        return min(r.cpu_us for r in readings if (r.contender, r.kind) == (contender, kind))

    empty = least("aiohttp", Kind.GET)
    return {f"{kind}, CPU / aiohttp's empty GET": least("jobqueue", kind) / empty for kind in Kind}


def operation_ratios(rounds: int) -> dict[str, float]:
    """Measure each operation beside a fixed piece of Python."""
    fixed = min(_fixed_ns() for _ in range(20))
    figures = EngineBench(JOBS).run(rounds * REPEATS)
    jobs = make_jobs(JOBS)
    for name in ORDERS:
        figures += measure_order(name, jobs, rounds * REPEATS)
    fixed = min(fixed, *(_fixed_ns() for _ in range(20)))
    return {f"{figure.part}: {figure.operation}, CPU / fixed work": figure.ns.least / fixed for figure in figures}


def _fixed_ns() -> float:
    """Do what an engine's operation is made of: attributes, calls, dicts, small objects; return what one round took."""
    held: dict[str, Change] = {}
    before = time.thread_time_ns()
    for number in range(2000):
        change = Change(str(number), float(number), None, 0.1)
        held[change.name] = change
        if change.slower or held.get("none") is not None:
            break
    return (time.thread_time_ns() - before) / 2000


# -- instructions


def can_count() -> bool:
    """Tell whether this machine lets `perf stat` count instructions."""
    try:
        done = subprocess.run([*COUNTING, "true"], capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return counted(done.stderr) is not None


def counted(output: str) -> int | None:
    """Return the number that `perf stat -x ,` has counted; None if it could not."""
    for line in output.splitlines():
        number, *rest = line.split(",")
        if any("instructions" in part for part in rest) and number.isdigit():
            return int(number)
    return None


def count_instructions() -> dict[str, float]:
    """Count the server's instructions for each kind of request, and this module's own for the engine's operations."""
    costs = {}
    with Ours() as server:
        server.fill(RECORDS)
        with Generator(server.port, CONNECTIONS) as generator:
            for kind in Kind:
                with server.scene(kind):
                    order = Order(script=server.script(kind), units=REQUESTS)
                    generator.run(order)  # warm
                    instructions = _count(server.process.pid, partial(generator.run, order))
                    costs[f"{kind}, instructions"] = instructions / REQUESTS
    command = [sys.executable, "-m", "bench.speed_guard", "--work"]
    few, many = (_count_command([*command, str(rounds)]) for rounds in (2, 22))
    costs["the engine's operations, instructions a round"] = (many - few) / 20
    return costs


def _count(pid: int, act: Callable[[], object]) -> int:
    with Process("perf", [*COUNTING, "-p", str(pid)], core=None) as perf:
        time.sleep(ATTACH_S)
        act()
        number = counted(perf.interrupt())
    if number is None:
        raise RuntimeError(f"perf could not count the instructions of process {pid}: see {perf.log}")
    return number


def _count_command(command: Sequence[str]) -> int:
    done = subprocess.run([*COUNTING, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    number = counted(done.stderr)
    if number is None:
        raise RuntimeError(f"perf could not count: {done.stderr}")
    return number


# -- the command


def report(changes: Sequence[Change]) -> str:
    rows = [
        [
            change.name,
            None if change.before is None else short(change.before),
            None if change.now is None else short(change.now),
            None if not change.before or change.now is None else f"{change.now / change.before - 1:+.0%}",
            "SLOWER" if change.slower else "",
        ]
        for change in changes
    ]
    return table(["cost", "before", "now", "change", ""], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed_guard", description="Tell what costs more than before."
    )
    parser.add_argument("--update", action="store_true", help="let what is measured now count from now on")
    parser.add_argument("--tolerance", type=float, metavar="SHARE", help="what a cost may grow by, such as 0.1")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the file with what was measured before")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        EngineBench(JOBS).run(options.work)
        return 0
    if not options.update and not options.baseline.exists():
        print(f"there is no {options.baseline} to compare with: make one with --update", file=sys.stderr)
        return 2
    now = measure(rounds=options.rounds)
    if options.update:
        write(now, options.baseline)
        print(f"{options.baseline} is of now: {now.machine}")
        return 0
    before = msgspec.json.decode(options.baseline.read_bytes(), type=Costs)
    changes = compare(before, now, tolerance=options.tolerance)
    for _ in range(DOUBTS):
        if any(change.slower for change in changes):
            print("measuring again, because something seems slower", file=sys.stderr, flush=True)
            now = least(now, measure(rounds=options.rounds))
            changes = compare(before, now, tolerance=options.tolerance)
    print(report(changes))
    print(f"\nbefore: {before.machine}\nnow:    {now.machine}")
    if not any(change.before is not None and change.now is not None for change in changes):
        print(
            "nothing was measured that could be compared: the baseline is of another kind of machine", file=sys.stderr
        )
        return 2
    return int(any(change.slower for change in changes))


def write(costs: Costs, path: Path) -> None:
    """Write the baseline; what was measured in the other way before is kept."""
    if path.exists():
        before = msgspec.json.decode(path.read_bytes(), type=Costs)
        costs = msgspec.structs.replace(
            costs, ratios=costs.ratios or before.ratios, instructions=costs.instructions or before.instructions
        )
    path.write_bytes(msgspec.json.format(msgspec.json.encode(costs), indent=1) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
