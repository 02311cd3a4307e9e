"""A wall clock for schedules that begins at an instant of the test's choice, and runs with the loop's virtual one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from jobqueue.runtime.wall_clock import WallClock
from jobqueue.wiring import system

if TYPE_CHECKING:
    from jobqueue import JobQueue
    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings


class WallAt:
    """The wall clock. `ahead_s` may be changed: the clock is set."""

    def __init__(self, begin: str) -> None:
        self.ahead_s = datetime.fromisoformat(begin).timestamp()
        self._zero: float | None = None

    def __call__(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._zero is None:
            self._zero = now
        return self.ahead_s + now - self._zero

    def surroundings(self, settings: Settings) -> Surroundings:
        loop = asyncio.get_running_loop()
        return replace(system(settings), wall_clock=WallClock(loop.time, wall=self, steady=loop.time))

    def text(self) -> str:
        return datetime.fromtimestamp(self(), datetime.fromisoformat("2026-01-01T00:00Z").tzinfo).isoformat()[:19]


def at(queue: JobQueue, begin: str) -> WallAt:
    """Have a queue start at an instant."""
    wall = WallAt(begin)
    queue.service.surroundings = wall.surroundings
    return wall
