"""Operations on the schedules of a running queue, as requests and the in-process API ask for them.

Rules:

1. A schedule that was put belongs to the owner that has put it, as a job does: others find no trace of it. Names are
   unique among those of one owner.
2. What is defined in the code or in the settings is changed there alone; it may be paused, resumed and run.
3. Where servers share a store, a schedule that one of them keeps would be unknown to the others: there it can't be
   put, deleted, paused or resumed.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from jobqueue.api_limits import SCHEDULES_MAX, SCHEDULES_OF_CALLER_MAX
from jobqueue.errors import InvalidField, InvalidSubmission, NotInStore, ScheduleFixed, ScheduleNotFound, shown
from jobqueue.handlers.schedule_submission import is_name
from jobqueue.log import event_logger
from jobqueue.schedules.definition import checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job_view import JobView
    from jobqueue.core.schedule import Schedule, ScheduleId
    from jobqueue.core.submit import SubmitResult
    from jobqueue.handlers import Registry
    from jobqueue.handlers.schedule_submission import ScheduleSubmission
    from jobqueue.schedules.definition import Definition
    from jobqueue.schedules.runner import ScheduleRunner

log = event_logger(__name__)


class ScheduleOperations:
    """The operations.

    Args:
        has_queue: Whether a queue is configured.

    Attributes:
        runner: Submits their jobs.
    """

    def __init__(self, runner: ScheduleRunner, registry: Registry, has_queue: Callable[[str], bool]) -> None:
        self.runner = self._runner = runner
        self._registry, self._has_queue = registry, has_queue

    def find(self, name: str, *, owner: str | None = None, sees: str | None = None) -> Definition:
        """Return a schedule by its name: the owner's own, else that of code or settings, else that of any other owner.

        Args:
            sees: The owner of the schedules that are seen; None: any.

        Raises:
            ScheduleNotFound: There is none, as far as is seen.
        """
        found = self._known(name, owner, sees)
        if found is None:
            raise ScheduleNotFound(f"there is no schedule {shown(name)!r}")
        return found

    def _known(self, name: str, owner: str | None, sees: str | None) -> Definition | None:
        definitions = self._runner.definitions
        ids: list[ScheduleId] = [(owner, name)] if sees is not None else [(owner, name), (None, name)]
        found = next((definitions[id] for id in ids if id in definitions), None)
        if found is None and sees is None:
            others = (definition for id, definition in definitions.items() if id[1] == name)
            found = min(others, key=lambda definition: definition.id[0] or "", default=None)
        return found

    def page(self, *, sees: str | None, limit: int, after: str | None) -> tuple[list[Definition], str | None]:
        """Return schedules in the order of their names, and the cursor of the next page; None: there is none.

        Args:
            after: The cursor of this page; any text is a place in the order.
        """
        ordered = self._runner.ordered()
        page: list[Definition] = []
        last: str | None = None
        begin = 0 if after is None else bisect_right(ordered, after, key=lambda entry: entry[0])
        for number in range(begin, len(ordered)):
            place, id = ordered[number]
            if sees is None or id[0] == sees:
                if len(page) == limit:
                    return page, last
                page.append(self._runner.definitions[id])
                last = place
        return page, None

    def state(self, definition: Definition) -> Schedule:
        """Return the state of a schedule."""
        schedule = self._runner.schedules.get(definition.id)
        assert schedule is not None, "its definition is there"
        return schedule

    def put(
        self, name: str, given: ScheduleSubmission, *, owner: str | None, sees: str | None = None, caller: str | None
    ) -> tuple[Definition, bool]:
        """Add a schedule, or replace that of this name; return it, and whether it is new.

        One of another owner that is replaced stays that owner's.

        Args:
            sees: As of `find`.

        Raises:
            NotInStore: Servers share a store.
            JournalFailed: Nothing can be kept now.
            ScheduleFixed: It is one of the code or the settings.
            UnknownType, InvalidSubmission: It was not accepted: all its faults; or there are too many.
        """
        self._check_changeable()
        if not is_name(name):
            raise InvalidSubmission(
                InvalidField(pointer="", detail="a name has 1 to 100 letters, digits, `_`, `.` or `-`")
            )
        self._check_free(self._runner.definitions.get((None, name)))
        before = self._known(name, owner, sees)
        if before is None:
            self._check_number(caller)
        id = (owner, name) if before is None else before.id
        of = caller if before is None or before.id[0] == owner else before.caller
        definition = checked(id, given, source="api", caller=of, registry=self._registry, has_queue=self._has_queue)
        self._runner.put(definition)
        log.info("schedule.changed", schedule=name, change="put" if before is None else "replaced", by=caller)
        return definition, before is None

    def delete(self, definition: Definition, *, by: str | None) -> None:
        """Remove a schedule; its jobs stay. Raises ScheduleFixed, NotInStore, JournalFailed."""
        self._check_changeable()
        self._check_free(definition)
        self._runner.remove(definition.id)
        log.info("schedule.changed", schedule=definition.name, change="deleted", by=by)

    def pause(self, definition: Definition, *, by: str | None) -> None:
        """Have a schedule give no ticks until `resume`. Raises NotInStore, JournalFailed."""
        self._check_changeable()
        self._runner.pause(definition.id, by=by)
        log.info("schedule.changed", schedule=definition.name, change="paused", by=by)

    def resume(self, definition: Definition, *, by: str | None) -> None:
        """End a pause. Raises NotInStore, JournalFailed."""
        self._check_changeable()
        self._runner.resume(definition.id)
        log.info("schedule.changed", schedule=definition.name, change="resumed", by=by)

    async def run(self, definition: Definition) -> SubmitResult[JobView]:
        """Submit a schedule's job now. Raises as `ScheduleRunner.run`."""
        return await self._runner.run(definition.id)

    async def kept(self) -> None:
        """Return once what was changed is kept, where a journal keeps it. Raises JournalFailed."""
        await self._runner.kept()

    def _check_free(self, definition: Definition | None) -> None:
        if definition is not None and definition.source != "api":
            where = "the code" if definition.source == "code" else f"the settings (schedules.{definition.name})"
            raise ScheduleFixed(f"schedule {definition.name!r} is defined in {where}: change it there, or pause it")

    def _check_number(self, caller: str | None) -> None:
        definitions = self._runner.definitions
        if len(definitions) >= SCHEDULES_MAX:
            raise InvalidSubmission(
                InvalidField(pointer="", detail=f"there are {SCHEDULES_MAX:,} schedules, the maximum: delete one")
            )
        own = sum(1 for each in definitions.values() if each.source == "api" and each.caller == caller)
        if caller is not None and own >= SCHEDULES_OF_CALLER_MAX:
            detail = f"this caller has put {SCHEDULES_OF_CALLER_MAX:,} schedules, the maximum: delete one"
            raise InvalidSubmission(InvalidField(pointer="", detail=detail))

    def _check_changeable(self) -> None:
        self._runner.check_keeper()
        if self._runner.shared:
            raise NotInStore(
                "the servers of a store have the schedules of their code and settings alone, and none is paused: "
                "change those"
            )
