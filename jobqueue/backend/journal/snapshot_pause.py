"""SnapshotPause: how long after a snapshot that did not help the next one is tried.

Rules:

1. After one that failed, and after one that has freed a segment, but not enough, it is `AGAIN_S`.
2. Each further one that frees none doubles that, up to `AGAIN_S_MAX`: it would write all that is held for nothing.
3. Once a segment less is held than when that snapshot began, `AGAIN_S` is enough: the next one frees something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_S: Final = 60.0
AGAIN_S_MAX: Final = 960.0


class SnapshotPause:
    """The pause before the next snapshot.

    Args:
        held_bytes: Returns what the records take that are held now.
    """

    def __init__(self, segment_bytes: int, held_bytes: Callable[[], int]) -> None:
        self._segment_bytes, self._held_bytes = segment_bytes, held_bytes
        self._begun_at = self._pause_s = 0.0
        self._next_s = AGAIN_S
        # What was held when the last snapshot began.
        self._held_before = 0

    def snapshot(self) -> None:
        """Note that a snapshot begins."""
        self._held_before = self._held_bytes()

    def end(self) -> None:
        """Let the next snapshot be written when it is due."""
        self._pause_s, self._next_s = 0.0, AGAIN_S

    def begin(self, now: float, *, freed_bytes: int | None = None) -> None:
        """Begin a pause. Args: freed_bytes: What a snapshot has freed that left the journal full; None: it failed."""
        if freed_bytes is not None and freed_bytes >= self._segment_bytes:
            self._next_s = AGAIN_S
        self._begun_at, self._pause_s = now, AGAIN_S if freed_bytes is None else self._next_s
        if freed_bytes is not None:
            self._next_s = min(2 * self._next_s, AGAIN_S_MAX)

    def is_over(self, now: float) -> bool:
        """Whether a snapshot may be written."""
        paused_s = now - self._begun_at
        if paused_s >= self._pause_s:
            return True
        return paused_s >= AGAIN_S and self._held_bytes() <= self._held_before - self._segment_bytes
