"""The documents of the API: a job, a queue, a batch's verdict or a time as JSON.

It owns the form of every answer that is no problem. It must not know requests and responses.

A job's result passes through as the bytes that it is.
"""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from jobqueue.http.problems import problem_of

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from jobqueue.backend.base import QueueStats
    from jobqueue.core.gate import GateStats
    from jobqueue.core.job import FailedAttempt, Job
    from jobqueue.core.outlook import Outlook
    from jobqueue.errors import JobQueueError

FAR_S = 30 * 24 * 3600
"""An estimate beyond that is none."""


def job_document(job: Job, queue: JobQueue, outlook: Outlook | None) -> bytes:
    """Return a job's document; its result stands in it as the bytes that it is.

    Args:
        outlook: What a live job may expect; None for one that is over.
    """
    spec, progress, error = job.spec, job.progress, job.error
    members = {
        "id": job.id,
        "type": spec.type,
        "queue": spec.queue,
        "state": job.state,
        "attempt": job.attempt,
        "attempts_max": job.attempts_max,
        "priority": spec.priority,
        "group": spec.group,
        "created_at": timestamp(queue.wall(job.created_at)),
        "run_at": timestamp(queue.wall(job.run_at)),
        "started_at": None if job.started_at is None else timestamp(queue.wall(job.started_at)),
        "finished_at": None if job.finished_at is None else timestamp(queue.wall(job.finished_at)),
        "progress": None if progress is None else {"fraction": progress.fraction, "note": progress.note},
        "position": None if outlook is None else outlook.position,
        "eta_s": None if outlook is None or outlook.eta_s is None else round(outlook.eta_s, 3),
        "poll_after_ms": None if outlook is None else math.ceil(outlook.poll_after_s * 1000),
        "result": None if job.result is None else orjson.Fragment(job.result),
        "error": None if error is None else {"code": error.code, "message": error.message},
        "history": [_attempt(failed, queue) for failed in job.history] if job.history else None,
    }
    return orjson.dumps(members)


def _attempt(failed: FailedAttempt, queue: JobQueue) -> dict[str, Any]:
    return {
        "attempt": failed.attempt,
        "started_at": timestamp(queue.wall(failed.started_at)),
        "ended_at": timestamp(queue.wall(failed.ended_at)),
        "code": failed.code,
        "message": failed.message,
        "traceback": failed.traceback,
    }


def missing_document(job_id: str, error: JobQueueError) -> bytes:
    """Return what stands in a list in the place of a job that can't be told."""
    problem = problem_of(error)
    head = orjson.dumps({"id": job_id, "status": problem.row.status})
    return head[:-1] + b',"problem":' + problem.body + b"}"


def queue_document(stats: QueueStats, queue: JobQueue) -> bytes:
    """Return a queue's document: its settings, what it holds now, how fast it drains, its counters since start."""
    now, oldest_at, policy = queue.backend.now(), stats.oldest_queued_at, stats.policy
    return orjson.dumps(
        {
            "name": stats.name,
            "discipline": policy.discipline,
            "weight": policy.weight,
            "workers": policy.workers,
            "capacity": policy.capacity,
            "paused": stats.paused,
            "delayed": stats.delayed,
            "queued": stats.queued,
            "running": stats.running,
            "oldest_queued_at": None if oldest_at is None else timestamp(queue.wall(oldest_at)),
            "oldest_queued_s": None if oldest_at is None else round(now - oldest_at, 3),
            "drain_rate": round(stats.drain_rate, 3),
            "drain_s": None if stats.drain_s is None or stats.drain_s > FAR_S else round(stats.drain_s, 3),
            "quarantined": [
                {
                    "type": quarantined.type,
                    "since": timestamp(queue.wall(quarantined.since)),
                    "until": timestamp(queue.wall(quarantined.until)),
                    "reason": quarantined.reason,
                }
                for quarantined in stats.quarantined
            ],
            "submitted_total": stats.submitted_total,
            "refused_total": stats.refused_total,
            "redriven_total": stats.redriven_total,
            "succeeded_total": stats.succeeded_total,
            "failed_total": stats.failed_total,
            "cancelled_total": stats.cancelled_total,
            "expired_total": stats.expired_total,
        }
    )


def gate_document(stats: GateStats, queue: JobQueue) -> bytes:
    """Return a gate's document: its bounds, how many hold it and wait; `shut_until` is a quarantined type's probe."""
    return orjson.dumps(
        {
            "kind": stats.kind,
            "name": stats.name,
            "held": stats.held,
            "waiting": stats.waiting,
            "permits": stats.permits,
            "rate": None if stats.rate is None else str(stats.rate),
            "shut_until": None if stats.shut_until is None else timestamp(queue.wall(stats.shut_until)),
        }
    )


def etag(job: Job) -> str:
    """Return the entity tag of a job's document: weak, because hints in it change without the job."""
    return f'W/"{job.version}"'


def timestamp(seconds: float) -> str:
    """Write Unix seconds as RFC 3339, in UTC, with milliseconds."""
    whole = math.floor(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # Kept, because the times of a job, and of jobs that are asked for together, share their seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
