"""`jobqueue load` and `jobqueue lab`: the simulated clients and the overload lab, where a checkout has them.

The installed package doesn't: they are the folders `clients` and `bench` beside it, and are looked for nowhere else,
since a module `clients` may be anything. Each has its own command line.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from jobqueue.cli.command import Group

ROOT = Path(__file__).parents[2]
PROGRAMS = {"load": "clients", "lab": "bench.overload"}


def groups() -> tuple[Group, ...]:
    """Return the commands that this checkout has; none in an installed package."""
    rows = (
        Group("load", "simulated clients; its flags: jobqueue load --help", ""),
        Group("lab", "disciplines under overload, simulated; its flags: jobqueue lab --help", ""),
    )
    if not (ROOT / "pyproject.toml").is_file():
        return ()
    return tuple(row for row in rows if ROOT.joinpath(*PROGRAMS[row.name].split("."), "__main__.py").is_file())


def run(word: str, arguments: list[str]) -> int:
    """Run a program with its own command line; return its exit code."""
    sys.path.insert(0, str(ROOT))
    sys.argv = [f"jobqueue {word}", *arguments]
    try:
        runpy.run_module(PROGRAMS[word], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
