"""The crowd: clients who come whether or not there is room, each with a patience and manners.

Arrivals are open-loop: nobody stays away because the desk is slow, as nobody knows it. A crowd is
drawn from a seed, so every policy meets the same clients, who bring the same work.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 10
WORK_S = 1.0
"""What a job takes, on average; exponentially distributed."""
CAPACITY_PER_S = WORKERS / WORK_S

PATIENCE_S = 10.0
"""How long a client waits for its result, from its first try; evenly between half and one and a half of it."""
PAUSE_S = 1.0
"""After what pause those come back who were told no time, or don't care."""

PRIORITIES = {0: 0.5, 5: 0.3, 9: 0.2}
"""How many of the clients have which priority."""

ELEPHANT = "elephant"
MICE = tuple(f"mouse-{number:02}" for number in range(50))
MICE_LOAD = 0.4
"""What the mice bring together, at any load, in shares of the capacity: the rest is the elephant's."""


class Manners(StrEnum):
    """What a client makes of Retry-After: it returns when it was told, or after its own short pause."""

    OBEDIENT = "obedient"
    DISOBEDIENT = "disobedient"


class Client(msgspec.Struct, frozen=True, gc=False):
    """One who wants one result: when it comes first, how long it waits for it, and what its job takes."""

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
        """When half of its patience is over: what has not begun by then is unlikely to be in time."""
        return self.at + self.patience_s / 2


@lru_cache(maxsize=16)
def crowd(load: float, *, until: float, seed: str) -> tuple[Client, ...]:
    """Draw the clients who come before `until`, in the order of their coming: a Poisson stream.

    Args:
        load: What they bring, in multiples of what the workers can do.
    """
    return tuple(_stream(load, until, seed))


def _stream(load: float, until: float, seed: str) -> Iterator[Client]:
    rng = Random(f"{seed}/crowd/{load}")
    priorities, weights = tuple(PRIORITIES), tuple(PRIORITIES.values())
    at = 0.0
    while (at := at + rng.expovariate(load * CAPACITY_PER_S)) < until:
        yield Client(
            at=at,
            patience_s=PATIENCE_S * rng.uniform(0.5, 1.5),
            work_s=rng.expovariate(1 / WORK_S),
            priority=rng.choices(priorities, weights)[0],
            group=rng.choice(MICE) if rng.random() * load < MICE_LOAD else ELEPHANT,
        )


def whole_seconds(retry_after_s: float) -> float:
    """Return what is left of a time in an HTTP header: seconds, rounded up, at least one."""
    return float(max(1, math.ceil(retry_after_s)))
