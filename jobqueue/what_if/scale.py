"""Scale: the number of real jobs for which one simulated job stands, so that a simulation of any queue is bounded.

Rules:

1. First the workers become fewer, with the arrivals and the capacity, down to `WORKERS_MIN`: the same queue, in small.
   A smaller queue has longer waits below its capacity, since chance evens out less.
2. What is still too much is put into longer jobs: each stands for several, one after another. Waits shorter than such a
   job are not resolved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.policy import Limits
from jobqueue.core.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.policy import QueuePolicy

WORKERS_MIN: Final = 20


class Scale(msgspec.Struct, frozen=True):
    """`workers`: real workers in a simulated one. `jobs`: real jobs in a simulated one, `jobs / workers` by length."""

    workers: float = 1.0
    jobs: float = 1.0

    @property
    def run_factor(self) -> float:
        """By how much a simulated job is longer."""
        return self.jobs / self.workers

    def policy(self, policy: QueuePolicy) -> QueuePolicy:
        """Return the settings of the simulated queue."""
        workers = max(1, round(policy.workers / self.workers))
        # Running jobs hold as many slots as there are workers; all others wait, each for several.
        waiting = max(0, policy.capacity - policy.workers) / self.jobs
        capacity = max(1, round(min(policy.capacity, policy.workers) / self.workers + waiting))
        return msgspec.structs.replace(policy, workers=workers, capacity=capacity)

    def pools(self, pools: Mapping[str, int]) -> dict[str, int]:
        return {name: self._permits(permits) for name, permits in pools.items()}

    def limits(self, limits: Limits | None) -> Limits | None:
        """Return the limits of a type's simulated jobs."""
        if limits is None:
            return None
        return Limits(
            concurrency=None if limits.concurrency is None else self._permits(limits.concurrency),
            rate=self._rate(limits.rate),
            group_concurrency=None if limits.group_concurrency is None else self._permits(limits.group_concurrency),
            group_rate=self._rate(limits.group_rate),
        )

    def _permits(self, permits: int) -> int:
        return max(1, round(permits / self.workers))

    def _rate(self, rate: Rate | None) -> Rate | None:
        if rate is None or self.jobs == 1.0:
            return rate
        return Rate(rate.count, rate.period_s * self.jobs, max(1, round(rate.burst_max / self.jobs)))


def scale_for(excess: float, permits_min: int) -> Scale:
    """Return a scale for `excess` times too many jobs.

    Args:
        permits_min: The least of what bounds how many jobs run at once: workers, pools, limits of types.
    """
    if excess <= 1.0:
        return Scale()
    workers = min(excess, max(1.0, permits_min / WORKERS_MIN))
    return Scale(workers, excess)
