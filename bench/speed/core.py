"""Cost of each operation of the engine and of each Order, with a hundred jobs and with a million.

    make bench-core                          # everything, in four minutes
    python -m bench.speed.core --quick       # to a hundred thousand

A process for each size and build, no loop, no HTTP. The last column is the growth of a cost with the number of jobs;
caches alone make it two to five. The folder gets core.json and core.png.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.measure.builds import Build, available
from bench.measure.machine import Machine, describe
from bench.measure.spread import short, table
from bench.peers.contenders import name_of
from bench.speed.bench import BUILD, Progress, SpeedBench, in_turn
from bench.speed.operations import Figure, measured
from bench.speed.plot import Curves, curves
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.speed.targets import Target


class Options(msgspec.Struct, frozen=True, kw_only=True):
    sizes: tuple[int, ...] = (100, 10_000, 1_000_000)
    rounds: int = 9
    build: tuple[Build, ...] | None = None


QUICK = Options(sizes=(100, 10_000, 100_000), rounds=5)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of core.json."""

    machine: Machine
    skipped: list[str]
    figures: dict[Build, list[Figure]]


def run(options: Options) -> Results:
    """Measure everything at each size, the builds in turns."""
    machine, progress = describe(), Progress()
    builds, skipped = available(options.build)
    figures: dict[Build, list[Figure]] = {build: [] for build in builds}
    for number, size in enumerate(options.sizes):
        for build in in_turn(builds, number):
            figures[build] += measured(build, size, options.rounds)
            progress.tell(f"{size:,} jobs, {build}")
    return Results(machine=machine, skipped=skipped, figures=figures)


def targets(results: Results) -> list[Target]:
    """None of its figures has a target."""
    return []


def report(results: Results) -> str:
    """Write a table for each build: a row for each operation, a column for each size, and how much it grew."""
    parts = [f"{name_of(build)}:\n\n{_table(figures)}" for build, figures in results.figures.items()]
    return "\n\n".join([*parts, *(f"Skipped: {reason}." for reason in results.skipped)])


def _table(figures: Sequence[Figure]) -> str:
    sizes = sorted({figure.size for figure in figures})
    found = {(figure.part, figure.operation, figure.size): figure.ns for figure in figures}
    rows = []
    for part, operation in dict.fromkeys((figure.part, figure.operation) for figure in figures):
        line = [found.get((part, operation, size)) for size in sizes]
        grown = line[-1].median / line[0].median if line[0] is not None and line[-1] is not None else None
        rows.append([part, operation, *line, None if grown is None else f"{short(grown)}x"])
    head = ["ns an operation", "", *(f"among {size:,}" for size in sizes), "last / first"]
    return table(head, rows)


def draw(results: Results, path: Path) -> None:
    """Draw the operations of each build's engine over the number of jobs."""
    panels = []
    for build, figures in results.figures.items():
        sizes = sorted({figure.size for figure in figures})
        found = {(figure.operation, figure.size): figure.ns for figure in figures if figure.part == "engine"}
        series = {name: [found.get((name, size)) for size in sizes] for name, _ in found}
        panels.append(Curves(title=f"{name_of(build)}: engine", x=sizes, series=series))
    curves(panels, x_label="jobs held", y_label="ns an operation", path=path)


BENCH = SpeedBench(
    name="core",
    about="Measure what operations of the core cost.",
    whole=Options(),
    quick=QUICK,
    flags=BUILD,
    run=run,
    report=report,
    draw=draw,
)

if __name__ == "__main__":
    end_with(BENCH.main)
