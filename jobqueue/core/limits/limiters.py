"""Gates: the permits that a job needs before it may run, and the lines of those that wait for one.

A job may have to pass three gates, the widest first: that of its lane, that of its type (all jobs of a handler), that
of its group within the type. All jobs of a type have the same lane and limits, so those who wait at a narrow gate need
the same of the wider ones.

Rules:

1. A job holds permits of all its gates, or of none. No gate is passed that has no room (`limiter.py`).
2. A job that must wait stands in one line, and isn't ready. A line is of one gate and one queue: so no queue waits
   for the worker of another.
3. Nobody is forgotten: where a gate has room and a line isn't empty, some of that line are called. A call is no
   permit: it makes its job ready again, before all others, and whoever tries first goes in. Who then finds no room
   is back in line. Who is withdrawn leaves its call to the next.
4. Of each line one batch is called at a time, as many as there is room for, and the next when all of these went in or
   are back. So they keep their order.
5. Those who are called are the best of their line: when one joins it, the batch is called back and called anew.
   The line of a shut type calls its next probe, by the turns of callers and groups (`probing`).
6. Called while a wider gate has no room, one stands at the front of the line there, for all that wait behind it.
   Called while a narrower gate has none, a job moves on to the line there, and the next is called in its place.
7. So through a gate of one permit, the jobs of a queue that is first in, first out go strictly in order, but for
   probes.
8. The gate of a group, or of a type without limits, is made when it is needed, and dropped when it says nothing any
   more: nobody holds it, nobody waits, its bucket is full, it is open.

No operation goes through all that wait, but `reorder`, and the first `shut` of a type. Those that move on (rule 6)
move in portions of `MOVES_MAX`: what is left over is done by the next `tick`, which is due at once. `now` is
seconds on the engine's clock.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from jobqueue.core.deadlines import Deadlines
from jobqueue.core.limits.limiter import GROUP, LANE, TYPE, Limiter, LimiterQueue, Tally, Waiter
from jobqueue.core.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jobqueue.core.job import Job, JobId, JobSpec
    from jobqueue.core.policy import Limits
    from jobqueue.core.scheduling.order import Order

CALLS_MAX = 32
"""How many of a line are called at once."""

MOVES_MAX = 256
"""How many are called, or move on, in one operation."""


class LimiterStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate holds; those of a type's groups are told as one, with the bounds of each.

    `name` is that of the lane or the type. `shut_until`: the instant of the probe, while it is shut.
    """

    kind: Literal["lane", "type", "groups"]
    name: str
    held: int
    waiting: int
    permits: int | None = None
    rate: Rate | None = None
    shut_until: float | None = None


class Limiters:
    """All gates.

    Attributes:
        called: Those who may try again; see `take_offered`.
        recalled: Those whose call was taken back; see `take_revoked`.

    Args:
        lanes: Permits by lane name.
        order_of: Makes an empty Order of a queue's discipline, by the queue's name.

    Raises:
        ValueError: A lane without a permit.
    """

    def __init__(self, *, lanes: Mapping[str, int], order_of: Callable[[str], Order]) -> None:
        self._lanes = {name: Limiter(LANE, name, permits=permits) for name, permits in lanes.items()}
        self._types: dict[str, Limiter] = {}
        self._groups: dict[tuple[str, str], Limiter] = {}
        self._group_bounds: dict[str, tuple[Tally, Limits]] = {}
        self._order_of = order_of
        self._held: dict[JobId, tuple[Limiter, ...]] = {}
        self._waiters: dict[JobId, Waiter] = {}
        self.called: dict[JobId, Job] = {}
        self.recalled: dict[JobId, Job] = {}
        # When to look at a gate again: time makes room there, or it may be dropped.
        self._deadlines: Deadlines[Limiter] = Deadlines()
        # Gates at which something has changed, by depth.
        self._unsettled: tuple[dict[Limiter, None], ...] = ({}, {}, {})
        self._moves_left = MOVES_MAX

    # -- what the engine asks for

    def enter(self, job: Job, now: float) -> bool:
        """Take all permits that a job needs, or none; then it stands in the line of the first gate that refuses it."""
        spec = job.spec
        if spec.limits is None and spec.lane is None and spec.type not in self._types:
            return True
        waiter = self._waiters.get(job.id)
        if waiter is not None:
            if waiter.at is not None:
                return False
            waiter.ready = False
        path = self._path(spec)
        if self._may_pass(path, waiter, spec.queue, now):
            self._admit(job, path, now)
            return True
        if waiter is None:
            waiter = self._waiters[job.id] = Waiter(job)
        stop = _first_stop(path, waiter.depth, spec.queue, now)
        assert stop is not None, "a gate that can't be passed is one to wait at"
        self._requeue(waiter, stop)
        self._settle(now)
        return False

    def leave(self, job: Job, now: float) -> None:
        """Give back the permits that a job holds, if any: its attempt is over."""
        held = self._held.pop(job.id, None)
        if held is None:
            return
        for gate in held:
            gate.give_back(job.id)
            if gate.lines or not gate.lasting:
                self._unsettle(gate)
        self._settle(now)

    def withdraw(self, job: Job, now: float) -> None:
        """Forget a job that waits, or was called, and won't try again, if it does. Its call goes to the next."""
        waiter = self._waiters.pop(job.id, None)
        if waiter is None:
            return
        self.called.pop(job.id, None)
        self.recalled.pop(job.id, None)
        if waiter.at is not None:
            self._unsettle(waiter.at.gate)
            waiter.at.leave(waiter)
        self._release(waiter)
        self._settle(now)

    def waits(self, job: Job) -> bool:
        """Return whether a job stands in a line."""
        waiter = self._waiters.get(job.id)
        return waiter is not None and waiter.at is not None

    def take_revoked(self) -> list[Job]:
        """Return those that were called and stand in line again: they are to be taken out of the ready order.

        Ask before `take_offered`: one may have been called again since.
        """
        recalled = list(self.recalled.values())
        self.recalled.clear()
        return recalled

    def take_offered(self) -> list[Job]:
        """Return those that may try again, to be put before all that are ready, one after the other.

        So the last of them is the next of all.
        """
        called = list(reversed(self.called.values()))
        self.called.clear()
        return called

    def tick(self, now: float) -> None:
        """See to the gates at which time has made room, or that nobody needs any more."""
        for _ in range(MOVES_MAX):
            gate = self._deadlines.pop_due(now)
            if gate is None:
                break
            self._unsettle(gate)
        self._settle(now)

    def next_at(self) -> float | None:
        """Return when `tick` has something to do; None: not before others have done something."""
        return self._deadlines.next_at()

    # -- what operators and quarantines ask for

    def reorder(self, queue: str, now: float) -> None:
        """Make a queue's lines anew, by the discipline that it has now; nobody is lost."""
        lines = [gate.lines[queue] for gate in self._all() if queue in gate.lines]
        for line in lines:
            self._recall(line)
        for line in lines:
            before, line.order = line.order, self._order_of(queue)
            for job in before:
                line.order.push(job, now=job.run_at)
        self._settle(now)

    def resize(self, lane: str, permits: int, now: float) -> None:
        """Change a lane's permits; 0 lets no job pass for now. Jobs that hold one keep it until they leave.

        Raises:
            KeyError: There is no such lane.
            ValueError: A negative number.
        """
        if permits < 0:
            raise ValueError(f"a lane has 0 permits or more, got {permits}")
        gate = self._lanes[lane]
        gate.permits = permits
        self._unsettle(gate)
        self._settle(now)

    def shut(self, job_type: str, until: float, now: float, *, last: Job | None = None) -> None:
        """Let no job of a type in; but from `until` on one as a probe, and another if it left without a verdict.

        Args:
            last: The job whose failure is the reason; other callers and groups have their turn before its own.
        """
        gate = self._types.get(job_type)
        if gate is None:
            gate = self._types[job_type] = Limiter(TYPE, job_type)
        if gate.turns is None:
            for line in list(gate.lines.values()):
                self._recall(line)  # one that was called before could be the probe out of its turn
        gate.shut(until, last)
        self._unsettle(gate)
        self._settle(now)

    def open(self, job_type: str, now: float) -> None:
        """Let the jobs of a type in again."""
        gate = self._types.get(job_type)
        if gate is not None:
            gate.open()
            self._unsettle(gate)
            self._settle(now)

    def waiting_at(self, job_type: str) -> int:
        """Count the jobs that wait at the gate of a type."""
        gate = self._types.get(job_type)
        return 0 if gate is None else gate.tally.waiting

    def may_probe(self, job_type: str, caller: str | None) -> bool:
        """Tell whether a job of this caller waits to be the probe of a shut type."""
        gate = self._types.get(job_type)
        return gate is not None and any(line.has_job_of(caller) for line in gate.lines.values())

    def stats(self) -> list[LimiterStats]:
        stats = [
            LimiterStats(
                kind="lane" if gate.depth == LANE else "type",
                name=gate.name,
                held=gate.tally.held,
                waiting=gate.tally.waiting,
                permits=gate.permits,
                rate=None if gate.bucket is None else gate.bucket.rate,
                shut_until=gate.shut_until,
            )
            for gate in (*self._lanes.values(), *self._types.values())
        ]
        for name, (tally, limits) in self._group_bounds.items():
            permits, rate = limits.group_concurrency, limits.group_rate
            stats.append(
                LimiterStats(
                    kind="groups", name=name, held=tally.held, waiting=tally.waiting, permits=permits, rate=rate
                )
            )
        return stats

    # -- which gates there are

    def _all(self) -> Iterator[Limiter]:
        yield from self._lanes.values()
        yield from self._types.values()
        yield from self._groups.values()

    def _path(self, spec: JobSpec) -> list[Limiter]:
        """Return the gates that a job has to pass, the widest first; its group's only if there is one yet."""
        path = []
        if spec.lane is not None and spec.lane in self._lanes:
            path.append(self._lanes[spec.lane])
        limits, gate = spec.limits, self._types.get(spec.type)
        if limits is not None and (limits.concurrency is not None or limits.rate is not None):
            if gate is None:
                gate = self._types[spec.type] = Limiter(TYPE, spec.type)
            if not gate.bounded:
                gate.bound(limits.concurrency, limits.rate)
        if gate is not None:
            path.append(gate)
        if _has_group_gate(spec) and (gate := self._groups.get((spec.type, spec.group or ""))) is not None:
            path.append(gate)
        return path

    def _make_group(self, spec: JobSpec) -> Limiter:
        assert spec.limits is not None
        assert spec.group is not None
        tally, limits = self._group_bounds.setdefault(spec.type, (Tally(), spec.limits))
        gate = Limiter(
            GROUP,
            spec.type,
            group=spec.group,
            permits=limits.group_concurrency,
            rate=limits.group_rate,
            tally=tally,
        )
        self._groups[spec.type, spec.group] = gate
        return gate

    def _drop(self, gate: Limiter, now: float) -> float | None:
        """Drop an idle gate that would be made again as it is; return when to try again if its bucket isn't full."""
        if gate.lasting:
            return None
        if gate.bucket is not None and not gate.bucket.is_full(now):
            # In whole seconds, so that many are dropped at once.
            return float(math.ceil(gate.bucket.full_at))
        if gate.depth == GROUP:
            del self._groups[gate.name, gate.group]
        elif self._types.get(gate.name) is gate:
            # Else it was dropped while some that went in before were inside, and is made anew.
            del self._types[gate.name]
        return None

    # -- going in, and being turned away

    def _may_pass(self, path: list[Limiter], waiter: Waiter | None, queue: str, now: float) -> bool:
        depth = -1 if waiter is None else waiter.depth
        for gate in path:
            if not gate.room(now):
                return False
            line = gate.lines.get(queue)
            if gate.depth > depth and line is not None and line.uncalled:
                # Time has made room, and `tick` not yet called those who wait for it.
                return False
        return True

    def _admit(self, job: Job, path: list[Limiter], now: float) -> None:
        spec = job.spec
        if _has_group_gate(spec) and (not path or path[-1].depth != GROUP):
            path.append(self._make_group(spec))
        for gate in path:
            gate.take(job, now)
        self._held[job.id] = tuple(path)
        waiter = self._waiters.pop(job.id, None)
        if waiter is not None:
            self._release(waiter)
            self._settle(now)

    def _requeue(self, waiter: Waiter, stop: Limiter) -> None:
        """Put one that tried back in line: where it was called from, or, if a narrower gate stops it, there."""
        narrower = [line for line in waiter.callers if line.gate.depth >= stop.depth]
        if not narrower:
            self._release(waiter)
            self._join(waiter, stop, front=False)
        for line in narrower:
            # What stops this one stops all that were called with it.
            self._recall(line)

    def _join(self, waiter: Waiter, gate: Limiter, *, front: bool) -> None:
        queue = waiter.job.spec.queue
        line = gate.lines.get(queue)
        if line is None:
            line = gate.lines[queue] = LimiterQueue(gate, self._order_of(queue))
        self._recall(line)
        line.join(waiter, front=front)

    def _recall(self, line: LimiterQueue) -> None:
        """Put all that a line has called back to its front, in the order in which they were called."""
        called = list(line.called.values())
        for waiter in reversed(called):
            if waiter.at is not None:
                self._unsettle(waiter.at.gate)
                waiter.at.leave(waiter)
            elif waiter.ready:
                waiter.ready = False
                if self.called.pop(waiter.job.id, None) is None:
                    self.recalled[waiter.job.id] = waiter.job
            narrower = [caller for caller in waiter.callers if caller.gate.depth > line.gate.depth]
            waiter.callers = waiter.callers[len(narrower) :]
            self._release(waiter)
            waiter.callers = narrower
            line.join(waiter, front=True)
        self._unsettle(line.gate)

    def _release(self, waiter: Waiter) -> None:
        """Let a job stand for nobody any more."""
        for line in waiter.callers:
            del line.called[waiter.job.id]
            self._unsettle(line.gate)
        waiter.callers = []

    # -- calling

    def _unsettle(self, gate: Limiter) -> None:
        self._unsettled[gate.depth][gate] = None

    def _settle(self, now: float) -> None:
        """Call whoever is to be called, wherever something has changed.

        The narrowest gates come first: who waits there came before those who wait farther out.
        """
        lanes, types, groups = self._unsettled
        self._moves_left = MOVES_MAX
        while lanes or types or groups:
            gate, _ = (groups or types or lanes).popitem()
            room = gate.room(now)
            uncalled = False
            for queue, line in list(gate.lines.items()):
                if room and line.uncalled:
                    self._call(line, now)
                if line.uncalled:
                    uncalled = True
                elif not line.called:
                    del gate.lines[queue]
            at = None
            if uncalled:
                # Room that nobody is called for is for those who are left over, when no more moves are.
                at = now if room else gate.room_at(now)
            elif gate.idle:
                at = self._drop(gate, now)
            if at is None:
                self._deadlines.discard(gate)
            else:
                self._deadlines.set(gate, at)

    def _call(self, line: LimiterQueue, now: float) -> None:
        """Call the next batch of a line whose gate has room."""
        gate, batch = line.gate, CALLS_MAX
        while len(line.called) < batch and len(line.order) and self._moves_left:
            self._moves_left -= 1
            job = line.take_next(now)
            waiter = self._waiters[job.id]
            waiter.at = None
            path = self._path(job.spec)
            stop = _first_stop(path, max(gate.depth, waiter.depth), job.spec.queue, now)
            if stop is not None and stop.depth > gate.depth:
                self._requeue(waiter, stop)
                continue
            line.called[job.id] = waiter
            waiter.callers.append(line)
            if stop is not None:
                self._join(waiter, stop, front=True)
                return
            waiter.ready = True
            self.called[job.id] = job
            batch = min(batch, *(wider.room(now) for wider in path if wider.depth <= gate.depth))


def _has_group_gate(spec: JobSpec) -> bool:
    limits = spec.limits
    if limits is None or spec.group is None:
        return False
    return limits.group_concurrency is not None or limits.group_rate is not None


def _first_stop(path: list[Limiter], depth: int, queue: str, now: float) -> Limiter | None:
    """Return the gate at which a job has to wait, if any.

    Args:
        depth: How far in it has had its turn. Farther in, it comes after those who wait there already.
    """
    for gate in path:
        if not gate.room(now) or (gate.depth > depth and queue in gate.lines):
            return gate
    return None
