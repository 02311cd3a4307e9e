"""Slopes by Theil and Sen: the median of the slopes between all pairs of points, which outliers hardly move.

(Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.) The interval is Sen's, too: the ranks of
the slopes at the normal quantile of Kendall's statistic.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

POINTS_MAX = 400
Z = 1.96
"""The interval holds the slope in 95 % of cases, if the deviations are independent."""


class Slope(msgspec.Struct, frozen=True):
    """A median slope, and the ends of its interval."""

    median: float
    least: float
    most: float

    @property
    def grows(self) -> bool:
        """Whether even the low end of the interval is above zero."""
        return self.least > 0


def theil_sen(points: Sequence[tuple[float, float]]) -> Slope:
    """Return the slope of y over x. Raises ValueError if there are no two points with different x."""
    chosen = thin(points)
    slopes = sorted(
        (y2 - y1) / (x2 - x1) for number, (x1, y1) in enumerate(chosen) for x2, y2 in chosen[number + 1 :] if x2 != x1
    )
    if not slopes:
        raise ValueError("a slope needs two points with different x")
    count = len(chosen)
    half = Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18) / 2
    middle = len(slopes) / 2
    low, high = max(0, math.floor(middle - half)), min(len(slopes) - 1, math.ceil(middle + half))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Replace runs of points by their medians, so that at most `POINTS_MAX` are left."""
    size = -(-len(points) // POINTS_MAX) or 1
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    return [(statistics.median(x for x, _ in run), statistics.median(y for _, y in run)) for run in runs]
