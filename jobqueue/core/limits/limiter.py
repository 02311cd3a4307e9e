"""One limiter: its permits, its rate, whether it is shut, and the jobs that wait for it.

A limiter decides how many may pass; `Limiters` decides which.

Rules:

1. Never more holders than permits, never more passes than the rate, none while it is shut, but for one probe
   at a time once that is due.
2. A wait list belongs to one limiter and one queue, and has the order of that queue's discipline; while the limiter is
   shut, `probing` chooses the next probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.limits.probing import ProbeTurns, Waiting
from jobqueue.core.limits.token_bucket import TokenBucket

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.rate import Rate
    from jobqueue.core.scheduling.order import Order

UNLIMITED: Final = 1 << 62

POOL: Final = 0
TYPE: Final = 1
GROUP: Final = 2
"""The scope of a limiter, from wide to narrow."""


GroupName = tuple[str | None, str | None]
"""A group of jobs: their owner and their own name."""


class Tally:
    """Number of permits held and of jobs waiting at one limiter, or at those of all groups of a type."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held = self.waiting = 0


class Limiter:
    """The permits of one pool, type or group, and the jobs that wait for one.

    Args:
        name: The pool's or the type's.
        group: The owner and the name of the group, within the type; None: it is not the limiter of a group.
        permits, rate: None: no bound.
        tally: Counts permits held and jobs waiting, too.

    Raises:
        ValueError: No permit at all.
    """

    __slots__ = (
        "bucket",
        "depth",
        "group",
        "held",
        "name",
        "permits",
        "probe",
        "shut_until",
        "tally",
        "turns",
        "wait_lists",
    )

    def __init__(
        self,
        depth: int,
        name: str,
        *,
        group: GroupName | None = None,
        permits: int | None = None,
        rate: Rate | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.depth = depth
        self.name = name
        self.group = group
        self.permits: int | None = None
        self.bucket: TokenBucket | None = None
        self.tally = tally or Tally()
        self.held = 0
        self.shut_until: float | None = None
        self.probe: JobId | None = None
        self.turns: ProbeTurns | None = None
        self.wait_lists: dict[str, WaitList] = {}
        self.bound(permits, rate)

    def bound(self, permits: int | None, rate: Rate | None) -> None:
        """Set permits and rate. A new rate starts with a full bucket."""
        if permits is not None and permits < 1:
            raise ValueError(f"a limiter needs at least one permit, got {permits}")
        self.permits = permits
        self.bucket = None if rate is None else TokenBucket(rate)

    def shut(self, until: float, last: Job | None) -> None:
        """Let no job pass before that instant, and then one probe at a time; `last` has had its turn."""
        self.shut_until = until
        if self.turns is None:
            self.turns = ProbeTurns()
            for wait_list in self.wait_lists.values():
                wait_list.sort_for_probes()
        if last is not None:
            self.turns.note(last)

    def open(self) -> None:
        self.shut_until = self.probe = self.turns = None
        for wait_list in self.wait_lists.values():
            wait_list.waiting = None

    @property
    def bounded(self) -> bool:
        return self.permits is not None or self.bucket is not None

    @property
    def lasting(self) -> bool:
        """Whether it is kept while unused: there are few of these."""
        return self.depth == POOL or (self.depth == TYPE and self.bounded)

    @property
    def idle(self) -> bool:
        """Whether it has no state but its bucket's."""
        return not self.wait_lists and self.shut_until is None and not (self.held and self.bounded)

    def room(self, now: float) -> int:
        """Return how many may pass now."""
        room = UNLIMITED
        if self.permits is not None:
            room = self.permits - self.held
            if room <= 0:
                return 0
        if self.shut_until is not None:
            if self.probe is not None or now < self.shut_until:
                return 0
            room = 1
        return room if self.bucket is None else min(room, self.bucket.remaining(now))

    def room_at(self, now: float) -> float | None:
        """Return when time alone makes room, while there is none; None if a permit must be released first."""
        if self.permits is not None and self.held >= self.permits:
            return None
        if self.shut_until is not None:
            if self.probe is not None:
                return None
            if now < self.shut_until:
                return self.shut_until
        return None if self.bucket is None else self.bucket.free_at()

    def take(self, job: Job, now: float) -> None:
        """Let a job pass. There must be room."""
        self.held += 1
        self.tally.held += 1
        if self.bucket is not None:
            self.bucket.take(now)
        if self.turns is not None:
            self.probe = job.id
            self.turns.note(job)

    def give_back(self, job_id: JobId) -> None:
        """Release a job's permit. Its token is spent."""
        self.held -= 1
        self.tally.held -= 1
        if self.probe == job_id:
            self.probe = None


class WaitList:
    """The jobs of one queue that wait at one limiter, and those offered from here that neither started nor returned.

    Attributes:
        waiting: The jobs of `order` by caller and group, while the limiter is shut.
    """

    __slots__ = ("limiter", "offered", "order", "waiting")

    def __init__(self, limiter: Limiter, order: Order) -> None:
        self.limiter = limiter
        self.order = order
        self.offered: dict[JobId, Waiter] = {}
        self.waiting: Waiting | None = None if limiter.turns is None else Waiting()

    @property
    def unoffered(self) -> bool:
        """Whether jobs wait and none is offered."""
        return not self.offered and len(self.order) > 0

    def join(self, waiter: Waiter, *, front: bool) -> None:
        # As of when it became ready: its waiting time still counts.
        self.order.push(waiter.job, now=waiter.job.run_at, front=front)
        if self.waiting is not None:
            self.waiting.add(waiter.job, front=front)
        self.limiter.tally.waiting += 1
        waiter.at = self

    def leave(self, waiter: Waiter) -> None:
        self.order.remove(waiter.job)
        if self.waiting is not None:
            self.waiting.remove(waiter.job)
        self.limiter.tally.waiting -= 1

    def take_next(self, now: float) -> Job:
        self.limiter.tally.waiting -= 1
        if self.waiting is None or self.limiter.turns is None:
            return self.order.pop(now)
        job = self.limiter.turns.next_of(self.waiting)
        if job is None:
            job = self.order.pop(now)
        else:
            self.order.remove(job)
        self.waiting.remove(job)
        return job

    def sort_for_probes(self) -> None:
        """Sort the jobs that wait by caller and group."""
        self.waiting = Waiting()
        for job in self.order:
            self.waiting.add(job)

    def has_job_of(self, caller: str | None) -> bool:
        """Whether a job of this caller waits to be the probe."""
        return self.waiting is not None and caller in self.waiting.by_caller


class Waiter:
    """A job that waits, or was offered a permit.

    Attributes:
        at: The wait list that holds it; None: it was offered.
        offered_by: The wait lists that offered it, the narrowest first: it waits, or tries, on their behalf.
        ready: Whether it is in the ready order, or about to be.
    """

    __slots__ = ("at", "job", "offered_by", "ready")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.at: WaitList | None = None
        self.offered_by: list[WaitList] = []
        self.ready = False

    @property
    def depth(self) -> int:
        """Depth of the narrowest limiter that offered it; -1: none did."""
        return self.offered_by[0].limiter.depth if self.offered_by else -1
