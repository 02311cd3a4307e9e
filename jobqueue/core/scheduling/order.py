"""Orders: which of the ready jobs is taken next.

An Order holds jobs and decides their turn; the engine decides whether a popped job may still run.
Each operation takes constant time in the number of jobs. `now` is seconds on the engine's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, assert_never

from jobqueue.core.policy import Discipline
from jobqueue.core.scheduling.adaptive import Adaptive
from jobqueue.core.scheduling.fair import Fair, one
from jobqueue.core.scheduling.linked_list import LinkedList, Stamps, by_stamp
from jobqueue.core.scheduling.requeued import RequeuedFirst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.core.job import Job
    from jobqueue.core.policy import QueuePolicy

PRIORITY_MAX: Final = 9


class Order(Protocol):
    """The interface of a discipline. A job is pushed only while it is not in."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Job]:
        """Iterate over all jobs, in the order of their pushes; requeued ones come first."""

    def push(self, job: Job, *, now: float, front: bool = False) -> None:
        """Add a ready job; `front` requeues one that was taken before and keeps its turn.

        A job that moves here from another Order is pushed as of when it became ready there.
        """

    def pop(self, now: float) -> Job:
        """Take the next job. Raises IndexError if there is none."""

    def remove(self, job: Job) -> bool:
        """Remove a job that is ready no longer, if it is here; return whether it was."""

    def position(self, job: Job) -> int | None:
        """Estimate the number of pops until it is taken, from 1 to the length; None: it isn't here."""


class Fifo(LinkedList):
    """First in, first out. Positions are exact, unless jobs ahead were removed: then they may be too high."""

    __slots__ = ()


class Lifo(RequeuedFirst):
    """Last in, first out. A position counts the newer jobs now; each later one adds to it."""

    __slots__ = ()

    def pop(self, now: float) -> Job:
        return self._requeued.pop(now) if self._requeued else self._fresh.pop_last()

    def remove(self, job: Job) -> bool:
        return self._fresh.remove(job) or self._requeued.remove(job)

    def position(self, job: Job) -> int | None:
        newer = self._fresh.position_from_last(job)
        return self._requeued.position(job) if newer is None else len(self._requeued) + newer


class Priority:
    """Higher priorities first, equal ones first in, first out.

    With aging, a job rises steadily by one level in `aging_s` of waiting, beyond 9 too: so a job of level 0 comes
    before each of level 9 that became ready more than `9 * aging_s` later, however many those are. No clock drives
    that: of two jobs, the same one is ahead at all times.

    Positions count jobs in higher levels, and those ahead in the job's own one. They ignore aging, and later jobs.

    Args:
        aging_s: None: jobs don't rise.
    """

    __slots__ = ("_aging_s", "_levels", "_size", "_stamps")

    def __init__(self, aging_s: float | None = None) -> None:
        self._aging_s = aging_s
        self._levels = tuple(LinkedList() for _ in range(PRIORITY_MAX + 1))
        self._size = 0
        self._stamps = Stamps()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Job]:
        return by_stamp(self._levels)

    def push(self, job: Job, *, now: float, front: bool = False) -> None:
        self._levels[job.spec.priority].push(job, now=now, front=front, stamp=self._stamps.next(front=front))
        self._size += 1

    def pop(self, now: float) -> Job:
        if not self._size:
            raise IndexError("no job is ready")
        self._size -= 1
        if self._aging_s is None:
            return next(line for line in reversed(self._levels) if line).pop(now)
        return self._risen_highest(self._aging_s).pop(now)

    def remove(self, job: Job) -> bool:
        here = self._levels[job.spec.priority].remove(job)
        self._size -= here
        return here

    def position(self, job: Job) -> int | None:
        own = self._levels[job.spec.priority].position(job)
        return None if own is None else own + sum(len(line) for line in self._levels[job.spec.priority + 1 :])

    def _risen_highest(self, aging_s: float) -> LinkedList:
        """Return the list with the first job that has risen highest: others are behind the first of their list."""
        best, best_since = self._levels[0], float("inf")
        for level in range(PRIORITY_MAX, -1, -1):
            line = self._levels[level]
            if line:
                # Equivalent to an earlier arrival with priority 0.
                since = line.first_since() - level * aging_s
                if since < best_since:
                    best, best_since = line, since
        return best


def make_order(policy: QueuePolicy, *, cost: Callable[[Job], float] = one) -> Order:
    """Make an empty Order of a queue's discipline; `cost` is for `fair` alone."""
    match policy.discipline:
        case Discipline.FIFO:
            return Fifo()
        case Discipline.LIFO:
            return Lifo()
        case Discipline.PRIORITY:
            return Priority(policy.aging_s)
        case Discipline.FAIR:
            return Fair(cost)
        case Discipline.ADAPTIVE:
            return Adaptive(target_s=policy.target_s, interval_s=policy.interval_s)
        case _:
            assert_never(policy.discipline)
