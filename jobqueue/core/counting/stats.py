"""Counts of the job store and of each queue at one instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import CANCELLED, DELAYED, EXPIRED, FAILED, QUEUED, RUNNING, SUCCEEDED, WAITING
from jobqueue.core.limits.quarantined_type import QuarantinedType
from jobqueue.core.pause import Pause
from jobqueue.core.policy import QueuePolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.core.job_store import JobStore
    from jobqueue.core.scheduling.queue_state import QueueState


class Totals(msgspec.Struct, frozen=True):
    """Counters of all records since start."""

    accepted: int
    evicted: int
    evicted_early: int
    deleted: int


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue at this instant; counters run since start.

    `drain_rate_per_s` is in jobs ended per second, of late; `quarantined` lists types, which are the same for all
    queues. `started_at`: when any process that shares the queue last started a job of it; None: not known, or no other
    process does.
    """

    name: str
    policy: QueuePolicy
    paused: bool
    pause: Pause | None = None
    waiting: int = 0
    delayed: int
    queued: int
    running: int
    submitted_total: int
    refused_total: int
    retried_total: int
    succeeded_total: int
    failed_total: int
    cancelled_total: int
    expired_total: int
    oldest_queued_at: float | None
    drain_rate_per_s: float
    quarantined: list[QuarantinedType]
    started_at: float | None = None

    @property
    def live(self) -> int:
        return self.waiting + self.delayed + self.queued + self.running

    @property
    def drain_s(self) -> float | None:
        """Estimate the seconds until it is empty, if nothing more came; None: nothing drains."""
        return self.live / self.drain_rate_per_s if self.drain_rate_per_s > 0 else None


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """The job store at this instant; counters run since start.

    At every step accepted_total = live + terminal + evicted_total. Of the evicted records, bounds forced out
    `evicted_early_total`, and clients deleted `deleted_total`; the TTL of the others was over.
    """

    live: int
    terminal: int
    bytes_used: int
    accepted_total: int
    evicted_total: int
    evicted_early_total: int
    deleted_total: int


def all_stats(
    store: JobStore, totals: Totals, queues: Iterable[QueueState], quarantined: list[QuarantinedType], now: float
) -> tuple[StoreStats, list[QueueStats]]:
    """Return the counts of the job store, and those of each queue."""
    records = StoreStats(
        live=store.live,
        terminal=store.terminal,
        bytes_used=store.bytes_used,
        accepted_total=totals.accepted,
        evicted_total=totals.evicted,
        evicted_early_total=totals.evicted_early,
        deleted_total=totals.deleted,
    )
    return records, [_queue_stats(queue, quarantined, now) for queue in queues]


def _queue_stats(queue: QueueState, quarantined: list[QuarantinedType], now: float) -> QueueStats:
    """Return the counts of a queue."""
    counts = queue.counts
    submitted_total, retried_total, ended_total = queue.totals()
    return QueueStats(
        name=queue.name,
        policy=queue.policy,
        paused=queue.paused,
        pause=queue.pause,
        waiting=counts[WAITING],
        delayed=counts[DELAYED],
        queued=counts[QUEUED],
        running=counts[RUNNING],
        submitted_total=submitted_total,
        refused_total=queue.refused_total,
        retried_total=retried_total,
        succeeded_total=ended_total[SUCCEEDED],
        failed_total=ended_total[FAILED],
        cancelled_total=ended_total[CANCELLED],
        expired_total=ended_total[EXPIRED],
        oldest_queued_at=next(iter(queue.waiting.values()), None),
        drain_rate_per_s=queue.measured_drain_per_s(now),
        quarantined=quarantined,
    )
