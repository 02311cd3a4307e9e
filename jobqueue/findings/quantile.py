"""A quantile of durations that are counted by fixed bounds."""

from __future__ import annotations

from jobqueue.core.histogram import BOUNDS_S


def quantile_s(counts: tuple[int, ...], share: float) -> float:
    """Estimate a quantile, evenly within its bucket, as Prometheus does; 0: nothing was counted."""
    left, lower = share * sum(counts), 0.0
    for bound, count in zip(BOUNDS_S, counts, strict=False):
        if count and left <= count:
            return lower + (bound - lower) * left / count
        left, lower = left - count, bound
    return lower if any(counts) else 0.0
