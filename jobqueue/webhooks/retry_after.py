"""The header `Retry-After` of a receiver (RFC 9110, section 10.2.3): a number of seconds, or a date."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

PAUSE_S_MAX: Final = 86_400.0


def pause_s(value: str, date: str) -> float | None:
    """Return the pause that the header asks for, in seconds, a day at most; None: it can't be read, or is over.

    Args:
        date: The header `Date` of the same answer: a date is counted from there, as the clocks of two machines differ.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), PAUSE_S_MAX)
    try:
        asked_s = (parsedate_to_datetime(value) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(asked_s, PAUSE_S_MAX) if asked_s > 0 else None
