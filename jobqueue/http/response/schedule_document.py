"""The documents of schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import orjson

from jobqueue.core.schedule import CatchUp, Overlap  # noqa: TC001  # read from the annotations below
from jobqueue.handlers.redaction import HIDDEN
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Duration, Id, Instant  # noqa: TC001  # as above

if TYPE_CHECKING:
    from jobqueue.core.schedule import Schedule
    from jobqueue.schedules.definition import Definition
    from jobqueue.service import Service

NEXT_RUNS: int = 5
"""Instants to come in the document of one schedule."""


class SchedulePauseDocument(TypedDict):
    """A pause of a schedule.

    Attributes:
        since: When it began.
        by: The caller that has paused it, told to keys that see all jobs; null: not told, or the application itself.
    """

    since: Instant
    by: str | None


class LastTickDocument(TypedDict):
    """The latest tick of a schedule.

    Attributes:
        instant: The one that it was for.
        at: When it came.
        drift_s: How much later that was than planned, `jitter_s` left aside.
        job_id: Its job; null: it was skipped or rejected.
    """

    instant: Instant
    at: Instant
    drift_s: Duration
    job_id: Id | None


class ScheduleDocument(TypedDict):
    """A schedule: what it submits, when, and what became of it since the start.

    Attributes:
        name: Its name.
        source: Where it is defined: the code, the settings, or a request.
        caller: The caller that has put it; null: it is defined in the code or in the settings.
        type: The type of its jobs.
        args: Their arguments, values that the handler redacts hidden.
        queue: The queue of its jobs.
        priority: Their priority.
        every_s: The interval; null: it has a cron notation.
        cron: The cron notation; null: it has an interval.
        tz: The time zone of `cron`.
        jitter_s: Each tick comes up to so much later, at random.
        overlap: What a tick does while the job of an earlier one is live.
        catch_up: Which instants that have passed still get a tick.
        pause: Since when it gives no ticks; null: it gives them.
        next_at: When the next tick is planned, with its jitter, or tried again; null: it is paused, or none comes.
        next_runs: The next instants, without jitter. In the document of one schedule.
        last: The latest tick; null: there was none since the start.
        error: Why the latest submission was rejected; null: it was not.
        submitted_total: Jobs that it has submitted, those on request included.
        skipped_total: Ticks that were skipped, since the job of an earlier one was live.
        elsewhere_total: Ticks with a job of another server, or of the process before.
        rejected_total: Submissions that were rejected, further tries included.
        missed_total: Instants that passed without a tick; after a long stop of a cron notation at least so many.
    """

    name: str
    source: Literal["code", "config", "api"]
    caller: str | None
    type: str
    args: Any
    queue: str
    priority: Count
    every_s: Duration | None
    cron: str | None
    tz: str
    jitter_s: Duration
    overlap: Overlap
    catch_up: CatchUp
    pause: SchedulePauseDocument | None
    next_at: Instant | None
    next_runs: NotRequired[list[Instant]]
    last: LastTickDocument | None
    error: str | None
    submitted_total: Count
    skipped_total: Count
    elsewhere_total: Count
    rejected_total: Count
    missed_total: Count


class SchedulesDocument(TypedDict):
    """A page of schedules.

    Attributes:
        schedules: In the order of their names.
        next_cursor: The `cursor` of the next page; null: this is the last one.
    """

    schedules: list[ScheduleDocument]
    next_cursor: str | None


def schedule_document(
    definition: Definition, schedule: Schedule, service: Service, *, tells_callers: bool, whole: bool
) -> ScheduleDocument:
    """Return the document of a schedule.

    Args:
        tells_callers: Whether it has the caller of a pause.
        whole: Whether it has the next instants.
    """
    given, pause, last, next_at = definition.given, schedule.pause, schedule.last, schedule.next_at
    document: ScheduleDocument = {
        "name": definition.name,
        "source": definition.source,
        "caller": definition.caller,
        "type": given.type,
        "args": _args(definition, service),
        "queue": definition.spec.queue,
        "priority": given.priority,
        "every_s": given.every_s,
        "cron": given.cron,
        "tz": given.tz,
        "jitter_s": given.jitter_s,
        "overlap": given.overlap,
        "catch_up": given.catch_up,
        "pause": None
        if pause is None
        else {"since": timestamp(pause.since), "by": pause.by if tells_callers else None},
        "next_at": None if next_at is None else timestamp(next_at),
        "last": None
        if last is None
        else {
            "instant": timestamp(last.instant),
            "at": timestamp(last.at),
            "drift_s": round(last.drift_s, 3),
            "job_id": last.job_id,
        },
        "error": schedule.error,
        "submitted_total": schedule.submitted_total,
        "skipped_total": schedule.skipped_total,
        "elsewhere_total": schedule.elsewhere_total,
        "rejected_total": schedule.rejected_total,
        "missed_total": schedule.missed_total,
    }
    if whole:
        document["next_runs"] = _next_runs(schedule)
    return document


def _next_runs(schedule: Schedule) -> list[str]:
    instants: list[str] = []
    instant = None if schedule.pause is not None else schedule.planned
    while instant is not None and len(instants) < NEXT_RUNS:
        instants.append(timestamp(instant))
        instant = schedule.plan.recurrence.after(instant)
    return instants


def _args(definition: Definition, service: Service) -> orjson.Fragment:
    handler = service.registry.find(definition.given.type)
    if handler is None:  # so it isn't known what it redacts
        return orjson.Fragment(orjson.dumps(HIDDEN))
    args = definition.args
    return orjson.Fragment(args if handler.redaction is None else handler.redaction.apply(args))
