"""The events of the engine: what happened, never what to do about it.

The backend passes each one, in order, to its listeners. An event carries the live
record, not a copy: a listener must read it at once.
"""

from __future__ import annotations

import msgspec

from jobqueue.core.job import Failure, Job


class Submitted(msgspec.Struct, frozen=True, gc=False):
    """A job was accepted; it is delayed or queued."""

    job: Job


class Ready(msgspec.Struct, frozen=True, gc=False):
    """A job may be leased from now on."""

    job: Job


class Offered(msgspec.Struct, frozen=True, gc=False):
    """A queued job that waited for a permit may be leased now; nothing that a client sees has changed."""

    job: Job


class Started(msgspec.Struct, frozen=True, gc=False):
    """An attempt began."""

    job: Job


class Progressed(msgspec.Struct, frozen=True, gc=False):
    """A running job reported progress, or a later submission of its unique value changed a waiting one."""

    job: Job


class StopRequested(msgspec.Struct, frozen=True, gc=False):
    """An attempt must end now: its timeout is over, or its job is to be cancelled.

    The worker that runs it must report an outcome within the lease's grace.
    """

    job: Job
    attempt: int


class LeaseLost(msgspec.Struct, frozen=True, gc=False):
    """An attempt did not report an outcome in time; its worker is stuck or gone."""

    job: Job
    attempt: int


class AttemptFailed(msgspec.Struct, frozen=True, gc=False):
    """An attempt failed at `at`; the state of its job tells whether another one follows. For the log."""

    job: Job
    attempt: int
    failure: Failure
    at: float


class BackedOff(msgspec.Struct, frozen=True, gc=False):
    """An attempt failed and the job waits, delayed, for its next one."""

    job: Job


class Expired(msgspec.Struct, frozen=True, gc=False):
    """A job was not started in time. For the log; `Ended` follows."""

    job: Job


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A job reached its terminal state."""

    job: Job


class Evicted(msgspec.Struct, frozen=True, gc=False):
    """Terminal records were removed; `early`: by a bound, not by their TTL or a DELETE."""

    jobs: tuple[Job, ...]
    early: bool = False


class Quarantined(msgspec.Struct, frozen=True, gc=False):
    """A type failed too often in a row: its jobs wait, and at `until` one of them runs as the probe."""

    type: str
    until: float
    reason: str


class Released(msgspec.Struct, frozen=True, gc=False):
    """A type is out of quarantine: its probe succeeded."""

    type: str


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
