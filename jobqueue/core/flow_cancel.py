"""FlowCancel: cancels the live jobs of a flow, in portions.

Rules:

1. From its beginning no job of the flow starts, is released, or is cancelled for a parent's sake: a job that a worker
   takes, or that is told of a parent's end, is cancelled there and then, before its portion.
2. Jobs that join the flow meanwhile, or are retried, are cancelled, too. A job that was told to stop submits no more.
3. A flow may have several at once. Rule 1 holds until the last one is over.
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
        over: No job is left.
    """

    def __init__(self, transitions: Transitions, flow: Flow) -> None:
        self.flow = flow
        self.over = False
        self._transitions = transitions
        self._left = self._find()
        cancels = transitions.flow_index.cancels
        cancels[flow.id] = cancels.get(flow.id, 0) + 1

    def go_on(self, now: float, limit: int) -> bool:
        """Cancel up to `limit` jobs; return whether there are more."""
        if self.over:
            return False
        store = self._transitions.store
        begin = max(0, len(self._left) - limit)
        for job_id in self._left[begin:]:
            job = store.get(job_id)
            if job is not None and job.live:
                self._transitions.cancel(job, now=now)
        del self._left[begin:]
        if not self._left:
            self._left = self._find()
        if not self._left:
            self.over = True
            cancels = self._transitions.flow_index.cancels
            cancels[self.flow.id] -= 1
            if not cancels[self.flow.id]:
                del cancels[self.flow.id]
        return not self.over

    def _find(self) -> list[JobId]:
        """Return the jobs that are to be cancelled, parents before their children."""
        jobs = map(self._transitions.held, self.flow.jobs)
        return [job.id for job in jobs if job.live and job.stopping is None]
