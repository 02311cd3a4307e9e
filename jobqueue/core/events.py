"""The events of the engine: what happened, never what to do about it.

The backend passes each one, in order, to its listeners. An event carries the live
record, not a copy: a listener must read it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import Record

if TYPE_CHECKING:
    from jobqueue.core.flow import Flow
    from jobqueue.core.job import IdempotencyKey, Job
    from jobqueue.core.pause import Pause
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.report import Failure


@final
@mypyc_attr(acyclic=True)
class Submitted(Record):
    """A job was accepted; it is queued, delayed, or waiting for its parents."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class ParentsEnded(Record):
    """A waiting job need not wait for its parents any more: it is delayed, or queued, and `Ready` follows."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Ready(Record):
    """A job may be leased from now on."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Offered(Record):
    """A queued job that waited for a permit may be leased now; nothing that a client sees has changed."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Started(Record):
    """An attempt began."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Progressed(Record):
    """A running job reported progress, a later submission changed one by its unique value, or one waits again."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class StopRequested(Record):
    """An attempt must end now: its timeout is over, or its job is to be cancelled.

    The worker that runs it must report an outcome within the lease's grace.
    """

    job: Job
    attempt: int

    def __init__(self, job: Job, attempt: int) -> None:
        self.job = job
        self.attempt = attempt


@final
@mypyc_attr(acyclic=True)
class LeaseLost(Record):
    """An attempt did not report an outcome in time; its worker is stuck or gone."""

    job: Job
    attempt: int

    def __init__(self, job: Job, attempt: int) -> None:
        self.job = job
        self.attempt = attempt


@final
@mypyc_attr(acyclic=True)
class AttemptFailed(Record):
    """An attempt failed at `at`; the state of its job tells whether another one follows. For the log."""

    job: Job
    attempt: int
    failure: Failure
    at: float

    def __init__(self, job: Job, attempt: int, failure: Failure, at: float) -> None:
        self.job = job
        self.attempt = attempt
        self.failure = failure
        self.at = at


@final
@mypyc_attr(acyclic=True)
class BackedOff(Record):
    """An attempt failed and the job waits, delayed, for its next one."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Expired(Record):
    """A job was not started in time. For the log; `Ended` follows."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Ended(Record):
    """A job reached its terminal state."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Evicted(Record):
    """Terminal records were removed; `early`: by a bound, not by their TTL or a DELETE."""

    jobs: tuple[Job, ...]
    early: bool

    def __init__(self, jobs: tuple[Job, ...], early: bool = False) -> None:
        self.jobs = jobs
        self.early = early


@final
@mypyc_attr(acyclic=True)
class Quarantined(Record):
    """A type failed too often in a row: its jobs wait, and at `until` one of them runs as the probe."""

    type: str
    until: float
    reason: str

    def __init__(self, type: str, until: float, reason: str) -> None:
        self.type = type
        self.until = until
        self.reason = reason


@final
@mypyc_attr(acyclic=True)
class Released(Record):
    """A type is out of quarantine: its probe succeeded, or it was released on request."""

    type: str
    on_request: bool

    def __init__(self, type: str, on_request: bool = False) -> None:
        self.type = type
        self.on_request = on_request


@final
@mypyc_attr(acyclic=True)
class Paused(Record):
    """A queue starts no more jobs."""

    queue: str
    pause: Pause

    def __init__(self, queue: str, pause: Pause) -> None:
        self.queue = queue
        self.pause = pause


@final
@mypyc_attr(acyclic=True)
class Resumed(Record):
    """A queue starts jobs again; `by`: the caller that has resumed it, None where the pause was over by itself."""

    queue: str
    by: str | None

    def __init__(self, queue: str, by: str | None = None) -> None:
        self.queue = queue
        self.by = by


@final
@mypyc_attr(acyclic=True)
class KeyShared(Record):
    """A further idempotency key leads to a job, which had its submission's unique value. For the journal."""

    job: Job
    caller: str | None
    key: IdempotencyKey

    def __init__(self, job: Job, caller: str | None, key: IdempotencyKey) -> None:
        self.job = job
        self.caller = caller
        self.key = key


@final
@mypyc_attr(acyclic=True)
class Debounced(Record):
    """A later submission of its unique value changed a waiting job. For the journal; `Progressed` comes before."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class RunNow(Record):
    """A delayed job was queued early, on request. For the journal; `Ready` follows."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Retried(Record):
    """A failed job was queued again, on request. For the journal; `Ready` follows."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Requeued(Record):
    """A job is back at the front of its queue, since its attempt was cut off. For the journal; `Ready` follows."""

    job: Job

    def __init__(self, job: Job) -> None:
        self.job = job


@final
@mypyc_attr(acyclic=True)
class Together(Record):
    """The jobs that are accepted between two of these are kept all together, or none is. For the journal."""

    begins: bool

    def __init__(self, begins: bool) -> None:
        self.begins = begins


@final
@mypyc_attr(acyclic=True)
class FlowChanged(Record):
    """A flow began, before its first jobs, or has lost records of jobs. For the journal."""

    flow: Flow

    def __init__(self, flow: Flow) -> None:
        self.flow = flow


@final
@mypyc_attr(acyclic=True)
class PolicyChanged(Record):
    """The settings of a queue were changed while it is in use. For the journal."""

    queue: str
    policy: QueuePolicy

    def __init__(self, queue: str, policy: QueuePolicy) -> None:
        self.queue = queue
        self.policy = policy


JobEvent = (
    Submitted
    | ParentsEnded
    | Ready
    | Offered
    | Started
    | Progressed
    | StopRequested
    | LeaseLost
    | AttemptFailed
    | BackedOff
    | Expired
    | Ended
)
JournalEvent = KeyShared | Debounced | RunNow | Retried | Requeued
"""Events of a job that tell the journal what another event, which comes with them, tells of its state."""

Event = (
    JobEvent
    | JournalEvent
    | Evicted
    | Quarantined
    | Released
    | Paused
    | Resumed
    | PolicyChanged
    | Together
    | FlowChanged
)
