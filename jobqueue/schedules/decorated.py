"""Decorated: the schedules that `@queue.every` and `@queue.cron` give a handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypedDict

import msgspec

from jobqueue.config.units import read_duration
from jobqueue.core.schedule import CatchUp, Overlap  # noqa: TC001  # read from the annotations below
from jobqueue.duration import Duration, as_seconds, seconds
from jobqueue.encoder import encode
from jobqueue.errors import InvalidSubmission
from jobqueue.handlers import refuse_unknown
from jobqueue.handlers.schedule_submission import ScheduleSubmission, faults_of, is_name
from jobqueue.handlers.validation import field_of


class ScheduleOptions(TypedDict, total=False):
    """The options of a schedule beside its instants."""

    name: str | None
    args: Mapping[str, Any] | None
    queue: str | None
    priority: int
    jitter_s: Duration
    overlap: Overlap
    catch_up: CatchUp


class Decorated(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of a handler. Attributes: name: None: that of the type."""

    name: str | None
    given: ScheduleSubmission

    def of(self, job_type: str) -> Self:
        """Return the schedule of a type."""
        given = msgspec.structs.replace(self.given, type=job_type)
        return type(self)(name=self.name or job_type, given=given)


def every_of(interval: Duration | str, options: ScheduleOptions) -> Decorated:
    """Return the schedule of an interval. Raises ValueError, TypeError."""
    label = f"every {interval!r}"
    try:
        interval_s = read_duration(interval) if isinstance(interval, str) else seconds(interval)
    except ValueError:
        raise ValueError(f"{label}: an interval is seconds, a timedelta, or a text such as '5m' or '1h30m'") from None
    return _decorated(label, options, every_s=interval_s)


def cron_of(notation: str, tz: str, options: ScheduleOptions) -> Decorated:
    """Return the schedule of a cron notation. Raises ValueError, TypeError."""
    return _decorated(f"cron {notation!r}", options, cron=notation, tz=tz)


def _decorated(label: str, options: ScheduleOptions, **instants: object) -> Decorated:
    refuse_unknown("schedule", options, ScheduleOptions.__annotations__)
    given: dict[str, Any] = {**options, **instants, "type": "of its handler"}
    name, args = given.pop("name", None), given.pop("args", None)
    given["jitter_s"] = as_seconds(given.get("jitter_s", 0.0))
    if name is not None and not (isinstance(name, str) and is_name(name)):
        raise ValueError(f"{label}: a name has 1 to 100 letters, digits, _, . or -, not {name!r}")
    if args is not None and not isinstance(args, Mapping):
        raise ValueError(f"{label}: args is a mapping of arguments to their values, not {args!r}")
    try:
        submission = msgspec.convert(given, ScheduleSubmission)
        submission = msgspec.structs.replace(submission, args=msgspec.Raw(encode({} if args is None else dict(args))))
    except msgspec.ValidationError as fault:
        raise ValueError(f"{label}: {field_of(fault)}") from None
    except ValueError as error:
        raise ValueError(f"{label}: /args: {error}") from None
    if faults := list(faults_of(submission)):
        raise ValueError(f"{label}: {InvalidSubmission(*faults)}")
    return Decorated(name=name, given=submission)
