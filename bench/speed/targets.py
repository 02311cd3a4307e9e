"""Targets of each build beside measurements, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.measure.builds import Build
from bench.measure.spread import Spread, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GO = "Go's queue has documents of three members, one order, no deadlines, rates or limits, and evicts nothing"
NAIVE = "the naive queue has no bounds, timeouts, retries, order or eviction"
HELD = "the jobs of `POST, held` wait in a paused queue: their runs are in no figure of that row"
REDIS = "the Redis peers keep what they have accepted when their processes end; this queue loses it"
ECHO = "an echo never suspends, so its worker goes on without a task for it; a handler that waits pays for one"
KERNEL = "what the kernel's own threads take to write and sync files is in no CPU figure"
FORGETS = "the store of both keeps nothing on the disk here"
SPLIT = "what a life over a store takes of the store is in no row of the server"
EMPTY = "what a start on an empty journal takes is no part of a start with a million jobs; the tables have both"
IDLE = "what the server takes while idle is no part of an eviction's CPU; the tables have both"


class Bounds(NamedTuple):
    """A required figure and a goal."""

    must: float
    stretch: float


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one figure, by build.

    Attributes:
        at_least: They are lower bounds.
        leaves_out: What the figure does not count, or the other side does not do; told below the table.
    """

    pure: Bounds
    compiled: Bounds
    at_least: bool = False
    leaves_out: tuple[str, ...] = ()

    def of(self, build: Build) -> Bounds:
        return self.compiled if build is Build.COMPILED else self.pure


def _both(must: float, stretch: float, *leaves_out: str) -> Aim:
    return Aim(pure=Bounds(must, stretch), compiled=Bounds(must, stretch), leaves_out=leaves_out)


def _factor(pure: Bounds, compiled: Bounds, *leaves_out: str) -> Aim:
    return Aim(pure=pure, compiled=compiled, at_least=True, leaves_out=leaves_out)


AIMS: Mapping[str, Aim] = {
    "POST, run: CPU / Go's": Aim(pure=Bounds(1.4, 1.2), compiled=Bounds(1.0, 0.85), leaves_out=(GO, ECHO)),
    "GET: CPU / Go's": Aim(pure=Bounds(0.55, 0.5), compiled=Bounds(0.45, 0.4), leaves_out=(GO,)),
    "HEAD: CPU / Go's": Aim(pure=Bounds(0.5, 0.42), compiled=Bounds(0.45, 0.38), leaves_out=(GO,)),
    "POST refused: CPU / POST, held": _both(0.5, 0.5, HELD),
    "POST, batch of 100: CPU a job / POST, held": _both(0.5, 0.5, HELD),
    "life by HEAD: jobs a second, times Go's": _factor(Bounds(0.9, 1.0), Bounds(1.2, 1.4), GO, ECHO),
    "life by HEAD: jobs a second, times naive's": _factor(Bounds(2.1, 2.4), Bounds(2.9, 3.4), NAIVE, ECHO),
    "life by one POST, Prefer: wait: CPU / life by HEAD": _both(1.0, 0.8),
    "life by HEAD: CPU a job, times less than Fastify + BullMQ": _factor(Bounds(6, 8), Bounds(8, 10), REDIS, ECHO),
    "life by HEAD: CPU a job, times less than FastAPI + arq": _factor(Bounds(25, 30), Bounds(35, 45), REDIS, ECHO),
    "life by HEAD: CPU a job, times less than aiohttp + SAQ": _factor(Bounds(20, 25), Bounds(28, 35), REDIS, ECHO),
    "8,000 clients: p95, ms": _both(1, 0.4),
    "8,000 clients: p99, ms": _both(4, 4),
    "15,000 clients: connections lost": _both(0, 0),
    "15,000 clients: jobs lost": _both(0, 0),
    "15,000 clients: p95, ms": _both(10, 10),
    "15,000 clients: memory of the server, MiB": _both(250, 250),
    "bytes a stored status": _both(350, 250),
    "longest pause to a million statuses and back, ms": _both(2.6, 1),
    **{
        f"life by HEAD, {clients} clients: CPU with the journal, {sync} / without": _both(must, stretch, KERNEL)
        for clients in (64, 512)
        for sync, must, stretch in (("interval", 1.1, 1.05), ("always", 1.25, 1.15))
    },
    **{
        f"life by HEAD, {clients} clients: CPU of the server over valkey / in memory": _both(1.6, 1.25, SPLIT)
        for clients in (64, 256)
    },
    **{
        f"life by HEAD, {clients} clients: jobs a second over valkey, store apart / in memory": _factor(
            Bounds(0.6, 0.85), Bounds(0.6, 0.85)
        )
        for clients in (64, 256)
    },
    "CPU of valkey for a life / for one pipelined HSET of 8 fields": _both(12, 7),
    **{
        f"life by HEAD over valkey: CPU a job, times less than {peer}": _factor(bounds, bounds, FORGETS)
        for peer, bounds in (
            ("aiohttp + SAQ", Bounds(6, 10)),
            ("FastAPI + arq", Bounds(9, 14)),
            ("Fastify + BullMQ", Bounds(2, 3)),
        )
    },
    "longest step of a snapshot of a million jobs, ms": _both(2, 1),
    "CPU of reading a million jobs from the journal at a start, s": _both(6, 4, EMPTY),
    "evicting a status whose TTL is over, server CPU, µs": _both(0.5, 0.2, IDLE),
}
"""Every target, by the name of its figure. A ratio that is not here is told without a verdict."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The figure of one build, and its bounds if it has any.

    Attributes:
        measured: None: it could not be measured here.
        short_of: The conditions that the measurement lacks, such as "with 20,000 records".
    """

    what: str
    build: Build = Build.PURE
    measured: Spread | None
    short_of: str = ""

    @property
    def aim(self) -> Aim | None:
        return AIMS.get(self.what)

    @property
    def verdict(self) -> str:
        """Judge by the median; empty without bounds."""
        if self.aim is None:
            return ""
        if self.measured is None:
            return "not measured"
        found, (must, stretch) = self.measured.median, self.aim.of(self.build)
        if self.aim.at_least:
            found, must, stretch = -found, -must, -stretch
        verdict = "stretch" if found <= stretch else "met" if found <= must else "**missed**"
        return f"{verdict}, but {self.short_of}" if self.short_of else verdict


def target_table(targets: Iterable[Target]) -> str:
    """Write targets as a table, and below it what their figures leave out."""
    rows: list[list[object]] = []
    left_out: dict[str, None] = {}
    for target in targets:
        aim = target.aim
        bounds: list[object] = [None, None]
        if aim is not None:
            bounds = [f"{'≥' if aim.at_least else '≤'} {bound:g}" for bound in aim.of(target.build)]
            left_out |= dict.fromkeys(aim.leaves_out)
        rows.append([target.what, target.build, *bounds, target.measured, target.verdict])
    text = table(["", "build", "must", "stretch", "measured", ""], rows)
    return "\n".join([f"{text}\n\nLeft out:\n", *(f"- {omission}" for omission in left_out)]) if left_out else text
