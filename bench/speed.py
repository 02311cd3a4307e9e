"""All speed benches, one after the other, and their report: bench/RESULTS.md with its plots in bench/results.

    make bench                               # the quick versions, in five minutes
    make bench ARGS=--full                   # the whole ones, in an hour
    make bench ARGS=--render                 # none: the report of what lies in tmp/bench

Each bench is a process of its own, and its figures are its JSON file's. One that fails is told in the report, and by
the exit code 1; the others go on.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bench import speed_core, speed_fleet, speed_http, speed_life, speed_memory
from bench.driving import FOLDER, ROOT, end_with_parent
from bench.targets import Target, target_table

if TYPE_CHECKING:
    from bench.machine import Machine

RESULTS = ROOT / "bench" / "RESULTS.md"
PLOTS = "results"


class Measured(Protocol):
    """What every bench's results have."""

    @property
    def machine(self) -> Machine: ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One bench; its files are called as its module, without `speed_`."""

    name: str
    title: str
    results: type[Any]
    report: Callable[[Any], str]
    targets: Callable[[Any], list[Target]]

    def read(self, folder: Path) -> Measured | None:
        """Return what was measured last; None if it never was."""
        path = folder / f"{self.name}.json"
        if not path.exists():
            return None
        found: Measured = msgspec.json.decode(path.read_bytes(), type=self.results)
        return found


PARTS = (
    Part(
        name="http",
        title="What a request costs",
        results=speed_http.Results,
        report=speed_http.report,
        targets=speed_http.targets,
    ),
    Part(
        name="life",
        title="What a job's life costs",
        results=speed_life.Results,
        report=speed_life.report,
        targets=speed_life.targets,
    ),
    Part(
        name="fleet",
        title="The known load",
        results=speed_fleet.Results,
        report=speed_fleet.report,
        targets=speed_fleet.targets,
    ),
    Part(
        name="memory",
        title="What keeping costs",
        results=speed_memory.Results,
        report=speed_memory.report,
        targets=speed_memory.targets,
    ),
    Part(
        name="core",
        title="What an operation costs",
        results=speed_core.Results,
        report=speed_core.report,
        targets=lambda results: [],
    ),
)


def run(folder: Path, *, full: bool) -> list[str]:
    """Run every bench; return the names of those that failed."""
    failed = []
    began = time.perf_counter()
    for part in PARTS:
        (folder / f"{part.name}.json").unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            f"bench.speed_{part.name}",
            "--out",
            str(folder),
            *([] if full else ["--quick"]),
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False, preexec_fn=end_with_parent)
        if done.returncode:
            failed.append(part.name)
        print(
            f"== {time.perf_counter() - began:.0f} s: {part.title}{': failed' * bool(done.returncode)}", file=sys.stderr
        )
    return failed


def render(folder: Path, path: Path) -> None:
    """Write the report of what lies in a folder, with copies of the plots beside it."""
    plots = path.parent / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    targets: list[Target] = []
    sections: list[str] = []
    for part in PARTS:
        found = part.read(folder)
        if found is None:
            sections.append(f"## {part.title}\n\nIt was not measured: `make bench-{part.name}` does.")
            continue
        targets += part.targets(found)
        shutil.copy(folder / f"{part.name}.png", plots)
        sections.append(
            f"## {part.title}\n\n`make bench-{part.name}`: {found.machine}.\n\n{part.report(found)}\n\n"
            f"![{part.title}]({PLOTS}/{part.name}.png)"
        )
    path.write_text(
        "# How fast\n\n"
        "Written by `make bench`; every figure can be made again by the command that stands with it. A figure is a "
        "median [least-most] over rounds in which all contenders take turns, each server on one core and the load "
        "generator on another. Machines differ: only ratios within one run are claims.\n\n"
        f"## Targets\n\n{target_table(targets)}\n\n" + "\n\n".join(sections) + "\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description="Run all speed benches, and report.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--full", action="store_true", help="not the quick versions")
    which.add_argument("--render", action="store_true", help="write the report of what was measured before")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of their files (default: {FOLDER})")
    parser.add_argument("--report", type=Path, default=RESULTS, help="the report (default: bench/RESULTS.md)")
    options = parser.parse_args(arguments)
    failed = [] if options.render else run(options.folder.resolve(), full=options.full)
    render(options.folder, options.report)
    print(f"{options.report} is written")
    if failed:
        print(f"failed: {', '.join(failed)}; see above", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
