"""A sleep until a given time that someone else can cut short."""

from __future__ import annotations

import asyncio
import time


class Alarm:
    """Serves one sleeper at a time."""

    __slots__ = ("_sleep",)

    def __init__(self) -> None:
        self._sleep: asyncio.Future[bool] | None = None

    async def until(self, due: float) -> bool:
        """Sleep until `due`, on the clock of `time.monotonic`; return False if `cut` came first."""
        delay = due - time.monotonic()
        if delay <= 0:
            return True
        loop = asyncio.get_running_loop()
        self._sleep = loop.create_future()
        timer = loop.call_later(delay, _end, self._sleep)
        try:
            return await self._sleep
        finally:
            timer.cancel()
            self._sleep = None

    def cut(self) -> None:
        """Wake the sleeper now, if there is one."""
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(False)


def _end(sleep: asyncio.Future[bool]) -> None:
    if not sleep.done():
        sleep.set_result(True)
