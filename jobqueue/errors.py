"""The exceptions that jobqueue raises, and the two that handlers raise.

`http/response/problems.py` maps these types to HTTP responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

FAULTS_MAX = 32
"""Faults of one submission that are named; further ones are counted."""

SHOWN_MAX = 100
"""Maximum length of a client's own text (a name, an id, a path) in a message."""

DETAIL_MAX = 500
"""Characters of one fault's detail."""


def shown(text: str, length_max: int = SHOWN_MAX) -> str:
    """Cut a client's text for a message."""
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


class JobQueueError(Exception):
    """The base class of jobqueue's exceptions.

    Attributes:
        item: Of several submissions that are accepted together or not at all, the index of the one at fault; None: it
            concerns all of them, or there is one.
    """

    item: int | None = None


class ConfigError(JobQueueError):
    """The configuration can't be used; every fault found is in `faults`."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class JournalError(ConfigError):
    """The folder of the journal can't be used, and nothing in it was changed. The message has its path."""


class JournalDamaged(JournalError):
    """The journal holds what it has lost: bytes that were on disk once can't be read any more.

    Args:
        file: The path of the damaged file.
        offset: Where in it the damage begins, in bytes.
        reason: What is wrong there.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{file}: damaged at byte {offset}: {reason}; "
            "restore the folder from a backup, or cut the log there with `jobqueue journal repair`"
        )
        self.file = file
        self.offset = offset
        self.reason = reason


class LifespanFailed(JobQueueError):
    """A queue's lifespan raised an exception at the start; it is the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidField:
    """One fault of a submission: a JSON pointer (RFC 6901) and the expected value."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.detail}"


class InvalidSubmission(JobQueueError):
    """The submission is invalid; `errors` says where and why.

    Args:
        errors: The faults, of which `FAULTS_MAX` are kept, and one more if no others were counted.
        more: Faults beside them, which were counted and not named.
    """

    def __init__(self, *errors: InvalidField, more: int = 0) -> None:
        if more or len(errors) > FAULTS_MAX + 1:
            more += max(0, len(errors) - FAULTS_MAX)
            errors = errors[:FAULTS_MAX]
        rest = (f"and {more:,} more",) if more else ()
        super().__init__("; ".join((*(str(fault) for fault in errors), *rest)))
        self.errors = errors
        self.more = more

    def below(self, base: str) -> InvalidSubmission:
        """Return the same with every pointer below another one: the submission is a part of a larger document."""
        faults = [InvalidField(pointer=base + fault.pointer, detail=fault.detail) for fault in self.errors]
        return (UnknownType if isinstance(self, UnknownType) else InvalidSubmission)(*faults, more=self.more)


class UnknownType(InvalidSubmission):
    """No handler is registered under the submitted type."""


class Refused(JobQueueError):
    """The submission is valid, but rejected for now: nothing was kept, and it never runs.

    `retry_after_s` is when to submit it again, in seconds.
    """

    def __init__(self, detail: str, retry_after_s: float) -> None:
        Exception.__init__(self, detail)  # not by `super`, which takes longer than all the rest
        self.retry_after_s = retry_after_s


def raise_if_any(refusal: Refused | None) -> None:
    """Raise a rejection, if there is one. A caller must not hold it by a name.

    An exception in a local variable of a frame that it passes is a cycle, of nine objects: at thousands of rejections
    per second the garbage collector would stop the loop many times a second.
    """
    if refusal is not None:
        try:
            raise refusal
        finally:
            del refusal


class QueueFull(Refused):
    """The queue holds as many live jobs as its capacity allows."""


class StatusesFull(Refused):
    """The job store is full of live jobs: none of its records may be evicted."""


class SpoolFull(Refused):
    """The spool directory holds as many bytes of files as `spool.bytes_max` allows."""


class JournalFailed(Refused):
    """What was asked for can't be kept now: the journal could not be written.

    A submission was not accepted. Any other change may be in effect, and lost at a restart.
    """


class JournalFull(Refused):
    """The journal's folder holds as many bytes as `journal.bytes_max` allows."""


class StoreUnavailable(Refused):
    """The store that keeps the jobs doesn't answer. A change may have been made all the same."""


class Overloaded(Refused):
    """The load exceeds the memory budget, the event loop is late, or too much is on the way to the store."""


class TypeQuarantined(Refused):
    """The type is in quarantine after consecutive failures, and enough of its jobs wait already."""


class RateLimited(Refused):
    """This caller has used up its own quota: of submissions in a time, or of live jobs."""


class Draining(Refused):
    """The server is about to stop and accepts no more jobs; another one may be running when the client retries."""

    def __init__(
        self, detail: str = "the server is shutting down and accepts no more jobs", *, retry_after_s: float = 5.0
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class Recovering(Refused):
    """The server reads its jobs from the journal, and knows none until it has them all."""

    def __init__(
        self, detail: str = "the server recovers its jobs from the journal", *, retry_after_s: float = 1.0
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NotInStore(JobQueueError):
    """What was asked for doesn't exist where the jobs are in a store that servers share (`backend: valkey`)."""


class Unauthorized(JobQueueError):
    """The request has no API key, or one that the server doesn't know."""


class Forbidden(JobQueueError):
    """The API key lacks the scope that the request needs; `scope` names it, if the server does."""

    def __init__(self, detail: str, *, scope: str | None = None) -> None:
        super().__init__(detail)
        self.scope = scope


class KeyReused(JobQueueError):
    """This caller has submitted something else under the same idempotency key."""


class Duplicate(JobQueueError):
    """A live job, `job_id`, has the unique value already, and the submission's mode is `reject`."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} is live and has this unique value")
        self.job_id = job_id


class JobNotFound(JobQueueError):
    """No job was ever issued under this id."""


class JobGone(JobQueueError):
    """The id was issued, but its record is no longer held.

    `reason` is `evicted` (TTL, a bound of the job store, or deletion) or
    `earlier-run` (an earlier run of this server issued it).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ScheduleNotFound(JobQueueError):
    """No schedule has this name."""


class ScheduleFixed(JobQueueError):
    """The schedule is defined in the code or in the settings, so a request can't replace or delete it."""


class StaleLease(JobQueueError):
    """An outcome came too late: the lease ran out, or a newer attempt owns the job."""


class WrongState(JobQueueError):
    """The job's state forbids the operation; `state` is that state."""

    def __init__(self, detail: str, *, state: str) -> None:
        super().__init__(detail)
        self.state = state


class JobFailed(JobQueueError):
    """The job ended without a result.

    `state` is failed, cancelled or expired; `code` and `message` are its error's.
    """

    def __init__(self, state: str, code: str | None, message: str | None) -> None:
        super().__init__(f"{state}: {code}: {message}" if code else state)
        self.state = state
        self.code = code
        self.message = message


class Retry(Exception):
    """Raised by a handler: this attempt failed; try again after `after_s`, if attempts are left.

    Args:
        after_s: From 0 to 30 days, in seconds or as a timedelta; None: by the handler's backoff.
    """

    def __init__(
        self, after_s: float | timedelta | None = None, message: str = "the handler asked for a retry"
    ) -> None:
        super().__init__(after_s, message)
        self.after_s = after_s
        self.message = message


class Reject(Exception):
    """Raised by a handler: the job can't succeed, however often it is tried."""

    def __init__(self, message: str = "the handler rejected the job") -> None:
        super().__init__(message)
        self.message = message
