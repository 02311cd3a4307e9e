"""Leases: takes jobs from the store for the places of this process that are free, and hands them to its workers.

Rules:

1. As many jobs are leased as there are places for them, at most `LEASE_MAX` a call, and one call at a time. None is
   leased ahead of its place, since other processes may have one.
2. Whether there are jobs is told by a hint: an own submission, a message of the store, a lease that got all it asked
   for. A hint may be missing, so the store is asked at least every `POLL_S` as long as a place is free.
3. A lease may be done and its reply lost: its jobs would run nowhere as long as this process lives. So after that, and
   after each new connection, the store is told what this process holds (`reconcile`), before the next lease.
4. A job that can't be read is given back like one that has not arrived, after a rest: another version may know it.
5. One worker is woken for all jobs of a lease: it takes one after the other, and passes the rest on when a handler
   suspends; for the store's answer to an outcome it does not wait. To wake as many as there are jobs took a tenth of
   the server's CPU where handlers don't.
6. A job that nothing waits for any more is kept for the next worker, or given back at the stop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.valkey.attempts import Held
from jobqueue.backend.valkey.layout import lost_attempt
from jobqueue.backend.valkey.records import record_of
from jobqueue.core.events import Started
from jobqueue.core.job import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobqueue.backend.base import Workers
    from jobqueue.backend.valkey.attempts import Attempts
    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.backend.valkey.process import Process
    from jobqueue.backend.valkey.records import Records, Told
    from jobqueue.backend.valkey.stops import Stops
    from jobqueue.backend.valkey.verdicts import Verdicts

LEASE_MAX: Final = 64
POLL_S: Final = 1.0
REST_S: Final = 0.25
"""The wait after a lease that failed, in seconds."""


class Leases:
    """Leases jobs for the workers of this process.

    Args:
        queues: Their names, in the order in which their jobs are taken.
        note_at: Is told when the next deadline of the store is due.
    """

    def __init__(
        self,
        link: Link,
        records: Records,
        attempts: Attempts,
        listeners: Listeners,
        process: Process,
        stops: Stops,
        verdicts: Verdicts,
        *,
        queues: tuple[str, ...],
        note_at: Callable[[float], None],
    ) -> None:
        self._link, self._records = link, records
        self._attempts, self._listeners = attempts, listeners
        self._process, self._stops, self._verdicts = process, stops, verdicts
        self._queues = queues
        self._note_at = note_at
        self.workers: Workers | None = None
        self._stash: deque[Held] = deque()
        self._waiting: deque[asyncio.Future[Held]] = deque()
        self._hopeful = True
        self._left = 0
        self._seq = 0
        self._asked = 0
        self._looking = self._closed = self._resting = False
        self._landed: list[Callable[[], None]] = []
        self._poll: asyncio.TimerHandle | None = None

    # -- for workers

    def lease_now(self) -> Lease | None:
        """As `Backend.lease_now`: a job that was leased already."""
        while self._stash:
            held = self._stash.popleft()
            if (lease := self._begin(held)) is not None:
                return lease
        return None

    async def lease(self) -> Lease:
        """As `Backend.lease`."""
        while True:
            lease = self.lease_now()
            if lease is not None:
                return lease
            waiting: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            self._look()
            try:
                held = await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._stash.appendleft(waiting.result())
                    self._deal()
                raise
            lease = self._begin(held)
            if lease is not None:
                return lease

    def pass_on(self) -> None:
        """As `Backend.pass_on`."""
        if self._stash:
            self._deal()

    def _begin(self, held: Held) -> Lease | None:
        """Return the lease of an attempt for a worker; None: it must not begin any more."""
        if held.lost or held.over:
            return None
        if held.stopping is not None:
            self._stops.over(held)
            self._verdicts.conclude(held)
            return None
        self._stops.begun(held)
        return held.lease

    # -- hints

    def takes(self, jobs: Mapping[str, int]) -> bool:
        """Whether this process is going to lease these new jobs itself, given their number by pool ("": the loop)."""
        if self._closed or not self._process.may_lease or self._room() < sum(jobs.values()):
            return False
        permits = self._attempts.permits()
        for pool, count in jobs.items():
            if pool:
                most, taken = permits.get(pool, (0, 0))
                if most - taken < count:
                    return False
        return True

    def hint(self) -> None:
        """There may be jobs to lease."""
        self._hopeful = True
        self._look()

    def freed(self) -> None:
        """A place is free again, or a permit."""
        if self._left:
            self._hopeful = True
        if self._hopeful:
            self._look()

    # -- life

    def start(self, workers: Workers) -> None:
        """Fill the places of these workers."""
        self.workers = workers
        self.hint()

    def open(self) -> None:
        """Ask regularly."""
        self._closed = False
        self._on_poll()

    def close(self) -> int:
        """Lease no more, and give back what no worker has begun; return the number of attempts."""
        self._closed = True
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        unstarted = [held for held in self._stash if not held.lost]
        self._stash.clear()
        self._verdicts.give_back(unstarted)
        return len(unstarted)

    def when_landed(self, then: Callable[[], None]) -> None:
        """Call a function once no lease is on its way; the next one begins after that."""
        if self._asked:
            self._landed.append(then)
        else:
            then()

    def _on_poll(self) -> None:
        if self._closed:
            return
        self._poll = asyncio.get_running_loop().call_later(POLL_S, self._on_poll)
        self.hint()

    # -- the call

    def _room(self) -> int:
        """Return how many jobs may be leased now."""
        waiting = sum(not each.done() for each in self._waiting)
        free = 0 if self.workers is None else self.workers.free()
        return max(waiting, free) - len(self._stash) - self._asked

    def _look(self) -> None:
        """Lease at the end of this turn, if there is reason to."""
        if not self._looking and not self._asked:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        self._looking = False
        if self._closed or self._asked or self._resting or not self._hopeful or not self._process.may_lease:
            return
        wanted = min(LEASE_MAX, self._room())
        if wanted <= 0:
            return
        self._hopeful = False
        self._seq += 1
        self._asked = wanted
        lanes = self._attempts.lanes(wanted)
        args: list[Argument] = [self._process.name, self._seq, wanted, len(lanes)]
        for lane, room in lanes:
            args += (lane, room)
        process = self._process.name
        self._link.send("lease", [*args, *self._queues], lambda told, error: self._take(process, told, error))

    def _take(self, process: str, told: list[Any] | None, error: Exception | None) -> None:
        wanted, self._asked = self._asked, 0
        if told is None:
            self._rest()  # it may have been done
        elif not told[1]:
            self._process.died(process)
        elif process == self._process.name:  # else it has died since, and the jobs go back with it
            self._left = told[2]
            if told[3] >= 0:
                self._note_at(self._link.clock.at(told[3]))
            got, unread = (len(told) - 4) // 2, False
            for job_id, record in zip(told[4::2], told[5::2], strict=True):
                try:
                    self._hold(job_id, record)
                except Exception as raised:
                    self._link.report(raised)
                    unread = True
            self._hopeful |= got == wanted or (got > 0 and self._left > 0)
            if unread:
                self._rest()
            if self._closed:
                self.close()
            self._deal()
        landed, self._landed = self._landed, []
        for then in landed:
            then()
        if self._hopeful:
            self._look()

    def _rest(self) -> None:
        """Lease nothing for a while, and tell the store what is held."""
        if not self._resting:
            self._resting = True
            self._link.loop.call_later(REST_S, self._rested)
        self._process.doubt()

    def _rested(self) -> None:
        self._resting = False
        self.hint()

    def _hold(self, job_id: bytes, told: Told) -> None:
        job = self._records.job(job_id.decode(), told)
        recovered = lost_attempt(record_of(told)) == job.attempt
        held = Held(job, Lease(job.id, job.attempt, job.spec, job.args, job.upload, recovered))
        self._attempts.add(held)
        self._stash.append(held)
        self._listeners.publish(Started(job))

    def _deal(self) -> None:
        """Give the first job to a worker that waits, or call for one: it takes the others, or passes them on."""
        while self._stash and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(self._stash.popleft())
                return
        if self._stash and self.workers is not None:
            self.workers.reinforce(1)
