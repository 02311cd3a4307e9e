"""What an operator may set for a queue, and what a handler may bound for its jobs.

Values only: the rooms that keep to them are `scheduler` and `order` (who is next), `queue_state` (how many),
`limiters` (who must wait for a permit) and `circuit_breaker` (which type is paused).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jobqueue.core.rate import Rate

DURATION_S_MAX = 30 * 24 * 3600
"""No duration that anybody may ask for is longer."""


class Discipline(StrEnum):
    """The order in which a queue's ready jobs are taken."""

    FIFO = "fifo"
    LIFO = "lifo"
    PRIORITY = "priority"
    FAIR = "fair"
    ADAPTIVE = "adaptive"


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One queue's settings, all of which may change while it is in use.

    Attributes:
        capacity: How many live jobs it holds.
        workers: How many of its jobs may run at once.
        weight: Its share of the workers, against those of the other queues.
        patience_s: How long a client is thought to wait for a job's start; used by `adaptive`, whose
            jobs expire after it unless they say how long they may wait.
        aging_s: After so many seconds of waiting a job counts as one priority higher; None: never.
        codel_target_s: How long a job may wait before the wait counts as too long; None: patience_s / 10.
        codel_interval_s: How long the wait must be too long before the queue counts as standing; None: patience_s.
        retry_budget: After so many failures in a row a type is quarantined; 0: never.

    Raises:
        ValueError: No order has this discipline, or with such numbers nothing would be accepted, or ever start.
    """

    capacity: int = 10_000
    workers: int = 1000
    weight: int = 1
    discipline: Discipline = Discipline.FIFO
    patience_s: float = 30.0
    aging_s: float | None = None
    codel_target_s: float | None = None
    codel_interval_s: float | None = None
    retry_budget: int = 50

    def __post_init__(self) -> None:
        if self.discipline not in Discipline.__members__.values():
            raise ValueError(f"discipline is one of {', '.join(Discipline)}, got {self.discipline!r}")
        for name in ("capacity", "workers", "weight"):
            if (number := getattr(self, name)) < 1:
                raise ValueError(f"{name} is a number from 1, got {number!r}")

    @property
    def target_s(self) -> float:
        return self.patience_s / 10 if self.codel_target_s is None else self.codel_target_s

    @property
    def interval_s(self) -> float:
        return self.patience_s if self.codel_interval_s is None else self.codel_interval_s

    def orders_as(self, other: QueuePolicy) -> bool:
        """Tell whether jobs are taken in the same order under both: then what an Order has learned still holds."""
        return _order_of(self) == _order_of(other)


def _order_of(policy: QueuePolicy) -> tuple[object, ...]:
    match policy.discipline:
        case Discipline.PRIORITY:
            return policy.discipline, policy.aging_s
        case Discipline.ADAPTIVE:
            return policy.discipline, policy.target_s, policy.interval_s
        case _:
            return (policy.discipline,)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler bounds for the jobs of its type: all of them together, and those of one group. None: no bound."""

    concurrency: int | None = None
    rate: Rate | None = None
    group_concurrency: int | None = None
    group_rate: Rate | None = None
