"""Sampling: hears at most a share of the events, without a cost for those beyond it.

Rules:

1. Time is cut into windows of `WINDOW_S`. A window hears events until it has its share, then nothing until the next one
   begins. So a server at full load pays for the events that are recorded, and no listener is called for the others.
2. What is heard is contiguous, so it has whole lives of short jobs rather than single events of many.
3. Subscribers learn that events were left out, at most once in `NOTED_S`; not how many, since they weren't counted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 0.25
NOTED_S = 1.0


class Sampling:
    """Says when to listen, window by window.

    Args:
        tune: Begins or ends listening, as `hears` says.
        note: Tells the subscribers that events were left out.
    """

    def __init__(self, tune: Callable[[], object], note: Callable[[], object]) -> None:
        self._tune = tune
        self._note = note
        self._share = 0
        self._left = 0
        self._ignores = False
        self._noted_at = float("-inf")
        self._window: asyncio.TimerHandle | None = None

    @property
    def active(self) -> bool:
        return self._window is not None

    @property
    def hears(self) -> bool:
        """Whether events are to be heard now."""
        return self.active and not self._ignores

    def start(self, share: int) -> None:
        """Begin to sample, or change the share: the events of one window. The caller tunes."""
        self._share = share
        if not self.active:
            self._next_window()

    def stop(self) -> None:
        """End sampling. The caller tunes."""
        if self._window is not None:
            self._window.cancel()
            self._window = None
        self._ignores = False

    def heard(self) -> None:
        """Count an event that was recorded."""
        self._left -= 1
        if self.active and self._left <= 0 and not self._ignores:
            self._ignores = True
            self._tune()

    def _next_window(self) -> None:
        loop = asyncio.get_running_loop()
        self._window = loop.call_later(WINDOW_S, self._next_window)
        self._left = self._share
        if self._ignores:
            self._ignores = False
            if loop.time() >= self._noted_at + NOTED_S:
                self._noted_at = loop.time()
                self._note()
            self._tune()
