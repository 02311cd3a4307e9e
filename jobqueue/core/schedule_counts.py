"""Counts of all schedules since the start: those of removed ones stay in them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence  # msgspec reads it from the annotations

import msgspec

from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from jobqueue.core.schedule_troubles import Trouble, TroubleKind


class ScheduleCounts(msgspec.Struct, kw_only=True):
    """The counts.

    Attributes:
        submitted_total, skipped_total, elsewhere_total, rejected_total, missed_total: Sums of those of `Schedule`.
        drift_counts: Ticks by the time from their planned instant, in the buckets of `histogram`.
        drift_sum_s: The sum of these times, in seconds.
    """

    submitted_total: int = 0
    skipped_total: int = 0
    elsewhere_total: int = 0
    rejected_total: int = 0
    missed_total: int = 0
    drift_counts: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)
    drift_sum_s: float = 0.0

    def note_drift(self, drift_s: float) -> None:
        """Count a tick."""
        self.drift_counts[bisect_left(BOUNDS_S, drift_s)] += 1
        self.drift_sum_s += drift_s


class ScheduleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of all schedules together.

    Attributes:
        paused: Those of `schedules` that give no ticks.
        troubled: How many have a trouble, by its kind.
        troubles: These, up to a bound.
    """

    schedules: int = 0
    paused: int = 0
    counts: ScheduleCounts = msgspec.field(default_factory=ScheduleCounts)
    troubled: Mapping[TroubleKind, int] = {}
    troubles: Sequence[Trouble] = ()
