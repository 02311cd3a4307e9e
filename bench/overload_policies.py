"""What is compared: the product's disciplines, and two classic policies that the lab puts around its engine.

RED refuses at the door, CoDel sheds at the start. Both are here to be compared with; the product has neither.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from bench.overload_crowd import CAPACITY_PER_S, PATIENCE_S, WORKERS
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.sojourn import CoDel

SEATS = 200
"""Twenty seconds of work, twice as long as clients wait: a queue that was made large, to be safe."""

CALLER_QUEUED = 40
"""How many live jobs one caller may have, where that is bounded: four seconds of work."""


class Shedder:
    """Turns away on arrival, or sheds on start; this one does neither."""

    def refuses(self, now: float, *, priority: int, queued: int) -> bool:
        """Say whether a submission is to be turned away, although there is a seat."""
        return False

    def sheds(self, now: float, *, waited_s: float, backlog: int) -> bool:
        """Say whether the job that is about to start is to be dropped instead."""
        return False


RED_WEIGHT = 0.02
RED_CHANCE_MAX = 0.1
RED_THRESHOLDS = {0: (10, 30), 5: (30, 50), 9: (50, 70)}
"""By priority: lower and upper, in jobs; ten are a second's work."""


class Red(Shedder):
    """Random early detection, with thresholds by priority.

    The chance to be refused grows with the average length of the queue, from 0 at the lower threshold to
    `RED_CHANCE_MAX` at the upper, beyond which everyone is refused; refusals are spaced evenly rather than by luck
    (Floyd & Jacobson, "Random early detection gateways for congestion avoidance", 1993, figure 2). Each
    priority has thresholds of its own, so that the lowest goes first.

    Args:
        rng: Draws who is refused.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._average = 0.0
        self._since_refusal = dict.fromkeys(RED_THRESHOLDS, -1)
        self._at = 0.0

    def refuses(self, now: float, *, priority: int, queued: int) -> bool:
        if queued:
            self._average += RED_WEIGHT * (queued - self._average)
        else:
            # As if so many had come meanwhile as could have been served, each finding the queue empty.
            self._average *= (1 - RED_WEIGHT) ** ((now - self._at) * CAPACITY_PER_S)
        self._at = now
        lower, upper = RED_THRESHOLDS[priority]
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
    """Drops at the queue's head while the queue stands, ever more often: `core.sojourn.CoDel` as the RFC has it."""

    def __init__(self, rng: Random) -> None:
        self._codel = CoDel(target_s=PATIENCE_S / 10, interval_s=PATIENCE_S)

    def sheds(self, now: float, *, waited_s: float, backlog: int) -> bool:
        return self._codel.drops(now, sojourn_s=waited_s, backlog=backlog)


class LabPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the tables.

    Attributes:
        seats: How many live jobs the queue holds.
        start_by: Whether clients send `start_by_s`, half of their patience: a job that has not started by then expires.
        patience_s: What the queue's settings say of the clients' patience; only `adaptive` heeds it.
        caller_queued: How many live jobs each group may have; None: no bound.
    """

    name: str
    discipline: Discipline
    shedder: Callable[[Random], Shedder] | None = None
    seats: int = SEATS
    start_by: bool = False
    patience_s: float = PATIENCE_S
    caller_queued: int | None = None

    def queue_policy(self) -> QueuePolicy:
        return QueuePolicy(capacity=self.seats, workers=WORKERS, discipline=self.discipline, patience_s=self.patience_s)

    def make_shedder(self, rng: Random) -> Shedder:
        return Shedder() if self.shedder is None else self.shedder(rng)


POLICIES = (
    LabPolicy(name="fifo", discipline=Discipline.FIFO),
    LabPolicy(name="fifo, 30 seats", discipline=Discipline.FIFO, seats=30),
    LabPolicy(name="fifo, start_by", discipline=Discipline.FIFO, start_by=True),
    LabPolicy(name="codel", discipline=Discipline.FIFO, shedder=DropByCoDel),
    LabPolicy(name="lifo", discipline=Discipline.LIFO),
    LabPolicy(name="adaptive", discipline=Discipline.ADAPTIVE),
    LabPolicy(name="adaptive, 30 seats", discipline=Discipline.ADAPTIVE, seats=30),
    LabPolicy(name="adaptive, patience_s x3", discipline=Discipline.ADAPTIVE, patience_s=3 * PATIENCE_S),
    LabPolicy(name="priority", discipline=Discipline.PRIORITY),
    LabPolicy(name="priority, start_by", discipline=Discipline.PRIORITY, start_by=True),
    LabPolicy(name="priority, red", discipline=Discipline.PRIORITY, shedder=Red),
    LabPolicy(name="fair", discipline=Discipline.FAIR),
    LabPolicy(name="fair, caller_queued", discipline=Discipline.FAIR, caller_queued=CALLER_QUEUED),
    LabPolicy(
        name="fair, caller_queued, start_by", discipline=Discipline.FAIR, caller_queued=CALLER_QUEUED, start_by=True
    ),
)
