"""Drain of one process among those that share a store: it finishes what it runs, and gives the rest to the others.

Rules:

1. From the first moment it accepts and leases nothing: the others do. What was leased and not begun goes back at once,
   and no attempt is charged for it.
2. Attempts run on until the deadline; then they are asked to stop, and go back as well. One that ignores that is given
   back after the lease's grace.
3. It ends in time though the store doesn't answer: what could not be given back is taken back by the others, once they
   miss this process's beat.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jobqueue.core.job import StopReason
from jobqueue.core.transitions import LEASE_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.valkey.attempts import Attempts
    from jobqueue.backend.valkey.leases import Leases
    from jobqueue.backend.valkey.stops import Stops

ANSWER_S: Final = 2.0
"""How long an answer of the store is waited for at the end, in seconds."""


class Drain:
    """The end of a process's share in the work."""

    def __init__(self, attempts: Attempts, leases: Leases, stops: Stops) -> None:
        self._attempts, self._leases, self._stops = attempts, leases, stops
        self._fewer = asyncio.Event()
        attempts.on_fewer = self._fewer.set

    async def run(self, deadline_s: float, on_deadline: Callable[[], None]) -> int:
        """Drain, as `Backend.drain`; return the number of attempts that were given back."""
        unstarted = self._leases.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._until_none_is_held()
        on_deadline()
        stopped = list(self._attempts)
        for held in stopped:
            self._stops.request(held, StopReason.SHUTDOWN)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEASE_GRACE_S + ANSWER_S):
                await self._until_none_is_held()
        return unstarted + sum(held.stopping is StopReason.SHUTDOWN and not held.lost for held in stopped)

    async def _until_none_is_held(self) -> None:
        while self._attempts:
            self._fewer.clear()
            await self._fewer.wait()
