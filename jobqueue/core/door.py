"""The door: whether a submission gets in, and what one that doesn't is told.

It looks at seats, records, quotas and the drain, and changes nothing but the counts of those it turned away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import Draining, QueueFull, RateLimited, Refused, StatusesFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.claims import Claimed, Claims
    from jobqueue.core.ledger import QueueLedger
    from jobqueue.core.statuses import StatusMap


class Door:
    """Args:
    caller_queued: How many live jobs one caller may have; None: no bound.
    """

    def __init__(
        self, ledgers: Mapping[str, QueueLedger], statuses: StatusMap, claimed: Claimed, caller_queued: int | None
    ) -> None:
        self._ledgers = ledgers
        self._statuses = statuses
        self._claimed = claimed
        self.caller_queued = caller_queued
        self.open = True

    def admit(
        self, ledger: QueueLedger, size_bytes: int, claims: Claims | None, *, now: float, seats_freed: int = 0
    ) -> None:
        """Let a submission pass, or count it and refuse.

        Args:
            seats_freed: How many seats of the queue will be free by the time it takes its own.

        Raises:
            Draining: No more jobs are admitted.
            RateLimited: The caller has as many live jobs as one may have.
            QueueFull: The queue's seats are taken.
            StatusesFull: The status map is full of live jobs.
        """
        if self.open and ledger.live - seats_freed < ledger.policy.capacity and self._fits(size_bytes):
            caller = claims.caller if claims is not None else None
            if caller is None or self.caller_queued is None or self._claimed.live_of(caller) < self.caller_queued:
                return
        ledger.refused_total += 1
        raise self._reason(ledger, size_bytes, claims, now=now, seats_freed=seats_freed)

    def closed_to_all(self) -> QueueLedger | Draining | None:
        """Tell whether every submission would be refused now, before anything of it is known: why, or by which queue.

        A live unique value makes that unknowable: the submission may be the same job.
        """
        if not self.open:
            return Draining()
        if self._claimed.any_unique:
            return None
        full = None
        for ledger in self._ledgers.values():
            if ledger.live < ledger.policy.capacity:
                return None
            full = ledger
        return full

    def full(self, ledger: QueueLedger, *, now: float) -> QueueFull:
        """Make the refusal of a full queue: it holds a place in the crowd of those who were refused."""
        detail = f"queue {ledger.name!r} holds {ledger.live} live jobs, and may hold {ledger.policy.capacity}"
        return QueueFull(detail, retry_after_s=ledger.place_s(now))

    def statuses_full(self, ledger: QueueLedger, *, now: float) -> StatusesFull:
        """Make the refusal of a status map without room."""
        detail = "the status map is full of live jobs, and their records can't be evicted"
        return StatusesFull(detail, retry_after_s=ledger.place_s(now))

    def _fits(self, size_bytes: int) -> bool:
        return self._statuses.has_room_for(size_bytes)

    def _reason(
        self, ledger: QueueLedger, size_bytes: int, claims: Claims | None, *, now: float, seats_freed: int
    ) -> Refused:
        if not self.open:
            return Draining()
        if ledger.live - seats_freed >= ledger.policy.capacity:
            return self.full(ledger, now=now)
        if not self._fits(size_bytes):
            return self.statuses_full(ledger, now=now)
        assert claims is not None
        assert claims.caller is not None
        held = self._claimed.live_of(claims.caller)
        detail = f"this caller has {held} live jobs, and may have {self.caller_queued}"
        # No crowd to be spread: it is told when one of its own jobs may be over.
        return RateLimited(detail, retry_after_s=max(1.0, ledger.live / held / ledger.drain_per_s(now)))
