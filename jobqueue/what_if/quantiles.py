"""Quantiles of values that were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def quantiles(values: Iterable[float]) -> dict[str, float | None]:
    """Return the median and the high quantiles of the values, each one a value that was there."""
    ordered = sorted(values)
    return {name: ordered[int(share * len(ordered))] if ordered else None for name, share in SHARES.items()}
