"""The fair order: groups take turns, so that a group of a thousand jobs doesn't delay a group of one.

Deficit round robin (Shreedhar & Varghese, "Efficient fair queuing using deficit round-robin", 1996):

1. Groups that have jobs form a ring. Each turn is worth a quantum; the group spends it, and what it saved, on
   the costs of its jobs, first in, first out. When its next job costs more than is left, the next group has its turn.
2. What is left is saved for the group's next turn. A group without jobs saves nothing: it leaves, and takes no memory.
3. The quantum is the highest cost met since there were last no jobs. So each turn pays for one job at least, a pop
   reads two groups at most, and where all jobs cost the same a turn is one job.
4. A job is paid for whenever it is taken, so again after it was requeued.
5. Jobs of an owner are in groups of their own: a name that two owners choose means two groups. Only with the limits
   `across_owners`, which the server's own jobs have, is a group that of all owners.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from jobqueue.core.scheduling.linked_list import LinkedList, Stamps, by_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.core.job import Job

Name = str | tuple[str, str | None] | None
"""A group, or an owner and its group."""

COST_MIN: Final = 0.1
COST_MAX: Final = 10.0


def one(job: Job) -> float:
    """A cost function under which all jobs cost the same."""
    return 1.0


class Group:
    """The jobs of one group, its deficit, and whether it has its turn."""

    __slots__ = ("in_turn", "jobs", "left")

    def __init__(self) -> None:
        self.jobs = LinkedList()
        self.left = 0.0
        self.in_turn = False


class Fair:
    """Groups take turns. A position assumes that all groups have as many jobs ahead as the job's own one has.

    Args:
        cost: A job's run time relative to the typical one's, 1. Called when the job's turn
            comes; clamped to between 0.1 and 10.
    """

    __slots__ = ("_cost", "_quantum", "_ring", "_size", "_stamps")

    def __init__(self, cost: Callable[[Job], float] = one) -> None:
        self._cost = cost
        self._ring: OrderedDict[Name, Group] = OrderedDict()
        self._quantum = COST_MIN
        self._size = 0
        self._stamps = Stamps()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Job]:
        return by_stamp(group.jobs for group in self._ring.values())

    def push(self, job: Job, *, now: float, front: bool = False) -> None:
        name = _name_of(job)
        group = self._ring.get(name)
        if group is None:
            group = self._ring[name] = Group()
        group.jobs.push(job, now=now, front=front, stamp=self._stamps.next(front=front))
        self._size += 1

    def pop(self, now: float) -> Job:
        if not self._size:
            raise IndexError("no job is ready")
        while True:
            name, group = next(iter(self._ring.items()))
            cost = min(COST_MAX, max(COST_MIN, self._cost(group.jobs.first())))
            if not group.in_turn:
                group.in_turn = True
                self._quantum = max(self._quantum, cost)
                group.left += self._quantum
            if cost <= group.left:
                break
            group.in_turn = False
            self._ring.move_to_end(name)
        group.left -= cost
        job = group.jobs.pop(now)
        self._size -= 1
        if not group.jobs:
            self._leave(name)
        return job

    def remove(self, job: Job) -> bool:
        name = _name_of(job)
        group = self._ring.get(name)
        if group is None or not group.jobs.remove(job):
            return False
        self._size -= 1
        if not group.jobs:
            self._leave(name)
        return True

    def position(self, job: Job) -> int | None:
        group = self._ring.get(_name_of(job))
        own = group.jobs.position(job) if group is not None else None
        return None if own is None else min(own * len(self._ring), self._size)

    def _leave(self, name: Name) -> None:
        del self._ring[name]
        if not self._ring:
            self._quantum = COST_MIN


def _name_of(job: Job) -> Name:
    uniqueness, group = job.uniqueness, job.spec.group  # no property: it is read for each job, several times
    if uniqueness is None or uniqueness.owner is None:
        return group
    limits = job.spec.limits
    return group if limits is not None and limits.across_owners else (uniqueness.owner, group)
