"""The crash search: the server under all attacks at once, with ever less memory, until it dies. Death must be an exit.

A wedge is a server that neither answers nor ends: a process with a heart that has not beaten for `WEDGE_S`, or other
processes of its group that are there `END_S` after its death.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from bench.destructive.cgroup import ControlGroup, confined
from bench.destructive.limits import CPUS, MEMORY_BYTES, MIB, SETTINGS
from bench.destructive.loads.attacks import ATTACKS
from bench.destructive.loads.large_results import large_jobs
from bench.destructive.master import Result, scratch
from bench.destructive.server import NotStarted, Server
from bench.destructive.stage import LoadFailed, Stage
from bench.destructive.verdict import Bound

if TYPE_CHECKING:
    from pathlib import Path

NAME = "crash"
SAYS = "all attacks at once, with ever less memory: where it dies, and how"
STEPS_MIB = (256, 224, 192, 160, 144, 128, 112, 96, 80, 64, 48)
QUICK_MIB = (256, 96)
ATTACK_S, QUICK_S = 12.0, 6.0
WEDGE_S = 5.0
END_S = 5.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One try: the server under attack with this much memory.

    Attributes:
        fate: `served`, `lost a process` (of handlers; the server went on), `killed`, `did not start`, `wedged`.
        says: More of it.
    """

    memory_bytes: int
    fate: str
    says: str

    def __str__(self) -> str:
        return f"{self.memory_bytes // MIB} MiB: {self.fate}{f' ({self.says})' if self.says else ''}"


def search(folder: Path, *, quick: bool) -> Result:
    """Shrink the memory until the server doesn't even start."""
    result = Result(name=NAME, says=SAYS)
    began = time.monotonic()
    print(f"\n{NAME}: {SAYS}", flush=True)
    steps: list[Step] = []
    for mib in QUICK_MIB if quick else STEPS_MIB:
        step = _try(mib * MIB, folder, QUICK_S if quick else ATTACK_S, result)
        steps.append(step)
        print(f"  {step}", flush=True)
        if step.fate == "did not start":
            break
    result.notes = [str(step) for step in steps]
    result.bounds = judge(steps)
    result.seconds = time.monotonic() - began
    for bound in result.bounds:
        print(f"  {bound}", flush=True)
    return result


def _try(memory_bytes: int, folder: Path, seconds: float, result: Result) -> Step:
    with (
        scratch(NAME) as own,
        confined(memory_bytes, CPUS) as confinement,
        Server(own, confinement, SETTINGS) as server,
    ):
        result.confinement = confinement.says
        try:
            server.wait_until_ready()
        except NotStarted:
            fate = "did not start" if not server.alive else "wedged"
            return Step(memory_bytes=memory_bytes, fate=fate, says=f"exit {server.process.poll()}")
        csv = folder / f"{NAME}-{memory_bytes // MIB}.csv"
        with Stage(server, csv, quick=False) as stage:
            large: list[str] = []
            with suppress(aiohttp.ClientError, TimeoutError, AssertionError, OSError):
                large = asyncio.run(large_jobs(server.url))
            loads = [stage.load("attacks", seconds, ",".join(large) or "none", *list(ATTACKS)[at::2]) for at in (0, 1)]
            loads.append(stage.load("honest", seconds, "spin", '{"duration_s":0.1}', 5))
            over_at = time.monotonic() + seconds
            stage.until(lambda sample: time.monotonic() > over_at, seconds + 1)
            for load in loads:
                load.end()
            with suppress(LoadFailed):
                loads[-1].output(1)
            return _fate(memory_bytes, stage, server)


def _fate(memory_bytes: int, stage: Stage, server: Server) -> Step:
    if not server.alive:
        return _death(memory_bytes, stage, server)
    if not stage.until(lambda sample: sample.age_s < 1.0, WEDGE_S):
        if server.process.poll() is not None:
            return _death(memory_bytes, stage, server)
        age_s = stage.look().age_s
        return Step(memory_bytes=memory_bytes, fate="wedged", says=f"its last beat was {age_s:.0f} s ago")
    sample = stage.look()
    code = server.stop()
    if code is None:
        return Step(memory_bytes=memory_bytes, fate="wedged", says="SIGTERM did not end it")
    if sample.usage.oom_kills:
        return Step(
            memory_bytes=memory_bytes,
            fate="lost a process",
            says=f"oom_kill {sample.usage.oom_kills} of processes of handlers; the server went on, exit {code}",
        )
    return Step(
        memory_bytes=memory_bytes,
        fate="served",
        says=f"{sample.memory_bytes // MIB} MiB at the end, accepted {sample.beat.accepted:,.0f}, exit {code}",
    )


def _death(memory_bytes: int, stage: Stage, server: Server) -> Step:
    group = server.confinement
    code, died_at = server.process.poll(), time.monotonic()
    while isinstance(group, ControlGroup) and group.pids() and time.monotonic() - died_at < END_S:
        time.sleep(0.05)
    kills = stage.look().usage.oom_kills
    left = len(group.pids()) if isinstance(group, ControlGroup) else 0
    if left:
        return Step(memory_bytes=memory_bytes, fate="wedged", says=f"{left} processes are left after its death")
    return Step(memory_bytes=memory_bytes, fate="killed", says=f"exit {code}, oom_kill {kills}, no process is left")


def judge(steps: list[Step]) -> list[Bound]:
    """Compare the steps with the bounds."""
    wedged = [step for step in steps if step.fate == "wedged"]
    alive = ("served", "lost a process")
    first = next((step for step in steps if step.memory_bytes == MEMORY_BYTES), None)
    survived = [step.memory_bytes // MIB for step in steps if step.fate in alive]
    died = [step.memory_bytes // MIB for step in steps if step.fate not in alive]
    return [
        Bound(
            what="a death is an exit, never a wedge",
            wanted="no wedge",
            seen="; ".join(map(str, wedged)) or "no wedge",
            kept=not wedged,
        ),
        Bound(
            what=f"alive with {MEMORY_BYTES // MIB} MiB",
            wanted="served",
            seen=first.fate if first is not None else "not tried",
            kept=first is not None and first.fate == "served",
        ),
        Bound(
            what="the point where it dies",
            wanted="published",
            seen=f"alive down to {min(survived, default=0)} MiB, dead at {max(died, default=0) or 'none'} MiB",
            kept=True,
        ),
    ]
