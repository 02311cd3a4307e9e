"""The event of a schedule's tick in streams of all jobs: for which instant it came, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

import orjson

from jobqueue.errors import shown
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Id, Instant  # noqa: TC001  # read from the annotations below
from jobqueue.schedules.runner import TickOutcome  # noqa: TC001  # likewise

if TYPE_CHECKING:
    from jobqueue.schedules.runner import Ticked

TICKED: Final = "ticked"

REASON_LENGTH_MAX: Final = 200


class ScheduleEventDocument(TypedDict):
    """The data of an event of a schedule: what came of a tick.

    Attributes:
        schedule: Its name.
        due_at: The instant of the schedule for which the tick came.
        outcome: `submitted`; `skipped`: a job of an earlier tick is live; `elsewhere`: the job was there, from the
            process before; `rejected`: it may be tried again.
        id: Of the job; null: there is none.
        reason: Why it was rejected; null: it was not.
        at: The instant of the event.
    """

    schedule: str
    due_at: Instant
    outcome: TickOutcome
    id: Id | None
    reason: str | None
    at: Instant


def tick_data(tick: Ticked) -> bytes:
    """Return the data of an event, as it is sent."""
    document: ScheduleEventDocument = {
        "schedule": tick.schedule[1],
        "due_at": timestamp(tick.due_at),
        "outcome": tick.outcome,
        "id": tick.job_id,
        "reason": None if tick.reason is None else shown(tick.reason, REASON_LENGTH_MAX),
        "at": timestamp(tick.at),
    }
    return orjson.dumps(document)
