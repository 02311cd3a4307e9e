"""Soak: a mixed load for hours, and the slopes of memory, descriptors, tasks and objects by Theil and Sen."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from bench.destructive.cgroup import confined
from bench.destructive.limits import CPUS, MEMORY_BYTES, MIB, RETENTION, SETTINGS
from bench.destructive.master import Result, scratch, telling, timed
from bench.destructive.samples import between, read
from bench.destructive.server import Server
from bench.destructive.slopes import theil_sen
from bench.destructive.stage import Stage
from bench.destructive.tally import total
from bench.destructive.verdict import LEFT_BYTES_MAX, REST_S, Bound, Run
from bench.destructive.verdict import judge as judge_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.destructive.samples import Sample

NAME = "soak"
SAYS = "50 clients that ignore hints, honest ones, jobs in processes: for hours; what grows?"
CLIENTS = 50
WARM_SHARE, WARM_S_MIN = 0.2, 60.0
JOB = json.dumps({"type": "sleep", "args": {"min_s": 0.05, "max_s": 0.5}})

SLOPES: tuple[tuple[str, Callable[[Sample], float], float], ...] = (
    ("memory, MiB an hour", lambda each: each.memory_bytes / MIB, 1.0),
    ("descriptors an hour", lambda each: float(each.descriptors), 1.0),
    ("tasks an hour", lambda each: each.beat.tasks, 1.0),
    ("tracked objects an hour", lambda each: each.beat.objects, 5_000.0),
)
"""What is measured, and the growth that is taken for none."""


def soak(folder: Path, hours: float) -> Result:
    """Play it, and judge the slopes beside the bounds of every scenario."""
    result = Result(name=NAME, says=f"{SAYS} ({hours:g} h)")
    with timed(result):
        _soak(folder, hours * 3600, result)
    return result


def _soak(folder: Path, seconds: float, result: Result) -> None:
    csv = folder / f"{NAME}.csv"
    with (
        scratch(NAME) as own,
        confined(MEMORY_BYTES, CPUS) as confinement,
        Server(own, confinement, (*SETTINGS, *RETENTION)) as server,
    ):
        result.confinement = confinement.says
        server.wait_until_ready()
        with Stage(server, csv, quick=False) as stage, telling(stage, NAME):
            result.csv = str(csv)
            baseline_bytes = stage.settled()
            result.began = time.monotonic()
            loads = [
                stage.load("crowd", seconds, CLIENTS, CLIENTS, 0, 0.2, JOB),
                stage.load("honest", seconds, "spin", '{"duration_s":0.05}', name="spinning"),
            ]
            small = stage.load("honest", seconds)
            tally = total(each.tally(seconds + 120) for each in loads)
            honest = small.tally(120)
            result.ended = time.monotonic()
            rested = stage.until(lambda each: each.memory_bytes <= baseline_bytes + LEFT_BYTES_MAX, REST_S)
            exit_code = server.stop()
        samples = read(csv)
        run = Run(
            samples=samples,
            baseline_bytes=baseline_bytes,
            began=result.began,
            ended=result.ended,
            rested_s=0.0 if rested else None,
            tally=total([tally, honest]),
            small=honest,
            exit_code=exit_code,
            internal_errors=server.internal_errors(),
        )
        result.bounds = [*judge_run(run), *judge_slopes(between(samples, result.began, result.ended))]


def judge_slopes(samples: Sequence[Sample]) -> list[Bound]:
    """Compare the slopes after the warm-up with none: a bound is missed if the slope is above it for sure."""
    if not samples:
        return []
    start, end = samples[0].at, samples[-1].at
    warm = [each for each in samples if each.at >= start + max(WARM_S_MIN, WARM_SHARE * (end - start))]
    bounds = []
    for what, of, growth_max in SLOPES:
        points = [((each.at - start) / 3600, of(each)) for each in warm if each.alive]
        try:
            slope = theil_sen(points)
        except ValueError:
            bounds.append(Bound(what=what, wanted=f"≤ {growth_max:g}", seen="too short a run", kept=False))
            continue
        bounds.append(
            Bound(
                what=what,
                wanted=f"≤ {growth_max:g}",
                seen=f"{slope.median:+,.2f} [{slope.least:+,.2f} to {slope.most:+,.2f}]",
                kept=slope.least <= growth_max,
            )
        )
    return bounds
