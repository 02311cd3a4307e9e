"""JobView: a job's record as it was at one instant. It never changes, so it may be kept, and read after an await."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import LIVE, Job, JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.job_extras import Extras
from jobqueue.core.record import changed
from jobqueue.core.stored_file import StoredFile, Upload

if TYPE_CHECKING:
    from jobqueue.core.job import StopReason
    from jobqueue.core.lineage import Lineage
    from jobqueue.core.report import FailedAttempt, JobError, Progress


class JobView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One submitted call of a handler, as it was at one instant.

    Attributes:
        attempt: The number of the latest attempt, counted from 1 over all series: it is the fencing token.
        version: Grows with every change that a client can see.
        start_by_at: When it expires unless its first attempt has started; None: never.
        extras: Its rare fields, a copy; None for most jobs.
    """

    id: JobId
    spec: JobSpec
    args: bytes
    upload: Upload | None
    state: JobState
    created_at: float
    run_at: float
    attempt: int
    version: int
    start_by_at: float | None
    started_at: float | None
    finished_at: float | None
    result: bytes | None
    uniqueness: Uniqueness | None
    extras: Extras | None

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def caller(self) -> str | None:
        """The name of the caller that submitted it; None: the application itself."""
        return None if self.uniqueness is None else self.uniqueness.caller

    @property
    def owner(self) -> str | None:
        """The name of the caller to which it belongs; None: it is no secret."""
        return None if self.uniqueness is None else self.uniqueness.owner

    @property
    def attempts_before(self) -> int:
        """Number of attempts of earlier series; a retry begins a new one."""
        return 0 if self.extras is None else self.extras.attempts_before

    @property
    def attempts_max(self) -> int:
        """The number that `attempt` may reach in this series."""
        return self.attempts_before + self.spec.attempts_max

    @property
    def progress(self) -> Progress | None:
        return None if self.extras is None else self.extras.progress

    @property
    def stopping(self) -> StopReason | None:
        """Why the latest attempt was asked to stop."""
        return None if self.extras is None else self.extras.stopping

    @property
    def error(self) -> JobError | None:
        return None if self.extras is None else self.extras.error

    @property
    def history(self) -> tuple[FailedAttempt, ...] | None:
        """The latest failed attempts, oldest first."""
        return None if self.extras is None else self.extras.history

    @property
    def file(self) -> StoredFile | None:
        return None if self.extras is None else self.extras.file

    @property
    def lineage(self) -> Lineage | None:
        return None if self.extras is None else self.extras.lineage


AnyJob = Job | JobView
"""A record for readers: the view, or the live one within one step of the loop."""


def view_of(job: AnyJob) -> JobView:
    """Return a job's record as it is now."""
    return JobView(
        id=job.id,
        spec=job.spec,
        args=job.args,
        upload=job.upload,
        state=job.state,
        created_at=job.created_at,
        run_at=job.run_at,
        attempt=job.attempt,
        version=job.version,
        start_by_at=job.start_by_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        result=job.result,
        uniqueness=job.uniqueness,
        extras=None if job.extras is None else changed(job.extras),
    )
