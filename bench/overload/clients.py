"""Simulated clients: they arrive in an open loop, each with a patience, obedient or not.

Arrivals don't depend on the speed of the service. They are drawn from a seed, so every policy meets the same clients
with the same work.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIORITIES = {0: 0.5, 5: 0.3, 9: 0.2}
"""Share of the clients by priority."""

ELEPHANT = "elephant"
MICE = tuple(f"mouse-{number:02}" for number in range(50))
MICE_LOAD = 0.4
"""Work of all mice, at any load, as a share of the capacity: the rest is the elephant's."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated service; the defaults are those of the documents.

    Attributes:
        workers: Jobs that run at once.
        work_s: Mean length of a job; exponentially distributed.
        patience_s: Mean time that a client waits for its result, from its first try; evenly distributed from half to
            one and a half of it.
    """

    workers: int = 10
    work_s: float = 1.0
    patience_s: float = 10.0

    @property
    def capacity_per_s(self) -> float:
        return self.workers / self.work_s

    @property
    def slots(self) -> int:
        """The capacity of a queue that was made large, to be safe: the work of twice the patience."""
        return max(1, round(2 * self.capacity_per_s * self.patience_s))

    @property
    def slots_few(self) -> int:
        """The capacity of a short queue: the workers' jobs, and the work of a fifth of the patience."""
        return self.workers + max(1, round(self.capacity_per_s * self.patience_s / 5))

    @property
    def caller_jobs_max(self) -> int:
        """The bound of one caller's live jobs, where there is one: a fifth of the slots."""
        return max(1, self.slots // 5)


class RetryBehaviour(StrEnum):
    """How a client treats Retry-After: it obeys, or returns after its own short pause."""

    OBEDIENT = "obedient"
    DISOBEDIENT = "disobedient"


class Client(msgspec.Struct, frozen=True, gc=False):
    """A client of one job: its first arrival, its patience, and the work of its job."""

    at: float
    patience_s: float
    work_s: float
    priority: int
    group: str

    @property
    def leaves_at(self) -> float:
        return self.at + self.patience_s

    @property
    def half_at(self) -> float:
        """The time at which half of its patience is over: a job that starts later is unlikely to end in time."""
        return self.at + self.patience_s / 2


@lru_cache(maxsize=16)
def arrivals(load: float, *, until: float, seed: str, service: Service) -> tuple[Client, ...]:
    """Draw the clients that come before `until` (a Poisson process); `load` is a multiple of the capacity."""
    return tuple(_stream(load, until, seed, service))


def _stream(load: float, until: float, seed: str, service: Service) -> Iterator[Client]:
    rng = Random(f"{seed}/crowd/{load}")  # another text would change every figure in docs/explanation/overload.md
    priorities, weights = tuple(PRIORITIES), tuple(PRIORITIES.values())
    at = 0.0
    while (at := at + rng.expovariate(load * service.capacity_per_s)) < until:
        yield Client(
            at=at,
            patience_s=service.patience_s * rng.uniform(0.5, 1.5),
            work_s=rng.expovariate(1 / service.work_s),
            priority=rng.choices(priorities, weights)[0],
            group=rng.choice(MICE) if rng.random() * load < MICE_LOAD else ELEPHANT,
        )
