"""Rules of findings about one queue: each returns a finding, or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.words import counted, per_s, percent, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.core.counting.stats import QueueStats
    from jobqueue.core.limits.limiter_stats import LimiterStats
    from jobqueue.findings.sight import SeenQueue, Sight

REJECTED_BECAUSE = {
    "queue-full": "the queue is full",
    "statuses-full": "the job store is full",
    "spool-full": "the spool has no room for their files",
    "type-quarantined": "their type is in quarantine",
}

FILL_REMEDY = (
    "If its jobs run longer than usual, mend what their handlers wait for. Else raise its workers or its capacity, or "
    "have clients submit less; rejected clients get a 503 with Retry-After."
)


def full(sight: Sight, queue: SeenQueue) -> Finding | None:
    """The queue has no free slot, or few."""
    stats, capacity = queue.stats, queue.stats.policy.capacity
    if stats.live <= at.QUEUE_FILL * capacity and stats.live < capacity:
        return None
    is_full = stats.live >= capacity
    told = "is full" if is_full else f"is {percent(stats.live / capacity)} full"
    return Finding(
        kind="queue_full" if is_full else "queue_nearly_full",
        severity="critical" if is_full else "warning",
        sentence=f"Queue {stats.name} {told}: {stats.live:,} of {capacity:,} jobs; {_drain_told(stats)}.",
        cause=_fill_cause(sight, stats),
        remedy="Resume it." if stats.paused else FILL_REMEDY,
        about="queue",
        name=stats.name,
        problem="queue-full",
        is_open=True,
    )


def paused(sight: Sight, queue: SeenQueue) -> Finding | None:
    """The queue starts no jobs, because it was told so."""
    stats, pause = queue.stats, queue.stats.pause
    if pause is None:
        return None
    is_long = sight.now - pause.since > at.PAUSED_LONG_S
    ends = "" if pause.until is None else f"; it resumes by itself in {spell(pause.until - sight.now)}"
    waiting = f"{counted(stats.queued, 'job')} wait" if stats.queued != 1 else "1 job waits"
    return Finding(
        kind="queue_paused",
        severity="warning" if stats.queued or is_long else "info",
        sentence=f"Queue {stats.name} has been paused for {spell(sight.now - pause.since)}: {waiting}{ends}.",
        cause=f"The reason given: {text(pause.reason)}" if pause.reason else "It was paused without a reason.",
        remedy="Resume it once the reason is gone.",
        about="queue",
        name=stats.name,
        since=pause.since,
        is_open=True,
    )


def not_draining(sight: Sight, queue: SeenQueue) -> Finding | None:
    """Jobs are queued, and none has started for long."""
    stats = queue.stats
    if stats.paused or stats.oldest_queued_at is None:
        return None
    idle_since = max(queue.started_at, stats.oldest_queued_at)
    if sight.now - idle_since < at.NOT_DRAINING_S:
        return None
    return Finding(
        kind="queue_not_draining",
        severity="critical",
        sentence=(
            f"Queue {stats.name} has {counted(stats.queued, 'queued job')}, and has started none for "
            f"{spell(sight.now - idle_since)}."
        ),
        cause=_held_back(sight, stats) or "No worker is free: handlers may hang.",
        remedy="Look at its running jobs, and at worker.stuck in the log; give handlers a timeout_s.",
        about="queue",
        name=stats.name,
        since=idle_since,
        is_open=True,
    )


def oldest_job(sight: Sight, queue: SeenQueue) -> Finding | None:
    """A job waits for longer than its client does, or for very long."""
    stats = queue.stats
    if stats.paused or stats.oldest_queued_at is None:
        return None
    wait_s, patience_s = sight.now - stats.oldest_queued_at, stats.policy.patience_s
    if wait_s <= min(patience_s, at.OLDEST_JOB_S):
        return None
    is_long = wait_s > at.OLDEST_JOB_S
    return Finding(
        kind="oldest_job" if is_long else "wait_beyond_patience",
        severity="warning" if is_long else "info",
        sentence=f"The oldest queued job of queue {stats.name} has waited for {spell(wait_s)}; {_drain_told(stats)}.",
        cause=_held_back(sight, stats)
        or f"Jobs wait longer than patience_s ({spell(patience_s)}), in which clients expect a start."
        if wait_s > patience_s
        else _fill_cause(sight, stats),
        remedy=(
            "Raise its workers, or mend what its handlers wait for. Jobs that are submitted with start_by_s expire "
            "instead of waiting; the discipline adaptive serves the newest first."
        ),
        about="queue",
        name=stats.name,
        since=stats.oldest_queued_at + (at.OLDEST_JOB_S if is_long else patience_s),
        is_open=True,
    )


def starved(sight: Sight, queue: SeenQueue) -> Finding | None:
    """The queue has free workers of its own, but all queues together use up `runtime.workers`."""
    stats, workers_max = queue.stats, sight.snapshot.settings.runtime.workers
    if workers_max is None or stats.paused or not stats.queued or stats.running >= stats.policy.workers:
        return None
    running = sum(each.running for each in sight.snapshot.queues)
    if running < workers_max:
        return None
    return Finding(
        kind="workers_starved",
        severity="info",
        sentence=(
            f"Queue {stats.name} runs {stats.running:,} of at most {stats.policy.workers:,} jobs while "
            f"{stats.queued:,} wait: all {workers_max:,} workers are taken."
        ),
        cause="The setting runtime.workers bounds the running jobs of all queues together.",
        remedy="Raise runtime.workers (with a restart), or the weight of this queue.",
        about="queue",
        name=stats.name,
    )


def rejections(sight: Sight, queue: SeenQueue) -> Iterator[Finding]:
    """Submissions were rejected within the last minute: one finding for each reason."""
    for slug, count in queue.refused.items():
        if count > 0:
            rate = per_s(count / at.REJECTIONS_WINDOW_S)
            yield Finding(
                kind="rejections",
                severity="warning",
                sentence=(
                    f"Queue {queue.stats.name} has rejected {counted(count, 'submission')} in the last minute "
                    f"({rate}): {REJECTED_BECAUSE[slug]}."
                ),
                cause=f"Submissions get a 503 of the kind {slug}.",
                remedy="The finding of that name has the remedy. Clients that heed Retry-After come back in time.",
                about="queue",
                name=queue.stats.name,
                problem=slug,
            )


def _drain_told(stats: QueueStats) -> str:
    if stats.drain_s is None:
        return "no job has ended of late"
    return f"it drains in {spell(stats.drain_s)} at {per_s(stats.drain_rate_per_s)}"


def _fill_cause(sight: Sight, stats: QueueStats) -> str:
    if stats.paused:
        return "It is paused, so none of its jobs starts."
    return _held_back(sight, stats) or (
        "Its jobs don't end: handlers may hang." if stats.drain_s is None else "Jobs come faster than they end."
    )


def _held_back(sight: Sight, stats: QueueStats) -> str | None:
    """Return the limit at which most jobs wait, or the bound of running ones; None: neither holds jobs back."""
    waiting = max(sight.snapshot.limiters, key=lambda limiter: limiter.waiting, default=None)
    if waiting is not None and waiting.waiting:
        return f"Most wait for {_limit_told(waiting)} ({counted(waiting.waiting, 'job')} of all queues)."
    if stats.running >= stats.policy.workers:
        return f"All {stats.policy.workers:,} of its workers are busy."
    return None


def _limit_told(limiter: LimiterStats) -> str:
    if limiter.shut_until is not None:
        return f"type {limiter.name}, which is in quarantine"
    what = {"pool": "a free place in the pool", "type": "the limits of type", "groups": "the limits by group of type"}
    return f"{what[limiter.kind]} {limiter.name}"


RULES = (full, paused, not_draining, oldest_job, starved)
"""One finding each; `rejections` may have several."""
