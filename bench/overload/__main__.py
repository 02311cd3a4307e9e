"""The overload lab: the effect of each discipline on clients under more load than the workers' capacity.

    make overload                                          # everything, in about a minute
    make overload RATE=40 RUN=0.5 WORKERS=10 PATIENCE=20   # your own service: one load, in a minute or so
    make overload POLICY=fifo,adaptive SEED=7 OUT=tmp/seven ALL=1

The product's own engine, with simulated workers and clients on a virtual clock; the same seed gives the same figures.
The tables and one closing sentence go to stdout, progress to stderr; the folder gets overload.json, with every figure,
overload.md, with every table, and the plots. docs/explanation/overload.md explains them.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.overload.choice import choice
from bench.overload.clients import RetryBehaviour, Service
from bench.overload.figures import Figures
from bench.overload.plot import draw
from bench.overload.policies import CHOICES, POLICIES
from bench.overload.returns import SCENES, ReturnFigures, run_scene
from bench.overload.run import LOADS, SERVICE, Load, run
from bench.overload.table import CLOSE_UP, report, short_report
from jobqueue.cli.parser import Parser, end_with
from jobqueue.what_if.visits import PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.overload.policies import LabPolicy
    from bench.overload.returns import Scene

SEED = 1
CLIENTS_MAX = 200_000
WARM, MEASURED = 6.0, 12.0  # of an own service, in multiples of the patience


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The content of overload.json. Times are in seconds, shares from 0 to 1."""

    seed: int
    service: Service
    slots: int
    slots_few: int
    caller_jobs_max: int
    pause_s: float = PAUSE_S
    runs: list[Figures]
    returns: list[ReturnFigures]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        service, loads = own_service(options) or (SERVICE, LOADS)
        policies = chosen(options.policy, service)
    except ValueError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    own = loads is not LOADS
    results = simulate(options.seed, service, loads, policies, scenes=() if own or options.policy else SCENES)
    (options.out / "overload.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    whole = report(results.runs, results.returns, close_up=loads[-1].factor if own else CLOSE_UP)
    (options.out / "overload.md").write_text(whole + "\n")
    shown = {policy.name(service) for policy in (policies if options.policy else CHOICES)}
    short = short_report(
        [it for it in results.runs if it.policy in shown], close_up=loads[-1].factor if own else CLOSE_UP
    )
    print(whole if options.all else short)
    if not own:
        print("drawing", file=sys.stderr, flush=True)
        for path in draw(results.runs, results.returns, options.out, service):
            print(path, file=sys.stderr)
    print(f"\nEvery table: {options.out / 'overload.md'}")
    print(f"\n{choice(results.runs, load=loads[-1].factor if own else CLOSE_UP, service=service)}")
    return 0


def own_service(options: argparse.Namespace) -> tuple[Service, tuple[Load, ...]] | None:
    """Return the service and the load that the options describe; None: they describe none.

    Raises:
        ValueError: A figure is missing, or too large to simulate.
    """
    given = {name: getattr(options, name) for name in ("rate", "run", "workers", "patience")}
    if all(value is None for value in given.values()):
        return None
    if given["rate"] is None:
        raise ValueError("RATE is missing: the submissions per second, such as RATE=40")
    service = Service(
        workers=given["workers"] or SERVICE.workers,
        work_s=given["run"] or SERVICE.work_s,
        patience_s=given["patience"] or SERVICE.patience_s,
    )
    patience_s = service.patience_s
    clients = given["rate"] * patience_s * (WARM + MEASURED + 1.5)
    if clients > CLIENTS_MAX:
        raise ValueError(
            f"RATE x PATIENCE is {given['rate'] * patience_s:,.0f}, and at most "
            f"{CLIENTS_MAX / (WARM + MEASURED + 1.5):,.0f} can be simulated: divide RATE and WORKERS by the same number"
        )
    return service, (Load(given["rate"] / service.capacity_per_s, WARM * patience_s, MEASURED * patience_s),)


def chosen(names: str | None, service: Service) -> Sequence[LabPolicy]:
    """Return the policies of these names, with commas between them, or all. Raises ValueError if a name is none."""
    if not names:
        return POLICIES
    known = {policy.name(service): policy for policy in POLICIES}
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise ValueError(f"POLICY: there is no {name!r}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def simulate(
    seed: int, service: Service, loads: Sequence[Load], policies: Sequence[LabPolicy], *, scenes: Sequence[Scene]
) -> Results:
    """Run every policy under every load with obedient and disobedient clients, and every scene of returns."""
    began = time.perf_counter()
    runs, returns = [], []
    for behaviour in RetryBehaviour:
        for policy in policies:
            runs += [run(policy, load, behaviour, seed=str(seed), service=service) for load in loads]
            done = len(runs) // len(loads)
            _tell(began, f"{done} of {len(policies) * len(RetryBehaviour)}: {policy.name(service)}; {behaviour}")
    for scene in scenes:
        returns.append(run_scene(scene, seed=str(seed)))
        _tell(began, f"returns, {len(returns)} of {len(scenes)}: {scene.name}")
    return Results(
        seed=seed,
        service=service,
        slots=service.slots,
        slots_few=service.slots_few,
        caller_jobs_max=service.caller_jobs_max,
        runs=runs,
        returns=returns,
    )


def _tell(began: float, text: str) -> None:
    print(f"{time.perf_counter() - began:5.1f} s  {text}", file=sys.stderr, flush=True)


def _figure(name: str) -> Callable[[str], float]:
    """Return what reads the value of a variable of make."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        whole = name == "WORKERS"
        if not (math.isfinite(value) and value > 0) or (whole and not value.is_integer()):
            form = "whole number from 1" if whole else "positive number"
            unit = " of seconds" if name in ("RUN", "PATIENCE") else ""
            raise argparse.ArgumentTypeError(f"{name} must be a {form}{unit}, not {text!r}")
        return int(value) if whole else value

    return read


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench.overload", description="Compare disciplines under overload.")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all that is drawn (default: {SEED})")
    parser.add_argument("--out", type=Path, default=Path("tmp/overload"), help="folder (default: tmp/overload)")
    parser.add_argument("--all", action="store_true", help="print every table, not just those to choose by")
    parser.add_argument("--policy", help="simulate only these, with commas between them")
    own = parser.add_argument_group("your own service, at one load")
    own.add_argument("--rate", type=_figure("RATE"), help="submissions per second")
    own.add_argument(
        "--run", type=_figure("RUN"), help=f"mean length of a job in seconds (default: {SERVICE.work_s:g})"
    )
    own.add_argument("--workers", type=_figure("WORKERS"), help=f"jobs that run at once (default: {SERVICE.workers})")
    own.add_argument(
        "--patience",
        type=_figure("PATIENCE"),
        help=f"mean time that a client waits, in seconds (default: {SERVICE.patience_s:g})",
    )
    return parser


if __name__ == "__main__":
    end_with(main)
