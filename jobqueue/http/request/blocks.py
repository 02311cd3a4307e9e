"""Blocks: callers of which an operator has every request rejected for a while.

Rules:

1. A request of a blocked caller is answered with 429 and the rest of the time, whatever it asks for. What it has begun,
   a wait or a stream, goes on; its jobs stay.
2. While no caller is blocked, no request is looked at for it.
3. Blocks outlive a reload, not the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.http.errors import CallerLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS_MAX = 1000

FOR_S_MAX = 7 * 86_400

_DETAIL = "an operator has blocked this caller; Retry-After tells for how long"


class TooManyBlocks(Exception):
    """As many callers are blocked as may be."""


class Blocks:
    """The blocked callers.

    Args:
        now: The clock of their ends, in seconds.

    Attributes:
        on_change: Called when there is a first block, or none is left.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[str, float] = {}
        self.on_change: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        """Whether a caller may be blocked."""
        return bool(self._until)

    def callers(self) -> list[str]:
        """Return the blocked callers."""
        now = self._now()
        for caller in [caller for caller, until in self._until.items() if until <= now]:
            self._end(caller)
        return list(self._until)

    def until(self, caller: str) -> float | None:
        """Return when a caller's block ends; None: it is not blocked."""
        until = self._until.get(caller)
        if until is not None and until <= self._now():
            self._end(caller)
            return None
        return until

    def has(self, caller: str) -> bool:
        """Whether a caller is blocked."""
        return caller in self._until and self.until(caller) is not None

    def block(self, caller: str, for_s: float) -> None:
        """Block a caller from now on, or change the end of its block. Raises TooManyBlocks."""
        if caller not in self.callers() and len(self._until) >= BLOCKS_MAX:
            raise TooManyBlocks
        self._until[caller] = self._now() + for_s
        self.on_change()

    def unblock(self, caller: str) -> bool:
        """End a caller's block; return whether there was one."""
        was = self.has(caller)
        if was:
            self._end(caller)
        return was

    def check(self, caller: str) -> None:
        """Raise CallerLimitExceeded if a caller is blocked."""
        if (until := self.until(caller)) is not None:
            raise CallerLimitExceeded(_DETAIL, retry_after_s=until - self._now(), headers={})

    def _end(self, caller: str) -> None:
        del self._until[caller]
        if not self._until:
            self.on_change()
