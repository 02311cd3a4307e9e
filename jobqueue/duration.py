"""Durations in the Python API: a number of seconds, or a timedelta.

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
