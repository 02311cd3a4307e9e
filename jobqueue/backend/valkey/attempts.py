"""The attempts that this process holds, from their lease to the store's answer to their outcome.

Rules:

1. An attempt is held until the store has answered its outcome: until then a `reconcile` names it, or the store would
   take it for one whose lease got lost on its way.
2. It takes a place, and a permit of its pool, until its outcome is reported. The permits of pools are this process's
   own business.
3. An attempt that is lost (`lose`) is the store's again: its outcome counts for nothing. Until it has ended it takes
   its place beside the next attempt of its job, which this process may lease meanwhile: a thread can't be cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import StaleLease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jobqueue.core.job import Job, JobId, Lease, StopReason


class Held:
    """An attempt that this process holds.

    Attributes:
        job: Its record, as far as this process knows it.
        begun: A worker has it.
        stopping: Why it was asked to stop.
        over: Its outcome is reported, and on its way.
        lost: It is the store's again.
    """

    __slots__ = ("begun", "job", "lease", "lost", "over", "stopping")

    def __init__(self, job: Job, lease: Lease) -> None:
        self.job = job
        self.lease = lease
        self.begun = self.over = self.lost = False
        self.stopping: StopReason | None = None

    @property
    def pool(self) -> str:
        return self.lease.spec.pool or ""


class Attempts:
    """The attempts of this process.

    Args:
        pools: Maximum number of attempts at once in each pool.

    Attributes:
        on_fewer: Called where one is held no longer.
    """

    def __init__(self, pools: Mapping[str, int]) -> None:
        self._permits = dict(pools)
        self._held: dict[tuple[JobId, int], Held] = {}
        self._busy: dict[str, int] = {}
        self.on_fewer: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held.values()))

    @property
    def running(self) -> int:
        """Number of attempts without an outcome."""
        return sum(self._busy.values())

    def names(self) -> list[tuple[JobId, int]]:
        """Return all that are held and not lost: their jobs and numbers."""
        return [name for name, held in self._held.items() if not held.lost]

    def add(self, held: Held) -> None:
        """Hold an attempt that was just leased."""
        self._held[held.lease.job_id, held.lease.attempt] = held
        self._busy[held.pool] = self._busy.get(held.pool, 0) + 1

    def find(self, job_id: JobId, attempt: int) -> Held | None:
        """Return an attempt, if it is held."""
        return self._held.get((job_id, attempt))

    def runs(self, job_id: JobId, attempt: int) -> bool:
        """Return whether an attempt is held."""
        return (job_id, attempt) in self._held

    def conclude(self, job_id: JobId, attempt: int) -> Held:
        """Free the place of an attempt with an outcome. Raises StaleLease: It isn't held any more."""
        held = self.find(job_id, attempt)
        if held is None or held.over or held.lost:
            if held is not None and held.lost:
                self.forget(held)
            raise StaleLease(f"attempt {attempt} of job {job_id} no longer holds its lease")
        held.over = True
        self._busy[held.pool] -= 1
        return held

    def forget(self, held: Held) -> None:
        """Hold an attempt no longer."""
        name = (held.lease.job_id, held.lease.attempt)
        if self._held.get(name) is held:
            del self._held[name]
            if not held.over:
                held.over = True
                self._busy[held.pool] -= 1
            self.on_fewer()

    def set_permits(self, pool: str, permits: int) -> None:
        """As `Backend.set_permits`."""
        self._permits[pool] = permits

    def permits(self) -> dict[str, tuple[int, int]]:
        """Return the permits of each pool, and those that are taken."""
        return {pool: (permits, self._busy.get(pool, 0)) for pool, permits in self._permits.items()}

    def lanes(self, places: int) -> list[tuple[str, int]]:
        """Return how many more attempts may begin on the loop, and in each pool, given the places that are free."""
        free = [(pool, min(places, permits - self._busy.get(pool, 0))) for pool, permits in self._permits.items()]
        return [("", places), *((pool, room) for pool, room in free if room > 0)]
