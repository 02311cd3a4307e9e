"""Troubles of schedules: what goes wrong with one several times in a row.

Rules:

1. A row ends when it goes well once, and with a pause or the removal of its schedule.
2. A row of `IN_A_ROW_MIN` is a trouble; one of skipped ticks only once it has lasted for `SKIPPED_S`, since a job may
   now and then take longer than the interval.
3. Schedules without a row cost nothing.
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

    def is_one(self, now: float) -> bool:
        """Whether the row is long enough."""
        return self.count >= IN_A_ROW_MIN and (self.kind != "skipped" or now - self.since >= SKIPPED_S)


class ScheduleTroubles:
    """The rows of all schedules."""

    def __init__(self) -> None:
        self._rows: dict[ScheduleId, dict[TroubleKind, Trouble]] = {}

    def note(self, id: ScheduleId, kind: TroubleKind, at: float, *, bad: bool, reason: str | None = None) -> None:
        """Note how it went once, at an instant in Unix seconds."""
        rows = self._rows.get(id)
        if not bad:
            if rows is not None:
                rows.pop(kind, None)
                if not rows:
                    del self._rows[id]
            return
        if rows is None:
            rows = self._rows[id] = {}
        row = rows.get(kind)
        if row is None:
            row = rows[kind] = Trouble(schedule=id, kind=kind, count=0, since=at, reason=None)
        row.count += 1
        row.reason = reason

    def forget(self, id: ScheduleId) -> None:
        """End all rows of a schedule."""
        self._rows.pop(id, None)

    def current(self, now: float) -> Iterator[Trouble]:
        """Yield the troubles of an instant; a value that is kept has to be copied."""
        for rows in self._rows.values():
            for row in rows.values():
                if row.is_one(now):
                    yield row
