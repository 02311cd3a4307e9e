"""Retry-After (RFC 9110, section 10.2.3): a number of seconds, or a date."""

from __future__ import annotations

import math
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

PAUSE_S_MAX = 86_400.0
"""Maximum pause, a day: no timer has to take 1e400."""

PAUSE_S_MIN = 0.1
"""Minimum pause before an automatic repeat: a server that asks for no pause must not be flooded."""


def retry_after_s(value: str, date: str = "") -> float | None:
    """Return the pause that the header asks for, in seconds; None if it can't be read, or names a time in the past.

    Args:
        date: The `Date` header of the same answer: a date is counted from there, so that the two machines' clocks may
            differ. Without it, from this machine's clock.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return pause_s_of(float(value))
    until = _seconds_of(value)
    if until is None:
        return None
    since = _seconds_of(date)
    return pause_s_of(until - (time.time() if since is None else since))


def pause_s_of(seconds: float | None) -> float | None:
    """Return a pause that a server asked for, a day at most; None if it is none."""
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return None
    return min(seconds, PAUSE_S_MAX)


def _seconds_of(date: str) -> float | None:
    """Return an HTTP-date, in any of its three forms, as seconds since the Unix epoch."""
    try:
        instant = parsedate_to_datetime(date)
        return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
