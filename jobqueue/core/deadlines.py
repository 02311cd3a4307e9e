"""The due-time heap: keys, each with at most one instant at which it is due.

Rules:

1. A key has one due time; setting it again replaces it.
2. Keys come out in the order of their due times, equal ones in the order they were set.
3. The heap has instants, not keys: deadlines that are set in one step of the loop, for one duration, share theirs.
4. Discarding is O(1): an instant without keys stays behind in the heap, and dead ones are swept out
   before they outnumber the live ones, so memory follows the number of keys.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K")

_SWEEP_MIN: Final = 64
_heapify: Final = heapify
_heappop: Final = heappop
_heappush: Final = heappush


class Deadlines(Generic[K]):
    """Keys by due time. No key is a dict."""

    __slots__ = ("_at", "_heap", "_keys")

    def __init__(self) -> None:
        self._heap: list[float] = []
        # The instant of each key.
        self._at: dict[K, float] = {}
        # The key of each instant, or a dict of several, in their order: many instants have one.
        self._keys: dict[float, Any] = {}

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at: float) -> None:
        """Make `key` due at `at`, in place of any earlier due time."""
        if key in self._at:
            self.discard(key)
        self._at[key] = at
        keys = self._keys.get(at)
        if keys is None:
            self._keys[at] = key
            _heappush(self._heap, at)
        elif isinstance(keys, dict):
            keys[key] = None
        else:
            self._keys[at] = {keys: None, key: None}

    def discard(self, key: K) -> None:
        """Forget `key`, if it is here."""
        at = self._at.pop(key, None)
        if at is None:
            return
        if isinstance(self._keys[at], dict):
            self._forget(key, at)
        else:  # inline, as it runs for most jobs
            del self._keys[at]
        if len(self._heap) > _SWEEP_MIN + 2 * len(self._keys):
            self._sweep()

    def items(self) -> list[tuple[K, float]]:
        """Return every key with its due time."""
        return list(self._at.items())

    def next_at(self) -> float | None:
        """Return when the earliest key is due; None without keys."""
        heap = self._heap
        while heap:
            at = heap[0]
            if at in self._keys:
                return at
            _heappop(heap)
        return None

    def first(self) -> K:
        """Return the earliest key. Raises IndexError without keys."""
        self.next_at()
        return self._first_at(self._heap[0])

    def pop_due(self, now: float) -> K | None:
        """Take out and return the earliest key that is due; None if none is."""
        at = self.next_at()
        if at is None or at > now:
            return None
        key = self._first_at(at)
        del self._at[key]
        self._forget(key, at)
        return key

    def _first_at(self, at: float) -> K:
        keys = self._keys[at]
        key: K = next(iter(keys)) if isinstance(keys, dict) else keys
        return key

    def _forget(self, key: K, at: float) -> None:
        keys = self._keys[at]
        if isinstance(keys, dict):
            del keys[key]
            if keys:
                return
        del self._keys[at]

    def _sweep(self) -> None:
        self._heap = list(self._keys)
        _heapify(self._heap)
