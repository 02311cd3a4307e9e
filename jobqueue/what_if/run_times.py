"""Run times drawn from a histogram, which has counts of coarse buckets and the sum.

Rules:

1. Each bucket is drawn as often as it was counted.
2. Within all buckets one power law places a run between the bounds, its exponent chosen so that the mean is the
   measured one: what a queue can do depends on the mean before all else. It tells nothing of the true form within a
   bucket: equal runs become spread ones, so short waits are overestimated rather than underestimated.
3. The last bucket has no upper bound: it is taken to end at `LAST_FACTOR` of its lower one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

from jobqueue.core.histogram import BOUNDS_S, BUCKETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

LAST_FACTOR: Final = 4.0

EXPONENT_MIN: Final = 0.05
EXPONENT_MAX: Final = 50.0

_LOWER: Final = (0.0, *BOUNDS_S)
_UPPER: Final = (*BOUNDS_S, LAST_FACTOR * BOUNDS_S[-1])


class RunTimes(Protocol):
    """Run times to draw from. `mean_s`: the mean of what is drawn."""

    mean_s: float

    def draw_s(self, rng: Random) -> float:
        """Draw one run time, in seconds."""

    def quantile_s(self, share: float) -> float:
        """Return a quantile of what is drawn."""


class MeasuredRunTimes:
    """Measured run times, to draw from.

    Args:
        counts: The number of runs in each bucket (`histogram.BOUNDS_S`); some are not 0.
        sum_s: Their sum.

    Attributes:
        mean_s: The mean of what is drawn: the measured one, as far as the counts allow it.
    """

    def __init__(self, counts: Sequence[int], sum_s: float) -> None:
        assert len(counts) == BUCKETS
        count = sum(counts)
        assert count, "an empty histogram has no run times"
        self.counts = tuple(counts)
        self._cumulative = list(accumulate(counts))
        lowest_s = sum(each * lower for each, lower in zip(counts, _LOWER, strict=True)) / count
        widths_s = (
            sum(each * (upper - lower) for each, lower, upper in zip(counts, _LOWER, _UPPER, strict=True)) / count
        )
        # The mean of u ** k over [0, 1] is 1 / (k + 1).
        above_s = sum_s / count - lowest_s
        exponent = widths_s / above_s - 1.0 if above_s > 0 else EXPONENT_MAX
        self._exponent: float = min(EXPONENT_MAX, max(EXPONENT_MIN, exponent))
        self.mean_s = lowest_s + widths_s / (self._exponent + 1.0)

    def draw_s(self, rng: Random) -> float:
        bucket = bisect_left(self._cumulative, rng.randint(1, self._cumulative[-1]))
        lower = _LOWER[bucket]
        place: float = rng.random() ** self._exponent
        return lower + (_UPPER[bucket] - lower) * place

    def quantile_s(self, share: float) -> float:
        left = share * self._cumulative[-1]
        bucket = bisect_left(self._cumulative, left) if left else next(i for i, each in enumerate(self.counts) if each)
        before = self._cumulative[bucket] - self.counts[bucket]
        place: float = ((left - before) / self.counts[bucket]) ** self._exponent
        return _LOWER[bucket] + (_UPPER[bucket] - _LOWER[bucket]) * place


class GivenRunTimes:
    """Run times of which only the mean is known: exponentially distributed, as in the overload lab."""

    def __init__(self, mean_s: float) -> None:
        self.mean_s = mean_s

    def draw_s(self, rng: Random) -> float:
        return rng.expovariate(1.0 / self.mean_s)

    def quantile_s(self, share: float) -> float:
        return -math.log(1.0 - share) * self.mean_s
