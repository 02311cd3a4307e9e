"""Shutdown: ends all live jobs, or keeps them, in portions, so that the loop goes on while thousands end.

Rules:

1. The engine accepts and starts nothing once it has begun.
2. Running attempts are asked to stop first, since they need time for it; then waiting jobs end, as cancelled.
3. All get the error `shutdown`. A job that ends meanwhile by an outcome, a cancel or a deadline is left as it is.
4. A shutdown that keeps the jobs, for the next run, ends none: waiting ones stay as they are, and a stopped attempt is
   given back. Its job is queued again, at the front, and the attempt doesn't count towards `attempts_max`; its number
   is used up, since it is the fencing token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core import attempts
from jobqueue.core.events import Requeued
from jobqueue.core.job import CANCELLED, QUEUED, RUNNING, StopReason

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.transitions import Transitions

LOOKS_MAX: Final = 5000
"""Maximum number of records that a portion reads."""

ENDS_MAX: Final = 200
"""Maximum number of jobs that end in a portion: some milliseconds, listeners included."""


class ShutDown:
    """The end of all live jobs, in portions. From its beginning none of them starts; running attempts go on.

    Attributes:
        keeps: Whether they are kept for the next run, as rule 4 says.
        given_back: Number of attempts that were given back.
    """

    def __init__(self, transitions: Transitions, *, keeps: bool = False) -> None:
        self._transitions = transitions
        self.keeps = keeps
        self.given_back = 0
        for queue_state in transitions.queue_states.values():
            queue_state.closed = True  # so that no job is popped to be denied its lease
        self._after: JobId | None = None
        self._looked_at_all = False
        self._waiting: list[Job] = []

    def go_on(self, now: float) -> bool:
        """Do a portion; return whether there is more to do. Let other tasks run in between."""
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
            elif job.live and not self.keeps:
                self._waiting.append(job)
        self._looked_at_all = True

    def _end_some(self, now: float) -> None:
        for _ in range(min(ENDS_MAX, len(self._waiting))):
            job = self._waiting.pop()
            if job.live:
                job.error = attempts.shut_down(job)
                self._transitions.end(job, CANCELLED, now)

    def give_back(self, job: Job, now: float, outcome: int) -> None:
        """Queue the job of a stopped attempt again. Args: outcome: That of the attempt (`attempt_outcome`)."""
        job.attempts_before += 1
        job.stopping = job.progress = None
        self._transitions.change_state(job, QUEUED, now, outcome)
        self._transitions.events.append(Requeued(job))
        self._transitions.make_ready(job, now, front=True)
        self.given_back += 1
