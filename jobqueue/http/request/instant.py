"""Instants as clients write them: RFC 3339 with an offset, or Unix seconds."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jobqueue.errors import shown

UNIX_S_MAX = 253_402_300_800.0
"""The year 10,000."""

_TEXT = {"type": "string", "format": "date-time"}
_UNIX_S = {"type": "string", "pattern": r"^[0-9]{1,11}(\.[0-9]{1,9})?$"}

GivenInstant = Annotated[Any, Meta(extra_json_schema={"anyOf": [_TEXT, _UNIX_S]})]
"""An instant as a query has it."""

_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def unix_s_of(given: str | float | datetime) -> float:
    """Return an instant in Unix seconds. Raises ValueError, with what it is to be."""
    value = given.timestamp() if isinstance(given, datetime) else given
    unix_s = _parsed(value) if isinstance(value, str) else value
    if unix_s is None or not 0 <= unix_s < UNIX_S_MAX:
        hint = " (in a query a + is written %2B)" if isinstance(given, str) and " " in given else ""
        wanted = f"is an instant: RFC 3339 with an offset, as 2026-01-31T12:00:00Z, or Unix seconds{hint}"
        raise ValueError(f"{wanted}, got {shown(str(given))!r}")
    return unix_s


def _parsed(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        instant = msgspec.convert(text, datetime)
        return instant.timestamp() if instant.tzinfo is not None else None
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
