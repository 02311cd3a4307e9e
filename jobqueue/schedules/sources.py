"""Where schedules come from: the code and the settings, checked together, and what a journal has kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.errors import ConfigError, InvalidSubmission
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.log import event_logger
from jobqueue.schedules.definition import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobqueue.backend.journal.schedule_book import ScheduleBook
    from jobqueue.config import Settings
    from jobqueue.handlers import Registry
    from jobqueue.schedules.decorated import Decorated
    from jobqueue.schedules.definition import Definition, Source

log = event_logger(__name__)


def definitions_of(registry: Registry, settings: Settings, decorated: Sequence[Decorated]) -> list[Definition]:
    """Return the schedules of the code, then those of the settings. Raises ConfigError: All their faults."""
    definitions: dict[str, Definition] = {}
    faults: list[str] = []
    for source, name, given in _all(settings, decorated):
        if name in definitions:
            faults.append(f"schedules.{name}: there are two schedules of this name: give one of them another")
            continue
        try:
            definitions[name] = checked(
                (None, name), given, source=source, registry=registry, has_queue=settings.queues.__contains__
            )
        except InvalidSubmission as invalid:
            faults.append(f"schedules.{name}: {invalid}")
    if faults:
        raise ConfigError(*faults)
    return [*definitions.values()]


def kept_definitions(book: ScheduleBook, registry: Registry, has_queue: Callable[[str], bool]) -> list[Definition]:
    """Return the schedules that were put and kept; log those that this process can't have any more."""
    definitions: list[Definition] = []
    for id, kept in book.kept.items():
        if kept.given is not None:
            try:
                given = msgspec.json.decode(kept.given, type=ScheduleSubmission)
                definitions.append(
                    checked(id, given, source="api", caller=kept.caller, registry=registry, has_queue=has_queue)
                )
            except (InvalidSubmission, msgspec.MsgspecError) as error:
                log.warning("schedule.invalid", schedule=id[1], reason=str(error))
    return definitions


def _all(settings: Settings, decorated: Sequence[Decorated]) -> Iterator[tuple[Source, str, ScheduleSubmission]]:
    for each in decorated:
        yield "code", str(each.name), each.given
    for name, schedule in settings.schedules.items():
        yield "config", name, schedule.submission
