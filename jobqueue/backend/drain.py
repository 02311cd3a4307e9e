"""Drain: the end of the jobs of a backend in this process, at its stop.

Rules:

1. Submissions are rejected first. Jobs still run for the time of the drain: all of them, or (`work_off=False`) those
   that run already, while none starts.
2. Then the remaining ones end, cancelled; or they stay live for the next run, and running ones are given back. In that
   case it is not worth waiting for jobs that can't start now: delayed ones, and those of a paused queue.
3. The drain is over when no job runs. A handler that ignores its stop loses its lease after the lease's grace.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from jobqueue.core.events import BackedOff, Ended, Ready
from jobqueue.core.job import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.engine import Engine
    from jobqueue.core.shutdown import ShutDown


class Drain:
    """One drain of a backend.

    Args:
        engine: That of the backend.
        publish: Passes on the engine's events.
    """

    def __init__(self, backend: LocalBackend, engine: Engine, publish: Callable[[], None]) -> None:
        self._backend = backend
        self._engine = engine
        self._publish = publish

    async def run(self, deadline_s: float, on_deadline: Callable[[], None], *, work_off: bool) -> int:
        """Drain; return the number of attempts that were given back. Args: as `Backend.drain`."""
        keeps = self._backend.keeps
        self._engine.stop_admitting()
        shut_down = None if work_off else self._engine.begin_shut_down(keep=keeps)
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._until_no_job(self._what_ends(keeps, work_off))
        on_deadline()
        if shut_down is None:
            shut_down = self._engine.begin_shut_down(keep=keeps)
        await self._end_all(shut_down)
        # Asked to stop, running attempts end within the lease's grace.
        await self._until_no_job(self._running if keeps else self._engine.live)
        return shut_down.given_back

    async def _until_no_job(self, count: Callable[[], int]) -> None:
        changed = asyncio.Event()
        leave = self._backend.subscribe(lambda event: changed.set(), Ended, BackedOff, Ready)
        try:
            while count():
                changed.clear()
                await changed.wait()
        finally:
            leave()

    def _what_ends(self, keeps: bool, work_off: bool) -> Callable[[], int]:
        """Return what counts the jobs to be waited for."""
        if not work_off:
            return self._running
        return self._busy if keeps else self._engine.live

    def _busy(self) -> int:
        return self._running() + len(self._engine.scheduler)

    def _running(self) -> int:
        return sum(queue_state.counts[RUNNING] for queue_state in self._engine.queue_states.values())

    async def _end_all(self, shut_down: ShutDown) -> None:
        portions = self._portions(shut_down)
        try:
            for _ in portions:
                await asyncio.sleep(0)  # thousands of ends must not hold up the loop
        except asyncio.CancelledError:
            # Half of it would leave jobs that neither start nor end.
            for _ in portions:
                pass
            raise

    def _portions(self, shut_down: ShutDown) -> Iterator[None]:
        more = True
        while more:
            more = shut_down.go_on(self._backend.now())
            self._publish()
            yield
