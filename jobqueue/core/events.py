"""The events of the engine: what happened, never what to do about it.

The backend passes each one, in order, to its listeners. An event carries the live
record, not a copy: a listener must read it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import Record

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from jobqueue.core.report import Failure


@final
@mypyc_attr(acyclic=True)
class Submitted(Record):
    """A job was accepted; it is delayed or queued."""

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
    """A running job reported progress, or a later submission of its unique value changed a waiting one."""

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
    """A type is out of quarantine: its probe succeeded."""

    type: str

    def __init__(self, type: str) -> None:
        self.type = type


JobEvent = (
    Submitted
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
Event = JobEvent | Evicted | Quarantined | Released
