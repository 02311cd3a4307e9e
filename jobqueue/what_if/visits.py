"""Visits: clients at a simulated queue, each with one job. They arrive in an open loop, each with a patience.

Rules:

1. A rejected client tries again after a pause, unless its patience ends before. So does one with a job that was shed
   or has expired: it got no Retry-After, and pauses for `PAUSE_S`.
2. A client that leaves cancels nothing: its job is done all the same.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from jobqueue.core.job import JobState
from jobqueue.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jobqueue.core.job import Job, JobId, JobSpec, Uniqueness
    from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue

PAUSE_S = 1.0
"""Pause of a client that got no Retry-After, or ignores it."""


class Returns(StrEnum):
    """When rejected clients try again: when Retry-After says, after `PAUSE_S`, or never."""

    OBEDIENT = "obedient"
    DISOBEDIENT = "disobedient"
    NEVER = "never"

    def pause_s(self, retry_after_s: float) -> float | None:
        """Return the pause of a client that got this Retry-After; None: it doesn't return."""
        if self is Returns.NEVER:
            return None
        return whole_seconds(retry_after_s) if self is Returns.OBEDIENT else PAUSE_S


class Client(Protocol):
    """When a client arrives, and when its patience ends."""

    @property
    def at(self) -> float: ...

    @property
    def leaves_at(self) -> float: ...


C = TypeVar("C", bound=Client)


class Visit(msgspec.Struct, Generic[C], kw_only=True, gc=False):
    """How one client fares. `accepted`: at least once; `refused`, `shed`: how often."""

    client: C
    tries: int = 0
    accepted: bool = False
    refused: int = 0
    shed: int = 0
    answered_at: float | None = None


class Visits(Generic[C]):
    """The visits of all clients.

    Args:
        clients: In the order of their arrivals.
        job_of: Returns what a client submits now.
        returns: When rejected clients try again.
        on_arrival: Called with each visit when it begins.
        refuse: Rejects a client's submission before the queue does, with a Retry-After; None: it doesn't. The server
            has no such policy; the overload lab compares some.
    """

    def __init__(
        self,
        queue: SimulatedQueue,
        clients: Iterable[C],
        *,
        job_of: Callable[[C], tuple[JobSpec, Sequence[Attempt], Uniqueness | None]],
        returns: Returns,
        on_arrival: Callable[[Visit[C]], None],
        refuse: Callable[[C], float | None] | None = None,
    ) -> None:
        self._queue = queue
        self._clients = iter(clients)
        self._job_of = job_of
        self._returns = returns
        self._on_arrival = on_arrival
        self._refuse = refuse
        self._visits: dict[JobId, Visit[C]] = {}
        self._expect_next()

    def _expect_next(self) -> None:
        client = next(self._clients, None)
        if client is not None:
            self._queue.at(client.at, self._arrive, client)

    def _arrive(self, client: C) -> None:
        visit = Visit(client=client)
        self._on_arrival(visit)
        self._submit(visit)
        self._expect_next()

    def _submit(self, visit: Visit[C]) -> None:
        visit.tries += 1
        if self._refuse is not None and (retry_after_s := self._refuse(visit.client)) is not None:
            self._turn_back(visit, retry_after_s)
            return
        try:
            job = self._queue.submit(*self._job_of(visit.client))
        except Refused as refusal:
            self._turn_back(visit, refusal.retry_after_s)
        else:
            visit.accepted = True
            self._visits[job.id] = visit

    def _turn_back(self, visit: Visit[C], retry_after_s: float) -> None:
        visit.refused += 1
        self._come_again(visit, self._returns.pause_s(retry_after_s))

    def end(self, job: Job) -> Visit[C]:
        """Return the visit of a job that has ended; its client tries again if the job was shed, or has expired."""
        visit = self._visits.pop(job.id)
        if job.state in (JobState.CANCELLED, JobState.EXPIRED):
            visit.shed += 1
            self._come_again(visit, None if self._returns is Returns.NEVER else PAUSE_S)
        return visit

    def _come_again(self, visit: Visit[C], pause_s: float | None) -> None:
        """Schedule a client's return, unless its patience ends before."""
        if pause_s is None:
            return
        at = self._queue.now + pause_s
        if at < visit.client.leaves_at:
            self._queue.at(at, self._submit, visit)


def whole_seconds(retry_after_s: float) -> float:
    """Return a time as in an HTTP header: whole seconds, rounded up, at least one."""
    return float(max(1, math.ceil(retry_after_s)))
