"""Makes the documents of the API as JSON: jobs, queues, limiters.

A job's result passes through as its bytes.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final

import msgspec
import orjson
from msgspec.structs import replace

from jobqueue.core.job_extras import Extras
from jobqueue.core.job_view import view_of
from jobqueue.core.record import changed
from jobqueue.core.scheduling.eta import PAUSED, WaitReason
from jobqueue.errors import shown
from jobqueue.http.response.job_document import AttemptDocument, JobDocument, WaitingDocument
from jobqueue.http.response.job_template import is_plain, live_document, terminal_document
from jobqueue.http.response.problems import problem_of
from jobqueue.http.response.timestamps import exact_timestamp, timestamp

if TYPE_CHECKING:
    from jobqueue.core.counting.stats import QueueStats
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.limits.limiter_stats import LimiterStats
    from jobqueue.core.pause import Pause
    from jobqueue.core.report import FailedAttempt
    from jobqueue.core.scheduling.eta import Estimate, WaitingFor
    from jobqueue.errors import JobQueueError
    from jobqueue.http.response.limiter_document import LimiterDocument
    from jobqueue.http.response.queue_document import PauseDocument, QueueDocument
    from jobqueue.service import Service

FAR_S: Final = 30 * 24 * 3600
"""Longer estimates are omitted."""


_NO_EXTRAS: Final = Extras()
_PAUSED: Final = WaitingDocument(WaitReason.QUEUE_PAUSED, None)
_encode: Final = msgspec.json.Encoder().encode


def job_document(job: AnyJob, service: Service, estimate: Estimate | None) -> bytes:
    """Return a job's document, with its result's bytes in it, and the estimate of a live one."""
    wall = service.wall_offset_s()  # read once: the clocks' difference is the same for all instants
    if is_plain(job):
        if estimate is None:
            return terminal_document(job, wall)
        if estimate.waiting_for is None:
            return live_document(job, wall, estimate)
    return _encode(_whole_document(job, service, estimate, wall))


def _whole_document(job: AnyJob, service: Service, estimate: Estimate | None, wall: float) -> JobDocument:
    spec, extras = job.spec, job.extras or _NO_EXTRAS
    created, started, finished = job.created_at, job.started_at, job.finished_at
    created_at = timestamp(wall + created)
    position = eta_s = poll_after_ms = waiting_for = None
    if estimate is not None:
        position, eta_s = estimate.position, estimate.eta_s
        if eta_s is not None:
            eta_s = floor(eta_s * 1000) / 1000
        poll_after_ms = ceil(estimate.poll_after_s * 1000)
        if estimate.waiting_for is not None:
            waiting_for = _PAUSED if estimate.waiting_for is PAUSED else _waiting(estimate.waiting_for, wall)
    return JobDocument(
        job.id,
        spec.type,
        spec.queue,
        job.state,
        job.attempt,
        extras.attempts_before + spec.attempts_max,
        spec.priority,
        spec.group,
        created_at,
        created_at if job.run_at == created else _run_at(job, wall),
        None if started is None else timestamp(wall + started),
        None if finished is None else timestamp(wall + finished),
        extras.progress,
        position,
        eta_s,
        poll_after_ms,
        waiting_for,
        None if job.result is None else msgspec.Raw(job.result),
        extras.error,
        [_attempt(failed, service) for failed in extras.history] if extras.history else None,
    )


def _waiting(waiting_for: WaitingFor, wall: float) -> WaitingDocument:
    at = waiting_for.retry_at
    return WaitingDocument(waiting_for.reason, None if at is None else timestamp(wall + at))


def _run_at(job: AnyJob, wall: float) -> str:
    """Return the time of the first start: exactly as submitted, if the submission named an instant."""
    return (exact_timestamp if job.run_at == job.spec.run_at else timestamp)(wall + job.run_at)


def list_document(job: AnyJob, service: Service, estimate: Estimate | None) -> bytes:
    """Return a job's document for a list: with a short history, without tracebacks."""
    if job.extras is not None and job.extras.history:
        history = tuple(replace(each, message=shown(each.message), traceback=None) for each in job.extras.history)
        job = replace(view_of(job), extras=changed(job.extras, history=history))
    return job_document(job, service, estimate)


def _attempt(failed: FailedAttempt, service: Service) -> AttemptDocument:
    return AttemptDocument(
        failed.attempt,
        timestamp(service.wall(failed.started_at)),
        timestamp(service.wall(failed.ended_at)),
        failed.code,
        failed.message,
        failed.traceback if service.tells_tracebacks else None,
    )


def missing_document(job_id: str, error: JobQueueError) -> bytes:
    """Return a list's entry for a job without a record."""
    problem = problem_of(error)
    head = orjson.dumps({"id": shown(job_id), "status": problem.row.status})
    return head[:-1] + b',"problem":' + problem.json + b"}"


NO_REASON = "the message of a job that may be another key's"


def queue_document(stats: QueueStats, service: Service, *, tells_reasons: bool = True) -> bytes:
    """Return a queue's document: settings, present counts, drain rate, counters since start.

    Args:
        tells_reasons: Whether it has the messages of failed jobs, which may be another key's.
    """
    now, oldest_at, policy = service.backend.now(), stats.oldest_queued_at, stats.policy
    document: QueueDocument = {
        "name": stats.name,
        "discipline": policy.discipline,
        "weight": policy.weight,
        "workers": policy.workers,
        "capacity": policy.capacity,
        "paused": stats.paused,
        "pause": None if stats.pause is None else _pause_document(stats.pause, service, tells_by=tells_reasons),
        "waiting": stats.waiting,
        "delayed": stats.delayed,
        "queued": stats.queued,
        "running": stats.running,
        "oldest_queued_at": None if oldest_at is None else timestamp(service.wall(oldest_at)),
        "oldest_queued_s": None if oldest_at is None else round(now - oldest_at, 3),
        "drain_rate_per_s": round(stats.drain_rate_per_s, 3),
        "drain_s": None if stats.drain_s is None or stats.drain_s > FAR_S else round(stats.drain_s, 3),
        "quarantined": [
            {
                "type": quarantined.type,
                "since": timestamp(service.wall(quarantined.since)),
                "until": timestamp(service.wall(quarantined.until)),
                "reason": quarantined.reason if tells_reasons else NO_REASON,
            }
            for quarantined in stats.quarantined
        ],
        "submitted_total": stats.submitted_total,
        "refused_total": stats.refused_total,
        "retried_total": stats.retried_total,
        "succeeded_total": stats.succeeded_total,
        "failed_total": stats.failed_total,
        "cancelled_total": stats.cancelled_total,
        "expired_total": stats.expired_total,
    }
    return orjson.dumps(document)


def _pause_document(pause: Pause, service: Service, *, tells_by: bool) -> PauseDocument:
    return {
        "since": timestamp(service.wall(pause.since)),
        "reason": pause.reason,
        "until": None if pause.until is None else timestamp(service.wall(pause.until)),
        "by": pause.by if tells_by else None,
    }


def limiter_document(stats: LimiterStats, service: Service) -> bytes:
    """Return a limiter's document: its limits, and how many jobs hold it and wait for it."""
    document: LimiterDocument = {
        "kind": stats.kind,
        "name": stats.name,
        "held": stats.held,
        "waiting": stats.waiting,
        "permits": stats.permits,
        "rate": None if stats.rate is None else str(stats.rate),
        "quarantined_until": None if stats.shut_until is None else timestamp(service.wall(stats.shut_until)),
    }
    return orjson.dumps(document)
