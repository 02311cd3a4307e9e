"""Window: by how much totals have grown within the last seconds, in bounded memory."""

from __future__ import annotations

from array import array

POINTS = 20
"""Points within a window: its length is true to one part in this many."""

ROOM = POINTS + 2
"""Points that are kept: those within, one before them, and one for an end that falls between two."""

Totals = tuple[int, ...]


class Window:
    """Some totals at points of the last `span_s` seconds.

    The points are numbers in arrays, made with the first one: objects, spread among those of a load, would each keep a
    1 MiB arena of CPython in use (`jobqueue.caches`).
    """

    __slots__ = ("_at", "_count", "_first", "_span_s", "_step_s", "_totals")

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._step_s = span_s / POINTS
        self._first = self._count = 0
        self._at = array("d")
        self._totals: tuple[array[int], ...] = ()

    def has(self, totals: Totals) -> bool:
        """Whether its points have as many totals as these."""
        return not self._count or len(self._totals) == len(totals)

    def put(self, at: float, totals: Totals) -> None:
        """Note the totals of an instant, not before that of the last call."""
        if not self._at:
            self._at = array("d", [0.0]) * ROOM
            self._totals = tuple(array("q", [0]) * ROOM for _ in totals)
        self._forget(at)
        if not self._count or at - self._at[self._place(self._count - 1)] >= self._step_s:
            if self._count == ROOM:
                self._drop_oldest()
            place = self._place(self._count)
            self._at[place] = at
            for column, total in zip(self._totals, totals, strict=True):
                column[place] = total
            self._count += 1

    def grown(self, at: float, totals: Totals) -> Totals:
        """Return by how much the totals have grown within the window that ends now."""
        self._forget(at)
        if not self._count:
            return (0,) * len(totals)
        return tuple(total - column[self._first] for column, total in zip(self._totals, totals, strict=True))

    def _place(self, number: int) -> int:
        """Return where a point is, counted from the oldest one."""
        return (self._first + number) % ROOM

    def _forget(self, at: float) -> None:
        begin = at - self._span_s
        while self._count > 1 and self._at[self._place(1)] <= begin:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._first = self._place(1)
        self._count -= 1
