"""The words for attempts that did not succeed, and the history that a job keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.job import MESSAGE_LENGTH_MAX, ErrorCode, FailedAttempt, Failure, JobError

if TYPE_CHECKING:
    from jobqueue.core.job import Job

HISTORY_MAX = 10
TRACEBACK_LENGTH_MAX = 1500
"""How much of a traceback's end a job's history keeps; the log has more of it."""


def failed_attempt(job: Job, failure: Failure, now: float) -> FailedAttempt:
    """Describe the attempt that has just failed."""
    traceback = failure.traceback
    return FailedAttempt(
        attempt=job.attempt,
        started_at=job.started_at if job.started_at is not None else now,
        ended_at=now,
        code=failure.code,
        message=failure.message[:MESSAGE_LENGTH_MAX],
        traceback=None if traceback is None else traceback[-TRACEBACK_LENGTH_MAX:],
    )


def longer_history(job: Job, failed: FailedAttempt) -> tuple[FailedAttempt, ...]:
    """Return the job's history with one more attempt: the latest `HISTORY_MAX`."""
    return (*(job.history or ()), failed)[-HISTORY_MAX:]


def timed_out(job: Job, own: Failure | None = None) -> Failure:
    """Return the verdict on an attempt that took too long.

    Args:
        own: The attempt's own verdict, if it raised an error when it was stopped: its traceback is kept.
    """
    message = f"the attempt ran longer than its timeout of {job.spec.timeout_s} s"
    return Failure(ErrorCode.TIMED_OUT, message, traceback=own.traceback if own is not None else None)


def shut_down(job: Job) -> JobError:
    """Return the error of a job that the server's end cut off."""
    return JobError(ErrorCode.SHUTDOWN, f"the server stopped while the job was {job.state}")
