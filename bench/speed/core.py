"""Cost of each operation of the engine and of each Order, with a hundred jobs and with a million.

    make bench-core                          # everything, in two minutes
    python -m bench.speed.core --quick       # to a hundred thousand

One process, no loop, no HTTP. The last column is the growth of a cost with the number of jobs; caches alone make it
two to five. The folder gets core.json and core.png.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from bench.measure.machine import Machine, describe
from bench.measure.spread import Spread, short, table
from bench.speed.bench import Progress, SpeedBench
from bench.speed.operations import ORDERS, EngineBench, Figure, make_jobs, measure_order
from bench.speed.plot import Curves, curves
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bench.speed.targets import Target


class Options(msgspec.Struct, frozen=True, kw_only=True):
    sizes: tuple[int, ...] = (100, 10_000, 1_000_000)
    rounds: int = 9


QUICK = Options(sizes=(100, 10_000, 100_000), rounds=5)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of core.json."""

    machine: Machine
    figures: list[Figure]


def run(options: Options) -> Results:
    """Measure everything at each size."""
    machine, progress = describe(), Progress()
    figures: list[Figure] = []
    for size in options.sizes:
        jobs = make_jobs(size)
        with _settled():
            for name in ORDERS:
                figures += measure_order(name, jobs, options.rounds)
        del jobs
        bench = EngineBench(size)
        with _settled():
            figures += bench.run(options.rounds)
        del bench
        progress.tell(f"{size:,} jobs")
    return Results(machine=machine, figures=figures)


@contextmanager
def _settled() -> Iterator[None]:
    """Have the collector look at what is made from now on, and no more at what was made before: as in the server."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


def targets(results: Results) -> list[Target]:
    """None of its figures has a target."""
    return []


def report(results: Results) -> str:
    """Write the table: a row for each operation, a column for each size, and how much it grew."""
    sizes = sorted({figure.size for figure in results.figures})
    found = {(figure.part, figure.operation, figure.size): figure.ns for figure in results.figures}
    rows = []
    for part, operation in dict.fromkeys((figure.part, figure.operation) for figure in results.figures):
        line = [found.get((part, operation, size)) for size in sizes]
        grown = line[-1].median / line[0].median if line[0] is not None and line[-1] is not None else None
        rows.append([part, operation, *line, None if grown is None else f"{short(grown)}x"])
    head = ["ns an operation", "", *(f"among {size:,}" for size in sizes), "last / first"]
    return table(head, rows)


def draw(results: Results, path: Path) -> None:
    """Draw operations over the number of jobs: the engine's on the left, the orders' pops on the right."""
    sizes = sorted({figure.size for figure in results.figures})
    found = {(figure.part, figure.operation, figure.size): figure.ns for figure in results.figures}

    def lines(names: Iterable[tuple[str, str, str]]) -> dict[str, list[Spread | None]]:
        return {label: [found.get((part, operation, size)) for size in sizes] for label, part, operation in names}

    parts = list(dict.fromkeys(figure.part for figure in results.figures))
    engine = [(f.operation, "engine", f.operation) for f in results.figures if f.part == "engine"]
    orders = [(part.removeprefix("order: "), part, "pop") for part in parts if part != "engine"]
    panels = [
        Curves(title="engine", x=sizes, series=lines(dict.fromkeys(engine))),
        Curves(title="orders: pop", x=sizes, series=lines(orders)),
    ]
    curves(panels, x_label="jobs held", y_label="ns an operation", path=path)


BENCH = SpeedBench(
    name="core",
    about="Measure what operations of the core cost.",
    whole=Options(),
    quick=QUICK,
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
