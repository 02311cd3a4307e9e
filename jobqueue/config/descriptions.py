"""The sections of the settings in the order of their documents, and the sentence of each setting.

A section's sentence is the first line of its struct's docstring, a setting's is the description in its type. The page
of reference and `config.yaml` are made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from jobqueue.config.auth import KeySettings
from jobqueue.config.key_limits import KeyLimits
from jobqueue.config.schedules import ScheduleSettings
from jobqueue.config.section import Section
from jobqueue.config.settings import QueueSettings, Settings
from jobqueue.config.units import is_value
from jobqueue.config.webhooks import EndpointSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


WITH_INNER = ("server", "valkey")
"""The sections that have others in them, which are not those of a name."""


def sections() -> Iterator[tuple[tuple[str, ...], type[msgspec.Struct]]]:
    """Yield the path and the struct of each section; the queues come first. Settings of no section are `outermost`."""
    yield ("queues", "default"), QueueSettings
    for field in msgspec.structs.fields(Settings):
        if field.name == "schedules":
            yield ("schedules", "name"), ScheduleSettings
        if field.name in ("queues", "schedules") or field.name in {it.name for it in outermost()}:
            continue
        yield (field.name,), field.type
        if field.name == "auth":
            yield ("auth", "keys", "name"), KeySettings
            yield ("auth", "keys", "name", "limits"), KeyLimits
        if field.name == "webhooks":
            yield ("webhooks", "endpoints", "name"), EndpointSettings
        yield from (((field.name, name), of) for name, of in inner(field.type) if field.name in WITH_INNER)


def outermost() -> tuple[inspect.Field, ...]:
    """Return the settings that are in no section."""
    return fields(Settings)


def inner(section: Any) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield the sections within a section."""
    of = inspect.type_info(section)
    for field in of.fields if isinstance(of, inspect.StructType) else ():
        if isinstance(field.type, inspect.StructType) and not is_value(field.type):
            yield field.name, field.type.cls


def summary(section: type[msgspec.Struct]) -> str:
    """Return the sentence of a section."""
    return (section.__doc__ or "").partition("\n")[0]


def fields(section: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """Return the settings of a section, in order; a section in it, or a mapping by name, is one of its own."""
    info = inspect.type_info(section)
    assert isinstance(info, inspect.StructType)
    return tuple(field for field in info.fields if not _is_section(field.type))


def _is_section(of: inspect.Type) -> bool:
    of = of.type if isinstance(of, inspect.Metadata) else of
    return isinstance(of, inspect.DictType) or (isinstance(of, inspect.StructType) and issubclass(of.cls, Section))


def description(of: inspect.Type) -> str:
    """Return the sentence of a setting, from anywhere in its type."""
    if isinstance(of, inspect.Metadata):
        schema: dict[str, Any] = of.extra_json_schema or {}
        return schema.get("description") or description(of.type)
    options = of.types if isinstance(of, inspect.UnionType) else ()
    return next((told for option in options if (told := description(option))), "")
