"""The linked list of jobs: the building block of every Order.

Rules:

1. Pushing and popping at either end, and removing from the middle, are O(1).
2. A job is in a list once. Pushing it again is a bug of the caller.
3. Each job has a place number, one more than the one before it when it joined. So its position is a
   subtraction. A job that left from the middle leaves a hole, so positions may be too high, never too low.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobqueue.core.job import Job, JobId

Entry: TypeAlias = "tuple[Job, int, float, int]"
"""A job, its place, since when it waits, its stamp. A plain tuple, because one is made for each job."""


class LinkedList:
    __slots__ = ("_entries", "_first_place", "_place")

    def __init__(self) -> None:
        # Not a dict: to find the first key of one walks over all that were removed before it.
        self._entries: OrderedDict[JobId, Entry] = OrderedDict()
        self._place = 0
        # The place of the first; None: to be looked up. Positions are read more often than jobs leave.
        self._first_place: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Job]:
        for entry in self._entries.values():
            yield entry[0]

    def push(self, job: Job, *, now: float, front: bool = False, stamp: int = 0) -> None:
        """Add a job at the end or at the front.

        Args:
            now: Since when it waits. A job pushed to the front counts as waiting as long as the one that was first.
            stamp: Orders the jobs of several lists.
        """
        entries = self._entries
        assert job.id not in entries, f"job {job.id} is already in this list"
        if front and entries:
            _, place, since, _ = next(iter(entries.values()))
            entries[job.id] = (job, place - 1, min(now, since), stamp)
            entries.move_to_end(job.id, last=False)
            self._first_place = None
        else:
            self._place += 1
            entries[job.id] = (job, self._place, now, stamp)

    def pop(self, now: float) -> Job:
        """Take the first. Raises IndexError if there is none."""
        if not self._entries:
            raise IndexError("no job is ready")
        self._first_place = None
        return self._entries.popitem(last=False)[1][0]

    def pop_last(self) -> Job:
        """Take the last. Raises IndexError if there is none."""
        if not self._entries:
            raise IndexError("no job is ready")
        job, place, _, _ = self._entries.popitem()[1]
        self._place = place - 1  # the next one gets this place: no hole, and the first is unchanged
        return job

    def remove(self, job: Job) -> bool:
        """Remove a job from anywhere; return whether it was here."""
        self._first_place = None
        return self._entries.pop(job.id, None) is not None

    def position(self, job: Job) -> int | None:
        """Count from the first, which is 1; None: not here. See rule 3; at most the length of the list."""
        entry = self._entries.get(job.id)
        if entry is None:
            return None
        if self._first_place is None:
            self._first_place = self._first()[1]
        position, length = entry[1] - self._first_place + 1, len(self._entries)
        return position if position < length else length

    def position_from_last(self, job: Job) -> int | None:
        """Count from the last, which is 1; else as `position`."""
        entry = self._entries.get(job.id)
        if entry is None:
            return None
        last = next(reversed(self._entries.values()))
        return min(last[1] - entry[1] + 1, len(self._entries))

    def first(self) -> Job:
        """Return the first job. The list must not be empty."""
        return self._first()[0]

    def first_since(self) -> float:
        """Return since when the first job waits. The list must not be empty."""
        return self._first()[2]

    def stamped(self) -> Iterator[Entry]:
        """Iterate over all entries; the stamp is the last of four fields."""
        return iter(self._entries.values())

    def _first(self) -> Entry:
        return next(iter(self._entries.values()))


class Stamps:
    """Numbers that record the order in which jobs were pushed to several lists."""

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first = self._last = 0

    def next(self, *, front: bool) -> int:
        """Return a stamp above all given ones, or below them for a job at the front."""
        if front:
            self._first -= 1
            return self._first
        self._last += 1
        return self._last


def by_stamp(lines: Iterable[LinkedList]) -> Iterator[Job]:
    """Iterate over the jobs of several lists in the order of their stamps."""
    for entry in merge(*[line.stamped() for line in lines], key=lambda entry: entry[3]):
        yield entry[0]
