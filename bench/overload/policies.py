"""The compared policies: the server's disciplines, and two classic ones that the lab puts around the engine.

RED rejects on submission, CoDel drops at the start. Both are here for comparison; the server has neither.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from bench.overload.clients import Service
from bench.overload.dropping import DroppingCoDel
from jobqueue.core.policy import Discipline, QueuePolicy


class Shedder:
    """Rejects on submission, or drops on start; this one does neither."""

    def refuses(self, now: float, *, priority: int, queued: int) -> bool:
        """Whether a submission is to be rejected although a slot is free."""
        return False

    def sheds(self, now: float, waited_s: float, backlog: int) -> bool:
        """Whether the job that is about to start is to be dropped instead."""
        return False


RED_WEIGHT = 0.02
RED_CHANCE_MAX = 0.1
RED_THRESHOLDS = {0: (0.1, 0.3), 5: (0.3, 0.5), 9: (0.5, 0.7)}
"""By priority: lower and upper, in shares of the work that is done within the clients' patience."""


class Red(Shedder):
    """Random early detection, with thresholds by priority.

    The probability of a rejection grows with the average length of the queue, from 0 at the lower threshold to
    `RED_CHANCE_MAX` at the upper, and is 1 beyond it; rejections are spaced evenly rather than by luck
    (Floyd & Jacobson, "Random early detection gateways for congestion avoidance", 1993, figure 2). Each
    priority has thresholds of its own, so that the lowest goes first.

    Args:
        rng: Draws the rejected submissions.
    """

    def __init__(self, rng: Random, service: Service) -> None:
        self._rng = rng
        self._per_s = service.capacity_per_s
        self._unit = service.capacity_per_s * service.patience_s
        self._average = 0.0
        self._since_refusal = dict.fromkeys(RED_THRESHOLDS, -1)
        self._at = 0.0

    def refuses(self, now: float, *, priority: int, queued: int) -> bool:
        if queued:
            self._average += RED_WEIGHT * (queued - self._average)
        else:
            # An idle period counts as that many arrivals at an empty queue as could have been served in it.
            self._average *= (1 - RED_WEIGHT) ** ((now - self._at) * self._per_s)
        self._at = now
        lower, upper = (share * self._unit for share in RED_THRESHOLDS[priority])
        if self._average < lower:
            self._since_refusal[priority] = -1
            return False
        self._since_refusal[priority] += 1
        if self._average < upper:
            chance = RED_CHANCE_MAX * (self._average - lower) / (upper - lower)
            spaced = chance / max(1 - self._since_refusal[priority] * chance, 1e-9)
            if self._rng.random() >= spaced:
                return False
        self._since_refusal[priority] = 0
        return True


class DropByCoDel(Shedder):
    """Drops at the head of a standing queue, ever more often: CoDel as in RFC 8289."""

    def __init__(self, rng: Random, service: Service) -> None:
        self._codel = DroppingCoDel(target_s=service.patience_s / 10, interval_s=service.patience_s)

    def sheds(self, now: float, waited_s: float, backlog: int) -> bool:
        return self._codel.drops(now, waited_s=waited_s, backlog=backlog)


class LabPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of the lab: one line of the tables.

    Attributes:
        title: Its name; `{few}` stands for the slots of a short queue.
        few_slots: The queue is short: `Service.slots_few` instead of `Service.slots`.
        start_by: Clients send `start_by_s`, half of their patience: a job that has not started by then expires.
        patience_factor: The queue's `patience_s`, in multiples of the clients' patience; for `adaptive` only.
        bounded: Each caller may have `Service.caller_jobs_max` live jobs.
    """

    title: str
    discipline: Discipline
    shedder: Callable[[Random, Service], Shedder] | None = None
    few_slots: bool = False
    start_by: bool = False
    patience_factor: float = 1.0
    bounded: bool = False

    def name(self, service: Service) -> str:
        return self.title.format(few=service.slots_few)

    def queue_policy(self, service: Service) -> QueuePolicy:
        return QueuePolicy(
            capacity=service.slots_few if self.few_slots else service.slots,
            workers=service.workers,
            discipline=self.discipline,
            patience_s=service.patience_s * self.patience_factor,
        )

    def make_shedder(self, rng: Random, service: Service) -> Shedder:
        return Shedder() if self.shedder is None else self.shedder(rng, service)


FIFO = LabPolicy(title="fifo", discipline=Discipline.FIFO)
FIFO_SHORT = LabPolicy(title="fifo {few} slots", discipline=Discipline.FIFO, few_slots=True)
ADAPTIVE = LabPolicy(title="adaptive", discipline=Discipline.ADAPTIVE)
PRIORITY_START_BY = LabPolicy(title="priority start_by", discipline=Discipline.PRIORITY, start_by=True)
FAIR_START_BY = LabPolicy(
    title="fair caller_jobs_max start_by", discipline=Discipline.FAIR, bounded=True, start_by=True
)

POLICIES = (
    FIFO,
    FIFO_SHORT,
    LabPolicy(title="fifo start_by", discipline=Discipline.FIFO, start_by=True),
    LabPolicy(title="codel", discipline=Discipline.FIFO, shedder=DropByCoDel),
    LabPolicy(title="lifo", discipline=Discipline.LIFO),
    ADAPTIVE,
    LabPolicy(title="adaptive {few} slots", discipline=Discipline.ADAPTIVE, few_slots=True),
    LabPolicy(title="adaptive patience_s x3", discipline=Discipline.ADAPTIVE, patience_factor=3.0),
    LabPolicy(title="priority", discipline=Discipline.PRIORITY),
    PRIORITY_START_BY,
    LabPolicy(title="priority red", discipline=Discipline.PRIORITY, shedder=Red),
    LabPolicy(title="fair", discipline=Discipline.FAIR),
    LabPolicy(title="fair caller_jobs_max", discipline=Discipline.FAIR, bounded=True),
    FAIR_START_BY,
)

CHOICES = (FIFO, FIFO_SHORT, ADAPTIVE, PRIORITY_START_BY, FAIR_START_BY)
"""The policies that a plot or a table shows first: the one to be warned of, and those to choose from."""
