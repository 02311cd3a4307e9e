"""Shutdown: ends all live jobs, in portions, so that the loop goes on while thousands end.

Rules:

1. The engine accepts and starts nothing once it has begun.
2. Running attempts are asked to stop first, since they need time for it; then waiting jobs end, as cancelled.
3. All get the error `shutdown`. A job that ends meanwhile by an outcome, a cancel or a deadline is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core import attempts
from jobqueue.core.job import CANCELLED, RUNNING, StopReason

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.transitions import Transitions

LOOKS_MAX: Final = 5000
"""Maximum number of records that a portion reads."""

ENDS_MAX: Final = 200
"""Maximum number of jobs that end in a portion: some milliseconds, listeners included."""


class ShutDown:
    """The end of all live jobs, in portions. None of them may start any more."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
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
        """Find the live jobs among the next records, and ask running ones to stop."""
        for looks, job in enumerate(self._transitions.store.newest_first(self._after)):
            if looks == LOOKS_MAX:
                return
            self._after = job.id
            if job.state is RUNNING:
                self._transitions.request_stop(job, StopReason.SHUTDOWN, now)
            elif job.live:
                self._waiting.append(job)
        self._looked_at_all = True

    def _end_some(self, now: float) -> None:
        for _ in range(min(ENDS_MAX, len(self._waiting))):
            job = self._waiting.pop()
            if job.live:
                job.error = attempts.shut_down(job)
                self._transitions.end(job, CANCELLED, now)
