"""HeldCommit: a commit of `always` that begins a moment after the sync before it, so that more answers wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobqueue.backend.journal.commit_pace import HOLD_S, CommitPace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.journal.kept_waits import KeptWaits


class HeldCommit:
    """The timer of the commit that is held, if one is.

    Args:
        waits: The answers that wait.
        commit: Commits. Called when a commit was held for `HOLD_S`; it calls `end`.
    """

    def __init__(self, waits: KeptWaits, commit: Callable[[], None]) -> None:
        self._waits = waits
        self._commit = commit
        self._loop = asyncio.get_running_loop()
        self._pace = CommitPace()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> bool:
        """Hold the commit after a sync, if more answers can be expected. False: it isn't held."""
        if self._pace.holds(len(self._waits)):
            self._timer = self._loop.call_later(HOLD_S, self._on_timer)
        return self._timer is not None

    @property
    def is_early(self) -> bool:
        """Whether a commit is held, and fewer answers wait for it than can be expected."""
        return self._timer is not None and not self._pace.is_due(len(self._waits))

    def end(self) -> None:
        """Hold no commit any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._pace.note_whole_hold(len(self._waits))
        self._commit()
