"""CommitPace: whether the next commit of `always` is held for a moment, so that more answers wait for it.

A commit takes some 80 µs of the processor, for one record as for a hundred: a write, a sync, and the changes between
two threads. Where answers come in faster than the disk syncs, a larger group shares that. Pure. Rules:

1. Nothing is held while fewer than `WAITING_MIN` answers wait at the end of a sync: few clients wait for the disk
   alone.
2. A held commit begins when as many wait as there can be expected, and after `HOLD_S` at the latest.
3. What can be expected is measured: one commit of `MEASURED_EVERY` that are held waits for the whole `HOLD_S`.
"""

from __future__ import annotations

from typing import Final

HOLD_S: Final = 0.001
"""The longest time that a commit is held: a timer of the loop counts in milliseconds."""

WAITING_MIN: Final = 4
"""Answers that wait at the end of a sync, at least, where the next commit is held."""

MEASURED_EVERY: Final = 16
"""Held commits of which one measures how many answers come within `HOLD_S`."""

_UNKNOWN: Final = 2**31


class CommitPace:
    """What one writer knows of the answers that wait for its commits."""

    def __init__(self) -> None:
        self._enough = _UNKNOWN
        self._held = 0

    def holds(self, waiting: int) -> bool:
        """Whether the commit after a sync is held. Args: waiting: Number of answers that wait for it already."""
        return WAITING_MIN <= waiting < self._enough

    def is_due(self, waiting: int) -> bool:
        """Whether as many wait for a held commit as can be expected."""
        return waiting >= self._enough

    def note_begin(self, waiting: int) -> None:
        """Note that a held commit begins, with this number of answers that wait for it."""
        if self._enough == _UNKNOWN:
            self._enough = waiting
        self._held = (self._held + 1) % MEASURED_EVERY
        if self._held == 0:
            self._enough = _UNKNOWN
