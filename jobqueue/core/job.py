"""The job record, its states, and the table of transitions between them.

Rules:

1. A job moves only along an edge of `TRANSITIONS`; `Job.move` is the only writer of `state`.
2. A terminal state is never left, but for failed → queued: a retry on request.
3. `version` grows with every change that a client can see, so it serves as an ETag.

Instants (`…_at`) are seconds on the engine's clock. Arguments and results are kept as the JSON bytes that were sent:
the handler decodes exactly these, and their size is known.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Final, Literal, NewType, Protocol, Self, TypeVar, cast, overload

import msgspec

from jobqueue.core.backoff import Backoff
from jobqueue.core.policy import Limits

JobId = NewType("JobId", str)

T = TypeVar("T")

MESSAGE_LENGTH_MAX = 1000
"""Maximum length of an error's message, in characters."""

ATTEMPT_BYTES = 150
"""Bytes of the record of one failed attempt, beside its texts."""


class JobState(StrEnum):
    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


DELAYED: Final = JobState.DELAYED
QUEUED: Final = JobState.QUEUED
RUNNING: Final = JobState.RUNNING
SUCCEEDED: Final = JobState.SUCCEEDED
FAILED: Final = JobState.FAILED
CANCELLED: Final = JobState.CANCELLED
EXPIRED: Final = JobState.EXPIRED
"""The states by names of their own: in Python 3.11 `JobState.QUEUED` takes 70 ns, since an enum's own class has a
`__getattr__`. A name takes 5, and one operation of the engine reads up to ten states."""

LIVE = frozenset({DELAYED, QUEUED, RUNNING})
TERMINAL = frozenset(JobState) - LIVE

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    DELAYED: frozenset({QUEUED, CANCELLED, EXPIRED}),
    QUEUED: frozenset({RUNNING, CANCELLED, EXPIRED}),
    RUNNING: frozenset({SUCCEEDED, FAILED, CANCELLED, DELAYED, QUEUED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset({QUEUED}),  # retry: a new series of attempts
    CANCELLED: frozenset(),
    EXPIRED: frozenset(),
}


class ErrorCode(StrEnum):
    HANDLER_ERROR = "handler_error"
    TIMED_OUT = "timed_out"
    WORKER_CRASHED = "worker_crashed"
    REJECTED = "rejected"
    BAD_RESULT = "bad_result"
    RESULT_TOO_LARGE = "result_too_large"
    SHUTDOWN = "shutdown"


class StopReason(StrEnum):
    """Why a running attempt was asked to stop."""

    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"


class JobError(msgspec.Struct, frozen=True, gc=False):
    """Why a job failed: a code for programs, a message for readers."""

    code: ErrorCode
    message: str


class FailedAttempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt that failed; `traceback` is its last lines, if the handler raised."""

    attempt: int
    started_at: float
    ended_at: float
    code: ErrorCode
    message: str
    traceback: str | None = None

    @property
    def size_bytes(self) -> int:
        size = ATTEMPT_BYTES + text_bytes(self.message)
        return size if self.traceback is None else size + text_bytes(self.traceback)


def text_bytes(text: str) -> int:
    """Return the memory of a text at most: Python keeps up to four bytes for each character unless all are ASCII."""
    return len(text) if text.isascii() else 4 * len(text)


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Progress of a running job: a fraction from 0 to 1, and a note."""

    fraction: float
    note: str | None = None


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file in the spool: an input that a client uploaded, or the result that a handler wrote.

    `filename` is the client's name for it, sanitised; it is no part of `path`.
    """

    path: str
    media_type: str
    size_bytes: int
    filename: str = ""


class Upload(msgspec.Struct, frozen=True, gc=False):
    """The files that came with a submission: their folder in the spool, and those of each part name, in order."""

    folder: str
    files: dict[str, tuple[StoredFile, ...]]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a job, checked, with every default filled in.

    Jobs of the same options share one spec. `delay_s` and `start_by_s` count from
    acceptance, `ttl_s` from the end. `own_timeout`: the submission set a timeout shorter than its handler's;
    `own`: it differs from its handler's defaults, so no other job shares the spec.
    `pool` names the pool that the handler needs (`thread`, `process`), if any; `limits` and
    `backoff` are its handler's (None: none; the engine's). `run_at` is the instant that `delay_s` comes from, if the
    submission named one.
    """

    type: str
    queue: str = "default"
    priority: int = 0
    group: str | None = None
    delay_s: float = 0.0
    run_at: float | None = None
    start_by_s: float | None = None
    timeout_s: float | None = None
    own_timeout: bool = False
    own: bool = False
    attempts_max: int = 1
    ttl_s: float | None = None
    pool: str | None = None
    limits: Limits | None = None
    backoff: Backoff | None = None


UniqueMode = Literal["return", "reject", "replace", "debounce"]


class Unique(msgspec.Struct, frozen=True, gc=False):
    """A value that one live job of a type may have, and the effect of a second submission.

    `return` answers with the live job, `reject` raises `Duplicate`, `replace` cancels the live job in favour of the
    new one, `debounce` gives a job that still waits the new arguments, and starts its delay again.
    """

    value: str
    mode: UniqueMode = "return"


class IdempotencyKey(msgspec.Struct, frozen=True, gc=False):
    """A caller's key for one submission, and the digest of the submission."""

    key: str
    fingerprint: bytes


class Uniqueness(msgspec.Struct, frozen=True, gc=False):
    """The identity of a submission: its caller, idempotency key and unique value.

    `plain`: it has neither key nor value, and live jobs need not be counted, so there is nothing to index.
    """

    caller: str | None = None
    unique: Unique | None = None
    key: IdempotencyKey | None = None
    plain: bool = False


class Success(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt that succeeded: the result's JSON bytes, and the result file, if one was written."""

    result: bytes
    file: StoredFile | None = None


class Failure(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt that failed.

    `retry_after_s` overrides the backoff; `final` forbids another attempt; `traceback` is for the log, and
    its end for the attempts' history.
    """

    code: ErrorCode
    message: str
    retry_after_s: float | None = None
    final: bool = False
    traceback: str | None = None


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The expiring right to run one attempt of a job, with what that takes; `attempt` is the fencing token."""

    job_id: JobId
    attempt: int
    spec: JobSpec
    args: bytes
    upload: Upload | None

    @property
    def type(self) -> str:
        return self.spec.type


class Extras(msgspec.Struct, kw_only=True, gc=False):
    """Rare fields of a job: kept beside the record, so that most records stay small.

    Attributes:
        attempts_before: Number of attempts of earlier series; a retry begins a new one.
        progress: Progress of the latest attempt.
        stopping: Why the latest attempt was asked to stop.
        error: Why it failed, or was cut off.
        history: The latest failed attempts, oldest first.
        held_bytes: Size of the record beside arguments, result and history (`record_size`).
    """

    attempts_before: int = 0
    progress: Progress | None = None
    stopping: StopReason | None = None
    error: JobError | None = None
    history: tuple[FailedAttempt, ...] | None = None
    held_bytes: int = 0


class Extra(Protocol[T]):
    """An attribute of a job that `Extras` holds."""

    @overload
    def __get__(self, job: None, owner: type[Job]) -> Self: ...
    @overload
    def __get__(self, job: Job, owner: type[Job]) -> T: ...
    def __set__(self, job: Job, value: T) -> None: ...


def extra(name: str, default: T) -> Extra[T]:
    """Return the property of a job that stands for a field of its extras, and is `default` while it has none."""
    read, write = attrgetter(name), vars(Extras)[name].__set__

    def get(job: Job) -> T:
        extras = job.extras
        return default if extras is None else read(extras)

    def put(job: Job, value: T) -> None:
        extras = job.extras
        if extras is None:
            if value is default:
                return
            extras = job.extras = Extras()
        write(extras, value)

    return cast("Extra[T]", property(get, put))


class Job(msgspec.Struct, kw_only=True, gc=False):
    """One submitted call of a handler, as the engine holds it.

    Attributes:
        attempt: The number of the latest attempt, counted from 1 over all series: it is the fencing token.
        start_by_at: When it expires unless its first attempt has started; None: never.
        extras: None for most jobs; read it first if several of its fields are needed.
    """

    id: JobId
    spec: JobSpec
    args: bytes
    upload: Upload | None
    state: JobState
    created_at: float
    run_at: float
    attempt: int = 0
    version: int = 0
    start_by_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    result: bytes | None = None
    file: StoredFile | None = None
    uniqueness: Uniqueness | None = None
    extras: Extras | None = None

    attempts_before = extra("attempts_before", 0)
    progress = extra("progress", cast("Progress | None", None))
    stopping = extra("stopping", cast("StopReason | None", None))
    error = extra("error", cast("JobError | None", None))
    history = extra("history", cast("tuple[FailedAttempt, ...] | None", None))
    held_bytes = extra("held_bytes", 0)

    @property
    def attempts_max(self) -> int:
        """The number that `attempt` may reach in this series."""
        return self.attempts_before + self.spec.attempts_max

    @property
    def size_bytes(self) -> int:
        """Bytes that count towards the job store's bound: arguments, result, history, and the rest of the record."""
        size = len(self.args) + (len(self.result) if self.result is not None else 0)
        extras = self.extras
        if extras is None:
            return size
        return size + extras.held_bytes + (self.history_bytes if extras.history else 0)

    @property
    def history_bytes(self) -> int:
        size = 0
        for failed in self.history or ():
            size += failed.size_bytes
        return size

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def caller(self) -> str | None:
        """The name of the caller that submitted it; None: the application itself."""
        return None if self.uniqueness is None else self.uniqueness.caller

    def move(self, state: JobState) -> None:
        """Change the state; the only place that does.

        Raises:
            ValueError: The table has no such transition; a bug of the caller.
        """
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"job {self.id} can't move from {self.state} to {state}")
        self.state = state
        self.version += 1
