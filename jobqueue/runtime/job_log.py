"""Job log: writes log lines from the engine's events: failures, early evictions, quarantines.

Rules:

1. Every failed job is one line, `job.failed`, whatever its error and wherever its handler ran. The log's own buffer
   bounds a flood, and counts what it drops.
2. A failed attempt that doesn't end its job as failed is one line, `attempt.failed`, at a lower level.
3. Effects of a policy on many jobs at once (expiry, eviction) are counted and sampled, never a line each.

The logger is `jobqueue.jobs`, so that a program with logging of its own can choose these lines by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core.events import AttemptFailed, Evicted, Expired, Quarantined, Released
from jobqueue.core.job import DELAYED, FAILED
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGED = (AttemptFailed, Expired, Evicted, Quarantined, Released)
"""The events that `JobLog.on_event` is to be subscribed to."""

log = event_logger("jobqueue.jobs")


class JobLog:
    """A listener of events that writes log lines; `now` is the clock of the events' instants, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._evicted_early = 0

    def on_event(self, event: AttemptFailed | Expired | Evicted | Quarantined | Released) -> None:
        """Write the line of an event, if it has one."""
        match event:
            case AttemptFailed():
                _log_failure(event)
            case Expired(job=job):
                log.sampled("job.expired", job_id=job.id, type=job.spec.type, queue=job.spec.queue)
            case Evicted():
                if event.early:
                    self._evicted_early += len(event.jobs)
                    log.sampled("statuses.evicted_early", every_s=10.0, evicted_early_total=self._evicted_early)
            case Quarantined():
                probe_s = round(event.until - self._now(), 3)
                log.warning("type.quarantined", type=event.type, reason=event.reason, probe_s=probe_s)
            case Released():
                log.info("type.released", type=event.type)


def _log_failure(event: AttemptFailed) -> None:
    job, failure = event.job, event.failure
    fields: dict[str, Any] = {
        "job_id": job.id,
        "type": job.spec.type,
        "queue": job.spec.queue,
        "attempt": event.attempt,
        "code": failure.code,
        "message": failure.message,
    }
    if job.started_at is not None:
        fields["run_s"] = round(event.at - job.started_at, 3)
    if job.state is DELAYED:
        fields["retry_in_s"] = round(job.run_at - event.at, 3)
    if failure.traceback is not None:
        fields["traceback"] = failure.traceback
    if job.state is FAILED:
        log.warning("job.failed", **fields)
    else:
        log.info("attempt.failed", **fields)
