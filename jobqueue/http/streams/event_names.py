"""The names of events in streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.events import (
    BackedOff,
    Ended,
    Event,
    ParentsEnded,
    Paused,
    Progressed,
    Quarantined,
    Released,
    Resumed,
    Started,
    StopRequested,
    Submitted,
)
from jobqueue.core.job import RUNNING, JobState

if TYPE_CHECKING:
    from jobqueue.core.events import JobEvent
    from jobqueue.core.job_view import AnyJob

NAMES: dict[type[Event], str] = {
    Submitted: "submitted",
    Started: "started",
    StopRequested: "stopping",
    BackedOff: "retrying",
    Quarantined: "quarantined",
    Released: "released",
    Paused: "paused",
    Resumed: "resumed",
}
"""The names of those whose type decides; `name_of` has the others."""


def name_of(event: JobEvent) -> str | None:
    """Return the name of an event that its type alone does not tell; None: clients see no change."""
    job = event.job
    if isinstance(event, Ended):
        return job.state
    if isinstance(event, Progressed):
        return "progress" if job.state is RUNNING else "changed"
    if isinstance(event, ParentsEnded):
        return "delayed" if job.state is JobState.DELAYED else None
    # `Ready`: a new job's first queueing is covered by `submitted`.
    return "queued" if job.version else None


def name_of_state(job: AnyJob) -> str:
    """Return the name of the event that has led to a job's present state."""
    match job.state:
        case JobState.RUNNING:
            return "started"
        case JobState.WAITING:
            return "submitted" if not job.version else "changed"
        case JobState.DELAYED if job.lineage is not None and not job.attempt:
            return "delayed"
        case JobState.DELAYED:
            return "retrying" if job.attempt > job.attempts_before else "submitted"
        case JobState.QUEUED:
            return "queued" if job.version else "submitted"
        case _:
            return job.state
