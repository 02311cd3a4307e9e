"""Counting the instructions of bench.guard.work: by the CPU's own counters, or by valgrind, which needs none.

`perf stat` is quick, but many virtual machines have no counters. valgrind runs the program on a CPU of its own making
and counts exactly, thirty times slower. They don't count alike, so figures of one are never compared with figures of
the other; and both are of one build of Python and of one set of packages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from bench.guard.work import Child, parts, units_of
from bench.load.driving import end_with_parent
from bench.measure.builds import Build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERF = ["perf", "stat", "-x", ",", "-e", "instructions:u"]
VALGRIND = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
WITHIN_S = 900.0
_REFS = re.compile(r"^==(\d+)== I +refs: +([\d,]+)$", re.MULTILINE)


def perf_works() -> bool:
    return _works([*PERF, "true"], lambda said: perf_said(said) is not None)


def valgrind_works() -> bool:
    return _works([*VALGRIND, "true"], lambda said: bool(valgrind_said(said)))


def by_perf(wanted: Sequence[str] | None = None, build: Build = Build.PURE) -> dict[str, float]:
    """Return the instructions of a unit of each part. Each child is counted in a run of its own, with its parent."""
    costs = {}
    for part in parts() if wanted is None else wanted:
        units = units_of(part)
        few, many = (_perf_of([part, str(count)], build) for count in (units, 2 * units))
        costs[part] = (many - few) / units
    return costs


def by_valgrind(wanted: Sequence[str] | None = None, build: Build = Build.PURE) -> dict[str, float]:
    """Return the instructions of a unit of each part. One run counts each child separately."""
    chosen = parts() if wanted is None else wanted
    pairs = [(part, count) for part in chosen for count in (units_of(part), 2 * units_of(part))]
    done = _work(VALGRIND, [word for part, count in pairs for word in (part, str(count))], build)
    of_pid = valgrind_said(done.stderr)
    children = [msgspec.json.decode(line, type=Child) for line in done.stdout.splitlines()]
    counts = {(child.part, child.units): of_pid[child.pid] for child in children}
    return {
        part: (counts[part, 2 * units] - counts[part, units]) / units for part in chosen for units in [units_of(part)]
    }


def perf_said(text: str) -> int | None:
    """Return the number that `perf stat -x ,` has counted; None if it could not."""
    for line in text.splitlines():
        number, *rest = line.split(",")
        if any("instructions" in part for part in rest) and number.isdigit():
            return int(number)
    return None


def valgrind_said(text: str) -> dict[int, int]:
    """Return cachegrind's counts, by process."""
    return {int(pid): int(number.replace(",", "")) for pid, number in _REFS.findall(text)}


def _perf_of(work: Sequence[str], build: Build) -> int:
    done = _work(PERF, work, build)
    number = perf_said(done.stderr)
    if number is None:
        raise RuntimeError(f"perf could not count: {done.stderr}")
    return number


def _work(counter: Sequence[str], work: Sequence[str], build: Build = Build.PURE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*counter, sys.executable, "-m", "bench.guard.work", *work],
        cwd=build.root,
        # The order of a set, and which keys of a dict collide, depends on the seed.
        env={**os.environ, **build.environment, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
        preexec_fn=end_with_parent,
    )


def _works(command: Sequence[str], says: Callable[[str], bool]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return says(done.stderr)
