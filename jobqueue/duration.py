"""Durations: in the Python API a number of seconds, or a timedelta; in sentences some words.

A leaf, so that the core, the in-process API and the client read them alike.
"""

from __future__ import annotations

import math
import numbers
from datetime import timedelta

Duration = float | timedelta
"""The type of every argument with a name that ends in `_s`."""


def seconds(duration: object) -> float:
    """Return a duration in seconds. Raises ValueError for all but finite numbers (a bool is none) and timedeltas."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, numbers.Real):
        raise ValueError(f"a duration is a number of seconds or a timedelta, not {type(duration).__name__}")
    try:
        count_s = float(duration)
    except OverflowError:
        count_s = math.inf
    if not math.isfinite(count_s):
        raise ValueError(f"a duration is finite, not {count_s}")
    return count_s


def as_seconds(duration: object) -> object:
    """Return a timedelta in seconds, and any other value unchanged, for a later check."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def spell(seconds: float | None) -> str:
    """Return a duration in one or two units: `0.35 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; None: empty."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    seconds = max(0.0, seconds)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return (
                f"{whole // size:,} {unit} {rest} {smaller}"
                if rest and whole < 100 * size
                else f"{whole // size:,} {unit}"
            )
    return f"{whole} s"
