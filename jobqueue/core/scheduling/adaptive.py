"""The adaptive order: first in, first out, until a standing queue shows that not all can be served in time.

During a standing queue the newest job is taken first: its client still waits for it. The oldest ones are served when
there is time again, or expire (Maurer, "Fail at scale", ACM Queue 2015). Serving them first would make every job
as late as its client's patience, or later.

The queueing delay of the oldest job is measured, in both modes: newest first, the jobs that are taken have
hardly waited, which says nothing of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.scheduling.codel import CoDel
from jobqueue.core.scheduling.requeued import RequeuedFirst

if TYPE_CHECKING:
    from jobqueue.core.job import Job


class Adaptive(RequeuedFirst):
    """First in, first out; last in, first out while there is a standing queue. Positions are by the present mode.

    Requeued jobs go first in both modes.

    Args:
        target_s, interval_s: See `CoDel`.
    """

    __slots__ = ("_codel",)

    def __init__(self, *, target_s: float, interval_s: float) -> None:
        super().__init__()
        self._codel = CoDel(target_s=target_s, interval_s=interval_s)

    @property
    def newest_first(self) -> bool:
        """Whether there was a standing queue when a job was last taken."""
        return self._codel.standing

    def pop(self, now: float) -> Job:
        fresh = self._fresh
        if fresh:
            self._codel.observe(now, waited_s=now - fresh.first_since(), backlog=len(fresh) - 1)
        if self._requeued:
            return self._requeued.pop(now)
        return fresh.pop_last() if self._codel.standing else fresh.pop(now)

    def remove(self, job: Job) -> bool:
        if self._requeued.remove(job):
            return True
        here = self._fresh.remove(job)
        if not self._fresh:
            self._codel.ran_empty()
        return here

    def position(self, job: Job) -> int | None:
        ahead = self._fresh.position_from_last(job) if self._codel.standing else self._fresh.position(job)
        return self._requeued.position(job) if ahead is None else len(self._requeued) + ahead
