"""All speed benches, one after the other, and their report: bench/RESULTS.md with its plots in bench/results.

    make bench                               # the quick versions, in twelve minutes
    make bench ARGS=--full                   # the whole ones, in an hour
    make bench ARGS=--render                 # none: the report of the files in tmp/bench

Each bench is a process of its own, and its figures are its JSON file's. One that fails is named in the report, and by
the exit code 1; the others go on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import FOLDER, ROOT, end_with_parent
from bench.speed import core, fleet, http, in_process, journal, life, memory, valkey
from bench.speed.bench import Progress
from bench.speed.targets import Target, target_table
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

RESULTS = ROOT / "bench" / "RESULTS.md"
PLOTS = "results"


BENCHES: dict[ModuleType, str] = {
    http: "Cost of a request",
    life: "Cost of a job's life cycle",
    fleet: "Known load",
    in_process: "Cost of a job within one process",
    memory: "Cost of stored records",
    core: "Cost of an operation",
    journal: "Cost of durability",
    valkey: "Cost of a shared store",
}
"""Each has `Results`, which its JSON file holds, and `report` and `targets` of these; and its title."""


def run(folder: Path, *, full: bool) -> list[str]:
    """Run every bench; return the names of those that failed."""
    failed = []
    progress = Progress()
    for bench, title in BENCHES.items():
        name = _name(bench)
        (folder / f"{name}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", bench.__name__, "--out", str(folder), *([] if full else ["--quick"])]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False, preexec_fn=end_with_parent)
        if done.returncode:
            failed.append(name)
        progress.tell(f"== {title}{': failed' * bool(done.returncode)}")
    return failed


def render(folder: Path, path: Path) -> None:
    """Write the report of what lies in a folder, with copies of the plots beside it."""
    plots = path.parent / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    targets: list[Target] = []
    sections: list[str] = []
    for bench, title in BENCHES.items():
        name = _name(bench)
        path_of_figures = folder / f"{name}.json"
        if not path_of_figures.exists():
            sections.append(f"## {title}\n\nIt was not measured: `{_target(name)}` does.")
            continue
        try:
            found = msgspec.json.decode(path_of_figures.read_bytes(), type=bench.Results)
        except msgspec.ValidationError:
            sections.append(f"## {title}\n\nIt was measured by another version: `{_target(name)}` measures it again.")
            continue
        targets += bench.targets(found)
        shutil.copy(folder / f"{name}.png", plots)
        sections.append(
            f"## {title}\n\n`{_target(name)}`: {found.machine}.\n\n{bench.report(found)}\n\n"
            f"![{title}]({PLOTS}/{name}.png)"
        )
    path.write_text(
        "# How fast\n\n"
        "Written by `make bench`; every figure can be made again by the command that stands with it. A figure is a "
        "median [least-most] over rounds in which all contenders take turns. Each server has one core, whatever it is "
        "made of (so GOMAXPROCS is 1, and Redis and workers share that core), and the load generator another. "
        "Unless clients come at a rate, every connection always has one request under way, the same for all. "
        "The other queues run up to 256 jobs at once, this one 1,000: for echoes, which are what is run, that decides "
        "nothing. "
        "`jobqueue` is this program in pure Python, `jobqueue, compiled` the same sources compiled (`make compiled`), "
        "on the same interpreter; each has bounds of its own. Machines differ: only ratios within one run are claims. "
        "Profiles, and what was tried: "
        "[docs/explanation/speed.md](../docs/explanation/speed.md).\n\n"
        f"## Targets\n\n{target_table(targets)}\n\n" + "\n\n".join(sections) + "\n"
    )


def _name(bench: ModuleType) -> str:
    """Return the name of a bench's files."""
    return bench.__name__.rpartition(".")[2]


def _target(name: str) -> str:
    """Return the command that runs a bench."""
    return f"make bench-{name.replace('_', '-')}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m bench.speed", description="Run all speed benches, and report.")
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
    end_with(main)
