"""What went wrong with a request, for a person and for a script: one line, and an exit code.

| Code | Meaning |
|---|---|
| 1 | the job failed, is in another state, is unknown, or its time was over |
| 2 | the command line: an address, a file, a value that the server finds invalid |
| 3 | the server rejects it: a quota, a full queue, a drain, a key |
| 4 | no job server answers at the address |
"""

from __future__ import annotations

import math

from jobqueue import errors
from jobqueue.cli.terminal.visible import visible
from jobqueue.client import ErrorAnswer, FateUnknown, NoAnswer

FAILED, USAGE, REJECTED, UNREACHABLE = 1, 2, 3, 4
LENGTH_MAX = 2000
"""Of a message: the faults of a submission may be many."""

GONE = {
    "evicted": "the record of this job is no longer held: its TTL is over, or it was deleted",
    "earlier-run": "an earlier run of the server issued this id: its jobs are gone",
}


def code_of(error: Exception) -> int:
    """Return the exit code of an error."""
    match error:
        case NoAnswer():
            return UNREACHABLE
        case errors.Refused() | errors.Unauthorized() | errors.Forbidden() | errors.Duplicate() | errors.NotInStore():
            return REJECTED
        case errors.JobFailed() | errors.JobNotFound() | errors.JobGone() | errors.WrongState() | TimeoutError():
            return FAILED
        case errors.ScheduleNotFound() | errors.ScheduleFixed():
            return FAILED
        case ErrorAnswer(status=status):
            known = {403: REJECTED, 404: FAILED, 409: FAILED, 421: REJECTED}
            return known.get(status, USAGE if 400 <= status < 500 else UNREACHABLE)
        case _:
            return USAGE


def line_of(error: Exception) -> str:
    """Return the message of an error, in one line that a terminal shows as it is."""
    text = str(error)
    match error:
        case errors.Refused(retry_after_s=seconds):
            text = f"rejected: {text}; try again in {math.ceil(seconds)} s (Retry-After)"
        case errors.Unauthorized() | errors.Forbidden():
            text = f"denied: {text}"
        case errors.JobGone(reason=reason):
            text = GONE.get(reason, f"the record of this job is gone: {reason}")
        case FateUnknown(idempotency_key=str(key)):
            text = f"{text}; to be sure, submit it again with --idempotency-key {key}"
        case ErrorAnswer(status=status, detail=detail) if 400 <= status < 500:
            text = detail
        case OSError() if error.filename:
            text = f"{error.filename}: {error.strerror}"
    return visible(text, LENGTH_MAX)
