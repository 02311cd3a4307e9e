"""Validation: turns what msgspec refuses into faults with JSON pointers, all of them and not only the first."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.errors import InvalidField

if TYPE_CHECKING:
    from collections.abc import Iterator


def fault_of(value: Any, expected: Any, pointer: str) -> Iterator[InvalidField]:
    """Yield what is wrong with a parsed value, if anything is."""
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as fault:
        yield field_of(fault, pointer)


def field_of(fault: msgspec.ValidationError, base: str = "") -> InvalidField:
    """Turn msgspec's `… - at `$.a[0]`` into a pointer below `base`, and the rest into a detail."""
    detail, _, path = str(fault).partition(" - at `")
    return InvalidField(pointer=base + _pointer_of(path.rstrip("`")), detail=detail)


def escape(step: str) -> str:
    """Escape one step of a JSON pointer (RFC 6901, section 3)."""
    return step.replace("~", "~0").replace("/", "~1")


@functools.lru_cache(maxsize=256)
def _pointer_of(path: str) -> str:
    steps = path.removeprefix("$").replace("[...]", ".*").replace("[", ".").replace("]", "")
    return "".join(f"/{escape(step)}" for step in steps.split(".") if step)
