"""Seconds: counters by second, from a first second on."""

from __future__ import annotations

from array import array
from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Seconds:
    """Counts by second; memory is four bytes for each second up to the last one with a count.

    1. No count is ever negative: more is never taken than there is.
    2. Seconds before the first one are over, and not counted.

    Attributes:
        total: The sum of all counts.
    """

    __slots__ = ("_begin", "_counts", "total")

    def __init__(self, begin: int = 0) -> None:
        self._begin = begin
        self._counts = array("I")
        self.total = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, at: float, count: int = 1) -> None:
        """Count something in the second of that instant."""
        self.add_to(floor(at), count)

    def add_to(self, second: int, count: int = 1) -> None:
        """Count something in that second."""
        index = second - self._begin
        if index < 0:
            return  # that second is over, and was counted
        counts = self._counts
        if len(counts) <= index:
            counts.frombytes(bytes(counts.itemsize * (index + 1 - len(counts))))
        counts[index] += count
        self.total += count

    def take(self, at: float, count: int = 1) -> int:
        """Take up to `count` out of the second of that instant; return how many were taken."""
        index = floor(at) - self._begin
        if not 0 <= index < len(self._counts):
            return 0
        taken = min(count, self._counts[index])
        self._counts[index] -= taken
        self.total -= taken
        return taken

    def from_second(self, at: float) -> int:
        """Count from the second of that instant on."""
        return sum(self._counts[self._index(at) :])

    def between(self, after: float, until: float) -> int:
        """Count in the seconds that lie wholly after one instant and wholly before another."""
        return sum(self._counts[self._index(after + 1.0) : self._index(until)])

    def first_from(self, at: float) -> int | None:
        """Return the first second with a count, from the second of that instant on."""
        return next((second for second, _ in self.each_from(at)), None)

    def each_from(self, at: float) -> Iterator[tuple[int, int]]:
        """Yield the seconds with a count, and their counts, from the second of that instant on."""
        counts = self._counts
        for index in range(self._index(at), len(counts)):
            if counts[index]:
                yield self._begin + index, counts[index]

    def pass_until(self, now: float) -> list[tuple[float, int]]:
        """Drop the seconds that are over; return the end of each that counted any, and its count."""
        over = floor(now) - self._begin
        if over <= 0:
            return []
        counts = self._counts[:over]
        del self._counts[:over]
        passed = [(self._begin + number + 1.0, count) for number, count in enumerate(counts) if count]
        self.total -= sum(count for _, count in passed)
        self._begin += over
        return passed

    def _index(self, at: float) -> int:
        return max(0, floor(at) - self._begin)
