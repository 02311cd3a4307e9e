"""Destroy: a server in 256 MB and half a CPU under loads that ought to break it.

    make destroy                            # all scenarios, about 25 minutes; writes docs/LIMITS.md
    make destroy-quick                      # all but the hostile one, each at a part of its size, under 3 minutes
    make destroy ONLY="storm bomb"          # some of them
    make destroy ONLY=soak HOURS=8          # the slopes of memory, descriptors, tasks and objects

The master makes a control group (cgroup.py), starts the server in it and a monitor beside it, plays one scenario after
the other, each on a server of its own, and compares what was seen with the bounds (verdict.py). The files stay in
tmp/destroy/: report.html, and for each scenario the samples, a plot and the server's log. Exit code 1 if a bound is
missed. Ctrl-C and SIGTERM end it at once, and all that it started.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bench.destructive import master, report
from bench.destructive.scenarios import ORDER, SOAK, crash, soak
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.destructive.master import Result
    from bench.destructive.scenarios.scenario import Scenario

FOLDER = Path("tmp/destroy")
PLAYS_MAX = 3
"""Plays of a quick scenario that misses a bound: other programs spoil short runs."""

SLOW = ("hostile",)
"""Scenarios that a quick run leaves out: a minute and a half, most of it waiting for the memory to be back."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play, print, write; return the exit code."""
    wanted = parse(argv)
    signal.signal(signal.SIGTERM, _stopped)
    folder = wanted.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began, results = time.monotonic(), []
    for name in wanted.scenarios:
        if name == crash.NAME:
            results.append(crash.search(folder, quick=wanted.quick))
        elif name == SOAK:
            results.append(soak.soak(folder, wanted.hours))
        else:
            results.append(_played(ORDER[name], folder, quick=wanted.quick))
    seconds = time.monotonic() - began
    page = report.write(results, folder, quick=wanted.quick, seconds=seconds)
    print(f"\n{report.summary(results)}\n{seconds:.0f} s. The report: {page}")
    if wanted.render is not None:
        report.render_limits(results, wanted.render)
        print(f"The published limits: {wanted.render}")
    return 0 if all(result.kept for result in results) else 1


def _played(scenario: Scenario, folder: Path, *, quick: bool) -> Result:
    """Play a scenario; a quick one that misses a bound is played again."""
    result = master.play(scenario, folder, quick=quick)
    for _ in range(PLAYS_MAX - 1 if quick else 0):
        if result.kept:
            break
        print(f"\n{scenario.name} again", flush=True)
        result = master.play(scenario, folder, quick=quick)
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.destructive", description="Attack a server in 256 MB and half a CPU.")
    add = parser.add_argument
    names = [*ORDER, crash.NAME, SOAK]
    add("--only", default="", metavar="NAMES", help=f"scenarios to play, of {', '.join(names)} (default: all but soak)")
    add("--quick", action="store_true", help="each at a part of its size, and all but hostile")
    add("--hours", type=float, default=1.0, metavar="H", help="of the soak (default %(default)s)")
    add("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of the report (default %(default)s)")
    add("--render", type=Path, default=None, metavar="PAGE", help="page of limits, of which this rewrites its part")
    wanted = parser.parse_args(argv)
    chosen = wanted.only.replace(",", " ").split()
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"--only: no scenario is called {', '.join(unknown)}; there are {', '.join(names)}")
    if not 0 < wanted.hours <= 168:
        parser.error("--hours: over 0, at most 168")
    left_out = {SOAK, *(SLOW if wanted.quick else ())}
    wanted.scenarios = chosen or [name for name in names if name not in left_out]
    return wanted


def _stopped(number: int, frame: object) -> NoReturn:
    """End as by Ctrl-C: each block on the way ends what it started."""
    print("ended by SIGTERM", file=sys.stderr)
    raise KeyboardInterrupt


if __name__ == "__main__":
    end_with(main)
