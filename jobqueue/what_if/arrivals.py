"""Arrivals: as many and as bursty as was measured, and a multiple of them.

The measurement is a count of arrivals for each second. Its variance above that of a Poisson process is a rate that
varies; the rest is chance, and drawn anew.

Rules:

1. The rate of a second is the mean, and of the count's distance from it the share `sqrt(1 - 1 / dispersion)`. So the
   counts that are drawn at the measured load have the measured mean and variance, and bursts that last for seconds
   keep their order.
2. At another load every rate is multiplied: bursts grow with the load.
3. Within a second arrivals come independently: the measurement has no finer grain. Ones that are more regular than
   chance (a dispersion below 1) are drawn as a Poisson process.
4. The measured seconds are repeated in a ring, from a second that each seed draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random


def dispersion_of(counts: Sequence[float]) -> float | None:
    """Return the variance of counts over their mean: 1 for a Poisson process, more for bursts; None: none came."""
    if len(counts) < 2 or not (mean := math.fsum(counts) / len(counts)):
        return None
    return math.fsum((count - mean) ** 2 for count in counts) / (len(counts) - 1) / mean


def rates_of(counts: Sequence[float]) -> tuple[float, ...]:
    """Return the rate in each second, by the counts of arrivals (rule 1); one rate if they vary by chance alone."""
    mean = math.fsum(counts) / len(counts)
    dispersion = dispersion_of(counts)
    if dispersion is None or dispersion <= 1.0:
        return (mean,)
    share = math.sqrt(1.0 - 1.0 / dispersion)
    return tuple(mean + share * (count - mean) for count in counts)


def instants(rates: Sequence[float], factor: float, *, until: float, rng: Random) -> Iterator[float]:
    """Draw the instants of arrivals before `until`, by the rates of seconds times `factor`."""
    start = rng.randrange(len(rates))
    # The integral of the rate grows by an exponential step from one arrival to the next.
    second, left, at = 0, rng.expovariate(1.0), 0.0
    while True:
        rate = factor * rates[(start + second) % len(rates)]
        end = math.inf if len(rates) == 1 else second + 1.0
        if rate * (end - at) > left:
            at += left / rate
            if at >= until:
                return
            yield at
            left = rng.expovariate(1.0)
        else:
            left -= rate * (end - at)
            second, at = second + 1, end
            if at >= until:
                return
