"""Job log: writes log lines from the engine's events: failures, early evictions, quarantines, pauses.

Rules:

1. Every failed job is one line, `job.failed`, whatever its error and wherever its handler ran. The log's own buffer
   bounds a flood, and counts what it drops.
2. A failed attempt that doesn't end its job as failed is one line, `attempt.failed`, at a lower level.
3. With `log.jobs: all` each start of an attempt, and each other end of a job, is a line, too; at most
   `log.lines_per_s_max` of them in a second. `job.unlogged` counts the others.
4. Effects of a policy on many jobs at once (expiry, eviction) are counted and sampled, never a line each.
5. The lines of a job have the `traceparent` of the request that submitted it, if there was one.

The logger is `jobqueue.jobs`, so that a program with logging of its own can choose these lines by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core.events import AttemptFailed, Ended, Evicted, Expired, Paused, Quarantined, Released, Resumed, Started
from jobqueue.core.job import DELAYED, FAILED
from jobqueue.line_rate import LineRate
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import LogSettings
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job

_ALWAYS = (AttemptFailed, Expired, Evicted, Quarantined, Released, Paused, Resumed)

log = event_logger("jobqueue.jobs")


class JobLog:
    """A listener of events that writes log lines.

    Args:
        now: The clock of the events' instants, in seconds.

    Attributes:
        kinds: The events that `on_event` is to be subscribed to.
    """

    kinds: tuple[type[Event], ...]

    def __init__(self, now: Callable[[], float], settings: LogSettings) -> None:
        self.kinds = (*_ALWAYS, Started, Ended) if settings.jobs == "all" else _ALWAYS
        self._now = now
        self._rate = LineRate(settings.lines_per_s_max)
        self._unlogged = log.counter("job.unlogged", every_s=10.0)
        self._evicted_early = 0

    def on_event(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        match event:
            case AttemptFailed():
                _log_failure(event)
            case Started(job=job):
                if self._may_tell():
                    _log_start(job)
            case Ended(job=job):
                if job.state is not FAILED and self._may_tell():
                    _log_end(job)
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
                log.info("type.released", type=event.type, on_request=event.on_request)
            case Paused(queue=queue, pause=pause):
                for_s = None if pause.until is None else round(pause.until - self._now(), 3)
                log.info("queue.paused", queue=queue, reason=pause.reason, for_s=for_s, by=pause.by)
            case Resumed(queue=queue, by=by):
                log.info("queue.resumed", queue=queue, by=by)

    def _may_tell(self) -> bool:
        if self._rate.take():
            return True
        self._unlogged.add()
        return False


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
    if job.spec.traceparent is not None:
        fields["traceparent"] = job.spec.traceparent
    if failure.traceback is not None:
        fields["traceback"] = failure.traceback
    if job.state is FAILED:
        log.warning("job.failed", **fields)
    else:
        log.info("attempt.failed", **fields)


def _log_start(job: Job) -> None:
    fields: dict[str, Any] = {
        "job_id": job.id,
        "type": job.spec.type,
        "queue": job.spec.queue,
        "attempt": job.attempt,
    }
    if job.started_at is not None:
        fields["wait_s"] = round(job.started_at - job.run_at, 3)
    if job.spec.traceparent is not None:
        fields["traceparent"] = job.spec.traceparent
    log.info("job.started", **fields)


def _log_end(job: Job) -> None:
    fields: dict[str, Any] = {
        "job_id": job.id,
        "type": job.spec.type,
        "queue": job.spec.queue,
        "state": job.state,
        "attempt": job.attempt,
    }
    if job.started_at is not None and job.finished_at is not None:
        fields["run_s"] = round(job.finished_at - job.started_at, 3)
    if job.spec.traceparent is not None:
        fields["traceparent"] = job.spec.traceparent
    log.info("job.ended", **fields)
