"""The overload lab: what each discipline does to clients when more comes than can be done.

    make overload                                   # everything, in well under a minute
    python -m bench.overload --seed 7 --out tmp/seven

The product's own engine, with simulated workers and clients on a virtual clock; the same seed gives the same
figures. The tables go to stdout, progress to stderr; the folder gets overload.json, with every figure, and the
plots. docs/OVERLOAD.md tells what they mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import overload_crowd, overload_policies
from bench.overload_crowd import Manners
from bench.overload_figures import Figures
from bench.overload_plot import draw
from bench.overload_policies import POLICIES
from bench.overload_returns import SCENES, ReturnFigures, run_scene
from bench.overload_run import LOADS, run
from bench.overload_table import report

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 1


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What overload.json holds. Times are in seconds, shares from 0 to 1."""

    seed: int
    workers: int = overload_crowd.WORKERS
    work_s: float = overload_crowd.WORK_S
    patience_s: float = overload_crowd.PATIENCE_S
    pause_s: float = overload_crowd.PAUSE_S
    seats: int = overload_policies.SEATS
    caller_queued: int = overload_policies.CALLER_QUEUED
    runs: list[Figures]
    returns: list[ReturnFigures]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = simulate(options.seed)
    (options.out / "overload.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    print(report(results.runs, results.returns))
    print("drawing", file=sys.stderr, flush=True)
    for path in draw(results.runs, results.returns, options.out):
        print(path, file=sys.stderr)
    return 0


def simulate(seed: int) -> Results:
    """Run every policy under every load with clients of both manners, and every scene of returns."""
    began = time.perf_counter()
    runs, returns = [], []
    for manners in Manners:
        for policy in POLICIES:
            runs += [run(policy, load, manners, seed=str(seed)) for load in LOADS]
            done = len(runs) // len(LOADS)
            _tell(began, f"{done} of {len(POLICIES) * len(Manners)}: {policy.name}; {manners}")
    for scene in SCENES:
        returns.append(run_scene(scene, seed=str(seed)))
        _tell(began, f"returns, {len(returns)} of {len(SCENES)}: {scene.name}")
    return Results(seed=seed, runs=runs, returns=returns)


def _tell(began: float, text: str) -> None:
    print(f"{time.perf_counter() - began:5.1f} s  {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description="Compare disciplines under overload.")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all that is drawn (default: {SEED})")
    parser.add_argument("--out", type=Path, default=Path("tmp/overload"), help="folder (default: tmp/overload)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
