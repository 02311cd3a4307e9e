"""Durations and ages in words, as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime


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


def since(instant: datetime | None, now: datetime | None = None) -> str:
    """Return the time since an instant, by this machine's clock; None: empty."""
    if instant is None:
        return ""
    return spell(((now or datetime.now(UTC)) - instant).total_seconds())


def clock(instant: datetime) -> str:
    """Return an instant as local time, with the date if it is not today's."""
    local = instant.astimezone()
    today = datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"
