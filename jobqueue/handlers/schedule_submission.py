"""The submission of a schedule: what it submits, and when, whether code, settings or a request has it."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import msgspec

from jobqueue.core.recurrence import NOTATION_LENGTH_MAX, ZONE_PATTERN, BadRecurrence, Cron, Every
from jobqueue.core.schedule import ARGS_BYTES_MAX, JITTER_S_MAX, CatchUp, Overlap, Plan
from jobqueue.core.scheduling.order import PRIORITY_MAX
from jobqueue.errors import InvalidField
from jobqueue.handlers.submission import NAME_PATTERN, Name, TypeName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

_NAME = re.compile(NAME_PATTERN.strip("^$"))


class ScheduleSubmission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule: what it submits, and when. `type` is required, and one of `every_s` and `cron`.

    Attributes:
        type: The handler's registered name.
        args: The handler's arguments, by name; at most 4 KiB.
        queue: The queue that holds the jobs; null: the handler's.
        priority: 9 first, with the discipline `priority`.
        every_s: Whole seconds from one tick to the next, 1 to 366 days: at the multiples of it since 1970, in UTC.
        cron: Minute, hour, day of the month, month and day of the week, such as `0 3 * * *`.
        tz: The time zone of `cron`, by its IANA name.
        jitter_s: Each tick comes up to so much later, at random; at most a day, and `every_s`.
        overlap: What a tick does while the job of an earlier one is live: `skip`, `queue` or `replace` it.
        catch_up: Which instants that have passed, by a pause, a late loop or a stopped machine, still get a tick:
            `none`, `one` (the last) or `all`, which needs the overlap `queue`.
    """

    type: TypeName
    args: msgspec.Raw = msgspec.Raw(b"{}")
    queue: Name | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 0
    every_s: Annotated[float, msgspec.Meta(ge=1, le=366 * 86_400)] | None = None
    cron: Annotated[str, msgspec.Meta(min_length=1, max_length=NOTATION_LENGTH_MAX)] | None = None
    tz: Annotated[str, msgspec.Meta(pattern=ZONE_PATTERN)] = "UTC"
    jitter_s: Annotated[float, msgspec.Meta(ge=0, le=JITTER_S_MAX)] = 0.0
    overlap: Overlap = "skip"
    catch_up: CatchUp = "one"


def faults_of(given: ScheduleSubmission) -> Iterator[InvalidField]:
    """Yield what is wrong with a schedule, its job left aside."""
    if (given.every_s is None) == (given.cron is None):
        yield InvalidField(pointer="/every_s", detail="give every_s or cron, and not both")
    if given.cron is None and given.tz != "UTC":
        yield InvalidField(pointer="/tz", detail="is the time zone of cron; an interval has none")
    if given.catch_up == "all" and given.overlap != "queue":
        detail = "all needs overlap: queue: otherwise the first of the ticks that are caught up keeps out the others"
        yield InvalidField(pointer="/catch_up", detail=detail)
    if given.every_s is not None and given.jitter_s > given.every_s:
        yield InvalidField(pointer="/jitter_s", detail="at most the interval, every_s")
    if len(bytes(given.args)) > ARGS_BYTES_MAX:
        yield InvalidField(pointer="/args", detail=f"at most {ARGS_BYTES_MAX} bytes in a schedule")
    for pointer, make in (("/every_s", _interval), ("/tz", _zone), ("/cron", _cron)):
        try:
            make(given)
        except BadRecurrence as error:
            yield InvalidField(pointer=pointer, detail=str(error))
            return


def _interval(given: ScheduleSubmission) -> Every | None:
    return None if given.every_s is None else Every(given.every_s)


def _zone(given: ScheduleSubmission) -> tzinfo:
    """Return the time zone. Raises BadRecurrence: There is none of this name."""
    if given.tz == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(given.tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is an OSError
        raise BadRecurrence(f"there is no time zone {given.tz!r}; it has an IANA name, such as Europe/Berlin") from None


def _cron(given: ScheduleSubmission) -> Cron | None:
    return None if given.cron is None else Cron(given.cron, _zone(given))


def plan_of(given: ScheduleSubmission) -> Plan:
    """Return when a schedule repeats; it has no faults."""
    recurrence = _interval(given) or _cron(given)
    assert recurrence is not None, "it was checked"
    return Plan(recurrence=recurrence, jitter_s=given.jitter_s, overlap=given.overlap, catch_up=given.catch_up)


def is_name(text: str) -> bool:
    """Whether a text may be the name of a schedule."""
    return _NAME.fullmatch(text) is not None
