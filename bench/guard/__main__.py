"""Performance guard: compares instruction counts with bench/baseline.json, independent of the machine's speed.

    make bench-guard                         # exit code 1, and a list, if something costs more than before
    make bench-guard ARGS=--update           # the present measurements become the baseline
    make bench-guard ARGS="--build compiled" # of `make compiled`, or --update it

Three ways to measure; the first one that is possible here and in the baseline is used: instructions
counted by `perf stat`; instructions counted by valgrind; ratios of CPU time within one run, a request's to aiohttp's
empty answer, an operation's to a fixed piece of Python. Never seconds. Instructions vary by half a hundredth from run
to run, and are compared only for the same build of Python and the same packages. Ratios vary by a fifth on a busy
machine, so the least of all rounds counts. An apparent regression is measured again, twice at most.

The baseline, bench/baseline.json, holds the measurements of each build, in each way that was possible where they were
made. An update replaces those of one build.
"""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.guard.instructions import by_perf, by_valgrind, perf_works, valgrind_works
from bench.guard.work import Keyed, Repeatable
from bench.load.driving import ROOT
from bench.measure.builds import Build, available
from bench.measure.machine import Machine, describe
from bench.measure.spread import short, table
from bench.peers.contenders import Kind, name_of
from bench.speed import http
from bench.speed.operations import measured
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = ROOT / "bench" / "baseline.json"
ROUNDS = 7
CONNECTIONS = 64
RECORDS = 2000
JOBS = 10_000
REPEATS = 5  # of operations, in each round: they are a thousand times quicker than requests
DOUBTS = 2


class Way(StrEnum):
    """How costs are measured; the first is the best."""

    PERF = "instructions, counted by perf"
    VALGRIND = "instructions, counted by valgrind"
    RATIOS = "ratios of CPU time"


KEYED_MAX = 1.15
"""What a request with an API key may cost, beside the same one without, in instructions."""

REPEATABLE_MAX = {Build.PURE: 1.15, Build.COMPILED: 1.25}
"""The same with an Idempotency-Key: compiled, all else is less, and its digest costs what it did."""

TOLERANCE = {Way.PERF: 0.03, Way.VALGRIND: 0.03, Way.RATIOS: 0.2}


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs by way and name.

    Attributes:
        python: The build of Python that the instructions are counted for.
    """

    machine: Machine
    python: str = sys.version
    by_way: dict[Way, dict[str, float]]

    def counts_for(self, other: Costs) -> bool:
        """Whether instructions of both are of the same program."""
        return (self.python, self.machine.packages) == (other.python, other.machine.packages)


Baseline = dict[Build, Costs]
"""The content of bench/baseline.json."""


class Change(msgspec.Struct, frozen=True):
    """One cost, before and now; None where it was not measured."""

    name: str
    before: float | None
    now: float | None
    tolerance: float

    @property
    def slower(self) -> bool:
        return self.before is not None and self.now is not None and self.now > self.before * (1 + self.tolerance)


def possible() -> list[Way]:
    """Return the ways to measure here, the best first."""
    counters = {Way.PERF: perf_works, Way.VALGRIND: valgrind_works}
    return [*(way for way, works in counters.items() if works()), Way.RATIOS]


def measure(way: Way, *, rounds: int = ROUNDS, build: Build = Build.PURE) -> dict[str, float]:
    match way:
        case Way.PERF:
            return by_perf(build=build)
        case Way.VALGRIND:
            return by_valgrind(build=build)
        case Way.RATIOS:
            return request_ratios(rounds, build) | operation_ratios(rounds, build)


def least(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Take the lesser of both for each cost."""
    return {name: min(cost, other.get(name, cost)) for name, cost in one.items()}


def compare(before: dict[str, float], now: dict[str, float], tolerance: float) -> list[Change]:
    """Pair earlier with present measurements, by name."""
    return [Change(name, before.get(name), now.get(name), tolerance) for name in {**before, **now}]


# -- ratios


def request_ratios(rounds: int, build: Build = Build.PURE) -> dict[str, float]:
    """Measure each kind of request beside aiohttp's empty answer."""
    ours = name_of(build)
    options = http.Options(
        connections=(CONNECTIONS,),
        rounds=rounds,
        seconds=0.4,
        warm_s=0.15,
        records=RECORDS,
        only=(ours, "aiohttp"),
    )
    readings = http.run(options).readings

    def least(contender: str, kind: Kind) -> float:
        return min(r.cpu_us for r in readings if (r.contender, r.kind) == (contender, kind))

    empty = least("aiohttp", Kind.GET)
    return {f"{kind}, CPU / aiohttp's empty GET": least(ours, kind) / empty for kind in Kind}


def operation_ratios(rounds: int, build: Build = Build.PURE) -> dict[str, float]:
    """Measure each operation beside a fixed piece of Python, which is interpreted beside every build."""
    fixed = min(_fixed_ns() for _ in range(20))
    figures = measured(build, JOBS, rounds * REPEATS)
    fixed = min(fixed, *(_fixed_ns() for _ in range(20)))
    return {f"{figure.part}: {figure.operation}, CPU / fixed work": figure.ns.least / fixed for figure in figures}


def _fixed_ns() -> float:
    """Time the elements of an engine operation: attributes, calls, dicts, small objects. Nanoseconds of one round."""
    held: dict[str, Change] = {}
    before = time.thread_time_ns()
    for number in range(2000):
        change = Change(str(number), float(number), None, 0.1)
        held[change.name] = change
        if change.slower or held.get("none") is not None:
            break
    return (time.thread_time_ns() - before) / 2000


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
    parser = Parser(prog="python -m bench.guard", description="Tell what costs more than before.")
    parser.add_argument("--update", action="store_true", help="let what is measured now count from now on")
    parser.add_argument("--tolerance", type=float, metavar="SHARE", help="what a cost may grow by, such as 0.1")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of ratios (default: {ROUNDS})")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the file with what was measured before")
    parser.add_argument("--build", type=Build, default=Build.PURE, metavar="pure|compiled", help="default: pure")
    options = parser.parse_args(arguments)
    build: Build = options.build
    available([build])
    written = read(options.baseline)
    if options.update:
        update(options.baseline, written, options.rounds, build)
        return 0
    if build not in written:
        print(f"{options.baseline} has no costs of the {build} build: make them with --update", file=sys.stderr)
        return 2
    return check(written[build], options.rounds, options.tolerance, build)


def read(path: Path) -> Baseline:
    return msgspec.json.decode(path.read_bytes(), type=Baseline) if path.exists() else {}


def update(path: Path, written: Baseline, rounds: int, build: Build = Build.PURE) -> None:
    """Measure a build in every way that is possible here, and write it into the baseline."""
    machine, by_way = describe(), {}
    for way in possible():
        print(f"measuring {way}", file=sys.stderr, flush=True)
        by_way[way] = measure(way, rounds=rounds, build=build)
    baseline = {**written, build: Costs(machine=machine, by_way=by_way)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")
    print(f"{path} is of now, {build}: {', '.join(by_way)}; {machine}")


def check(before: Costs, rounds: int, tolerance: float | None, build: Build) -> int:
    """Measure in the best comparable way, print the regressions, and return the exit code."""
    here = Costs(machine=describe(), by_way={})
    comparable = [way for way in before.by_way if way is Way.RATIOS or before.counts_for(here)]
    way = next((way for way in possible() if way in comparable), None)
    if way is None:
        print("the baseline was measured in no way that can be compared here: make one with --update", file=sys.stderr)
        return 2
    print(f"measuring {way}", file=sys.stderr, flush=True)
    now = measure(way, rounds=rounds, build=build)
    allowed = TOLERANCE[way] if tolerance is None else tolerance
    changes = compare(before.by_way[way], now, allowed)
    for _ in range(DOUBTS):
        if any(change.slower for change in changes):
            print("measuring again, because something seems slower", file=sys.stderr, flush=True)
            now = least(now, measure(way, rounds=rounds, build=build))
            changes = compare(before.by_way[way], now, allowed)
    print(f"{report(changes)}\n\n{build} build; {way}; each may grow by {allowed:.0%}")
    dear = [told for keyed in (*Keyed, *Repeatable) if (told := price(keyed, now, build))]
    print("\n".join(dear))
    print(f"before: {before.machine}\nnow:    {here.machine}")
    return int(any(change.slower for change in changes) or any(told.endswith("DEAR") for told in dear))


def price(keyed: Keyed | Repeatable, costs: dict[str, float], build: Build) -> str:
    """Tell what a request with a key costs beside one without; empty if it was not measured."""
    if keyed not in costs:
        return ""
    ratio = costs[keyed] / costs[keyed.kind]
    bound = KEYED_MAX if isinstance(keyed, Keyed) else REPEATABLE_MAX[build]
    return f"{keyed}: {ratio:.3f} x without, at most {bound}{' DEAR' if ratio > bound else ''}"


if __name__ == "__main__":
    end_with(main)
