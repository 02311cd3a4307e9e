"""Admission control: decides whether a submission is accepted, and with what Retry-After it is rejected.

It reads slots, records, quotas and the drain; it changes only the counts of submissions and rejections, and the retry
slots given out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.scheduling.queue_state import RETRY_AFTER_S_MIN
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX
from jobqueue.errors import Draining, QueueFull, RateLimited, Refused, StatusesFull, TypeQuarantined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.job import Job, JobSpec, Uniqueness
    from jobqueue.core.job_store import JobStore
    from jobqueue.core.limits.circuit_breaker import CircuitBreaker, QuarantinedType
    from jobqueue.core.limits.limiters import Limiters
    from jobqueue.core.scheduling.queue_state import QueueState
    from jobqueue.core.uniqueness import UniquenessIndex


QUARANTINED_PART = 10
"""The jobs of a type in quarantine may hold one in this many slots of a queue while they wait.

Beyond that a caller without such a job may have one, so that one caller's jobs don't keep the others from
being the probe; twice as many slots is the bound of all."""


class AdmissionControl:
    """Accepts a submission, or raises the reason of its rejection.

    Args:
        caller_queued: Maximum number of live jobs of a caller; None: no bound.
    """

    def __init__(
        self,
        ledgers: Mapping[str, QueueState],
        statuses: JobStore,
        claimed: UniquenessIndex,
        gates: Limiters,
        quarantine: CircuitBreaker,
        caller_queued: int | None,
    ) -> None:
        self._ledgers = ledgers
        self._statuses = statuses
        self._claimed = claimed
        self._gates = gates
        self._quarantine = quarantine
        self.caller_queued = caller_queued
        self.open = True

    def admit(
        self,
        ledger: QueueState,
        spec: JobSpec,
        size_bytes: int,
        claims: Uniqueness | None,
        *,
        now: float,
        replaced: Job | None = None,
        crowd: bool = True,
    ) -> None:
        """Accept a job, or count it and reject.

        Args:
            replaced: A job that ends when this one is accepted: its slot, its record and its caller's count come free.
            crowd: Whether a client submits it, and returns after a rejection; an operator's retry doesn't.

        Raises:
            Draining: No more jobs are admitted.
            QueueFull: All slots of the queue are taken.
            StatusesFull: The job store is full of live jobs.
            TypeQuarantined: The type is in quarantine, and its waiting jobs have all the slots that they may have.
            RateLimited: The caller has its maximum of live jobs.
        """
        if crowd:
            ledger.arrivals.add(now)
        caller = None if claims is None else claims.caller
        refusal: Refused | None
        if not self.open:
            refusal = Draining()
        elif ledger.live - (replaced is not None and replaced.spec.queue == ledger.name) >= ledger.policy.capacity:
            refusal = self._queue_full(ledger, claims, now=now, crowd=crowd)
        elif not self._statuses.has_room_for(size_bytes, replaced):
            refusal = self._statuses_full(ledger, claims, now=now)
        else:
            quarantined = self._quarantine.submitted(spec.type, caller, spec.group, now)
            refusal = None if quarantined is None else self._quarantined(ledger, quarantined, caller, now)
            if refusal is None and self.caller_queued is not None and claims is not None:
                refusal = self._over_quota(ledger, claims, self.caller_queued, replaced, now)
            if refusal is not None and crowd:
                ledger.returns.came(caller, now)
        if refusal is not None:
            raise _counted(refusal, ledger)
        if crowd:
            if claims is not None and claims.key is not None:
                # A retry slot given before the body was read may be another queue's.
                for each in self._ledgers.values():
                    each.returns.accepted(caller, now, claims.key.key)
            elif ledger.returns.callers:
                ledger.returns.accepted(caller, now)

    def admit_growth(self, ledger: QueueState, more_bytes: int, claims: Uniqueness | None, *, now: float) -> None:
        """Let a live job's record grow, or count and reject. Raises StatusesFull."""
        if not self._statuses.has_room_to_grow(more_bytes):
            raise _counted(self._statuses_full(ledger, claims, now=now), ledger)

    def closed_to_all(self) -> bool:
        """Whether every new job is rejected now."""
        if self.open:
            for ledger in self._ledgers.values():  # inlined: runs for each submission
                if ledger.live < ledger.policy.capacity:
                    return False
        return True

    def closed_to(self, ledger: QueueState) -> bool:
        """Whether this queue rejects every new job now."""
        return not self.open or ledger.live >= ledger.policy.capacity

    def refuse_unseen(self, queue: str | None, claims: Uniqueness | None, *, now: float) -> Refused:
        """Count a submission that was rejected before its body was read; return the rejection.

        Where its queue isn't known, it counts for the one with the earliest free slot expected.
        """
        ledger = self._soonest(now) if queue is None else self._ledgers[queue]
        ledger.arrivals.add(now)
        if not self.open:
            return _counted(Draining(), ledger)
        refusal = self._queue_full(ledger, claims, now=now, crowd=True)
        if queue is None and len(self._ledgers) > 1:
            refusal = QueueFull("every queue holds as many live jobs as it may", retry_after_s=refusal.retry_after_s)
        return _counted(refusal, ledger)

    def _soonest(self, now: float) -> QueueState:
        """Return the queue that should have a free slot first."""
        ledgers = tuple(self._ledgers.values())
        return ledgers[0] if len(ledgers) == 1 else min(ledgers, key=lambda each: each.seat_s(now))

    def _queue_full(self, ledger: QueueState, claims: Uniqueness | None, *, now: float, crowd: bool) -> QueueFull:
        detail = f"queue {ledger.name!r} holds {ledger.live} live jobs, and may hold {ledger.policy.capacity}"
        return QueueFull(detail, retry_after_s=_place_s(ledger, claims, now) if crowd else ledger.seat_s(now))

    def _statuses_full(self, ledger: QueueState, claims: Uniqueness | None, *, now: float) -> StatusesFull:
        # Never a retry: its record is held already, and has room.
        detail = "the status map is full of live jobs, and their records can't be evicted"
        return StatusesFull(detail, retry_after_s=_place_s(ledger, claims, now))

    def _quarantined(
        self, ledger: QueueState, quarantined: QuarantinedType, caller: str | None, now: float
    ) -> TypeQuarantined | None:
        job_type = quarantined.type
        waiting = self._gates.waiting_at(job_type)
        # Otherwise the jobs of a type that can't run would in time take every slot.
        seats = max(1, ledger.policy.capacity // QUARANTINED_PART)
        if waiting < seats or (waiting < 2 * seats and not self._gates.may_probe(job_type, caller)):
            return None
        detail = f"type {job_type!r} is in quarantine ({quarantined.reason}), and {waiting} of its jobs wait"
        return TypeQuarantined(detail, retry_after_s=max(RETRY_AFTER_S_MIN, quarantined.until - now))

    def _over_quota(
        self, ledger: QueueState, claims: Uniqueness, caller_queued: int, replaced: Job | None, now: float
    ) -> RateLimited | None:
        if claims.caller is None:
            return None
        held = self._claimed.live_of(claims.caller)
        own_freed = 1 if replaced is not None and claims.caller == replaced.caller else 0
        if held - own_freed < caller_queued:
            return None
        detail = f"this caller has {held} live jobs, and may have {caller_queued}"
        # Nothing to spread: the time at which one of its own jobs should end.
        wait_s = ledger.live / held / ledger.drain_per_s(now)
        return RateLimited(detail, retry_after_s=min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, wait_s)))


def _counted(refusal: Refused, ledger: QueueState) -> Refused:
    ledger.refused_total += 1
    return refusal


def _place_s(ledger: QueueState, claims: Uniqueness | None, now: float) -> float:
    if claims is None:
        return ledger.place_s(now)
    key = claims.key
    return ledger.place_s(now, claims.caller, None if key is None else key.key)
