"""The actual runs of handlers, by attempt, compared with the outcomes of their jobs.

Runs are recorded by the handlers, not by the engine: so runs without a lease are known too, and results before they
are stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobqueue.core.job import JobState, StopReason
from jobqueue.core.report import ErrorCode
from jobqueue.errors import Reject
from jobqueue.handlers.result import ResultTooLarge

if TYPE_CHECKING:
    from tests.simulation.known import Known

RETURNED = "returned"
CANCELLED = "cancelled"
RAISED = frozenset({ErrorCode.HANDLER_ERROR, ErrorCode.WORKER_CRASHED})

ROOMY_BYTES = 100_000
"""A job store of this size has room for every result and history; a smaller one may not."""


@dataclass(slots=True)
class Attempt:
    """One run of a handler. `how` is its end: returned, cancelled, or the code of an error; valid once `over`.

    Attributes:
        result: That of its job, if it returns.
    """

    result: bytes
    how: str = RETURNED
    over: bool = False


class Attempts:
    """The auditor's account of attempts.

    Args:
        check: Records a violation if its first argument is false.
        bytes_max: The byte limit of the job store.
    """

    def __init__(self, check: Callable[[object, str], None], bytes_max: int) -> None:
        self._check = check
        self._roomy = bytes_max >= ROOMY_BYTES
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._at_work: Counter[str] = Counter()
        self.refused: set[int] = set()
        """The numbers of rejected submissions: none of them may run."""

    @contextmanager
    def run(self, known: Known, attempt: int, n: int) -> Iterator[Attempt]:
        """Record the run of an attempt: its begin, and how it ends."""
        check, job_id = self._check, known.job.id
        check((job_id, attempt) not in self._attempts, f"attempt {attempt} of {known} was run twice")
        check(known.running and known.attempt == attempt, f"attempt {attempt} of {known} runs without a lease")
        check(n not in self.refused, f"submission {n} was rejected, and runs as {known}")
        self._attempts[job_id, attempt] = seen = Attempt(str(n).encode())
        self._at_work[job_id] += 1
        check(self._at_work[job_id] == 1 or known.job.spec.pool is None, f"two attempts of {known} run at once")
        try:
            yield seen
        except BaseException as error:
            seen.how = how_of(error)
            raise
        finally:
            seen.over = True
            self._at_work[job_id] -= 1

    def judge(self, known: Known) -> ErrorCode | None:
        """Check that the state of a job that has just stopped running fits the end of its handler.

        Returns the error code of the attempt; None if it has none or the code is unknown.
        """
        job, check = known.job, self._check
        seen = self._attempts.get((job.id, known.attempt))
        how = seen.how if seen is not None and seen.over else None
        code = self._code(known)
        became = f"{known} is {job.state} with {code}: its handler {how}, asked to stop: {known.stop_reason}"
        timed_out = known.stop_reason is StopReason.TIMED_OUT
        if job.state is JobState.SUCCEEDED:
            check(seen is not None and how == RETURNED and not timed_out, became)
            check(seen is None or job.result == seen.result, f"{known} has the result {job.result!r}")
        elif timed_out:
            check(job.state is not JobState.CANCELLED and code in (None, ErrorCode.TIMED_OUT), became)
        elif known.stop_reason is not None:
            expected = ErrorCode.SHUTDOWN if known.stop_reason is StopReason.SHUTDOWN else None
            error = job.error.code if job.error is not None else None
            check(job.state is JobState.CANCELLED and error == expected, became)
        elif how is None:
            # Its worker was killed before the handler began, or while the handler resisted its cancellation.
            check(code in (None, ErrorCode.WORKER_CRASHED), became)
        elif how == RETURNED:
            check(not self._roomy and code is ErrorCode.RESULT_TOO_LARGE, became)
        elif how == CANCELLED:
            check(code is None or code in RAISED, became)
        else:
            check(code is None or code == how, became)
        return code

    def _code(self, known: Known) -> ErrorCode | None:
        """Return the error code recorded for the attempt that has just ended; None if the store had no room for it."""
        job = known.job
        if job.history and job.history[-1].attempt == known.attempt:
            recorded = job.history[-1].code
            self._check(
                job.error is None or job.error.code == recorded, f"{known} failed with {job.error}, not {recorded}"
            )
            return recorded
        failed = job.state in (JobState.FAILED, JobState.DELAYED, JobState.QUEUED)
        self._check(not (failed and self._roomy), f"attempt {known.attempt} of {known} is missing in its history")
        return job.error.code if job.error is not None else None


def how_of(error: BaseException) -> str:
    """Return the error code of an attempt after this exception of its handler."""
    match error:
        case asyncio.CancelledError():
            return CANCELLED
        case Reject():
            return ErrorCode.REJECTED
        case ResultTooLarge():
            return ErrorCode.RESULT_TOO_LARGE
        case Exception():
            return ErrorCode.HANDLER_ERROR
        case _:
            return ErrorCode.WORKER_CRASHED
