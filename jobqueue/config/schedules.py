"""The section `schedules` of the settings: jobs that are submitted again and again, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from jobqueue.config.section import Section
from jobqueue.core.recurrence import INTERVAL_S_MAX, NOTATION_LENGTH_MAX, ZONE_PATTERN
from jobqueue.core.schedule import ARGS_BYTES_MAX, JITTER_S_MAX, CatchUp, Overlap
from jobqueue.core.scheduling.order import PRIORITY_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.handlers.schedule_submission import ScheduleSubmission

SCHEDULES_MAX = 1000


class ScheduleSettings(Section, frozen=True):
    """Settings of one schedule."""

    type: Annotated[
        str, Meta(min_length=1, max_length=100, examples=["report"], description="Type of the jobs: a handler.")
    ]
    every_s: (
        Annotated[
            float,
            Meta(
                ge=1.0,
                le=float(INTERVAL_S_MAX),
                description="Interval of the ticks, in whole seconds: they come at its multiples since 1970 in UTC; "
                "this or `cron` is required.",
            ),
        ]
        | None
    ) = None
    cron: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=NOTATION_LENGTH_MAX,
                examples=["0 3 * * *"],
                description="Times of the ticks: minute, hour, day of the month, month, day of the week, in quotes.",
            ),
        ]
        | None
    ) = None
    tz: Annotated[
        str,
        Meta(
            pattern=ZONE_PATTERN,
            max_length=64,
            examples=["Europe/Berlin"],
            description="Time zone of `cron`, by its IANA name.",
        ),
    ] = "UTC"
    args: Annotated[
        str,
        Meta(
            min_length=2,
            max_length=ARGS_BYTES_MAX,
            description="Arguments of the jobs, as the text of a JSON object.",
        ),
    ] = "{}"
    queue: (
        Annotated[str, Meta(min_length=1, max_length=64, description="Queue of the jobs; null: the handler's.")] | None
    ) = None
    priority: Annotated[
        int, Meta(ge=0, le=PRIORITY_MAX, description="Priority of the jobs, 9 first; used by the discipline priority.")
    ] = 0
    jitter_s: Annotated[
        float,
        Meta(
            ge=0.0, le=JITTER_S_MAX, description="Each tick comes up to this time later, at random; at most `every_s`."
        ),
    ] = 0.0
    overlap: Annotated[
        Overlap,
        Meta(
            description="What a tick does while the job of an earlier one is live: skip (nothing), queue (it submits "
            "another) or replace (it cancels that one, and submits another)."
        ),
    ] = "skip"
    catch_up: Annotated[
        CatchUp,
        Meta(
            description="Which instants that have passed, by a pause or a stopped machine, still get a tick: none, one "
            "(the last) or all (which needs overlap: queue)."
        ),
    ] = "one"

    @property
    def submission(self) -> ScheduleSubmission:
        """The same as a request would have it."""
        from jobqueue.handlers.schedule_submission import ScheduleSubmission  # here: it needs an extra, settings none

        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__ if name != "args"}
        return ScheduleSubmission(**fields, args=msgspec.Raw(self.args.encode()))


def faults_of_missing(schedules: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the schedules that lack a type. Args: schedules: What was given, by name."""
    for name, given in schedules.items():
        if "type" not in given:
            yield f"schedules.{name}: lacks type, the handler of its jobs"


def faults_of_schedules(
    schedules: Mapping[str, ScheduleSettings], places: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    """Yield what is wrong with the schedules, as far as the settings alone tell.

    Args:
        places: Where each setting was given, by path.
    """
    from jobqueue.handlers.schedule_submission import faults_of  # as above

    for name, schedule in schedules.items():
        for fault in faults_of(schedule.submission):
            setting = fault.pointer.strip("/")
            place = places.get(("schedules", name, setting), f"schedules.{name}.{setting}")
            yield f"{place}: {fault.detail}"
        try:
            msgspec.json.decode(schedule.args, type=dict[str, Any])
        except msgspec.MsgspecError:
            place = places.get(("schedules", name, "args"), f"schedules.{name}.args")
            yield f"{place}: must be the text of a JSON object, such as '{{\"depth\": 2}}'"
    if len(schedules) > SCHEDULES_MAX:
        yield f"schedules: {len(schedules)} are configured, and at most {SCHEDULES_MAX} are allowed"
