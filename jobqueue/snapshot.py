"""A snapshot of one queue at one instant: what metrics, statistics and the console read, and nothing else counts again.

Rules:

1. It is made when it is asked for; nothing is kept for it.
2. Counters run since the queue's start. What a queue counts by type is apart (`Service.counts`), since it may be large.
"""

from __future__ import annotations

from collections.abc import Sequence  # msgspec reads it from the annotations
from typing import TYPE_CHECKING

import msgspec

from jobqueue.backend.journal.figures import JournalFigures
from jobqueue.backend.store import StoreFigures
from jobqueue.config import Settings
from jobqueue.core.counting.stats import QueueStats, StoreStats
from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.schedule_counts import ScheduleFigures
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.webhook_target import TargetFigures

if TYPE_CHECKING:
    from jobqueue.handlers import Registry
    from jobqueue.wiring import Wiring


class SpoolCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The spool. `errors_total`: files that could not be written or removed."""

    bytes_used: int
    errors_total: int


class RegisteredType(msgspec.Struct, frozen=True):
    """A registered type, and the queue of its jobs unless a submission names another."""

    name: str
    queue: str


class ServiceSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One queue's parts and counts.

    Attributes:
        at: Instant of the snapshot, on the engine's clock.
        wall_offset_s: Unix seconds at zero of that clock.
        started_at: When the queue started, in Unix seconds.
        run: The first characters of the ids of this run's jobs.
        settings: Those in effect.
        degraded: Parts that are unavailable although the queue runs, with the reason.
        types: All registered types.
        threads, processes: The pools; `processes.size` is 0 while no handler runs in a process.
        journal: None: there is none.
        webhooks: The receivers of webhooks.
        schedules: All schedules together.
        shared_store: The store that holds the jobs, of this server and others; None: they are in this process.
    """

    at: float
    wall_offset_s: float
    started_at: float
    run: str
    settings: Settings
    draining: bool
    degraded: list[str]
    types: list[RegisteredType]
    store: StoreStats
    queues: Sequence[QueueStats]
    limiters: Sequence[LimiterStats]
    threads: PoolCounts
    processes: PoolCounts
    spool: SpoolCounts
    journal: JournalFigures | None = None
    shared_store: StoreFigures | None = None
    webhooks: Sequence[TargetFigures] = ()
    schedules: ScheduleFigures = ScheduleFigures()

    @property
    def keeps(self) -> bool:
        """Whether jobs outlive the process."""
        return self.journal is not None or self.shared_store is not None


def snapshot_of(
    wiring: Wiring,
    settings: Settings,
    registry: Registry,
    *,
    draining: bool,
    journal: JournalFigures | None,
    shared_store: StoreFigures | None,
    stats: tuple[StoreStats, Sequence[QueueStats]] | None = None,
) -> ServiceSnapshot:
    """Return the counts of a running queue at this instant. Args: stats: As `Service.snapshot`."""
    backend, offset_s = wiring.backend, wiring.offset_s()
    store, queues = backend.stats() if stats is None else stats
    threads, processes = wiring.pools()
    return ServiceSnapshot(
        at=backend.now(),
        wall_offset_s=offset_s,
        started_at=offset_s + wiring.started_at,
        run=wiring.run,
        settings=settings,
        draining=draining,
        degraded=wiring.degraded,
        types=[RegisteredType(handler.name, handler.queue) for handler in registry.every()],
        store=store,
        queues=queues,
        limiters=backend.limiters(),
        threads=threads,
        processes=processes,
        spool=SpoolCounts(bytes_used=wiring.spool.bytes_used, errors_total=wiring.spool.errors_total),
        journal=journal,
        shared_store=shared_store,
        webhooks=[] if wiring.webhooks is None else wiring.webhooks.figures(),
        schedules=wiring.schedules.figures(),
    )
