"""A schedule: what it repeats, how, and what became of it.

All instants are Unix seconds, since those of a schedule are times of the wall clock.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from jobqueue.core.job import JobId
from jobqueue.core.recurrence import Cron, Every

Overlap = Literal["skip", "queue", "replace"]
CatchUp = Literal["none", "one", "all"]

JITTER_S_MAX: Final = 86_400.0

ARGS_BYTES_MAX: Final = 4 * 2**10
"""Maximum size of the arguments of a schedule's jobs, in bytes: there may be ten thousand schedules."""

ScheduleId = tuple[str | None, str]
"""The owner of a schedule, and its name, which is unique among those of its owner."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """When a schedule submits its job.

    Attributes:
        recurrence: Its instants.
        jitter_s: Each tick comes up to this time after its instant, at random.
        overlap: What a tick does while the job of an earlier one is live: `skip` (nothing), `queue` (it submits
            another) or `replace` (it submits another, and cancels the live one).
        catch_up: Which of the instants that have passed, by a pause, a late loop or a stopped machine, still get a
            tick: `none`, `one` (the last) or `all`.
    """

    recurrence: Every | Cron
    jitter_s: float = 0.0
    overlap: Overlap = "skip"
    catch_up: CatchUp = "one"


class SchedulePause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause of a schedule.

    Attributes:
        since: When it began.
        by: The caller that has paused it; None: the application itself.
    """

    since: float
    by: str | None = None


class KeptSchedule(msgspec.Struct, kw_only=True):
    """What a journal keeps of a schedule.

    Attributes:
        caller: The caller that has put it; None: it is defined in the code or in the settings.
        given: What was put, as JSON; None: likewise.
        reached: The last instant that is done with; None: none is known.
        pause: None: it is not paused.
    """

    caller: str | None = None
    given: bytes | None = None
    reached: float | None = None
    pause: SchedulePause | None = None


class LastTick(msgspec.Struct, frozen=True, kw_only=True):
    """The latest tick of a schedule.

    Attributes:
        instant: The one of the recurrence.
        at: When the tick came.
        drift_s: How much later that was than planned, jitter left aside.
        job_id: Its job, of whichever server; None: it was skipped or rejected.
    """

    instant: float
    at: float
    drift_s: float
    job_id: JobId | None


class Schedule:
    """The state of a schedule. `Schedules` is the only writer.

    Attributes:
        reached: The last instant that is done with, or that of its beginning: what comes after it is yet to come.
        planned: The next instant; None: it never comes again.
        fires_at: The time of the next tick: the planned instant with its jitter, or that of the next try.
        jitter_s: The jitter of the planned instant; 0 for a further try.
        busy: Its ticks are on their way.
        error: Why the latest submission was rejected; None: it was not.
        submitted_total, skipped_total, elsewhere_total: Ticks by what came of them: a job; none, since an earlier one
            is live; none, since another server, or the process before, has submitted it.
        rejected_total: Submissions that were rejected, further tries of a tick included.
        missed_total: Instants without a tick: at least, as those of a cron notation are counted up to a bound.
        order: The number of its entry among all that wait; an entry with another number is void.
    """

    __slots__ = (
        *("busy", "elsewhere_total", "error", "fires_at", "id", "jitter_s", "last", "missed_total", "order", "pause"),
        *("plan", "planned", "reached", "rejected_total", "removed", "skipped_total", "submitted_total"),
    )

    def __init__(self, id: ScheduleId, plan: Plan, *, reached: float) -> None:
        self.id = id
        self.plan = plan
        self.reached = reached
        self.planned: float | None = None
        self.fires_at = 0.0
        self.jitter_s = 0.0
        self.pause: SchedulePause | None = None
        self.last: LastTick | None = None
        self.error: str | None = None
        self.busy = self.removed = False
        self.order = 0
        self.submitted_total = self.skipped_total = self.elsewhere_total = 0
        self.rejected_total = self.missed_total = 0

    @property
    def next_at(self) -> float | None:
        """When its next tick is planned; None: it is paused, or never comes again."""
        return None if self.pause is not None or self.planned is None else self.fires_at
