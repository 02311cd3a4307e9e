"""FlowCancel: cancels the live jobs of a flow, in portions.

Rules:

1. No portion has a parent before that of its children: so none is released meanwhile, or cancelled for a parent's sake.
2. Jobs that join the flow meanwhile are cancelled, too. A job that was told to stop submits no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.core.flow import Flow
    from jobqueue.core.job import JobId
    from jobqueue.core.transitions import Transitions


class FlowCancel:
    """One cancel of a flow, on its way.

    Attributes:
        flow: The flow, which may lose its records meanwhile.
    """

    def __init__(self, transitions: Transitions, flow: Flow) -> None:
        self.flow = flow
        self._transitions = transitions
        self._left = self._find()

    def go_on(self, now: float, limit: int) -> bool:
        """Cancel up to `limit` jobs; return whether there are more."""
        store = self._transitions.store
        begin = max(0, len(self._left) - limit)
        for job_id in self._left[begin:]:
            job = store.get(job_id)
            if job is not None and job.live:
                self._transitions.cancel(job, now=now)
        del self._left[begin:]
        if not self._left:
            self._left = self._find()
        return bool(self._left)

    def _find(self) -> list[JobId]:
        """Return the jobs that are to be cancelled, parents before their children."""
        jobs = map(self._transitions.held, self.flow.jobs)
        return [job.id for job in jobs if job.live and job.stopping is None]
