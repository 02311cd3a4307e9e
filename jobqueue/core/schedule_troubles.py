"""Troubles of schedules: what goes wrong with one several times in a row.

Rules:

1. A streak ends when it goes well once, and with a pause or the removal of its schedule.
2. A streak of `IN_A_ROW_MIN` is reported; one of skipped ticks only once it has lasted for `SKIPPED_S`, since a job may
   now and then take longer than the interval.
3. Schedules without a streak cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from jobqueue.core.schedule import ScheduleId  # msgspec reads it from the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator

TroubleKind = Literal["rejected", "skipped", "late", "failed"]
TROUBLE_KINDS: Final[tuple[TroubleKind, ...]] = get_args(TroubleKind)

IN_A_ROW_MIN: Final = 3
SKIPPED_S: Final = 600.0


class Trouble(msgspec.Struct, kw_only=True):
    """One trouble of a schedule.

    Attributes:
        kind: `rejected`: its submissions are; `skipped`: its ticks are, since an earlier job is live; `late`: they come
            late; `failed`: its jobs fail, or expire.
        count: Times in a row.
        since: The first of them, in Unix seconds.
        reason: That of the latest one, in words; None: it has none.
    """

    schedule: ScheduleId
    kind: TroubleKind
    count: int
    since: float
    reason: str | None

    def is_reported(self, now: float) -> bool:
        """Whether the streak is long enough to be reported."""
        return self.count >= IN_A_ROW_MIN and (self.kind != "skipped" or now - self.since >= SKIPPED_S)


class ScheduleTroubles:
    """The streaks of all schedules."""

    def __init__(self) -> None:
        self._streaks: dict[ScheduleId, dict[TroubleKind, Trouble]] = {}

    def note(self, id: ScheduleId, kind: TroubleKind, at: float, *, bad: bool, reason: str | None = None) -> None:
        """Note how it went once, at an instant in Unix seconds."""
        streaks = self._streaks.get(id)
        if not bad:
            if streaks is not None:
                streaks.pop(kind, None)
                if not streaks:
                    del self._streaks[id]
            return
        if streaks is None:
            streaks = self._streaks[id] = {}
        streak = streaks.get(kind)
        if streak is None:
            streak = streaks[kind] = Trouble(schedule=id, kind=kind, count=0, since=at, reason=None)
        streak.count += 1
        streak.reason = reason

    def forget(self, id: ScheduleId) -> None:
        """End all streaks of a schedule."""
        self._streaks.pop(id, None)

    def current(self, now: float) -> Iterator[Trouble]:
        """Yield the troubles that are reported at an instant; a value that is kept has to be copied."""
        for streaks in self._streaks.values():
            for streak in streaks.values():
                if streak.is_reported(now):
                    yield streak
