"""Children: the part of a service that handlers use while they run: jobs of their own, and those of subscribers.

Rules:

1. A child belongs to the caller and owner of the job that submits it, and has its span.
2. An attempt that is over submits nothing any more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import IdempotencyKey, Uniqueness
from jobqueue.core.record import changed
from jobqueue.errors import StaleLease
from jobqueue.handlers import uniqueness_of
from jobqueue.publish_values import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.base import Backend
    from jobqueue.core.job import JobSpec
    from jobqueue.core.job_view import JobView
    from jobqueue.handlers import Submission
    from jobqueue.handlers.child_submission import ChildSubmission
    from jobqueue.publishing import Publishing


class Children:
    """Answers what handlers ask of their queue.

    Args:
        check: Checks a submission, and returns its spec and arguments. Raises InvalidSubmission.
        backend: Returns the backend of the run.
        topics: What is published.
    """

    def __init__(
        self,
        check: Callable[[Submission], tuple[JobSpec, bytes]],
        backend: Callable[[], Backend],
        topics: Publishing,
    ) -> None:
        self._check = check
        self._backend = backend
        self._topics = topics

    async def submit_child(self, job_id: str, attempt: int, child: ChildSubmission) -> str:
        """Submit a job from within an attempt; return its id. Raises as `JobContext.submit`."""
        job = await self._running(job_id, attempt)
        spec, args = self._check(child)
        if job.spec.traceparent is not None:
            spec = changed(spec, own=True, traceparent=job.spec.traceparent)
        asked = spec, args, None, _identity(child, job)
        return (await self._backend().submit(*asked)).job.id

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
        """Return the job of an attempt. Raises StaleLease if that is over."""
        job = await self._backend().get(job_id)
        if not job.live or job.attempt != attempt:
            raise StaleLease(f"attempt {attempt} of job {job_id} is over: it submits no more jobs")
        return job


def _identity(child: ChildSubmission, job: JobView) -> Uniqueness | None:
    """Return the identity of a child: its caller and owner are the job's, and its key belongs to the job alone."""
    if child.key is None:
        return uniqueness_of(child, job.caller, job.owner, None, with_files=False)
    digest = blake2b(msgspec.json.encode(child), digest_size=16).digest()
    return Uniqueness(job.caller, None, IdempotencyKey(f"{job.id}/{child.key}", digest), owner=job.owner)
