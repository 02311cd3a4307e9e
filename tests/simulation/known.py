"""What the books say of one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobqueue.core.job import Job, StopReason


@dataclass(slots=True)
class Known:
    """A job, by what was heard of it.

    Attributes:
        number: It is called j1, j2, … in traces.
        attempt: The latest that began. `series_began_after`: the one before the first of this series.
        version: The one that the latest event told of, in the turn `changed_in`.
        final: What a terminal record must go on to look like.
        superseded: Its unique value went over to another.
        place: In which order jobs became ready; 0: its worker died, and it has its turn when it gets a permit.
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
    place: int = 0
    retries: int = 0

    @property
    def attempts_left(self) -> int:
        return self.series_began_after + self.job.spec.attempts_max - self.attempt

    @property
    def live(self) -> bool:
        return self.waiting or self.running

    def __str__(self) -> str:
        return f"j{self.number}"


def final_look(job: Job) -> tuple[Any, ...]:
    """Return what must not change any more once a job is over."""
    return (job.state, job.version, job.attempt, job.finished_at, job.result, job.error)
