"""The definition of a schedule: what a user writes in code, settings or a request, and how it is checked.

Rules:

1. All three have the members of `ScheduleSubmission`, with the same bounds and defaults.
2. A definition is checked whole: when it repeats, and the job that it submits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from jobqueue.core.job import JobSpec
from jobqueue.core.schedule import Plan, ScheduleId
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.handlers.schedule_submission import ScheduleSubmission, faults_of, plan_of
from jobqueue.handlers.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.handlers import Registry

Source = Literal["code", "config", "api"]


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that was checked.

    Attributes:
        id: Its owner and its name.
        source: Where it was defined.
        caller: Whose quotas its jobs count towards; None: the application's own.
        spec, args: Those of each job.
    """

    id: ScheduleId
    source: Source
    given: ScheduleSubmission
    caller: str | None
    plan: Plan
    spec: JobSpec
    args: bytes

    @property
    def name(self) -> str:
        """Its name."""
        return self.id[1]


def checked(
    id: ScheduleId,
    given: ScheduleSubmission,
    *,
    source: Source,
    caller: str | None = None,
    registry: Registry,
    has_queue: Callable[[str], bool],
) -> Definition:
    """Check a schedule.

    Raises:
        UnknownType: No handler has its type.
        InvalidSubmission: All other faults, with their pointers.
    """
    faults = list(faults_of(given))
    submission = Submission(type=given.type, args=given.args, queue=given.queue, priority=given.priority)
    spec, args, more = None, b"", 0
    try:
        spec, args = registry.check(submission, wall_now=lambda: 0.0)
    except InvalidSubmission as invalid:
        if not faults:
            raise
        faults += invalid.errors
        more = invalid.more
    if spec is not None and not has_queue(spec.queue):
        faults.append(InvalidField(pointer="/queue", detail=f"there is no queue {spec.queue!r}"))
    if faults or spec is None:
        raise InvalidSubmission(*faults, more=more)
    return Definition(id=id, source=source, given=given, caller=caller, plan=plan_of(given), spec=spec, args=args)
