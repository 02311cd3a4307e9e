"""The job record, its states, and the table of transitions between them.

Rules:

1. A job moves only along an edge of `TRANSITIONS`; `Job.move` is the only writer of `state`, but for what restores the
   jobs of an earlier process.
2. A terminal state is never left, but on request: by the retry of a failed job, or of its flow. The latter has jobs
   wait again that were cancelled since a parent did not succeed.
3. `version` grows with every change that a client can see, so it serves as an ETag.

Instants (`…_at`) are seconds on the engine's clock. Arguments and results are kept as the JSON bytes that were sent:
the handler decodes exactly these, and their size is known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, final

from mypy_extensions import mypyc_attr

from jobqueue.core.job_extras import Extras
from jobqueue.core.job_extras import StopReason as StopReason  # others import it from here, and at runtime
from jobqueue.core.job_id import JobId as JobId  # noqa: TC001  # likewise: others import it from here, and at runtime
from jobqueue.core.record import MutableRecord, Record
from jobqueue.core.report import ErrorCode

if TYPE_CHECKING:
    from jobqueue.core.backoff import Backoff
    from jobqueue.core.lineage import Lineage
    from jobqueue.core.policy import Limits
    from jobqueue.core.report import FailedAttempt, JobError, Progress
    from jobqueue.core.stored_file import StoredFile, Upload


class JobState(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


WAITING: Final = JobState.WAITING
DELAYED: Final = JobState.DELAYED
QUEUED: Final = JobState.QUEUED
RUNNING: Final = JobState.RUNNING
SUCCEEDED: Final = JobState.SUCCEEDED
FAILED: Final = JobState.FAILED
CANCELLED: Final = JobState.CANCELLED
EXPIRED: Final = JobState.EXPIRED
"""The states by names of their own: in Python 3.11 `JobState.QUEUED` takes 70 ns, since an enum's own class has a
`__getattr__`. A name takes 5, and one operation of the engine reads up to ten states."""

LIVE: Final = frozenset({WAITING, DELAYED, QUEUED, RUNNING})
TERMINAL: Final = frozenset(JobState) - LIVE

TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    WAITING: frozenset({DELAYED, QUEUED, CANCELLED, EXPIRED}),
    DELAYED: frozenset({QUEUED, CANCELLED, EXPIRED}),
    QUEUED: frozenset({RUNNING, CANCELLED, EXPIRED}),
    RUNNING: frozenset({SUCCEEDED, FAILED, CANCELLED, DELAYED, QUEUED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset({QUEUED, WAITING}),  # retry: a new series of attempts
    CANCELLED: frozenset({WAITING}),  # of its flow, where a parent did not succeed
    EXPIRED: frozenset(),
}


@final
@mypyc_attr(acyclic=True)
class JobSpec(Record):
    """The options of a job, checked, with every default filled in.

    Jobs of the same options share one spec. `delay_s` and `start_by_s` count from
    acceptance, `ttl_s` from the end. `own_timeout`: the submission set a timeout shorter than its handler's;
    `own`: it differs from its handler's defaults, so no other job shares the spec.
    `pool` names the pool that the handler needs (`thread`, `process`), if any; `limits` and
    `backoff` are its handler's (None: none; the engine's). `run_at` is the instant that `delay_s` comes from, if the
    submission named one. `traceparent`: the span within which it was submitted (W3C Trace Context). `callback`: the URL
    to which its end is sent. `scheduled`: the schedule that submitted it, and the instant for which, in Unix seconds
    (None: on request).
    """

    type: str
    queue: str
    priority: int
    group: str | None
    delay_s: float
    run_at: float | None
    start_by_s: float | None
    timeout_s: float | None
    own_timeout: bool
    own: bool
    attempts_max: int
    ttl_s: float | None
    pool: str | None
    limits: Limits | None
    backoff: Backoff | None
    traceparent: str | None
    callback: str | None
    scheduled: tuple[str, float | None] | None

    def __init__(
        self,
        *,
        type: str,
        queue: str = "default",
        priority: int = 0,
        group: str | None = None,
        delay_s: float = 0.0,
        run_at: float | None = None,
        start_by_s: float | None = None,
        timeout_s: float | None = None,
        own_timeout: bool = False,
        own: bool = False,
        attempts_max: int = 1,
        ttl_s: float | None = None,
        pool: str | None = None,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        traceparent: str | None = None,
        callback: str | None = None,
        scheduled: tuple[str, float | None] | None = None,
    ) -> None:
        self.type = type
        self.queue = queue
        self.priority = priority
        self.group = group
        self.delay_s = delay_s
        self.run_at = run_at
        self.start_by_s = start_by_s
        self.timeout_s = timeout_s
        self.own_timeout = own_timeout
        self.own = own
        self.attempts_max = attempts_max
        self.ttl_s = ttl_s
        self.pool = pool
        self.limits = limits
        self.backoff = backoff
        self.traceparent = traceparent
        self.callback = callback
        self.scheduled = scheduled


UniqueMode = Literal["return", "reject", "replace", "debounce"]


@final
@mypyc_attr(acyclic=True)
class Unique(Record):
    """A value that one live job of a type may have, and the effect of a second submission.

    `return` answers with the live job, `reject` raises `Duplicate`, `replace` cancels the live job in favour of the
    new one, `debounce` gives a job that still waits the new arguments, and starts its delay again.
    """

    value: str
    mode: UniqueMode

    def __init__(self, value: str, mode: UniqueMode = "return") -> None:
        self.value = value
        self.mode = mode


@final
@mypyc_attr(acyclic=True)
class IdempotencyKey(Record):
    """A caller's key for one submission, and the digest of the submission."""

    key: str
    fingerprint: bytes

    def __init__(self, key: str, fingerprint: bytes) -> None:
        self.key = key
        self.fingerprint = fingerprint


@final
@mypyc_attr(acyclic=True)
class Uniqueness(Record):
    """The identity of a submission: its caller, idempotency key and unique value.

    `plain`: it has neither key nor value, so there is nothing to index. `owner`: the name of the caller to which the
    job belongs, so that others find no trace of it; None: it is no secret.
    """

    caller: str | None
    unique: Unique | None
    key: IdempotencyKey | None
    plain: bool
    owner: str | None

    def __init__(
        self,
        caller: str | None = None,
        unique: Unique | None = None,
        key: IdempotencyKey | None = None,
        plain: bool = False,
        owner: str | None = None,
    ) -> None:
        self.caller = caller
        self.unique = unique
        self.key = key
        self.plain = plain
        self.owner = owner


@final
@mypyc_attr(acyclic=True)
class Lease(Record):
    """The expiring right to run one attempt of a job, with what that takes; `attempt` is the fencing token.

    `recovered`: the job was live when an earlier process crashed, which may have begun an attempt, or ended it.
    """

    job_id: JobId
    attempt: int
    spec: JobSpec
    args: bytes
    upload: Upload | None
    recovered: bool

    def __init__(
        self,
        job_id: JobId,
        attempt: int,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        recovered: bool = False,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.spec = spec
        self.args = args
        self.upload = upload
        self.recovered = recovered

    @property
    def type(self) -> str:
        return self.spec.type

    @property
    def traceparent(self) -> str | None:
        return self.spec.traceparent


@final
@mypyc_attr(acyclic=True)
class Job(MutableRecord):
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
    attempt: int
    version: int
    start_by_at: float | None
    started_at: float | None
    finished_at: float | None
    result: bytes | None
    uniqueness: Uniqueness | None
    extras: Extras | None

    def __init__(
        self,
        *,
        id: JobId,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        state: JobState,
        created_at: float,
        run_at: float,
        attempt: int = 0,
        version: int = 0,
        start_by_at: float | None = None,
        started_at: float | None = None,
        finished_at: float | None = None,
        result: bytes | None = None,
        uniqueness: Uniqueness | None = None,
        extras: Extras | None = None,
    ) -> None:
        self.id = id
        self.spec = spec
        self.args = args
        self.upload = upload
        self.state = state
        self.created_at = created_at
        self.run_at = run_at
        self.attempt = attempt
        self.version = version
        self.start_by_at = start_by_at
        self.started_at = started_at
        self.finished_at = finished_at
        self.result = result
        self.uniqueness = uniqueness
        self.extras = extras

    # Rare fields: their setters make the extras when the first one gets a value.

    @property
    def attempts_before(self) -> int:
        return 0 if self.extras is None else self.extras.attempts_before

    @attempts_before.setter
    def attempts_before(self, value: int) -> None:
        if self.extras is not None:
            self.extras.attempts_before = value
        elif value:
            self.extras = Extras(attempts_before=value)

    @property
    def progress(self) -> Progress | None:
        return None if self.extras is None else self.extras.progress

    @progress.setter
    def progress(self, value: Progress | None) -> None:
        if self.extras is not None:
            self.extras.progress = value
        elif value is not None:
            self.extras = Extras(progress=value)

    @property
    def stopping(self) -> StopReason | None:
        return None if self.extras is None else self.extras.stopping

    @stopping.setter
    def stopping(self, value: StopReason | None) -> None:
        if self.extras is not None:
            self.extras.stopping = value
        elif value is not None:
            self.extras = Extras(stopping=value)

    @property
    def error(self) -> JobError | None:
        return None if self.extras is None else self.extras.error

    @error.setter
    def error(self, value: JobError | None) -> None:
        if self.extras is not None:
            self.extras.error = value
        elif value is not None:
            self.extras = Extras(error=value)

    @property
    def history(self) -> tuple[FailedAttempt, ...] | None:
        return None if self.extras is None else self.extras.history

    @history.setter
    def history(self, value: tuple[FailedAttempt, ...] | None) -> None:
        if self.extras is not None:
            self.extras.history = value
        elif value is not None:
            self.extras = Extras(history=value)

    @property
    def held_bytes(self) -> int:
        return 0 if self.extras is None else self.extras.held_bytes

    @held_bytes.setter
    def held_bytes(self, value: int) -> None:
        if self.extras is not None:
            self.extras.held_bytes = value
        elif value:
            self.extras = Extras(held_bytes=value)

    @property
    def file(self) -> StoredFile | None:
        return None if self.extras is None else self.extras.file

    @file.setter
    def file(self, value: StoredFile | None) -> None:
        if self.extras is not None:
            self.extras.file = value
        elif value is not None:
            self.extras = Extras(file=value)

    @property
    def lineage(self) -> Lineage | None:
        return None if self.extras is None else self.extras.lineage

    @property
    def keeps_args(self) -> bool:
        """Whether it can be retried: it has failed, or was cancelled since a parent did not succeed."""
        if self.state is not CANCELLED:
            return self.state is FAILED
        error = self.error
        return error is not None and error.code is ErrorCode.PARENT_FAILED

    @property
    def attempts_max(self) -> int:
        """The number that `attempt` may reach in this series."""
        return self.attempts_before + self.spec.attempts_max

    @property
    def size_bytes(self) -> int:
        """Bytes that count towards the job store's bound: arguments, result, history, and the rest of the record."""
        size = len(self.args) + (len(self.result) if self.result is not None else 0)
        extras = self.extras
        return size if extras is None else size + extras.held_bytes

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

    @property
    def owner(self) -> str | None:
        """The name of the caller to which it belongs; None: it is no secret."""
        return None if self.uniqueness is None else self.uniqueness.owner

    def move(self, state: JobState) -> None:
        """Change the state; the only place that does.

        Raises:
            ValueError: The table has no such transition; a bug of the caller.
        """
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"job {self.id} can't move from {self.state} to {state}")
        self.state = state
        self.version += 1
