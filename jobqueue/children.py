"""Children: the part of a service that handlers use while they run: jobs of their own.

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.base import Backend
    from jobqueue.core.job import JobSpec
    from jobqueue.core.job_view import JobView
    from jobqueue.handlers import Submission
    from jobqueue.handlers.child_submission import ChildSubmission


class Children:
    """Answers what handlers ask of their queue.

    Args:
        check: Checks a submission, and returns its spec and arguments. Raises InvalidSubmission.
        backend: Returns the backend of the run.
    """

    def __init__(
        self,
        check: Callable[[Submission], tuple[JobSpec, bytes]],
        backend: Callable[[], Backend],
    ) -> None:
        self._check = check
        self._backend = backend

    async def submit_child(self, job_id: str, attempt: int, child: ChildSubmission) -> str:
        """Submit a job from within an attempt; return its id. Raises as `JobContext.submit`."""
        backend = self._backend()
        job = await backend.get(job_id)
        if not job.live or job.attempt != attempt:
            raise StaleLease(f"attempt {attempt} of job {job_id} is over: it submits no more jobs")
        spec, args = self._check(child)
        if job.spec.traceparent is not None:
            spec = changed(spec, own=True, traceparent=job.spec.traceparent)
        asked = spec, args, None, _identity(child, job)
        return (await backend.submit(*asked)).job.id


def _identity(child: ChildSubmission, job: JobView) -> Uniqueness | None:
    """Return the identity of a child: its caller and owner are the job's, and its key belongs to the job alone."""
    if child.key is None:
        return uniqueness_of(child, job.caller, job.owner, None, with_files=False)
    digest = blake2b(msgspec.json.encode(child), digest_size=16).digest()
    return Uniqueness(job.caller, None, IdempotencyKey(f"{job.id}/{child.key}", digest), owner=job.owner)
