"""Flows: lets jobs wait for others, and ends, cancels and retries the jobs of a flow.

Rules:

1. A job waits until all its parents have succeeded. If one fails, is cancelled, expires, or its record is removed
   first, the job is cancelled with the error `parent_failed`. One with `on_failure: run` is queued once all parents
   have ended.
2. Its delay begins with its release, its start-by with its acceptance.
3. Children are told by ticks, in portions; only what a submission finds to have ended already is judged at once.
4. A retry takes all jobs of a flow that failed, and those that were cancelled for that reason, or none.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from jobqueue.core.events import FlowChanged, ParentsEnded
from jobqueue.core.flow import Flow, FlowView, FoundFlow, state_of, view_of_flow
from jobqueue.core.flow_cancel import FlowCancel
from jobqueue.core.flow_index import GONE, FlowIndex, Notice
from jobqueue.core.job import CANCELLED, DELAYED, FAILED, QUEUED, SUCCEEDED, WAITING, Job, JobId
from jobqueue.core.report import ErrorCode, JobError
from jobqueue.errors import InvalidField, InvalidSubmission, JobGone, JobNotFound, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.core.admission import AdmissionControl
    from jobqueue.core.job import JobState
    from jobqueue.core.submit import Submitter
    from jobqueue.core.transitions import Transitions
    from jobqueue.core.uniqueness import ValueName

FLOW_JOBS_MAX: Final = 20_000
"""Jobs that a flow has in all, with those that its own jobs submit: a retry goes through them in one step."""


class Flows:
    """The jobs that wait for others, and the flows.

    Args:
        missing: Returns the error for an id without a record, as `Engine.missing`.
    """

    def __init__(
        self,
        transitions: Transitions,
        admission: AdmissionControl,
        submitter: Submitter,
        missing: Callable[[str, str | None], JobNotFound | JobGone],
    ) -> None:
        self._transitions, self._store = transitions, transitions.store
        self._admission = admission
        self._submitter = submitter
        self._missing = missing
        self._index: FlowIndex = transitions.flow_index

    # -- operations

    def get(self, flow_id: str, owner: str | None = None) -> Flow:
        """Return a flow. Raises JobNotFound, JobGone: As `Engine.get`."""
        flow = self._index.flows.get(JobId(flow_id))
        if flow is None or (owner is not None and flow.owner != owner):
            raise self._missing(flow_id, owner)
        return flow

    def all(self) -> list[Flow]:
        """Return all flows."""
        return list(self._index.flows.values())

    def newest(self, after: str | None, limit: int) -> list[Flow]:
        """Return up to `limit` flows, the newest first, whose ids sort before a text; None: the newest of all."""
        return [self._index.flows[flow_id] for flow_id in self._index.flow_ids.before(after, limit)]

    def view(
        self, flow_id: str, owner: str | None = None, *, after: str | None = None, limit: int | None = None
    ) -> FlowView:
        """Return a flow as it is now.

        Args:
            after: The view has the jobs beyond this text, up to `limit`; None: from the first one on, or all.

        Raises:
            JobNotFound, JobGone: As `Engine.get`.
        """
        return self.view_of(self.get(flow_id, owner), after=after, limit=limit)

    def view_of(self, flow: Flow, *, after: str | None = None, limit: int | None = None) -> FlowView:
        """As `view`, of a flow that may be gone."""
        ids = list(flow.jobs)
        begin = 0 if after is None else bisect_right(ids, after)
        end = len(ids) if limit is None else min(len(ids), begin + limit)
        return view_of_flow(flow, list(map(self._transitions.held, ids[begin:end])), more=end < len(ids))

    def begin_cancel(self, flow_id: str, owner: str | None = None) -> FlowCancel:
        """Begin to cancel all live jobs of a flow; return the cancel, which is to go on until none is left.

        Raises:
            JobNotFound, JobGone: As `Engine.get`.
            WrongState: None of them is live.
        """
        flow = self.get(flow_id, owner)
        if not flow.live:
            state = state_of(flow)
            raise WrongState(f"the flow is {state} already, so it can't be cancelled", state=state)
        return FlowCancel(self._transitions, flow)

    def prepare_retry(self, flow_id: str, owner: str | None = None, *, now: float) -> bool:
        """Do a portion of the work that comes before a retry of a flow, whose events are to be passed on before.

        Returns:
            Whether there was any: it is that of later ticks, for all jobs.

        Raises:
            JobNotFound, JobGone: As `Engine.get`.
        """
        self.get(flow_id, owner)
        if not self._index.work:
            return False
        self.settle(now)
        return True

    def retry(self, flow_id: str, owner: str | None = None, *, now: float, limit: int | None = None) -> FlowView:
        """Retry the failed jobs of a flow, and those that were cancelled since a parent did not succeed.

        Jobs with a parent that was cancelled on request, or has expired, stay as they are: it can't be retried. It is
        one step, since it takes all of them or none.

        Args:
            limit: Of the jobs in the view; None: all.

        Raises:
            JobNotFound, JobGone: As `Engine.get`.
            WrongState: There is no such job, or one of them can't be retried; none is.
            Draining, QueueFull, TypeQuarantined, RateLimited, InvalidSubmission: As `TogetherSubmitter.submit`.
        """
        while self.prepare_retry(flow_id, owner, now=now):
            pass
        flow = self.get(flow_id, owner)
        again = self._to_retry(flow)
        if not again:
            state = state_of(flow)
            raise WrongState(f"the flow is {state}, and no job of it can be retried", state=state)
        for job in again.values():
            self._submitter.check_retry(job)
        _check_values(again.values())
        many = [(n, job.spec, job.size_bytes, job.uniqueness) for n, job in enumerate(again.values())]
        self._admission.admit_together(many, now=now)
        for job in again.values():
            lineage = job.lineage
            waits = lineage is not None and (job.state is CANCELLED or any(map(self._is_live, lineage.parents)))
            if waits:
                job.start_by_at = None
            self._submitter.begin_again(job, WAITING if waits else QUEUED, now=now)
            if waits:
                self.judge(job, now)
        return self.view_of(flow, limit=limit)

    # -- waiting jobs

    def judge(self, job: Job, now: float) -> None:
        """Link a waiting job to its parents; if they have ended already, it goes on, or ends, at once."""
        failed = self._index.link(job)
        lineage = job.lineage
        assert lineage is not None, "a waiting job has parents"
        if failed is not None and lineage.on_failure == "cancel":
            self._cancel(job, *failed, now)
        elif not self._index.pending[job.id]:
            self._let_go_on(job, now)

    def wait_again(self, job: Job) -> None:
        """Link a waiting job of an earlier process to its parents; if they have ended already, ticks tell it so."""
        failed, lineage = self._index.link(job), job.lineage
        assert lineage is not None, "a waiting job has parents"
        if failed is not None:
            self._index.work.append(Notice(*failed, [job.id]))
        elif not self._index.pending[job.id]:
            self._index.work.append(Notice(lineage.parents[0], SUCCEEDED, [job.id]))

    def settle(self, now: float, limit: int = 1000, *, tells: bool = True) -> None:
        """Tell children of their parents' ends, and remove links, in portions.

        Args:
            limit: Number of links.
            tells: False: all jobs are about to end anyway, so that children stay as they are.
        """
        index = self._index
        while index.work and limit > 0:
            first = index.work[0]
            if not isinstance(first, Notice):
                limit -= index.release(first, limit)
                if first.removed == len(first.parents):
                    index.work.popleft()
                continue
            begin = first.told
            first.told = min(len(first.children), begin + limit)
            limit -= first.told - begin
            for child_id in first.children[begin : first.told] if tells else ():
                self._tell(child_id, first, now)
            if first.told == len(first.children):
                index.work.popleft()
                if first.state is GONE:
                    index.children.pop(first.parent, None)
        index.tidy()

    def _tell(self, child_id: JobId, notice: Notice, now: float) -> None:
        """Tell a child of a parent's end."""
        index = self._index
        known = index.has_told(notice.parent, child_id)
        child = index.waits(child_id)
        if child is None:
            return
        lineage = child.lineage
        assert lineage is not None, "a waiting job has parents"
        if not known:
            index.pending[child_id] -= 1
        if index.cancels and index.is_being_cancelled(child):
            self._transitions.cancel(child, now=now)
        elif notice.state is not SUCCEEDED and lineage.on_failure == "cancel":
            self._cancel(child, notice.parent, notice.state, now)
        elif not index.pending[child_id]:
            self._let_go_on(child, now)

    def _let_go_on(self, job: Job, now: float) -> None:
        """Queue or delay a job that has waited for its parents."""
        spec = job.spec
        job.run_at = now + spec.delay_s if spec.run_at is None else spec.run_at
        if job.start_by_at is None and job.attempt == 0:
            job.start_by_at = self._submitter.start_by_at(spec, now)
        self._index.pending.pop(job.id, None)
        self._transitions.change_state(job, DELAYED if job.run_at > now else QUEUED, now)
        self._transitions.events.append(ParentsEnded(job))
        if job.state is QUEUED:
            self._transitions.make_ready(job, now)

    def _cancel(self, job: Job, parent_id: JobId, state: JobState | None, now: float) -> None:
        """Cancel a waiting job since a parent didn't succeed. Args: state: Of the parent; None: its record is gone."""
        parent = self._store.get(parent_id)
        name = None if parent is None or parent.lineage is None else parent.lineage.name
        shown = parent_id if name is None else f"{name!r} ({parent_id})"
        how = "was evicted before this job started" if state is GONE else _ENDED[state]
        job.error = JobError(ErrorCode.PARENT_FAILED, f"the parent {shown} {how}")
        self._transitions.end(job, CANCELLED, now)

    # -- flows

    def enter(self, flow: Flow) -> None:
        """Note a flow that gets jobs, unless it is known."""
        if flow.id not in self._index.flows:
            self._index.enter(flow)
            self._transitions.events.append(FlowChanged(flow))

    def keep(self, parents: Iterable[Job]) -> None:
        """Keep the records of parents that have ended, before room is made for their children."""
        for parent in parents:
            if not parent.live:
                self._store.keep(parent)

    def restore(self, job: Job, flow_id: JobId, name: str | None, found: FoundFlow) -> None:
        """Put a job of an earlier process into its flow. Args: found: What is known of the flow."""
        flow = self._index.flows.get(flow_id)
        if flow is None:
            created_at, caller, owner, evicted, versions = found
            flow = Flow(flow_id, created_at=created_at, caller=caller, owner=owner)
            flow.ended, flow.evicted = dict(evicted), dict(evicted)
            flow.version = flow.versions = versions
            self._index.enter(flow)
        flow.add(job, name)
        if not flow.live and (flow.finished_at is None or (job.finished_at or 0.0) > flow.finished_at):
            flow.finished_at = job.finished_at

    def restore_gone(self, job: Job, flow_id: JobId) -> Flow | None:
        """Count a job of an earlier process whose record is gone in its flow, and return that; None: it is gone too."""
        flow = self._index.flows.get(flow_id)
        if flow is not None:
            flow.add_gone(job)
            if flow.finished_at is not None and (job.finished_at or 0.0) > flow.finished_at:
                flow.finished_at = job.finished_at
        return flow

    def check_joining(self, flow: Flow, names: list[str | None]) -> None:
        """Check that jobs may join a flow. Raises InvalidSubmission."""
        if flow.size + len(names) > FLOW_JOBS_MAX:
            detail = f"a flow has at most {FLOW_JOBS_MAX:,} jobs, and flow {flow.id} has {flow.size:,}"
            raise InvalidSubmission(InvalidField(pointer="", detail=detail))
        new: set[str] = set()
        for n, name in enumerate(names):
            if name is None:
                continue
            if name in flow.names or name in new:
                error = InvalidSubmission(InvalidField(pointer="/name", detail=f"the flow has a job {name!r} already"))
                error.item = n
                raise error
            new.add(name)

    def _jobs(self, flow: Flow) -> list[Job]:
        """Return the jobs of a flow that have a record, parents before their children."""
        return [self._transitions.held(job_id) for job_id in flow.jobs]

    def _to_retry(self, flow: Flow) -> dict[JobId, Job]:
        """Return the jobs that a retry takes, parents before their children."""
        again: dict[JobId, Job] = {}
        for job in self._jobs(flow):
            if job.state is FAILED or (
                job.keeps_args and all(self._may_succeed(each, again) for each in _parents(job))
            ):
                again[job.id] = job
        return again

    def _may_succeed(self, job_id: JobId, again: dict[JobId, Job]) -> bool:
        """Whether a job has succeeded, or still may."""
        job = self._store.get(job_id)
        return job_id in again or (job is not None and (job.live or job.state is SUCCEEDED))

    def _is_live(self, job_id: JobId) -> bool:
        job = self._store.get(job_id)
        return job is not None and job.live


_ENDED: Final = {"failed": "failed", "cancelled": "was cancelled", "expired": "expired"}


def _check_values(jobs: Iterable[Job]) -> None:
    """Raise WrongState if two jobs have the same unique value: one of them only may be live."""
    first: dict[ValueName, JobId] = {}
    for job in jobs:
        uniqueness = job.uniqueness
        if uniqueness is not None and uniqueness.unique is not None:
            other = first.setdefault((uniqueness.owner, job.spec.type, uniqueness.unique.value), job.id)
            if other != job.id:
                detail = f"jobs {other} and {job.id} have the same unique value: retry one of them alone"
                raise WrongState(detail, state=job.state)


def _parents(job: Job) -> tuple[JobId, ...]:
    lineage = job.lineage
    return () if lineage is None else lineage.parents
