"""What callers hold of the records in a store, as this process knows it: asked for when it is wanted."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from jobqueue.core.caller_holdings import NOTHING, CallerHolding

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.calls import Calls, Reply

STALE_S: Final = 0.25
"""Age of a copy from which a read asks for another one."""

CALLERS_KEPT: Final = 1000
CALLERS_AT_ONCE: Final = 100
"""Callers that one call tells of."""


class CallerMirror:
    """The copies of callers' holdings.

    Args:
        now: The loop's clock.
    """

    def __init__(self, calls: Calls, now: Callable[[], float]) -> None:
        self._calls = calls
        self._now = now
        self._held: dict[str | None, tuple[CallerHolding, float]] = {}
        self._holders: tuple[list[str | None], bool] = [], False
        self._holders_at = -inf

    async def refresh(self, callers: Sequence[str | None]) -> None:
        """Read what these callers hold, and which hold the most. Raises StoreUnavailable."""
        self._take_holders(await self._calls.call("holders", (CALLERS_AT_ONCE,)))
        names = list(dict.fromkeys(callers))
        for first in range(0, len(names), CALLERS_AT_ONCE):
            part = names[first : first + CALLERS_AT_ONCE]
            self._take(part, await self._calls.call("holdings", [name or "" for name in part]))

    def holding(self, caller: str | None, *, stale: bool) -> CallerHolding:
        """Return what a caller holds. Args: stale: Whether this process has changed something since it was read."""
        held, told_at = self._held.get(caller, (NOTHING, -inf))
        if stale or self._now() - told_at >= STALE_S:
            when_done(self._calls.call("holdings", (caller or "",)), partial(self._on_holding, caller))
            held, _ = self._held.get(caller, (held, told_at))
        return held

    def holders(self, most: int, *, stale: bool) -> tuple[list[str | None], bool]:
        """Return callers that hold the most records, and whether these are all that hold any. Args: as `holding`."""
        if stale or self._now() - self._holders_at >= STALE_S:
            when_done(self._calls.call("holders", (CALLERS_AT_ONCE,)), self._on_holders)
        names, complete = self._holders
        return names[:most], complete and len(names) <= most

    def _on_holding(self, caller: str | None, asked: asyncio.Future[Reply]) -> None:
        reply = reply_of(asked)
        if reply is not None:
            self._take((caller,), reply)

    def _on_holders(self, asked: asyncio.Future[Reply]) -> None:
        reply = reply_of(asked)
        if reply is not None:
            self._take_holders(reply)

    def _take(self, callers: Sequence[str | None], reply: Reply) -> None:
        for caller, held in zip(callers, zip(*(iter(reply[1:]),) * 4, strict=True), strict=True):
            self._hold(caller, *held)

    def _take_holders(self, reply: Reply) -> None:
        found = list(zip(*(iter(reply[2:]),) * 5, strict=True))
        for caller, *held in found:
            self._hold(caller.decode() or None, *held)
        self._holders = [caller.decode() or None for caller, *_ in found], bool(reply[1])
        self._holders_at = self._now()

    def _hold(self, caller: str | None, live: int, _: int, records: int, size_bytes: int) -> None:
        self._held.pop(caller, None)
        self._held[caller] = (CallerHolding(live=live, records=records, size_bytes=size_bytes), self._now())
        if len(self._held) > CALLERS_KEPT:
            del self._held[next(iter(self._held))]


def when_done(asked: asyncio.Future[Reply], take: Callable[[asyncio.Future[Reply]], None]) -> None:
    """Call `take` with a reply: now, if it is there."""
    if asked.done():
        take(asked)
    else:
        asked.add_done_callback(take)


def reply_of(asked: asyncio.Future[Reply]) -> Reply | None:
    """Return a reply; None: there is none, and the next one will do."""
    return None if asked.cancelled() or asked.exception() is not None else asked.result()
