"""Counts of the requests that each caller's own limits have rejected (429).

Above `CALLERS_MAX` callers the one that was rejected last for longest is forgotten.
"""

from __future__ import annotations

CALLERS_MAX = 10_000


class Rejections:
    """The counts by caller, since the start."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}  # in the order of the last rejections

    def add(self, caller: str) -> None:
        """Count a rejected request."""
        count = self._counts.pop(caller, 0)
        if not count and len(self._counts) >= CALLERS_MAX:
            del self._counts[next(iter(self._counts))]
        self._counts[caller] = count + 1

    def of(self, caller: str) -> int:
        """Return the number of a caller's rejected requests."""
        return self._counts.get(caller, 0)

    def latest(self, most: int) -> list[str]:
        """Return the callers that were rejected last, the last one first."""
        return list(self._counts)[: -most - 1 : -1]
