"""The master: plays a scenario on a server of its own, and returns its result. It leaves nothing behind.

Beside it a thread prints a line every few seconds: what is played, and how the server is.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.destructive.cgroup import confined
from bench.destructive.limits import CPUS, MEMORY_BYTES, MIB, RETENTION, SETTINGS
from bench.destructive.samples import read
from bench.destructive.server import NotStarted, Server
from bench.destructive.stage import LoadFailed, Stage
from bench.destructive.tally import total
from bench.destructive.verdict import LEFT_BYTES_MAX, REST_S, Bound, Run, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.destructive.samples import Sample
    from bench.destructive.scenarios.scenario import Outcome, Scenario

TELL_EVERY_S = 5.0


class Result(msgspec.Struct, kw_only=True):
    """The result of one scenario.

    Attributes:
        confinement: How the server was confined.
        csv: The monitor's file; empty if there is none.
        failed: Why it could not be played; empty if it was.
        began, ended: Of its load, on the clock of the samples.
    """

    name: str
    says: str
    seconds: float = 0.0
    confinement: str = ""
    csv: str = ""
    began: float = 0.0
    ended: float = 0.0
    bounds: list[Bound] = []
    notes: list[str] = []
    failed: str = ""

    @property
    def kept(self) -> bool:
        return not self.failed and not any(bound.missed for bound in self.bounds)


def play(scenario: Scenario, folder: Path, *, quick: bool) -> Result:
    """Play one scenario; its samples go into the folder."""
    result = Result(name=scenario.name, says=scenario.says)
    with timed(result):
        _play(scenario, folder, result, quick=quick)
    return result


@contextmanager
def timed(result: Result) -> Iterator[None]:
    """Print a result's title and, after the block, what was seen; a block that fails is the result's failure."""
    began = time.monotonic()
    print(f"\n{result.name}: {result.says}", flush=True)
    try:
        yield
    except (LoadFailed, NotStarted, OSError) as error:
        result.failed = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - began
    for line in (*result.notes, *result.bounds, *([result.failed] if result.failed else [])):
        print(f"  {line}", flush=True)


def _play(scenario: Scenario, folder: Path, result: Result, *, quick: bool) -> None:
    csv = folder / f"{scenario.name}.csv"
    settings = (*SETTINGS, *(RETENTION if scenario.retention else ()), *scenario.settings)
    with (
        scratch(scenario.name) as own,
        confined(MEMORY_BYTES, CPUS) as confinement,
        Server(own, confinement, (*settings, *(scenario.prepare(own) if scenario.prepare else ()))) as server,
    ):
        result.confinement = confinement.says
        server.wait_until_ready()
        with Stage(server, csv, quick=quick) as stage, telling(stage, scenario.name):
            result.csv = str(csv)
            warm_up = stage.warm_up(scenario.key(own) if scenario.key else None)
            baseline_bytes = stage.settled()
            result.began = time.monotonic()
            outcome = scenario.play(stage)
            result.ended = time.monotonic()
            rested_s = _rest(scenario, stage, baseline_bytes)
            exit_code = server.stop()
        shutil.copy(server.log, folder / f"{scenario.name}.log")
        result.notes = outcome.notes
        outcome.tally = total([warm_up, outcome.tally])
        run = _run(scenario, outcome, result, server, read(csv))
        result.bounds = judge(
            msgspec.structs.replace(
                run, baseline_bytes=baseline_bytes, rested_s=rested_s, exit_code=exit_code, quick=quick
            )
        )


def _rest(scenario: Scenario, stage: Stage, baseline_bytes: float) -> float | None:
    """Wait until the memory is back; return how long it took, None if it took too long."""
    began = time.monotonic()
    if scenario.clean is not None:
        scenario.clean(stage)
    bound = baseline_bytes + LEFT_BYTES_MAX
    if stage.until(lambda sample: sample.memory_bytes <= bound and not sample.beat.live, REST_S):
        return time.monotonic() - began
    return None


def _run(scenario: Scenario, outcome: Outcome, result: Result, server: Server, samples: list[Sample]) -> Run:
    return Run(
        samples=samples,
        baseline_bytes=0.0,
        began=result.began,
        ended=result.ended,
        rested_s=None,
        tally=outcome.tally,
        small=outcome.small,
        internal_errors=server.internal_errors(),
        killed=outcome.killed,
        small_ms_max=scenario.small_ms_max,
        follows=scenario.follows,
        accounts=scenario.accounts,
    )


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Make a folder for one server; it is removed with the block."""
    with tempfile.TemporaryDirectory(prefix=f"jobqueue-destroy-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def telling(stage: Stage, title: str) -> Iterator[None]:
    """Print a line every few seconds, until the end of the block."""
    over, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(TELL_EVERY_S):
            with suppress(OSError):
                sample = stage.look()
                beat = sample.beat
                print(
                    f"  {title} {time.monotonic() - began:4.0f} s: {sample.memory_bytes / MIB:4.0f} MiB, "
                    f"{beat.connections:,.0f} connections, {beat.queued:,.0f} queued, {beat.running:,.0f} running, "
                    f"{beat.terminal:,.0f} terminal, {beat.refused:,.0f} rejected, "
                    f"beat {max(0.0, sample.age_s) * 1000:.0f} ms ago{'' if sample.alive else ', DEAD'}",
                    flush=True,
                )

    thread = threading.Thread(target=tell, name="telling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
