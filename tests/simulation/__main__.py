"""`make sim`: runs many seeds in several processes, or one seed with its trace.

python -m tests.simulation --seeds 10000 --start 0 --processes 2
python -m tests.simulation --seed 1234
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from jobqueue.cli.parser import Parser, end_with
from tests.simulation.scenario import draw
from tests.simulation.simulation import Outcome, run

PORTION = 50
REPORTS_MAX = 3
"""Failing seeds that are reported with their traces; the others only with the violated rule."""


def main() -> int:
    parser = Parser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="number of seeds")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="run only this seed, and print the end of its trace")
    parser.add_argument("--events", type=int, default=200, help="number of events of a single seed to show")
    parser.add_argument("--digests", action="store_true", help="print a digest of each run, in order")
    given = parser.parse_args()
    if given.seed is not None:
        return run_one(given.seed, given.events)
    if given.digests:
        for seed in range(given.start, given.start + given.seeds):
            print(seed, run(seed).digest)
        return 0
    return run_many(given.start, given.seeds, given.processes)


def run_one(seed: int, events: int) -> int:
    print(draw(seed))
    outcome = run(seed)
    print(outcome.report(events))
    return outcome.violation is not None


def run_many(start: int, seeds: int, processes: int) -> int:
    began = time.perf_counter()
    failed: list[int] = []
    counts: Counter[str] = Counter()
    done = turns = 0
    for portion in portions(start, seeds, processes):
        for outcome in portion:
            done += 1
            turns += outcome.turns
            counts.update(outcome.counts)
            if outcome.violation is not None:
                failed.append(outcome.seed)
                report = outcome.report() if len(failed) <= REPORTS_MAX else f"seed {outcome.seed}: {outcome.violation}"
                print(f"\r{report}", flush=True)
        seconds = time.perf_counter() - began
        print(f"\r{done} of {seeds} seeds, {len(failed)} failed, {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{done} seeds from {start} in {time.perf_counter() - began:.0f} s: {turns:,} iterations; {counted(counts)}")
    if failed:
        print(f"{len(failed)} failed: {' '.join(map(str, sorted(failed)[:50]))}")
        print(f"replay the first: make sim SEED={min(failed)}")
    return bool(failed)


def portions(start: int, seeds: int, processes: int) -> Iterator[list[Outcome]]:
    """Run portions of seeds in a process pool; yield the outcomes of each portion as it completes."""
    with ProcessPoolExecutor(processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)) as pool:
        pending: list[Future[list[Outcome]]] = [
            pool.submit(run_portion, first, min(first + PORTION, start + seeds))
            for first in range(start, start + seeds, PORTION)
        ]
        for future in as_completed(pending):
            yield future.result()


def run_portion(first: int, end: int) -> list[Outcome]:
    """Run some seeds; only failed ones keep their traces."""
    outcomes = [run(seed) for seed in range(first, end)]
    for outcome in outcomes:
        if outcome.violation is None:
            outcome.trace.clear()
    return outcomes


def counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what!s}" for what, count in counts.most_common())


if __name__ == "__main__":
    end_with(main)
