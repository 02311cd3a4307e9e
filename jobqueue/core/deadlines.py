"""The due-time heap: keys, each with at most one instant at which it is due.

Rules:

1. A key has one due time; setting it again replaces it.
2. Keys come out in the order of their due times, equal ones in the order they were set.
3. Discarding is O(1): the heap's entry stays behind, and dead entries are swept out
   before they outnumber the live ones, so memory follows the number of keys.
"""

from __future__ import annotations

import heapq
from typing import Any, Final, Generic, TypeAlias, TypeVar

K = TypeVar("K")

Entry: TypeAlias = Any
"""Of the heap: a tuple of the due time, a serial number and the key. By no closer type, because it is recognised by its
identity, and compiled code makes new tuples of a known type."""

_SWEEP_MIN: Final = 64


class Deadlines(Generic[K]):
    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        # The heap's entry of each key: any other one is dead.
        self._due: dict[K, Entry] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due

    def set(self, key: K, at: float) -> None:
        """Make `key` due at `at`, in place of any earlier due time."""
        self._serial = serial = self._serial + 1
        entry: Entry = (at, serial, key)
        self._due[key] = entry
        heap = self._heap
        heapq.heappush(heap, entry)
        if len(heap) > _SWEEP_MIN + 2 * len(self._due):
            self._sweep()

    def discard(self, key: K) -> None:
        """Forget `key`, if it is here."""
        due = self._due
        if due.pop(key, None) is not None and len(self._heap) > _SWEEP_MIN + 2 * len(due):
            self._sweep()

    def items(self) -> list[tuple[K, float]]:
        """Return every key with its due time."""
        return [(key, entry[0]) for key, entry in self._due.items()]

    def next_at(self) -> float | None:
        """Return when the earliest key is due; None without keys."""
        heap, due = self._heap, self._due
        while heap:
            entry = heap[0]
            current: Entry = due.get(entry[2])
            if current is entry:
                at: float = entry[0]
                return at
            heapq.heappop(heap)
        return None

    def first(self) -> K:
        """Return the earliest key. Raises IndexError without keys."""
        self.next_at()
        key: K = self._heap[0][2]
        return key

    def pop_due(self, now: float) -> K | None:
        """Take out and return the earliest key that is due; None if none is."""
        at = self.next_at()
        if at is None or at > now:
            return None
        key: K = heapq.heappop(self._heap)[2]
        del self._due[key]
        return key

    def _sweep(self) -> None:
        self._heap = list(self._due.values())
        heapq.heapify(self._heap)
