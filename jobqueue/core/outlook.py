"""The outlook of a live job: when it may be over, and when to look again, by what its queue's ledger has measured.

Estimates, and nothing that anybody is held to. It looks, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import RUNNING

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from jobqueue.core.ledger import QueueLedger

POLL_AFTER_S_MIN, POLL_AFTER_S_MAX = 0.1, 3.0
"""The most is the linger of a server that stops: whoever obeys gets to see the end of its job."""

POLL_AFTER_S_UNKNOWN = 1.0


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """What a live job may expect.

    Attributes:
        position: How many starts of its queue until its own, 1 for the next; None if it isn't ready.
        eta_s: Seconds until it may be over; None: too little is known.
        poll_after_s: In how many seconds looking again is worth it.
    """

    position: int | None
    eta_s: float | None
    poll_after_s: float


def outlook_of(job: Job, ledger: QueueLedger, *, position: int | None, now: float) -> Outlook:
    """Estimate when a live job starts and ends.

    Args:
        ledger: That of its queue.
        position: Its place among its queue's ready jobs; None if it isn't ready.
    """
    run_s = ledger.run_s_by_type.get(job.spec.type, ledger.run_s)
    if run_s is None or (ledger.paused and job.state is not RUNNING):
        return Outlook(position, None, POLL_AFTER_S_UNKNOWN)
    if job.state is RUNNING:
        assert job.started_at is not None
        eta_s = max(0.0, job.started_at + run_s - now)
    else:
        eta_s = max(0.0, job.run_at - now) + _wait_s(ledger, position, run_s, now) + run_s
    return Outlook(position, eta_s, min(POLL_AFTER_S_MAX, max(POLL_AFTER_S_MIN, eta_s)))


def _wait_s(ledger: QueueLedger, position: int | None, run_s: float, now: float) -> float:
    """Estimate how long a job waits for its start; without a position it comes after all that wait."""
    if position is None:
        return len(ledger.waiting) / ledger.drain_per_s(now)
    if not ledger.has_worker:
        return position / ledger.drain_per_s(now)
    # A worker may be idle, and the first one start now, however little has ended of late.
    return (position - 1) / max(ledger.drain_per_s(now), 1.0 / max(run_s, 1e-6))
