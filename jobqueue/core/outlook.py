"""The outlook of a live job: when it may be over, and when to look again, by what its queue's ledger has measured.

Estimates, and nothing that anybody is held to. It looks, and changes nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import RUNNING

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from jobqueue.core.ledger import QueueLedger

POLL_AFTER_S_MIN, POLL_AFTER_S_MAX = 0.1, 3.0
"""The most is the linger of a server that stops: whoever obeys gets to see the end of its job."""

POLL_AFTER_S_UNKNOWN = 1.0


class WaitReason(StrEnum):
    """What holds a queued job back, beside the jobs before it."""

    QUEUE_PAUSED = "queue-paused"
    TYPE_QUARANTINED = "type-quarantined"
    LIMIT = "limit"


class WaitingFor(msgspec.Struct, frozen=True, gc=False):
    """Why a queued job doesn't start, though a worker may be idle.

    Attributes:
        retry_at: When it may be tried, at the earliest, on the engine's clock; None: that isn't known.
    """

    reason: WaitReason
    retry_at: float | None = None


PAUSED = WaitingFor(WaitReason.QUEUE_PAUSED)


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """What a live job may expect.

    Attributes:
        position: How many starts of its queue until its own, 1 for the next; None if it isn't ready.
        eta_s: Seconds until it may be over; None: too little is known.
        poll_after_s: In how many seconds looking again is worth it.
        waiting_for: What holds it back; None: nothing but the jobs before it, if it is queued at all.
    """

    position: int | None
    eta_s: float | None
    poll_after_s: float
    waiting_for: WaitingFor | None = None


def outlook_of(
    job: Job, ledger: QueueLedger, position: int | None, now: float, waiting_for: WaitingFor | None = None
) -> Outlook:
    """Estimate when a live job starts and ends.

    Args:
        ledger: That of its queue.
        position: Its place among its queue's ready jobs; None if it isn't ready.
        waiting_for: What holds it back.
    """
    if waiting_for is not None and waiting_for.retry_at is not None:
        left_s = waiting_for.retry_at - now
        return Outlook(position, None, min(POLL_AFTER_S_MAX, max(POLL_AFTER_S_UNKNOWN, left_s)), waiting_for)
    run_s = ledger.run_s_by_type.get(job.spec.type, ledger.run_s)
    running = job.state is RUNNING
    if run_s is None or (ledger.paused and not running):
        return Outlook(position, None, POLL_AFTER_S_UNKNOWN, waiting_for)
    if running:
        assert job.started_at is not None
        eta_s = job.started_at + run_s - now
    else:
        eta_s = _wait_s(ledger, position, run_s, now) + run_s
        if job.run_at > now:
            eta_s += job.run_at - now
    # Not by min and max: clients ask for it more often than for anything else, and these would be half of it.
    if eta_s < 0.0:
        eta_s = 0.0
    poll_after_s = POLL_AFTER_S_MAX if eta_s > POLL_AFTER_S_MAX else eta_s
    if poll_after_s < POLL_AFTER_S_MIN:
        poll_after_s = POLL_AFTER_S_MIN
    return Outlook(position, eta_s, poll_after_s, waiting_for)


def _wait_s(ledger: QueueLedger, position: int | None, run_s: float, now: float) -> float:
    """Estimate how long a job waits for its start; without a position it comes after all that wait."""
    pace_per_s = ledger.pace_per_s(now)
    if position is None:
        return len(ledger.waiting) / pace_per_s
    if ledger.has_worker:
        # A worker may be idle, and the first one start now, however little has ended of late.
        position -= 1
        if pace_per_s * run_s < 1.0:
            return position * run_s
    return position / pace_per_s
