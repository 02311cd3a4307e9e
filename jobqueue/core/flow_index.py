"""The flow index: which jobs need which records, what waiting jobs wait for, and what is to be done about it.

Rules:

1. A child is told of each parent's end once, in the order in which the parents ended.
2. A child needs the records of its parents while it is live, or may be retried (`Job.keeps_args`). They are kept beyond
   their TTL meanwhile.
3. Whatever concerns many children, or many parents, is work for ticks: it is done in portions, counted in links.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from jobqueue.core.id_order import IdOrder
from jobqueue.core.job import SUCCEEDED, WAITING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.flow import Flow
    from jobqueue.core.job import Job, JobId, JobState
    from jobqueue.core.job_store import JobStore

GONE: Final = None
"""In place of a parent's state: its record was removed."""


class Notice:
    """A parent's end, of which children are still to be told.

    Attributes:
        state: In which it ended; GONE: its record was removed.
        told: The number of children that know.
    """

    __slots__ = ("children", "parent", "state", "told")

    def __init__(self, parent: JobId, state: JobState | None, children: Sequence[JobId]) -> None:
        self.parent = parent
        self.state = state
        self.children = children
        self.told = 0


class Release:
    """Links to the parents of a child that are still to be removed, since it doesn't need them any more.

    Attributes:
        removed: The number of links that are.
    """

    __slots__ = ("child", "parents", "removed")

    def __init__(self, child: JobId, parents: Sequence[JobId]) -> None:
        self.child = child
        self.parents = parents
        self.removed = 0


class FlowIndex:
    """Links between parents and children, and the flows.

    Attributes:
        any: Whether there are any.
        children: By parent: the children that need its record, and whether each is still to be told of its end.
        pending: By waiting job: the number of parents of whose end it is still to be told.
        flows: By id.
        flow_ids: Their ids, in order.
        cancels: By flow: the number of its cancels that are on their way.
        work: What is to be done, in order.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.any = False
        self.children: dict[JobId, dict[JobId, bool]] = {}
        self.pending: dict[JobId, int] = {}
        self.flows: dict[JobId, Flow] = {}
        self.flow_ids = IdOrder()
        self.cancels: dict[JobId, int] = {}
        self.work: deque[Notice | Release] = deque()

    def link(self, child: Job) -> tuple[JobId, JobState | None] | None:
        """Link a child that waits to its parents; return the first one that didn't succeed, with its state."""
        lineage = child.lineage
        assert lineage is not None, "a child has parents"
        pending = 0
        failed: tuple[JobId, JobState | None] | None = None
        for parent_id in lineage.parents:
            parent = self._store.get(parent_id)
            if parent is None:
                failed = failed or (parent_id, GONE)
                continue
            live = parent.live
            self.children.setdefault(parent_id, {})[child.id] = live
            if live:
                pending += 1
                continue
            self._store.keep(parent)
            if parent.state is not SUCCEEDED:
                failed = failed or (parent_id, parent.state)
        self.pending[child.id] = pending
        self.any = True
        return failed

    def need(self, child: Job) -> None:
        """Link a child that doesn't wait any more to the parents that it needs."""
        lineage = child.lineage
        assert lineage is not None, "a child has parents"
        for parent_id in lineage.parents:
            parent = self._store.get(parent_id)
            if parent is not None:
                self.children.setdefault(parent_id, {})[child.id] = False
                if not parent.live:
                    self._store.keep(parent)
        self.any = True

    def ended(self, job: Job) -> None:
        """Note that a job is terminal."""
        children = self.children.get(job.id)
        if children is not None:
            self._store.keep(job)
            told = [child for child, waits in children.items() if waits]
            if told:
                self.work.append(Notice(job.id, job.state, told))
        lineage = job.lineage
        if lineage is None:
            return
        self.pending.pop(job.id, None)
        if lineage.parents and not job.keeps_args:
            self.work.append(Release(job.id, lineage.parents))
        flow = self._flow_of(job)
        if flow is not None:
            flow.end(job)

    def changed(self, job: Job, was: JobState) -> None:
        """Note that a job has a new version, which was live. Args: was: Its state until now."""
        flow = self._flow_of(job)
        if flow is not None:
            flow.change(job, was)

    def revived(self, job: Job, was: JobState) -> None:
        """Note that a terminal job is live again. Args: was: The state in which it had ended."""
        flow = self._flow_of(job)
        if flow is not None:
            flow.revive(job, was)

    def enter(self, flow: Flow) -> None:
        """Note a flow that is not known."""
        self.flows[flow.id] = flow
        self.flow_ids.add(flow.id)
        self.any = True

    def dropped(self, job: Job) -> Flow | None:
        """Note that a record was removed; return its flow, if it is still held."""
        children = self.children.get(job.id)
        if children is not None:
            self.work.append(Notice(job.id, GONE, list(children)))
        lineage = job.lineage
        if lineage is None:
            return None
        if lineage.parents and job.keeps_args:
            self.work.append(Release(job.id, lineage.parents))
        flow = self._flow_of(job)
        if flow is None:
            return None
        flow.drop(job, lineage.name)
        if flow.jobs:
            return flow
        del self.flows[flow.id]
        self.flow_ids.remove(flow.id)
        self.any = bool(self.children or self.flows or self.work)
        return None

    def has_told(self, parent_id: JobId, child_id: JobId) -> bool:
        """Note that a child is told of its parent's end; return whether it was before."""
        children = self.children.get(parent_id)
        if children is None or not children.get(child_id, False):
            return True
        children[child_id] = False
        return False

    def release(self, links: Release, limit: int) -> int:
        """Remove up to `limit` links; return how many."""
        begin = links.removed
        links.removed = min(len(links.parents), begin + limit)
        for parent_id in links.parents[begin : links.removed]:
            children = self.children.get(parent_id)
            if children is None or children.pop(links.child, None) is None or children:
                continue
            del self.children[parent_id]
            parent = self._store.get(parent_id)
            if parent is not None and not parent.live:
                self._store.let_go(parent)
        return links.removed - begin

    def live_child(self, parent_id: JobId) -> Job | None:
        """Return a live job that needs this record; None: there is none."""
        for child_id in self.children.get(parent_id, ()):
            child = self._store.get(child_id)
            if child is not None and child.live:
                return child
        return None

    def is_being_cancelled(self, job: Job) -> bool:
        """Whether the flow of a job is, if it has one."""
        lineage = job.lineage
        return lineage is not None and lineage.flow in self.cancels

    def waits(self, job_id: JobId) -> Job | None:
        """Return the job with this id, if it waits for parents."""
        job = self._store.get(job_id)
        return job if job is not None and job.state is WAITING else None

    def _flow_of(self, job: Job) -> Flow | None:
        lineage = job.lineage
        return None if lineage is None or lineage.flow is None else self.flows.get(lineage.flow)

    def tidy(self) -> None:
        """Note whether there is anything left."""
        self.any = bool(self.children or self.flows or self.work or self.pending)
