"""Events as receivers get them: `{"type", "timestamp", "data"}`, as Standard Webhooks advises.

An event tells what happened, not all of it: a result may be large, and `GET /v1/jobs/ID/result` has it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Job


def event(type: str, at: float, data: object) -> bytes:
    """Return an event as JSON. Args: at: Unix seconds."""
    return msgspec.json.encode({"type": type, "timestamp": _instant(at), "data": data})


def end_of_job(job: Job, wall: Callable[[float], float]) -> bytes:
    """Return the event of a job's end. Args: wall: Converts the job's instants to Unix seconds."""
    finished_at = wall(job.created_at if job.finished_at is None else job.finished_at)
    error = job.error
    data: dict[str, Any] = {
        "id": job.id,
        "type": job.spec.type,
        "queue": job.spec.queue,
        "state": job.state.value,
        "attempt": job.attempt,
        "group": job.spec.group,
        "created_at": _instant(wall(job.created_at)),
        "started_at": None if job.started_at is None else _instant(wall(job.started_at)),
        "finished_at": _instant(finished_at),
        "error": None if error is None else {"code": error.code.value, "message": error.message},
    }
    return event(f"job.{job.state.value}", finished_at, data)


def _instant(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
