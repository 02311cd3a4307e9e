"""CommitPace: whether the next commit of `always` is held for a moment, so that more answers wait for it.

A commit takes some 30 µs of the processor, for one record as for a hundred: a write, a sync in the kernel, and a turn
of the loop; some 70 µs where a thread syncs. Where answers come in faster than the disk syncs, a larger group shares
that. Pure. Rules:

1. Nothing is held while fewer than `WAITING_MIN` answers wait at the end of a sync: few clients wait for the disk
   alone.
2. A held commit begins when as many wait as there can be expected, and after `HOLD_S` at the latest. Where as many
   wait already at the end of the sync, it isn't held.
3. What can be expected is measured: one commit of `MEASURED_EVERY` before which `WAITING_MIN` wait, held or not,
   waits for the whole `HOLD_S`. One that begins earlier, for a snapshot or a failure, measures nothing: the next one
   does.
"""

from __future__ import annotations

from typing import Final

HOLD_S: Final = 0.001
"""The longest time that a commit is held: a timer of the loop counts in milliseconds."""

WAITING_MIN: Final = 4
"""Answers that wait at the end of a sync, at least, where the next commit is held."""

MEASURED_EVERY: Final = 16
"""Syncs, of those at the end of which `WAITING_MIN` answers wait, of which one has its next commit measured."""

_UNKNOWN: Final = 2**31


class CommitPace:
    """What one writer knows of the answers that wait for its commits."""

    def __init__(self) -> None:
        self._enough = _UNKNOWN
        self._syncs = 0

    def holds(self, waiting: int) -> bool:
        """Count the end of a sync; return whether the next commit is held.

        Args:
            waiting: Number of answers that wait for it already.
        """
        if waiting < WAITING_MIN:
            return False
        self._syncs = (self._syncs + 1) % MEASURED_EVERY
        if self._syncs == 0:
            self._enough = _UNKNOWN
        return waiting < self._enough

    def is_due(self, waiting: int) -> bool:
        """Whether as many wait for a held commit as can be expected."""
        return waiting >= self._enough

    def note_whole_hold(self, waiting: int) -> None:
        """Take the measure, if it is to be taken: a commit was held for the whole `HOLD_S`.

        Args:
            waiting: Number of answers that wait for it. Fewer than `WAITING_MIN`: a failure has ended the others.
        """
        if self._enough == _UNKNOWN and waiting >= WAITING_MIN:
            self._enough = waiting
