"""Failed attempts: their errors, and the history that a job keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.attempt_outcome import ATTEMPT_CRASHED, ATTEMPT_FAILED, ATTEMPT_LOST, ATTEMPT_TIMED_OUT
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, FailedAttempt, Failure, JobError

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from jobqueue.core.job_extras import Extras

HISTORY_MAX: Final = 10
TRACEBACK_LENGTH_MAX: Final = 1500
"""Characters of a traceback's end that a job's history keeps; the log has more."""


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


def skip_numbers(job: Job, extras: Extras) -> bool:
    """Skip the numbers of attempts that crashed processes may have begun: a lost record can't tell. Returns True.

    As fencing tokens they are never used again. None of them is charged. Each process may have begun as many as the
    job has.
    """
    charged = job.attempt - extras.attempts_before
    job.attempt = job.attempts_max + (extras.recovered - 1) * job.spec.attempts_max
    extras.attempts_before = job.attempt - charged
    extras.recovered = 0
    return True


def timed_out(job: Job, own: Failure | None = None) -> Failure:
    """Return the outcome of an attempt that exceeded its timeout.

    Args:
        own: The attempt's own outcome, if it raised an error when it was stopped: its traceback is kept.
    """
    message = f"the attempt ran longer than its timeout of {job.spec.timeout_s} s"
    return Failure(ErrorCode.TIMED_OUT, message, traceback=own.traceback if own is not None else None)


def outcome_of(failure: Failure, *, lost: bool) -> int:
    """Return the outcome by which a failed attempt is counted (`attempt_outcome`)."""
    if lost:
        return ATTEMPT_LOST
    if failure.code is ErrorCode.TIMED_OUT:
        return ATTEMPT_TIMED_OUT
    return ATTEMPT_CRASHED if failure.code is ErrorCode.WORKER_CRASHED else ATTEMPT_FAILED


def shut_down(job: Job) -> JobError:
    """Return the error of a job that was ended by the shutdown."""
    return JobError(ErrorCode.SHUTDOWN, f"the server stopped while the job was {job.state}")
