"""Durations: as clients are told of them."""

from __future__ import annotations

from math import ceil, floor


def whole_seconds(wait_s: float) -> int:
    """Round a wait as Retry-After tells it: up, to 1 at the least."""
    seconds = ceil(wait_s)
    return seconds if seconds > 0 else 1


def to_milliseconds(wait_s: float) -> float:
    """Round a wait as problems tell it; as `round`, which is slower."""
    return floor(wait_s * 1000 + 0.5) / 1000


def to_microseconds(duration_s: float | None) -> float | None:
    """Round a measured time as documents tell it; None: there is none."""
    return None if duration_s is None else round(duration_s, 6)
