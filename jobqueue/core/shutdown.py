"""The end of all live jobs when nothing will run any more, in portions, so that others go on while thousands end.

Rules:

1. Nothing starts once it has begun, and nothing is admitted: that is the engine's to see to.
2. Running attempts are told to stop first, since they need time for it; then those that wait end, as cancelled.
3. All get the error `shutdown`. Who ends otherwise meanwhile, by a verdict, a cancel or a deadline, is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core import attempts
from jobqueue.core.job import CANCELLED, RUNNING, StopReason

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.transitions import Transitions

LOOKS_MAX = 5000
"""How many records one portion looks at."""

ENDS_MAX = 200
"""How many jobs end in one portion: some milliseconds, with all who are told of it."""


class ShutDown:
    """The end of all live jobs, in portions.

    Args:
        life: All jobs, none of which may start any more.
    """

    def __init__(self, life: Transitions) -> None:
        self._life = life
        self._after: JobId | None = None
        self._looked_at_all = False
        self._waiting: list[Job] = []

    def go_on(self, now: float) -> bool:
        """Do a portion; return whether there is more to do."""
        if not self._looked_at_all:
            self._look(now)
        else:
            self._end_some(now)
        return not self._looked_at_all or bool(self._waiting)

    def _look(self, now: float) -> None:
        """Find out who is live, among so many more records, and tell those that run."""
        for looks, job in enumerate(self._life.statuses.newest_first(self._after)):
            if looks == LOOKS_MAX:
                return
            self._after = job.id
            if job.state is RUNNING:
                self._life.request_stop(job, StopReason.SHUTDOWN, now)
            elif job.live:
                self._waiting.append(job)
        self._looked_at_all = True

    def _end_some(self, now: float) -> None:
        for _ in range(min(ENDS_MAX, len(self._waiting))):
            job = self._waiting.pop()
            if job.live:
                job.error = attempts.shut_down(job)
                self._life.end(job, CANCELLED, now)
