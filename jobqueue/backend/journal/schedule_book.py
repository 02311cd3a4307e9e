"""The schedules that a journal keeps: those of requests whole, of the others their state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.schedule import KeptSchedule

if TYPE_CHECKING:
    from jobqueue.backend.journal.recorder import Recorder
    from jobqueue.core.schedule import ScheduleId, SchedulePause


class ScheduleBook:
    """Records what becomes of schedules, and knows the latest of each.

    Attributes:
        kept: By id.
    """

    def __init__(self) -> None:
        self.kept: dict[ScheduleId, KeptSchedule] = {}
        self._recorder: Recorder | None = None

    def begin(self, kept: dict[ScheduleId, KeptSchedule], recorder: Recorder) -> None:
        """Go on with what the log tells, and record what follows."""
        self.kept, self._recorder = kept, recorder

    def define(self, id: ScheduleId, *, caller: str, given: bytes) -> None:
        """Keep the definition that a caller has put, as JSON."""
        schedule = self.kept.setdefault(id, KeptSchedule())
        schedule.caller, schedule.given = caller, given
        if self._recorder is not None:
            self._recorder.schedule(id, schedule)

    def note(self, id: ScheduleId, *, reached: float, pause: SchedulePause | None) -> None:
        """Keep up to which instant a schedule is done, and its pause."""
        schedule = self.kept.setdefault(id, KeptSchedule())
        schedule.reached, schedule.pause = reached, pause
        if self._recorder is not None:
            self._recorder.schedule_state(id, schedule)

    def forget(self, id: ScheduleId) -> None:
        """Keep nothing of a schedule, if anything is kept."""
        if self.kept.pop(id, None) is not None and self._recorder is not None:
            self._recorder.schedule(id, None)
