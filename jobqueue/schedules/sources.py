"""The schedules of a queue's code and settings, checked together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError, InvalidSubmission
from jobqueue.schedules.definition import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.config import Settings
    from jobqueue.handlers import Registry
    from jobqueue.schedules.decorated import Decorated
    from jobqueue.schedules.definition import Definition, ScheduleSubmission, Source


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


def _all(settings: Settings, decorated: Sequence[Decorated]) -> Iterator[tuple[Source, str, ScheduleSubmission]]:
    for each in decorated:
        yield "code", str(each.name), each.given
