"""What the rules of findings see: a snapshot, what the watch remembers, and the counts of the server process.

A pure value: the rules need no clock and ask nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # msgspec reads it from the annotations

import msgspec

from jobqueue.core.counting.stats import QueueStats
from jobqueue.runtime.loop_monitor import Block
from jobqueue.snapshot import ServiceSnapshot


class ProcessCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server process counts; totals run since the start.

    Attributes:
        late_counts: Beats of the event loop by their lateness (`histogram.BOUNDS_S`).
        blocked_total: Beats that were late by a blocked loop.
        log_dropped: Lines that the log could not write.
        config_faults: Those of the last reload; empty: it succeeded.
        restart_required: Names of settings that wait for a restart.
        memory_bytes, memory_bytes_max: Of the process, and of its control group; None: it has no limit.
        metrics_listens: Whether the port of the metrics is open, where they have their own.
    """

    connections: int = 0
    connections_max: int = 0
    late_counts: tuple[int, ...] = ()
    blocked_total: int = 0
    block: Block | None = None
    log_dropped: int = 0
    config_faults: tuple[str, ...] = ()
    restart_required: tuple[str, ...] = ()
    memory_bytes: int = 0
    memory_bytes_max: int | None = None
    metrics_listens: bool = True


class SeenQueue(msgspec.Struct, frozen=True, kw_only=True):
    """One queue.

    Attributes:
        started_at: The last start of one of its jobs, or since when it is watched.
        refused: Submissions that were rejected within `REJECTIONS_WINDOW_S`, by the kind of problem.
    """

    stats: QueueStats
    started_at: float
    refused: Mapping[str, int] = {}


class SeenType(msgspec.Struct, frozen=True):
    """One type: its attempts that ended within `FAILURE_WINDOW_S`, and those of them that failed."""

    name: str
    attempts: int
    failed: int


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that a derivation sees, at one instant of the engine's clock.

    Attributes:
        queues, types: Those that are registered.
        process: None: the API is mounted in an application.
        late_counts: Beats of the loop within `LOOP_LAG_WINDOW_S`, by their lateness.
        commit_counts: Commits of the journal within `COMMITS_WINDOW_S`, by their duration.
        call_counts: Calls of the store within `CALLS_WINDOW_S`, by their duration.
        evicted_early, spool_errors, blocked, log_dropped, reconnects: Totals, each within its window.
        restarts: Replaced processes within `RESTARTS_WINDOW_S`, by reason.
        problems: Answers within `REJECTIONS_WINDOW_S`, by the kind of problem.
        internal_errors: Answers with the status 500 within `ERRORS_WINDOW_S`.
        long_polls: Requests that wait.
        webhooks_dropped: Events of each receiver that were dropped within `WEBHOOK_DROPPED_WINDOW_S`, by its name.
    """

    now: float
    snapshot: ServiceSnapshot
    queues: Sequence[SeenQueue]
    types: Sequence[SeenType] = ()
    process: ProcessCounts | None = None
    late_counts: tuple[int, ...] = ()
    commit_counts: tuple[int, ...] = ()
    call_counts: tuple[int, ...] = ()
    reconnects: int = 0
    evicted_early: int = 0
    spool_errors: int = 0
    blocked: int = 0
    log_dropped: int = 0
    restarts: Mapping[str, int] = {}
    problems: Mapping[str, int] = {}
    internal_errors: int = 0
    long_polls: int = 0
    webhooks_dropped: Mapping[str, int] = {}
