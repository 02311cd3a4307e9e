"""Policies: the settings of a queue, and the limits of a handler's jobs.

Values only. They are applied by `scheduler` and `order` (the next job), `queue_state` (counts),
`limiters` (permits) and `circuit_breaker` (quarantine).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jobqueue.core.rate import Rate

DURATION_S_MAX = 30 * 24 * 3600
"""Maximum of all durations."""


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
        capacity: Maximum number of live jobs.
        workers: Maximum number of running jobs.
        weight: Its share of the workers, relative to the weights of the other queues.
        patience_s: How long a client is expected to wait for a job's start; jobs of an `adaptive` queue
            expire after it unless they have a `start_by_s`.
        aging_s: Seconds of waiting after which a job counts as one priority higher; None: never.
        codel_target_s: Acceptable queueing delay; None: patience_s / 10.
        codel_interval_s: How long the delay must exceed the target before the queue counts as standing;
            None: patience_s.
        retry_budget: Number of consecutive failures after which a type is quarantined; 0: never.

    Raises:
        ValueError: No order has this discipline, or with these numbers no job would be accepted, or ever start.
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
        """Whether both order jobs in the same way: then the state of an Order remains valid."""
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
    """Limits of a handler: for all jobs of its type together, and for those of one group. None: no bound.

    Attributes:
        across_owners: A group has jobs of all owners; otherwise each owner has groups of its own.
    """

    concurrency: int | None = None
    rate: Rate | None = None
    group_concurrency: int | None = None
    group_rate: Rate | None = None
    across_owners: bool = False
