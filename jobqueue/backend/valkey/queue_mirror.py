"""The copy of one queue's numbers in this process: what the store said last, and what follows for waits and rejections.

Rules:

1. Numbers are as old as the last reply that told them; an operation of the store decides, never this copy.
2. The drain rate is that of the whole queue: ends of this process count at once, those of others with the next reply.
3. Retry slots are given out by each process on its own, so each spaces them as if it had its part of the drain rate:
   the rate divided by the number of live processes.
4. A queue counts as full for `FULL_S` after a reply that said so, unless a later one said otherwise.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from jobqueue.core.counting.stats import QueueStats
from jobqueue.core.job import RUNNING
from jobqueue.core.rate_meter import RateMeter
from jobqueue.core.scheduling.eta import POLL_AFTER_S_MAX, POLL_AFTER_S_MIN, POLL_AFTER_S_UNKNOWN, Estimate
from jobqueue.core.scheduling.queue_state import DRAIN_PER_S_MIN, RETRY_AFTER_S_MIN, RUN_S_MIN
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX, RetryAfter
from jobqueue.errors import QueueFull

if TYPE_CHECKING:
    from random import Random

    from jobqueue.backend.valkey.tallies import QueueTally
    from jobqueue.core.job import Uniqueness
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.core.pause import Pause
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.scheduling.eta import WaitingFor
    from jobqueue.errors import Refused

FULL_S: Final = 0.1
"""How long a reply that says that the queue is full rejects submissions without a call."""

ENDS_KEPT: Final = 1_000_000
"""A difference of ends above this is a store that was emptied, or another: it says nothing of a rate."""


class QueueMirror:
    """The copy of one queue.

    Args:
        tally: What this process has counted of it.
        rng: Draws the jitter of Retry-After.

    Attributes:
        policy, pause: Those in effect for all processes, as the store told last.
        delayed, queued, running: Live jobs by state.
        oldest_queued_at: Since when the one that has waited longest is queued; None: none is.
        full_until: Until then the store would reject a submission, as it said a moment ago.
    """

    def __init__(self, policy: QueuePolicy, tally: QueueTally, rng: Random) -> None:
        self.policy = policy
        self.pause: Pause | None = None
        self.delayed = self.queued = self.running = 0
        self.oldest_queued_at: float | None = None
        self.retry_after = RetryAfter(rng)
        self._tally = tally
        self._ends = RateMeter()
        self._starts_told: int | None = None
        self._last_started_at: float | None = None
        self._ends_told: int | None = None  # by the store, of all processes
        self._ends_counted = 0  # of this process, of which the meter knows
        self._own_at_told = 0
        self._started_at: float | None = None
        self.full_until = -inf
        self._detail: tuple[int, int, str] | None = None

    @property
    def live(self) -> int:
        return self.delayed + self.queued + self.running

    # -- what replies tell

    def note_start(self, now: float) -> None:
        """One of its jobs starts, here or elsewhere: rates are measured from the first one on."""
        if self._started_at is None:
            self._started_at = now
            self._ends.begin(now)

    def note_ends(self, now: float) -> None:
        """Measure the ends that this process has counted since the last time."""
        more = self._tally.ends - self._ends_counted
        if more:
            self._ends_counted = self._tally.ends
            self._ends.add(now, more)

    def note_counts(
        self,
        now: float,
        *,
        delayed: int,
        queued: int,
        running: int,
        starts: int,
        ends: int,
        oldest_queued_at: float | None,
    ) -> None:
        """Take the numbers of a reply. Args: starts, ends: Those of all processes so far."""
        if starts != self._starts_told:
            self._last_started_at = None if self._starts_told is None else now
            self._starts_told = starts
        self.delayed, self.queued, self.running = delayed, queued, running
        self.oldest_queued_at = oldest_queued_at if queued else None
        if running:
            self.note_start(now)
        self.note_ends(now)
        own = self._tally.ends
        if self._ends_told is not None:
            others = (ends - self._ends_told) - (own - self._own_at_told)
            if 0 < others < ENDS_KEPT:
                self._ends.add(now, others)
        self._ends_told, self._own_at_told = ends, own

    def note_live(self, now: float, live: int, capacity: int) -> None:
        """Take what the reply to a submission tells: the queue is full, or it is not."""
        self.full_until = now + FULL_S if live >= capacity else -inf

    # -- rates

    def drain_per_s(self, now: float) -> float:
        """Estimate the slots freed per second while it is full, as `QueueState.drain_per_s`."""
        run_s = self._tally.run_s
        if run_s is None:
            measured = self._ends.per_s(now)
            waited_s = 0.0 if self._started_at is None else now - self._started_at
            return max(DRAIN_PER_S_MIN, measured, max(1, self.running) / max(1.0, waited_s))
        per_s = self.measured_drain_per_s(now)
        promised = self.running / max(run_s, RUN_S_MIN)
        return max(DRAIN_PER_S_MIN, per_s, promised)

    def measured_drain_per_s(self, now: float) -> float:
        """Return the measured rate of ends, per second."""
        return self._ends.per_s(now)

    def pace_per_s(self) -> float | None:
        """Estimate the starts of waiting jobs per second, by the typical runs of their types; None: none is known."""
        known, all_s = 0, 0.0
        for type_state in self._tally.types.values():
            if type_state.run_s is not None:
                known += type_state.waiting
                all_s += type_state.waiting * type_state.run_s
        if known:
            return max(1, self.running) * known / max(all_s, known * RUN_S_MIN)
        run_s = self._tally.run_s
        return None if run_s is None else max(1, self.running) / max(run_s, RUN_S_MIN)

    # -- rejections

    def slot_s(self, now: float) -> float:
        """Return the expected seconds until the next free slot."""
        slot_s = (1 + max(0, self.live - self.policy.capacity)) / self.drain_per_s(now)
        return min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, slot_s))

    def refuse(self, kind: type[Refused]) -> None:
        """Count a submission that is rejected."""
        self._tally.refuse(kind)

    def full(
        self,
        now: float,
        uniqueness: Uniqueness | None,
        processes: int,
        *,
        counted: bool,
        live: int | None = None,
        detail: str = "",
    ) -> QueueFull:
        """Return the rejection of a submission, with its retry slot; count it.

        Args:
            processes: Live ones, each of which gives out slots.
            counted: Whether the submission is in `retry_after.arrivals`.
            live: Live jobs as of the reply that rejects it; None: as of the last one.
            detail: Instead of that of this queue.
        """
        self._tally.refuse(QueueFull)
        live = self.live if live is None else live
        retry_after_s = self.retry_slot_s(now, uniqueness, processes, counted=counted, live=live)
        return QueueFull(detail or self._full_detail(live), retry_after_s)

    def retry_slot_s(
        self, now: float, uniqueness: Uniqueness | None, processes: int, *, counted: bool, live: int | None = None
    ) -> float:
        """Give a rejected submission a retry slot; return its Retry-After in seconds. Args: as `full`."""
        caller = key = None
        if uniqueness is not None:
            caller = uniqueness.caller
            key = None if uniqueness.key is None else uniqueness.key.key
        lacking = max(0, (self.live if live is None else live) - self.policy.capacity)
        retry_after_s = self.retry_after.retry_slot_s(
            now,
            drain_per_s=self.drain_per_s(now) / max(1, processes),
            lacking=lacking // max(1, processes),
            caller=caller,
            key=key,
            counted=counted,
        )
        return max(RETRY_AFTER_S_MIN, retry_after_s)

    def _full_detail(self, live: int) -> str:
        capacity = self.policy.capacity
        told = self._detail
        if told is None or told[0] != live or told[1] != capacity:
            text = f"queue {self._tally.name!r} holds {live} live jobs, and its capacity is {capacity}"
            told = self._detail = (live, capacity, text)
        return told[2]

    # -- estimates

    def estimate(self, job: AnyJob, position: int | None, now: float, waiting_for: WaitingFor | None) -> Estimate:
        """Estimate when a live job starts and ends, as `eta.estimate_of`."""
        if waiting_for is not None:
            left_s = POLL_AFTER_S_UNKNOWN if waiting_for.retry_at is None else waiting_for.retry_at - now
            poll_after_s = min(POLL_AFTER_S_MAX, max(POLL_AFTER_S_UNKNOWN, left_s))
            return Estimate(position, None, poll_after_s, waiting_for)
        run_s = self._tally.typical_run_s(job.spec.type)
        if job.state is RUNNING:
            elapsed_s = 0.0 if job.started_at is None else now - job.started_at
            if run_s is None:
                return Estimate(None, None, POLL_AFTER_S_UNKNOWN)
            if elapsed_s > run_s:
                return Estimate(None, None, _within(elapsed_s / 2))
            return Estimate(None, run_s - elapsed_s, _within(run_s - elapsed_s))
        wait_s = self._wait_s(position)
        if run_s is None or wait_s is None:
            return Estimate(position, None, POLL_AFTER_S_UNKNOWN)
        eta_s = wait_s + run_s + max(0.0, job.run_at - now)
        return Estimate(position, eta_s, _within(eta_s))

    def _wait_s(self, position: int | None) -> float | None:
        """Estimate a job's wait for its start; without a position it comes after all waiting jobs."""
        waiting = self.queued if position is None else position
        if position is not None and self.running < self.policy.workers:
            waiting -= 1  # a worker may be idle, so the first job may start now
        if waiting <= 0:
            return 0.0
        pace_per_s = self.pace_per_s()
        return None if pace_per_s is None else waiting / pace_per_s

    # -- figures

    def stats(self, quarantined: list[QuarantinedType], now: float) -> QueueStats:
        """Return the counts of the queue: live numbers of the store, totals of this process."""
        tally = self._tally
        states = tally.types.values()
        return QueueStats(
            name=tally.name,
            policy=self.policy,
            paused=self.pause is not None,
            pause=self.pause,
            delayed=self.delayed,
            queued=self.queued,
            running=self.running,
            submitted_total=sum(state.submitted_total for state in states),
            refused_total=sum(tally.refused.values()),
            retried_total=sum(state.retried_total for state in states),
            succeeded_total=sum(state.succeeded_total for state in states),
            failed_total=sum(state.failed_total for state in states),
            cancelled_total=sum(state.cancelled_total for state in states),
            expired_total=sum(state.expired_total for state in states),
            oldest_queued_at=self.oldest_queued_at,
            drain_rate_per_s=self.measured_drain_per_s(now),
            quarantined=quarantined,
            started_at=self._last_started_at,
        )


def _within(wait_s: float) -> float:
    return min(POLL_AFTER_S_MAX, max(POLL_AFTER_S_MIN, wait_s))
