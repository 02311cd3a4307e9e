"""The figures of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.overload.clients import ELEPHANT, PRIORITIES, Client, RetryBehaviour
from jobqueue.what_if.quantiles import quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.what_if.visits import Visit


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run in figures. Shares are from 0 to 1; None: no clients to count.

    Attributes:
        goodput: The share of the workers' time that went into results in time.
        dead: The share of the workers' time that went into results after their client had left.
        busy: The share of the workers' time that went into any result.
        served: The share of the clients that got their result in time.
        unserved: The share of the clients that were accepted at least once, and got no result in time.
        never_accepted: The share of the clients with rejections only.
        tries: Submissions per client.
        wait_s: Queueing delay of the jobs that started: quantiles by name.
        answer_s: From a client's first try to its result, of those that got it.
        served_by_priority: As `served`.
        refused, shed: The shares of the submissions that were rejected, or dropped later.
        refused_by_priority: Both together.
        served_elephant, served_mice: As `served`.
        goodput_elephant, goodput_mice: Their parts of `goodput`.
    """

    policy: str
    load: float
    behaviour: RetryBehaviour
    clients: int
    goodput: float
    dead: float
    busy: float
    served: float
    unserved: float
    never_accepted: float
    tries: float
    refused: float
    shed: float
    wait_s: dict[str, float | None]
    answer_s: dict[str, float | None]
    served_by_priority: dict[int, float | None]
    refused_by_priority: dict[int, float | None]
    served_elephant: float | None
    served_mice: float | None
    goodput_elephant: float
    goodput_mice: float


class Seen:
    """The measured time: the clients that arrived in it, and the work that ended in it."""

    def __init__(self, *, policy: str, load: float, behaviour: RetryBehaviour, measured_s: float, workers: int) -> None:
        self._policy = policy
        self._workers = workers
        self._load = load
        self._behaviour = behaviour
        self._measured_s = measured_s
        self.visits: list[Visit[Client]] = []
        self._waits_s: list[float] = []
        self._elephant_s = self._mice_s = self._dead_s = 0.0

    def note_work(self, client: Client, *, in_time: bool, waited_s: float) -> None:
        """Count the work of a job that has ended, and whether its client still waits."""
        self._waits_s.append(waited_s)
        if not in_time:
            self._dead_s += client.work_s
        elif client.group == ELEPHANT:
            self._elephant_s += client.work_s
        else:
            self._mice_s += client.work_s

    def figures(self) -> Figures:
        visits, in_time_s, all_s = self.visits, self._elephant_s + self._mice_s, self._workers * self._measured_s
        elephant = [visit for visit in visits if visit.client.group == ELEPHANT]
        mice = [visit for visit in visits if visit.client.group != ELEPHANT]
        levels = {level: [visit for visit in visits if visit.client.priority == level] for level in PRIORITIES}
        tries = sum(visit.tries for visit in visits)
        return Figures(
            policy=self._policy,
            load=self._load,
            behaviour=self._behaviour,
            clients=len(visits),
            goodput=in_time_s / all_s,
            dead=self._dead_s / ((in_time_s + self._dead_s) or 1.0),
            busy=(in_time_s + self._dead_s) / all_s,
            served=_served(visits) or 0.0,
            unserved=sum(visit.accepted and visit.answered_at is None for visit in visits) / (len(visits) or 1),
            never_accepted=sum(not visit.accepted for visit in visits) / (len(visits) or 1),
            tries=tries / (len(visits) or 1),
            refused=sum(visit.refused for visit in visits) / (tries or 1),
            shed=sum(visit.shed for visit in visits) / (tries or 1),
            wait_s=quantiles(self._waits_s),
            answer_s=quantiles(v.answered_at - v.client.at for v in visits if v.answered_at is not None),
            served_by_priority={level: _served(those) for level, those in levels.items()},
            refused_by_priority={level: _refused(those) for level, those in levels.items()},
            served_elephant=_served(elephant),
            served_mice=_served(mice),
            goodput_elephant=self._elephant_s / all_s,
            goodput_mice=self._mice_s / all_s,
        )


def times(load: float) -> str:
    """Return a load as text: a multiple of the capacity."""
    return f"{load:g}\N{MULTIPLICATION SIGN}"


def _served(visits: Sequence[Visit[Client]]) -> float | None:
    return sum(visit.answered_at is not None for visit in visits) / len(visits) if visits else None


def _refused(visits: Sequence[Visit[Client]]) -> float | None:
    tries = sum(visit.tries for visit in visits)
    return sum(visit.refused + visit.shed for visit in visits) / tries if tries else None
