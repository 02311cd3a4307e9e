"""The auditor's account of one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobqueue.core.job import Job, StopReason


@dataclass(slots=True)
class Known:
    """A job, by its events.

    Attributes:
        number: Its name in traces is j1, j2, ….
        attempt: The latest attempt. `series_began_after`: the attempt before the first of the current series.
        version: The version of the latest event, in loop iteration `changed_in`.
        final: The content that a terminal record must keep.
        superseded: Another job took over its unique value.
        offered_in_quarantine: Since its latest start, a limiter has offered it while its type was in quarantine.
        ready_number: The order in which jobs became ready; 0 after the death of a worker: due at the next permit.
    """

    number: int
    job: Job
    waiting: bool = True
    running: bool = False
    attempt: int = 0
    series_began_after: int = 0
    stop_requested_at: float | None = None
    stop_reason: StopReason | None = None
    version: int = 0
    changed_in: int = 0
    final: tuple[Any, ...] | None = None
    superseded: bool = False
    ready_number: int = 0
    retries: int = 0
    offered_in_quarantine: bool = False

    @property
    def attempts_left(self) -> int:
        return self.series_began_after + self.job.spec.attempts_max - self.attempt

    @property
    def live(self) -> bool:
        return self.waiting or self.running

    def __str__(self) -> str:
        return f"j{self.number}"


def final_look(job: Job) -> tuple[Any, ...]:
    """Return the content of a record that must not change once the job is terminal."""
    return (job.state, job.version, job.attempt, job.finished_at, job.result, job.error)
