"""Probing: which job of a quarantined type is its next probe.

Rules:

1. Callers take turns, and the groups of each. The next turn is that of a caller that had none, the longest waiting
   first; then that of the caller with the earliest last turn. A turn is a probe that started, or the
   failure that began the quarantine.
2. Where all waiting jobs are of one caller and one group, the queue's own discipline decides.
3. The latest `TURNS_MAX` turns are kept. Each choice reads at most that many names.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.job import Job, JobId

TURNS_MAX: Final = 100

N = TypeVar("N")
Group = tuple[str | None, str | None]
"""A group of jobs: their caller's name and their own."""


class ProbeTurns:
    """The turns of callers and groups during a quarantine."""

    __slots__ = ("_callers", "_groups")

    def __init__(self) -> None:
        self._callers: dict[str | None, None] = {}
        self._groups: dict[Group, None] = {}

    def note(self, job: Job) -> None:
        """Count a turn of a job's caller and group."""
        caller = job.caller
        _have_turn(self._callers, caller)
        _have_turn(self._groups, (caller, job.spec.group))

    def next_of(self, waiting: Waiting) -> Job | None:
        """Return the waiting job that is the next probe; None: rule 2."""
        callers = waiting.by_caller
        groups = callers[_next_name(self._callers, callers)]
        if len(callers) == 1 and len(groups) == 1:
            return None
        jobs = groups[_next_name(self._groups, groups)]
        return next(iter(jobs.values()))


class Waiting:
    """The jobs of one wait list, by caller and group, each in the order in which they came."""

    __slots__ = ("by_caller",)

    def __init__(self) -> None:
        self.by_caller: dict[str | None, dict[Group, OrderedDict[JobId, Job]]] = {}

    def add(self, job: Job, *, front: bool = False) -> None:
        caller = job.caller
        groups = self.by_caller.setdefault(caller, {})
        jobs = groups.setdefault((caller, job.spec.group), OrderedDict())
        jobs[job.id] = job
        if front:
            jobs.move_to_end(job.id, last=False)

    def remove(self, job: Job) -> None:
        caller = job.caller
        name = (caller, job.spec.group)
        groups = self.by_caller[caller]
        jobs = groups[name]
        del jobs[job.id]
        if not jobs:
            del groups[name]
            if not groups:
                del self.by_caller[caller]


def _have_turn(turns: dict[N, None], name: N) -> None:
    turns.pop(name, None)
    turns[name] = None
    if len(turns) > TURNS_MAX:
        del turns[next(iter(turns))]


def _next_name(turns: dict[N, None], waiting: Mapping[N, Any]) -> N:
    for name in waiting:
        if name not in turns:
            return name
    return next(name for name in turns if name in waiting)
