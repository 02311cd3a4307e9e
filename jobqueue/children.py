"""Children: the part of a service that handlers use while they run: parents, jobs of their own, data to publish.

Rules:

1. A child belongs to the caller and owner of the job that submits it, has its span, and joins its flow.
2. An attempt that is over, or was told to stop, submits nothing any more: a flow that is cancelled grows no more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import IdempotencyKey, Uniqueness
from jobqueue.errors import JobGone, StaleLease
from jobqueue.flows import link_of
from jobqueue.handlers import uniqueness_of
from jobqueue.handlers.submission import traced
from jobqueue.parents import ParentRecord
from jobqueue.publish_values import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.base import Backend
    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import Asked
    from jobqueue.handlers import Submission
    from jobqueue.handlers.child_submission import ChildSubmission
    from jobqueue.publishing import Publishing


class Children:
    """Answers what handlers ask of their queue.

    Args:
        check: Checks a submission, and returns its spec and arguments. Raises InvalidSubmission.
        backend: Returns the backend of the run.
        topics: What is published.
        local: Returns the one in this process, where there is one.
    """

    def __init__(
        self,
        check: Callable[[Submission], tuple[JobSpec, bytes]],
        backend: Callable[[], Backend],
        local: Callable[[], LocalBackend],
        topics: Publishing,
    ) -> None:
        self._check = check
        self._backend = backend
        self._local = local
        self._topics = topics

    def parents_of(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a live job, in order; none of one that has none."""
        if self._backend().shared:
            return ()
        find = self._local().find
        job = find(job_id)
        if job is None or job.lineage is None:
            return ()
        return [_parent(each, find(each)) for each in job.lineage.parents]

    def result_of(self, parent_id: str) -> bytes:
        """Return the result of a parent, as JSON. Raises JobGone."""
        parent = self._local().find(parent_id)
        if parent is None or parent.result is None:
            raise JobGone("evicted")
        return parent.result

    async def submit_child(self, job_id: str, attempt: int, child: ChildSubmission) -> str:
        """Submit a job from within an attempt; return its id. Raises as `JobContext.submit`."""
        job = await self._running(job_id, attempt)
        spec, args = self._check(child)
        asked: Asked = (spec, args, None, _identity(child, job))
        if job.spec.traceparent is not None:
            asked = traced(asked, job.spec.traceparent)
        flow = None if job.lineage is None else job.lineage.flow
        if flow is None and not child.after:
            return (await self._backend().submit(*asked)).job.id
        (result,) = await self._backend().submit_together(
            [asked], [link_of(child, child.name)], flow=flow, owner=job.owner
        )
        return result.job.id

    async def publish_from(self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None) -> list[str]:
        """Publish data from within an attempt; return the ids of its jobs. Raises as `JobContext.publish`."""
        job = await self._running(job_id, attempt)
        publication = await self._topics.publish(
            topic,
            data,
            caller=job.caller,
            owner=job.owner,
            key=None if checked_key(key) is None else f"{job.id}/{key}",
            traceparent=job.spec.traceparent,
        )
        return [each.id for each in publication.jobs]

    async def _running(self, job_id: str, attempt: int) -> JobView:
        """Return the job of an attempt. Raises StaleLease if that is over, or is to stop."""
        job = await self._backend().get(job_id)
        if not job.live or job.attempt != attempt or job.stopping is not None:
            raise StaleLease(f"attempt {attempt} of job {job_id} is over: it submits no more jobs")
        return job


def _identity(child: ChildSubmission, job: JobView) -> Uniqueness | None:
    """Return the identity of a child: its caller and owner are the job's, and its key belongs to the job alone."""
    if child.key is None:
        return uniqueness_of(child, job.caller, job.owner, None, with_files=False)
    digest = blake2b(msgspec.json.encode(child), digest_size=16).digest()
    return Uniqueness(job.caller, None, IdempotencyKey(f"{job.id}/{child.key}", digest), owner=job.owner)


def _parent(parent_id: str, job: Job | None) -> ParentRecord:
    if job is None:
        return ParentRecord(id=parent_id, name=None, type="", state=None)
    error = job.error
    return ParentRecord(
        id=parent_id,
        name=None if job.lineage is None else job.lineage.name,
        type=job.spec.type,
        state=job.state,
        code=None if error is None else error.code,
        message=None if error is None else error.message,
        file=job.file,
    )
