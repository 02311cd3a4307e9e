"""The door: whether a submission gets in, and what one that doesn't is told.

It looks at seats, records, quotas and the drain, and changes nothing but the counts of those who came and of those
whom it turned away, with the places that it told them.
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
"""The jobs of a type in quarantine may hold one in this many seats of a queue while they wait.

Beyond that a caller that has none there may have one, so that one caller's jobs don't keep the others from
being the probe; twice as many seats is the bound of all."""


class AdmissionControl:
    """Admission control: refuses what there is no room for.

    Args:
        caller_queued: How many live jobs one caller may have; None: no bound.
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
        """Let a job in, or count it and refuse.

        Args:
            replaced: A job that ends when this one gets in: its seat, its record and its caller's place come free.
            crowd: Whether it is one of those who come, and, refused, come back; what an operator sends isn't.

        Raises:
            Draining: No more jobs are admitted.
            QueueFull: The queue's seats are taken.
            StatusesFull: The status map is full of live jobs.
            TypeQuarantined: The type is in quarantine, and its waiting jobs have seats enough.
            RateLimited: The caller has as many live jobs as one may have.
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
                # A slot that was given unread may be in another queue's line.
                for each in self._ledgers.values():
                    each.returns.accepted(caller, now, claims.key.key)
            elif ledger.returns.callers:
                ledger.returns.accepted(caller, now)

    def admit_growth(self, ledger: QueueState, more_bytes: int, claims: Uniqueness | None, *, now: float) -> None:
        """Let a live job become larger, or count it and refuse. Raises StatusesFull."""
        if not self._statuses.has_room_to_grow(more_bytes):
            raise _counted(self._statuses_full(ledger, claims, now=now), ledger)

    def closed_to_all(self) -> bool:
        """Tell whether every new job is refused now, whatever it may be."""
        if self.open:
            for ledger in self._ledgers.values():  # in line, because it is asked for each submission
                if ledger.live < ledger.policy.capacity:
                    return False
        return True

    def closed_to(self, ledger: QueueState) -> bool:
        """Tell whether this queue refuses every new job now."""
        return not self.open or ledger.live >= ledger.policy.capacity

    def refuse_unseen(self, queue: str | None, claims: Uniqueness | None, *, now: float) -> Refused:
        """Count a submission that was refused unread, since every such one is; return what it is told.

        Where its queue isn't known, it counts for the one whose next seat should come free first.
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
        """Return the queue whose next seat should come free first."""
        ledgers = tuple(self._ledgers.values())
        return ledgers[0] if len(ledgers) == 1 else min(ledgers, key=lambda each: each.seat_s(now))

    def _queue_full(self, ledger: QueueState, claims: Uniqueness | None, *, now: float, crowd: bool) -> QueueFull:
        detail = f"queue {ledger.name!r} holds {ledger.live} live jobs, and may hold {ledger.policy.capacity}"
        return QueueFull(detail, retry_after_s=_place_s(ledger, claims, now) if crowd else ledger.seat_s(now))

    def _statuses_full(self, ledger: QueueState, claims: Uniqueness | None, *, now: float) -> StatusesFull:
        # Always one of a crowd: a record that is redriven is held already, and has room.
        detail = "the status map is full of live jobs, and their records can't be evicted"
        return StatusesFull(detail, retry_after_s=_place_s(ledger, claims, now))

    def _quarantined(
        self, ledger: QueueState, quarantined: QuarantinedType, caller: str | None, now: float
    ) -> TypeQuarantined | None:
        job_type = quarantined.type
        waiting = self._gates.waiting_at(job_type)
        # Or else the jobs of a type that can't run would in time take every seat.
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
        # No crowd to be spread: it is told when one of its own jobs may be over.
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
