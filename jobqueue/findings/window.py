"""Window: by how much totals have grown within the last seconds, in bounded memory."""

from __future__ import annotations

from collections import deque

POINTS = 20
"""Points within a window: its length is true to one part in this many."""

Totals = tuple[int, ...]


class Window:
    """Some totals at points of the last `span_s` seconds."""

    __slots__ = ("_points", "_span_s", "_step_s")

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._step_s = span_s / POINTS
        self._points: deque[tuple[float, Totals]] = deque()

    def has(self, totals: Totals) -> bool:
        """Whether its points have as many totals as these."""
        return not self._points or len(self._points[0][1]) == len(totals)

    def put(self, at: float, totals: Totals) -> None:
        """Note the totals of an instant, not before that of the last call."""
        points = self._points
        if not points or at - points[-1][0] >= self._step_s:
            points.append((at, totals))
        self._forget(at)

    def grown(self, at: float, totals: Totals) -> Totals:
        """Return by how much the totals have grown within the window that ends now."""
        self._forget(at)
        if not self._points:
            return (0,) * len(totals)
        return tuple(map(int.__sub__, totals, self._points[0][1]))

    def _forget(self, at: float) -> None:
        points, begin = self._points, at - self._span_s
        while len(points) > 1 and points[1][0] <= begin:
            points.popleft()
