"""Rules of findings about schedules: one for each kind of trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.schedules import LATE_S
from jobqueue.duration import spell
from jobqueue.findings.finding import Finding
from jobqueue.findings.words import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobqueue.core.schedule_troubles import Trouble, TroubleKind
    from jobqueue.findings.sight import Sight


def rejected(sight: Sight, trouble: Trouble) -> Finding:
    """A schedule's submissions are rejected."""
    return Finding(
        kind="schedule_rejected",
        severity="warning",
        sentence=f"The last {trouble.count:,} submissions of schedule {_name(trouble)} were rejected.",
        cause=text(trouble.reason or "No reason is known.", 500),
        remedy="Give its queue more capacity or workers, or mend its arguments: the tick is tried again.",
        about="schedule",
        name=trouble.schedule[1],
        since=_since(sight, trouble),
    )


def skipped(sight: Sight, trouble: Trouble) -> Finding:
    """A schedule's ticks are skipped, since an earlier job is live."""
    return Finding(
        kind="schedule_skipped",
        severity="warning",
        sentence=f"Schedule {_name(trouble)} has skipped its last {trouble.count:,} ticks.",
        cause="A job of an earlier tick is still live: it takes longer than the interval, hangs, or waits to start.",
        remedy="Look at that job. Give its handler a timeout, a longer interval, or overlap: queue or replace.",
        about="schedule",
        name=trouble.schedule[1],
        since=_since(sight, trouble),
    )


def late(sight: Sight, trouble: Trouble) -> Finding:
    """A schedule's ticks come late."""
    return Finding(
        kind="schedule_late",
        severity="warning",
        sentence=f"The last {trouble.count:,} ticks of schedule {_name(trouble)} came over {spell(LATE_S)} late.",
        cause="It catches up (catch_up: all), its submissions were rejected meanwhile, or the event loop is late.",
        remedy="Nothing if it catches up: the next tick in time ends this. Else mend what the other findings name.",
        about="schedule",
        name=trouble.schedule[1],
        since=_since(sight, trouble),
    )


def failed(sight: Sight, trouble: Trouble) -> Finding:
    """A schedule's jobs fail."""
    return Finding(
        kind="schedule_failing",
        severity="warning",
        sentence=f"The last {trouble.count:,} jobs of schedule {_name(trouble)} have failed.",
        cause=f"The latest one: {text(trouble.reason or 'no reason is known')}",
        remedy="Look at its failed jobs, and mend the cause; then retry the last one, or run the schedule now.",
        about="schedule",
        name=trouble.schedule[1],
        since=_since(sight, trouble),
    )


OF_KINDS: Final[Mapping[TroubleKind, Callable[[Sight, Trouble], Finding]]] = {
    "rejected": rejected,
    "skipped": skipped,
    "late": late,
    "failed": failed,
}


def _name(trouble: Trouble) -> str:
    owner, name = trouble.schedule
    return text(name if owner is None else f"{name} (of {owner})")


def _since(sight: Sight, trouble: Trouble) -> float:
    return min(sight.now, trouble.since - sight.snapshot.wall_offset_s)
