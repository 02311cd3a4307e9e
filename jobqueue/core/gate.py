"""A gate: so many permits, and the jobs that wait for one.

A job that must wait stands in the gate, not in its queue, so it never blocks
the jobs behind it. A permit that comes free goes straight to the one that has
waited longest: nobody can overtake.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.core.job import JobId


class Gate:
    __slots__ = ("_holders", "_permits", "_waiting")

    def __init__(self, permits: int) -> None:
        if permits < 1:
            raise ValueError(f"a gate needs at least one permit, got {permits}")
        self._permits = permits
        self._holders: set[JobId] = set()
        self._waiting: OrderedDict[JobId, None] = OrderedDict()

    @property
    def held(self) -> int:
        return len(self._holders)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, job_id: JobId) -> bool:
        """Take a permit, or stand in line for one; return whether the job holds one now."""
        if job_id in self._holders:
            return True
        if len(self._holders) < self._permits:
            self._holders.add(job_id)
            return True
        self._waiting[job_id] = None
        return False

    def leave(self, job_id: JobId) -> JobId | None:
        """Give back a permit or a place in line; return the job that now holds the permit, if one waited."""
        self._waiting.pop(job_id, None)
        if job_id not in self._holders:
            return None
        self._holders.remove(job_id)
        if not self._waiting:
            return None
        heir, _ = self._waiting.popitem(last=False)
        self._holders.add(heir)
        return heir
