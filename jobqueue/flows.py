"""Flows: the part of a service that submits jobs with parents, and whole graphs of jobs.

Rules:

1. A graph is checked as a whole before any of it is submitted: its names and order, then each job. All faults are told
   at once, with pointers from the flow's root.
2. What a request may name as a parent is what it sees: any other id is answered as one that was never issued.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from jobqueue.core.job import LIVE, Uniqueness
from jobqueue.core.lineage import Link
from jobqueue.errors import FAULTS_MAX, InvalidField, InvalidSubmission, JobGone, JobQueueError, NotInStore
from jobqueue.handlers.flow_submission import parents_first
from jobqueue.handlers.submission import traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.base import Backend
    from jobqueue.core.flow import FlowJob, FlowResult, FlowView
    from jobqueue.core.job import IdempotencyKey, JobSpec
    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import Asked, SubmitResult
    from jobqueue.handlers import Submission
    from jobqueue.handlers.flow_submission import NamedSubmission

    Check = Callable[[Submission], tuple[JobSpec, bytes]]


class Flows:
    """Submits jobs with parents, and graphs.

    Args:
        check: Checks a submission, and returns its spec and arguments. Raises InvalidSubmission.
        backend: Returns the backend of the run.
    """

    def __init__(self, check: Check, backend: Callable[[], Backend]) -> None:
        self._check = check
        self._backend = backend

    async def submit_after(self, submission: Submission, asked: Asked, sees: str | None) -> SubmitResult[JobView]:
        """Submit one checked job with parents.

        Args:
            sees: The owner of the jobs that may be named; None: any owner.

        Raises:
            JobNotFound, JobGone: Of a parent.
            InvalidSubmission, Refused, KeyReused, NotInStore: As `Backend.submit_together`.
        """
        (result,) = await self._backend().submit_together([asked], [link_of(submission)], owner=sees)
        return result

    async def submit(
        self,
        jobs: Sequence[NamedSubmission],
        plain: Uniqueness,
        *,
        sees: str | None = None,
        key: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> FlowResult:
        """Check a graph, and submit it as a whole.

        Args:
            plain: The identity of its caller.
            sees: As `submit_after`.
            key: Under which the same graph is submitted once.

        Raises:
            InvalidSubmission, UnknownType: It has faults.
            Refused, KeyReused, NotInStore: As `Backend.submit_flow`.
        """
        order = parents_first(jobs)
        await asyncio.sleep(0)  # a large graph takes tens of milliseconds: other requests run between the parts
        checked = self._checked(jobs)
        await asyncio.sleep(0)
        places = {number: place for place, number in enumerate(order.positions)}
        asked: list[Asked] = []
        links: list[Link] = []
        for place, number in enumerate(order.positions):
            spec, args = checked[number]
            keyed = place == 0 and key is not None
            identity = Uniqueness(plain.caller, None, key, owner=plain.owner) if keyed else plain
            one: Asked = (spec, args, None, identity)
            asked.append(one if traceparent is None else traced(one, traceparent))
            job = jobs[number]
            beside = tuple(places[parent] for parent in order.parents[number])
            links.append(Link(order.outside[number], beside, on_failure=job.on_failure or "cancel", name=job.name))
        try:
            return await self._backend().submit_flow(asked, links, owner=sees)
        except InvalidSubmission as invalid:
            raise invalid.below("/jobs" if invalid.item is None else f"/jobs/{order.positions[invalid.item]}") from None

    async def ended(self, flow_id: str, sees: str | None) -> FlowView:
        """Return a flow once all its jobs have ended. Raises JobNotFound, JobGone."""
        return await until_ended(self._backend(), flow_id, sees)

    def _checked(self, jobs: Sequence[NamedSubmission]) -> list[tuple[JobSpec, bytes]]:
        checked: list[tuple[JobSpec, bytes]] = []
        faults: list[InvalidField] = []
        more, kind = 0, InvalidSubmission
        for number, job in enumerate(jobs):
            try:
                checked.append(self._check(job))
            except InvalidSubmission as invalid:
                below = invalid.below(f"/jobs/{number}")
                room = max(0, FAULTS_MAX - len(faults))
                faults += below.errors[:room]
                more += below.more + len(below.errors[room:])
                kind = type(below) if len(jobs) == 1 else InvalidSubmission
        if faults:
            raise kind(*faults, more=more)
        return checked


async def until_ended(backend: Backend, flow_id: str, sees: str | None = None) -> FlowView:
    """Return a flow once all its jobs have ended.

    Waits for its last jobs, one after the other, and looks again: a job may have submitted others meanwhile, or a
    retry may have begun it anew.

    Raises:
        JobNotFound, JobGone: There is no such flow, or none any more.
    """
    while True:
        flow = await backend.flow(flow_id, sees)
        if flow.state != "running":
            return flow
        live = [job for job in last_jobs(flow) if job.state in LIVE] or [job for job in flow.jobs if job.state in LIVE]
        for job in live:
            with suppress(JobGone):  # it has ended, and its record is gone
                await backend.ending(job.id)


def last_jobs(flow: FlowView) -> list[FlowJob]:
    """Return the jobs of a flow that have no children in it."""
    parents = {parent for job in flow.jobs for parent in job.parents}
    return [job for job in flow.jobs if job.id not in parents]


def no_parents_here(*, shared: bool) -> JobQueueError:
    """Return why a job with parents is not taken where it is submitted beside others, or to a store."""
    if shared:
        return NotInStore("jobs with parents need a server that keeps its jobs itself; this one shares a store")
    detail = "not in a batch: submit the job alone, or all of them as a flow"
    return InvalidSubmission(InvalidField(pointer="/after", detail=detail))


def link_of(submission: Submission, name: str | None = None) -> Link:
    """Return what links a job to the parents that it names by their ids."""
    return Link(tuple(submission.after or ()), (), on_failure=submission.on_failure or "cancel", name=name)
