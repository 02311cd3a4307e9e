"""ETA: estimates when a live job ends, and when to poll again, from the typical run time of each type.

Estimates, not promises.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from jobqueue.core.job import RUNNING
from jobqueue.core.record import Record

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from jobqueue.core.scheduling.queue_state import QueueState

POLL_AFTER_S_MIN: Final = 0.1
POLL_AFTER_S_MAX: Final = 3.0
"""The maximum is the linger of a stopping server: an obedient client sees the end of its job."""

POLL_AFTER_S_UNKNOWN: Final = 1.0


class WaitReason(StrEnum):
    """Reasons other than the jobs before it for which a queued or waiting job waits."""

    QUEUE_PAUSED = "queue-paused"
    TYPE_QUARANTINED = "type-quarantined"
    LIMIT = "limit"
    PARENTS = "parents"


@final
@mypyc_attr(acyclic=True)
class WaitingFor(Record):
    """Why a queued job doesn't start, and its earliest start on the engine's clock (None: unknown)."""

    reason: WaitReason
    retry_at: float | None

    def __init__(self, reason: WaitReason, retry_at: float | None = None) -> None:
        self.reason = reason
        self.retry_at = retry_at


PAUSED: Final = WaitingFor(WaitReason.QUEUE_PAUSED)
FOR_PARENTS: Final = WaitingFor(WaitReason.PARENTS)


@final
@mypyc_attr(acyclic=True)
class Estimate(Record):
    """Expectations of a live job.

    Attributes:
        position: Number of starts of its queue until its own, 1 for the next; None if it isn't ready.
        eta_s: Seconds until it should end; None: unknown.
        poll_after_s: Seconds after which to poll again.
        waiting_for: Why it waits; None: only for the jobs before it, if it is queued at all.
    """

    position: int | None
    eta_s: float | None
    poll_after_s: float
    waiting_for: WaitingFor | None

    def __init__(
        self, position: int | None, eta_s: float | None, poll_after_s: float, waiting_for: WaitingFor | None = None
    ) -> None:
        self.position = position
        self.eta_s = eta_s
        self.poll_after_s = poll_after_s
        self.waiting_for = waiting_for


def estimate_of(
    job: Job, queue_state: QueueState, position: int | None, now: float, waiting_for: WaitingFor | None = None
) -> Estimate:
    """Estimate when a live job starts and ends.

    Args:
        queue_state: That of its queue.
        position: Its position among its queue's ready jobs; None if it isn't ready.
        waiting_for: Why it waits.
    """
    if waiting_for is not None and waiting_for.retry_at is not None:
        left_s = waiting_for.retry_at - now
        return Estimate(position, None, min(POLL_AFTER_S_MAX, max(POLL_AFTER_S_UNKNOWN, left_s)), waiting_for)
    run_s = queue_state.typical_run_s(job.spec.type)
    eta_s: float | None
    if job.state is RUNNING:
        assert job.started_at is not None
        elapsed_s = now - job.started_at
        if run_s is None:
            return Estimate(None, None, POLL_AFTER_S_UNKNOWN)
        if elapsed_s > run_s:
            # It exceeds the typical run: the longer it has taken, the later it is expected to end.
            return Estimate(None, None, _within(elapsed_s / 2))
        eta_s = run_s - elapsed_s
    elif run_s is None or queue_state.paused or (wait_s := _wait_s(queue_state, position, now)) is None:
        return Estimate(position, None, POLL_AFTER_S_UNKNOWN, waiting_for)
    else:
        eta_s = wait_s + run_s
        if job.run_at > now:
            eta_s += job.run_at - now
    return Estimate(position, eta_s, _within(eta_s), waiting_for)


def _within(wait_s: float) -> float:
    # Not by min and max: this runs for most requests, and they would be half of its cost.
    if wait_s > POLL_AFTER_S_MAX:
        return POLL_AFTER_S_MAX
    return POLL_AFTER_S_MIN if wait_s < POLL_AFTER_S_MIN else wait_s


def _wait_s(queue_state: QueueState, position: int | None, now: float) -> float | None:
    """Estimate a job's wait for its start; without a position it comes after all waiting jobs."""
    waiting = len(queue_state.waiting) if position is None else position
    if not waiting:
        return 0.0
    if position is not None and queue_state.has_worker:
        # A worker may be idle, so the first job may start now.
        waiting -= 1
        if not waiting:
            return 0.0
    pace_per_s = queue_state.pace_per_s(now)
    return None if pace_per_s is None else waiting / pace_per_s
