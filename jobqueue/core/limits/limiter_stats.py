"""Counts of one limiter at one instant."""

from __future__ import annotations

from typing import Literal

import msgspec

from jobqueue.core.rate import Rate


class LimiterStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one limiter; those of a type's groups are one entry together, with the bounds of each.

    `name` is that of the pool or the type. `shut_until`: the instant of the probe, while it is shut.
    """

    kind: Literal["pool", "type", "groups"]
    name: str
    held: int
    waiting: int
    permits: int | None = None
    rate: Rate | None = None
    shut_until: float | None = None
