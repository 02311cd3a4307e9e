"""Limiters: the permits that a job needs before it may run, and the wait lists of jobs without one.

A job may need permits of three limiters, the broadest first: of its pool, of its type (all jobs of a handler), and of
its group within the type. All jobs of a type have the same pool and limits, so jobs that wait at a narrow limiter need
the same of the broader ones.

Rules:

1. A job holds permits of all its limiters, or of none. A limiter without room grants none (`limiter.py`).
2. A job that must wait is in one wait list, and isn't ready. A wait list belongs to one limiter and one queue, so no
   queue waits for the worker of another.
3. While a limiter has room and a wait list isn't empty, jobs of the list are offered. An offer is no permit: it makes
   the job ready again, before all others, and the first job to lease gets the permit. A job that then finds no room
   is requeued. The offer of a withdrawn job passes to the next.
4. Each wait list has one batch of offers at a time, as many as there is room for, and the next batch when all of these
   have started or are back. So jobs keep their order.
5. Offers go to the front of a wait list: when a job joins it, the batch is revoked, and a new one is offered.
   The wait list of a shut type offers its next probe, by the turns of callers and groups (`probing`).
6. If an offered job is blocked by a broader limiter, that one job waits at the head of the broader wait list on behalf
   of its whole batch. If a narrower limiter blocks it, it moves to the wait list there, and the next is offered in its
   place.
7. So through a limiter of one permit, the jobs of a first-in, first-out queue start strictly in order, but for
   probes.
8. The limiter of a group, or of a type without limits, is created on demand, and dropped when it has no state: no
   permit held, no job waiting, its bucket full, not shut.
9. Jobs of an owner are in groups of their own: a name that two owners choose means two groups. Only with the limits
   `across_owners`, which the server's own jobs have, is a group that of all owners.

No operation visits all waiting jobs, but `reorder`, and the first `shut` of a type. Jobs that move on (rule 6)
move in portions of `Tuning.moves_max`: the next `tick`, due at once, does the rest. `now` is
seconds on the engine's clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jobqueue.core.deadlines import Deadlines
from jobqueue.core.limits.limiter import GROUP, POOL, TYPE, Limiter, Tally, Waiter, WaitList
from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.tuning import TUNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jobqueue.core.job import Job, JobId, JobSpec
    from jobqueue.core.limits.limiter import GroupName
    from jobqueue.core.policy import Limits
    from jobqueue.core.scheduling.order import Order
    from jobqueue.core.tuning import Tuning


class Limiters:
    """All limiters.

    Attributes:
        held: The limiters of which a job holds permits, by its id.
        offered: Jobs with an offer; see `take_offered`.
        revoked: Jobs with a revoked offer; see `take_revoked`.

    Args:
        pools: Permits by pool name.
        order_of: Makes an empty Order of a queue's discipline, by the queue's name.
        tuning: Its `offers_max` and `moves_max` count here.

    Raises:
        ValueError: A pool without a permit.
    """

    def __init__(self, *, pools: Mapping[str, int], order_of: Callable[[str], Order], tuning: Tuning = TUNING) -> None:
        self._pools = {name: Limiter(POOL, name, permits=permits) for name, permits in pools.items()}
        self._types: dict[str, Limiter] = {}
        self._groups: dict[tuple[str, GroupName | None], Limiter] = {}
        self._group_bounds: dict[str, tuple[Tally, Limits]] = {}
        self._order_of = order_of
        self.held: dict[JobId, tuple[Limiter, ...]] = {}
        self._waiters: dict[JobId, Waiter] = {}
        self.offered: dict[JobId, Job] = {}
        self.revoked: dict[JobId, Job] = {}
        # When to check a limiter again: time makes room there, or it may be dropped.
        self._deadlines: Deadlines[Limiter] = Deadlines()
        # Limiters at which something has changed, by depth.
        self._unsettled: tuple[dict[Limiter, None], ...] = ({}, {}, {})
        self._offers_max, self._moves_max = tuning.offers_max, tuning.moves_max
        self._moves_left = tuning.moves_max

    # -- operations of the engine

    def enter(self, job: Job, now: float) -> bool:
        """Take all permits that a job needs, or none; then it joins the wait list of the first limiter without room."""
        spec = job.spec
        if spec.limits is None and spec.pool is None and spec.type not in self._types:
            return True
        waiter = self._waiters.get(job.id)
        if waiter is not None:
            if waiter.at is not None:
                return False
            waiter.ready = False
        path = self._path(job)
        if self._may_pass(path, waiter, spec.queue, now):
            self._admit(job, path, now)
            return True
        if waiter is None:
            waiter = self._waiters[job.id] = Waiter(job)
        stop = _first_stop(path, waiter.depth, spec.queue, now)
        assert stop is not None, "a limiter that can't be passed is one to wait at"
        self._requeue(waiter, stop)
        self._settle(now)
        return False

    def leave(self, job: Job, now: float) -> None:
        """Release the permits that a job holds, if any: its attempt is over."""
        held = self.held.pop(job.id, None)
        if held is None:
            return
        for limiter in held:
            limiter.give_back(job.id)
            if limiter.wait_lists or not limiter.lasting:
                self._unsettle(limiter)
        self._settle(now)

    def withdraw(self, job: Job, now: float) -> None:
        """Remove a job that waits, or was offered, if it does. Its offer passes to the next."""
        waiter = self._waiters.pop(job.id, None)
        if waiter is None:
            return
        self.offered.pop(job.id, None)
        self.revoked.pop(job.id, None)
        if waiter.at is not None:
            self._unsettle(waiter.at.limiter)
            waiter.at.leave(waiter)
        self._release(waiter)
        self._settle(now)

    def waits(self, job: Job) -> bool:
        """Whether a job is in a wait list."""
        waiter = self._waiters.get(job.id)
        return waiter is not None and waiter.at is not None

    def take_revoked(self) -> list[Job]:
        """Return the jobs with a revoked offer: the caller removes them from the ready order.

        Call it before `take_offered`: a job may have been offered again since.
        """
        revoked = list(self.revoked.values())
        self.revoked.clear()
        return revoked

    def take_offered(self) -> list[Job]:
        """Return the offered jobs; the caller pushes each to the front of the ready order, so the last one is next."""
        offered = list(reversed(self.offered.values()))
        self.offered.clear()
        return offered

    def tick(self, now: float) -> None:
        """Offer where time has made room, and drop limiters without state."""
        for _ in range(self._moves_max):
            limiter = self._deadlines.pop_due(now)
            if limiter is None:
                break
            self._unsettle(limiter)
        self._settle(now)

    def next_at(self) -> float | None:
        """Return when `tick` has something to do; None: not by time alone."""
        return self._deadlines.next_at()

    # -- operations of operators and the circuit breaker

    def reorder(self, queue: str, now: float) -> None:
        """Re-sort a queue's wait lists by its present discipline; no job is lost."""
        wait_lists = [limiter.wait_lists[queue] for limiter in self._all() if queue in limiter.wait_lists]
        for wait_list in wait_lists:
            self._revoke(wait_list)
        for wait_list in wait_lists:
            before, wait_list.order = wait_list.order, self._order_of(queue)
            for job in before:
                wait_list.order.push(job, now=job.run_at)
        self._settle(now)

    def resize(self, pool: str, permits: int, now: float) -> None:
        """Change a pool's permits; 0 lets no job pass for now. Jobs that hold one keep it until they end.

        Raises:
            KeyError: There is no such pool.
            ValueError: A negative number.
        """
        if permits < 0:
            raise ValueError(f"a pool has 0 permits or more, got {permits}")
        limiter = self._pools[pool]
        limiter.permits = permits
        self._unsettle(limiter)
        self._settle(now)

    def shut(self, job_type: str, until: float, now: float, *, last: Job | None = None) -> None:
        """Block all jobs of a type; from `until` on one passes as a probe, and another if that had no outcome.

        Args:
            last: The job that failed; other callers and groups have their turn before its own.
        """
        limiter = self._types.get(job_type)
        if limiter is None:
            limiter = self._types[job_type] = Limiter(TYPE, job_type)
        if limiter.turns is None:
            for wait_list in list(limiter.wait_lists.values()):
                self._revoke(wait_list)  # a job offered before could become the probe out of turn
        limiter.shut(until, last)
        self._unsettle(limiter)
        self._settle(now)

    def open(self, job_type: str, now: float) -> None:
        """Unblock the jobs of a type."""
        limiter = self._types.get(job_type)
        if limiter is not None:
            limiter.open()
            self._unsettle(limiter)
            self._settle(now)

    def waiting_at(self, job_type: str) -> int:
        """Count the jobs that wait at the limiter of a type."""
        limiter = self._types.get(job_type)
        return 0 if limiter is None else limiter.tally.waiting

    def may_probe(self, job_type: str, caller: str | None) -> bool:
        """Whether a job of this caller waits to be the probe of a shut type."""
        limiter = self._types.get(job_type)
        return limiter is not None and any(wait_list.has_job_of(caller) for wait_list in limiter.wait_lists.values())

    def stats(self) -> list[LimiterStats]:
        stats = [
            LimiterStats(
                kind="pool" if limiter.depth == POOL else "type",
                name=limiter.name,
                held=limiter.tally.held,
                waiting=limiter.tally.waiting,
                permits=limiter.permits,
                rate=None if limiter.bucket is None else limiter.bucket.rate,
                shut_until=limiter.shut_until,
            )
            for limiter in (*self._pools.values(), *self._types.values())
        ]
        for name, (tally, limits) in self._group_bounds.items():
            permits, rate = limits.group_concurrency, limits.group_rate
            stats.append(
                LimiterStats(
                    kind="groups", name=name, held=tally.held, waiting=tally.waiting, permits=permits, rate=rate
                )
            )
        return stats

    # -- creating and dropping limiters

    def _all(self) -> Iterator[Limiter]:
        yield from self._pools.values()
        yield from self._types.values()
        yield from self._groups.values()

    def _path(self, job: Job) -> list[Limiter]:
        """Return a job's limiters, the broadest first; its group's only if it exists."""
        spec, path = job.spec, []
        if spec.pool is not None and spec.pool in self._pools:
            path.append(self._pools[spec.pool])
        limits, limiter = spec.limits, self._types.get(spec.type)
        if limits is not None and (limits.concurrency is not None or limits.rate is not None):
            if limiter is None:
                limiter = self._types[spec.type] = Limiter(TYPE, spec.type)
            if not limiter.bounded:
                limiter.bound(limits.concurrency, limits.rate)
        if limiter is not None:
            path.append(limiter)
        if _has_group_limiter(spec) and (limiter := self._groups.get((spec.type, _group_of(job)))) is not None:
            path.append(limiter)
        return path

    def _make_group(self, job: Job) -> Limiter:
        spec = job.spec
        assert spec.limits is not None
        tally, limits = self._group_bounds.setdefault(spec.type, (Tally(), spec.limits))
        limiter = Limiter(
            GROUP,
            spec.type,
            group=_group_of(job),
            permits=limits.group_concurrency,
            rate=limits.group_rate,
            tally=tally,
        )
        self._groups[spec.type, limiter.group] = limiter
        return limiter

    def _drop(self, limiter: Limiter, now: float) -> float | None:
        """Drop an idle limiter if its bucket is full; else return when to try again."""
        if limiter.lasting:
            return None
        if limiter.bucket is not None and not limiter.bucket.is_full(now):
            # In whole seconds, so that many are dropped at once.
            return float(math.ceil(limiter.bucket.full_at))
        if limiter.depth == GROUP:
            del self._groups[limiter.name, limiter.group]
        elif self._types.get(limiter.name) is limiter:
            # Otherwise it was dropped while jobs still held permits, and another was created.
            del self._types[limiter.name]
        return None

    # -- granting and requeueing

    def _may_pass(self, path: list[Limiter], waiter: Waiter | None, queue: str, now: float) -> bool:
        depth = -1 if waiter is None else waiter.depth
        for limiter in path:
            if not limiter.room(now):
                return False
            wait_list = limiter.wait_lists.get(queue)
            if limiter.depth > depth and wait_list is not None and wait_list.unoffered:
                # Time has made room, and `tick` has not offered it yet.
                return False
        return True

    def _admit(self, job: Job, path: list[Limiter], now: float) -> None:
        spec = job.spec
        if _has_group_limiter(spec) and (not path or path[-1].depth != GROUP):
            path.append(self._make_group(job))
        for limiter in path:
            limiter.take(job, now)
        self.held[job.id] = tuple(path)
        waiter = self._waiters.pop(job.id, None)
        if waiter is not None:
            self._release(waiter)
            self._settle(now)

    def _requeue(self, waiter: Waiter, stop: Limiter) -> None:
        """Requeue an offered job: at the wait list that offered it, or at the narrower limiter that blocks it."""
        narrower = [wait_list for wait_list in waiter.offered_by if wait_list.limiter.depth >= stop.depth]
        if not narrower:
            self._release(waiter)
            self._join(waiter, stop, front=False)
        for wait_list in narrower:
            # The same limiter blocks all jobs of the batch.
            self._revoke(wait_list)

    def _join(self, waiter: Waiter, limiter: Limiter, *, front: bool) -> None:
        queue = waiter.job.spec.queue
        wait_list = limiter.wait_lists.get(queue)
        if wait_list is None:
            wait_list = limiter.wait_lists[queue] = WaitList(limiter, self._order_of(queue))
        self._revoke(wait_list)
        wait_list.join(waiter, front=front)

    def _revoke(self, wait_list: WaitList) -> None:
        """Revoke a wait list's offers: its jobs return to the front, in their order."""
        offered = list(wait_list.offered.values())
        for waiter in reversed(offered):
            if waiter.at is not None:
                self._unsettle(waiter.at.limiter)
                waiter.at.leave(waiter)
            elif waiter.ready:
                waiter.ready = False
                if self.offered.pop(waiter.job.id, None) is None:
                    self.revoked[waiter.job.id] = waiter.job
            narrower = [each for each in waiter.offered_by if each.limiter.depth > wait_list.limiter.depth]
            waiter.offered_by = waiter.offered_by[len(narrower) :]
            self._release(waiter)
            waiter.offered_by = narrower
            wait_list.join(waiter, front=True)
        self._unsettle(wait_list.limiter)

    def _release(self, waiter: Waiter) -> None:
        """Detach a job from the wait lists that offered it."""
        for wait_list in waiter.offered_by:
            del wait_list.offered[waiter.job.id]
            self._unsettle(wait_list.limiter)
        waiter.offered_by = []

    # -- offering

    def _unsettle(self, limiter: Limiter) -> None:
        self._unsettled[limiter.depth][limiter] = None

    def _settle(self, now: float) -> None:
        """Make the offers that are due, wherever something has changed.

        The narrowest limiters come first: jobs that wait there are older than those at broader ones.
        """
        pools, types, groups = self._unsettled
        self._moves_left = self._moves_max
        while pools or types or groups:
            limiter, _ = (groups or types or pools).popitem()
            room = limiter.room(now)
            unoffered = False
            for queue, wait_list in list(limiter.wait_lists.items()):
                if room and wait_list.unoffered:
                    self._offer(wait_list, now)
                if wait_list.unoffered:
                    unoffered = True
                elif not wait_list.offered:
                    del limiter.wait_lists[queue]
            at = None
            if unoffered:
                # Room without an offer stays for the jobs that are left over when the moves are used up.
                at = now if room else limiter.room_at(now)
            elif limiter.idle:
                at = self._drop(limiter, now)
            if at is None:
                self._deadlines.discard(limiter)
            else:
                self._deadlines.set(limiter, at)

    def _offer(self, wait_list: WaitList, now: float) -> None:
        """Offer the next batch of a wait list while its limiter has room."""
        limiter, batch = wait_list.limiter, self._offers_max
        while len(wait_list.offered) < batch and len(wait_list.order) and self._moves_left:
            self._moves_left -= 1
            job = wait_list.take_next(now)
            waiter = self._waiters[job.id]
            waiter.at = None
            path = self._path(job)
            stop = _first_stop(path, max(limiter.depth, waiter.depth), job.spec.queue, now)
            if stop is not None and stop.depth > limiter.depth:
                self._requeue(waiter, stop)
                continue
            wait_list.offered[job.id] = waiter
            waiter.offered_by.append(wait_list)
            if stop is not None:
                self._join(waiter, stop, front=True)
                return
            waiter.ready = True
            self.offered[job.id] = job
            batch = min(batch, *(wider.room(now) for wider in path if wider.depth <= limiter.depth))


def _has_group_limiter(spec: JobSpec) -> bool:
    limits = spec.limits
    if limits is None or spec.group is None:
        return False
    return limits.group_concurrency is not None or limits.group_rate is not None


def _first_stop(path: list[Limiter], depth: int, queue: str, now: float) -> Limiter | None:
    """Return the limiter at which a job has to wait, if any.

    Args:
        depth: The limiter down to which it has had its turn. At narrower ones it comes after the jobs that wait there.
    """
    for limiter in path:
        if not limiter.room(now) or (limiter.depth > depth and queue in limiter.wait_lists):
            return limiter
    return None


def _group_of(job: Job) -> GroupName:
    limits = job.spec.limits
    return None if limits is not None and limits.across_owners else job.owner, job.spec.group
