"""The event ring: the latest events of a recording, in columns.

Rules:

1. Events are numbered from 1. The ring has the latest of them, `size` at most, each at the place of its number.
2. No object is kept for an event alone: ids, attempts and instants are in arrays, all else the job's or shared. Objects
   would live for a minute on as many pages of a load's memory, and keep all of them: 4,096 events kept 11 MiB.
3. The events of one job are found by its id in the array of ids, without a look at the others.
4. Before an idle server returns memory to the system, what they show is written as JSON: no object of a job is left.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.ids import ID_LENGTH
from jobqueue.core.job import JobId, JobSpec, JobState
from jobqueue.core.report import JobError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_ID = b"\0" * ID_LENGTH


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A job as an event shows it; `at` is in Unix seconds. It is written only for a subscriber."""

    id: JobId
    spec: JobSpec
    state: JobState
    attempt: int
    progress: Progress | None
    error: JobError | None
    at: float


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in the ring; `told` is what it shows: a job, or JSON."""

    serial: int
    name: str
    told: Seen | bytes
    owner: str | None


class EventRing:
    """The ring. It takes no memory before the first event.

    Attributes:
        last: The number of the latest event; 0: there was none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.last = 0
        self.clear()

    def clear(self) -> None:
        """Drop all events. The numbers go on."""
        self._oldest = self.last + 1
        self._ids = bytearray()
        self._attempts = array("L")
        self._instants = array("d")
        # Name, owner, what it shows (JSON, or a job's spec), and the job's state, progress and error.
        self._columns: tuple[list[Any], ...] = ([], [], [], [], [], [])

    @property
    def first(self) -> int:
        """The number of the oldest event that is left; that of the next one, if there is none."""
        return max(self._oldest, self.last - self._size + 1)

    def append(self, event: Recorded) -> None:
        """Record the next event, which has the number after `last`."""
        if not self._ids:
            self._make_room()
        self.last = serial = event.serial
        at, told = serial % self._size, event.told
        names, owners, shown, states, progress, errors = self._columns
        names[at], owners[at] = event.name, event.owner
        if isinstance(told, bytes):
            self._ids[at * ID_LENGTH : (at + 1) * ID_LENGTH] = _NO_ID
            shown[at] = told
            return
        self._ids[at * ID_LENGTH : (at + 1) * ID_LENGTH] = told.id.encode().ljust(ID_LENGTH, b"\0")
        shown[at], states[at], progress[at], errors[at] = told.spec, told.state, told.progress, told.error
        self._attempts[at], self._instants[at] = told.attempt, told.at

    def _make_room(self) -> None:
        self._ids = bytearray(self._size * ID_LENGTH)
        self._attempts = array("L", bytes(self._size * self._attempts.itemsize))
        self._instants = array("d", bytes(self._size * self._instants.itemsize))
        self._columns = tuple([None] * self._size for _ in self._columns)

    def at(self, serial: int) -> Recorded:
        """Return an event that is left, from `first` to `last`."""
        at = serial % self._size
        names, owners, shown, states, progress, errors = (column[at] for column in self._columns)
        if isinstance(shown, bytes):
            return Recorded(serial, names, shown, owners)
        job_id = JobId(self._ids[at * ID_LENGTH : (at + 1) * ID_LENGTH].rstrip(b"\0").decode())
        told = Seen(job_id, shown, states, self._attempts[at], progress, errors, self._instants[at])
        return Recorded(serial, names, told, owners)

    def compact(self, write: Callable[[Seen], bytes]) -> None:
        """Replace what the events show by its JSON, in adjacent memory.

        The specs, errors and progress of jobs that have gone lie spread among the objects of a load, and each would
        keep a 1 MiB arena of CPython in use (`jobqueue.caches`).

        Args:
            write: Returns the JSON.
        """
        _, _, shown, *of_job = self._columns
        for serial in range(self.first, self.last + 1):
            at, told = serial % self._size, self.at(serial).told
            shown[at] = write(told) if isinstance(told, Seen) else bytes(memoryview(told))
            for column in of_job:
                column[at] = None

    def owner_at(self, serial: int) -> str | None:
        """Return the owner of an event that is left."""
        owner: str | None = self._columns[1][serial % self._size]
        return owner

    def of_job(self, job_id: str, after: int = 0) -> Iterator[int]:
        """Yield the numbers of a job's events that are left, oldest first; those after a number alone."""
        wanted = job_id.encode().ljust(ID_LENGTH, b"\0")
        serial = max(self.first, after + 1)
        while serial <= self.last:
            at = serial % self._size
            # To the array's end, or the latest event, whichever comes first.
            end = min(self._size, at + self.last - serial + 1)
            found = self._ids.find(wanted, at * ID_LENGTH, end * ID_LENGTH)
            if found < 0:
                serial += end - at
                continue
            place, off = divmod(found, ID_LENGTH)
            serial += place - at + (1 if off else 0)
            if not off:
                yield serial
                serial += 1
