"""A sleep until a given time that another task can cut short."""

from __future__ import annotations

import asyncio
import time


class Alarm:
    """Serves one sleeper at a time."""

    __slots__ = ("_cut", "_sleep")

    def __init__(self) -> None:
        self._sleep: asyncio.Future[None] | None = None
        self._cut = False

    async def until(self, due: float) -> bool:
        """Sleep until `due`, on the clock of `time.monotonic`; return False if `cut` came before the sleeper woke."""
        delay = due - time.monotonic()
        if delay <= 0:
            return True
        loop = asyncio.get_running_loop()
        self._sleep = loop.create_future()
        self._cut = False
        timer = loop.call_later(delay, _end, self._sleep)
        try:
            await self._sleep
        finally:
            timer.cancel()
            self._sleep = None
        return not self._cut

    def cut(self) -> None:
        """Wake the sleeper now, if there is one."""
        if self._sleep is not None:
            self._cut = True  # also for a sleeper that is due but has not run yet
            _end(self._sleep)


def _end(sleep: asyncio.Future[None]) -> None:
    if not sleep.done():
        sleep.set_result(None)
