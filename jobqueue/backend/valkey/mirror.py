"""The mirror: a copy of what the store counts, in this process, so that `Snapshot` answers without waiting.

Rules:

1. It is read anew every `REFRESH_S`, from `start` to `stop`; and when it is asked for figures after this process has
   changed something, or after `STALE_S`: then this answer may still be the earlier one.
2. Live numbers are the store's, of all processes; counters and durations are of this process (`tallies`).
3. A rejection without a call needs a reason that holds for every submission now: the store is out of reach, this
   process drains, or a reply has just said that the queue is full. One with a key or a unique value is never rejected
   so: it may equal a job that is held.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.backend.valkey.caller_mirror import STALE_S, CallerMirror, reply_of, when_done
from jobqueue.backend.valkey.limiter_mirror import limiters_of
from jobqueue.backend.valkey.queue_mirror import QueueMirror
from jobqueue.backend.valkey.roster import Roster
from jobqueue.backend.valkey.tallies import Tallies
from jobqueue.backend.valkey.unknown_queues import UnknownQueues
from jobqueue.core import events as of
from jobqueue.core.counting.stats import StoreStats
from jobqueue.core.job import QUEUED
from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.limits.quarantined_type import QuarantinedType
from jobqueue.core.pause import Pause
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.scheduling.eta import PAUSED, POLL_AFTER_S_UNKNOWN, Estimate, WaitingFor, WaitReason
from jobqueue.errors import Draining, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random

    from jobqueue.backend.valkey.calls import Calls
    from jobqueue.backend.valkey.clock import StoreClock
    from jobqueue.core.caller_holdings import CallerHolding
    from jobqueue.core.counting.counts import Durations, QueueCounts, TypeCounts
    from jobqueue.core.counting.stats import QueueStats
    from jobqueue.core.job import Job, JobId, Uniqueness
    from jobqueue.core.job_view import AnyJob
    from jobqueue.errors import QueueFull


REFRESH_S: Final = 1.0

POSITIONS_KEPT: Final = 4096
POSITION_S: Final = 1.0
"""How long a position that a look told is given out."""

_POLICY: Final = msgspec.msgpack.Decoder(QueuePolicy)

Pairs = dict[str, Any]


class Mirror:
    """The copy of the store's numbers, and this process's own.

    Args:
        calls: Those of the store.
        queues: Policy by name, until the store tells others.
        rng: Draws the jitter of Retry-After.
        own: Returns the name of this process.

    Attributes:
        queues: The copies of the queues, by name.
        tallies: What this process has counted.
        processes: Live processes, as last heard.
        roster: Which ones they are.
        unknown: Returns the rejection of what needs a queue that the store does not know.
        read_at: When the copy was read, on the loop's clock; -inf: never.
        permits: Attempts at once in each pool of this process.
        hears: What counts the events of this process, by their kind; `hear` for any.
        on_quarantined: Called with the types in quarantine, whenever they were read.
        on_policy: Called with a queue's settings when they are others, whichever server changed them.
    """

    def __init__(
        self,
        calls: Calls,
        clock: StoreClock,
        queues: Mapping[str, QueuePolicy],
        rng: Random,
        *,
        own: Callable[[], str] = str,
    ) -> None:
        self._calls = calls
        self._clock = clock
        self.now = clock.now
        self.tallies = Tallies(queues, clock.now)
        tally_of = self.tallies.queues
        self.queues = {name: QueueMirror(policy, tally_of[name], rng) for name, policy in queues.items()}
        self.processes = 1
        self.roster = Roster(calls, clock, own)
        self.read_at = -inf
        self.permits: dict[str, int] = {}
        self.on_policy: Callable[[str, QueuePolicy], None] = lambda queue, policy: None
        self.on_quarantined: Callable[[list[QuarantinedType]], None] = lambda types: None
        self._config_read, self._config_told = -1, 0
        self._totals: dict[str, int] = {}
        self._types: list[tuple[str, Pairs]] = []
        self._quarantined: list[QuarantinedType] = []
        self._callers = CallerMirror(calls, self.now)
        self._positions: dict[JobId, tuple[int, float]] = {}
        self._of_pools: dict[str, dict[JobId, None]] = {}
        self._unknown = UnknownQueues(calls)
        self.unknown = self._unknown.rejection
        self._changed = True
        self.hears = {kind: self._own(kind, count) for kind, count in self.tallies.hears.items()}
        self._reading: asyncio.Future[list[Any]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    # -- the copy

    def start(self) -> None:
        """Read the copy every `REFRESH_S`, first then."""
        self._timer = asyncio.get_running_loop().call_later(REFRESH_S, self._tick)

    def stop(self) -> None:
        """Read it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self.start()
        self._refresh_if_stale()

    async def refresh(self, callers: Sequence[str | None] | None = None) -> None:
        """Read the copy anew, as `Backend.refresh`. Raises StoreUnavailable."""
        self._take(await self._calls.call("counts", ()))
        if self._config_read != self._config_told:
            await self.read_config()
        if callers is not None:
            await self._callers.refresh(callers)

    async def read_config(self) -> None:
        """Read the settings and pauses of all queues anew. Raises StoreUnavailable."""
        self._take_config(await self._calls.call("config", ()))

    def _refresh_if_stale(self) -> None:
        """Read the copy anew, at once where replies come at once; else a later answer has it."""
        if self._reading is None and (self._changed or self.now() - self.read_at >= STALE_S):
            self._reading = self._calls.call("counts", ())
            when_done(self._reading, self._on_read)

    def _on_read(self, reading: asyncio.Future[list[Any]]) -> None:
        self._reading = None
        reply = reply_of(reading)
        if reply is not None:
            self._take(reply)
            if self._config_read != self._config_told:
                when_done(self._calls.call("config", ()), self._on_config)

    def _on_config(self, reading: asyncio.Future[list[Any]]) -> None:
        reply = reply_of(reading)
        if reply is not None:
            self._take_config(reply)

    def _take(self, reply: list[Any]) -> None:
        """Take the numbers of a reply of `counts`."""
        self._clock.hear(reply[0])
        _, totals, queues, types = reply[:4]
        now = self.read_at = self.now()
        self._changed = False
        self._totals = _pairs(totals)
        self.processes = self._totals["processes"]
        self.roster.see(self.processes, self._totals["joins"])
        self._config_told = self._totals["cfg"]
        for name, *pairs in queues:
            self._take_queue(name.decode(), _pairs(pairs), now)
        self._types = [(name.decode(), _pairs(pairs)) for name, *pairs in types]
        at = self._clock.at
        self._quarantined = [
            QuarantinedType(
                type=name,
                since=at(pairs["since"]),
                until=at(pairs["until"]),
                reason=_text(pairs["reason"]),
                failures=pairs["fails"],
            )
            for name, pairs in self._types
            if pairs["until"] > 0
        ]
        self.on_quarantined(self._quarantined)

    def _take_queue(self, name: str, pairs: Pairs, now: float) -> None:
        queue = self.queues.get(name)
        self._unknown.note(name, is_overwritten=pairs["overwritten"] == 1)
        if queue is not None:  # else another server has it, and this one doesn't
            queue.note_counts(
                now,
                delayed=pairs["delayed"],
                queued=pairs["queued"],
                running=pairs["running"],
                starts=pairs["started"],
                ends=pairs["ended"],
                oldest_queued_at=_instant(pairs["oldest"], self._clock.at),
            )

    def _take_config(self, reply: list[Any]) -> None:
        """Take the settings and pauses of a reply of `config`."""
        self._clock.hear(reply[0])
        self._config_read = reply[1]
        for name, *flat in reply[2]:
            queue, pairs = self.queues.get(name.decode()), _pairs(flat)
            if queue is None or not pairs["blob"]:
                continue
            queue.pause = self._pause_of(pairs)
            policy = policy_of(pairs["blob"], queue.policy)
            if policy != queue.policy:
                queue.policy = policy
                self.on_policy(name.decode(), policy)

    def _pause_of(self, pairs: Pairs) -> Pause | None:
        if pairs["paused_at"] < 0:
            return None
        return Pause(
            since=self._clock.at(pairs["paused_at"]),
            until=_instant(pairs["pause_until"], self._clock.at),
            reason=_text(pairs["pause_reason"]) or None,
            by=_text(pairs["pause_by"]) or None,
        )

    # -- what this process does

    def hear(self, event: of.Event) -> None:
        """Count an event of this process."""
        hear = self.hears.get(type(event))
        if hear is not None:
            hear(event)

    def _own(self, kind: type[of.Event], count: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what hears events of a kind: their count, and what else changes here."""
        notes = {of.Started: self._note_start, of.Ended: self._note_end}
        notes |= dict.fromkeys((of.BackedOff, of.Requeued), self._note_free)
        note = notes.get(kind)
        if note is None:

            def hear(event: Any) -> None:
                self._changed = True
                count(event)

        else:

            def hear(event: Any) -> None:
                self._changed = True
                count(event)
                note(event.job)

        return hear

    def _note_start(self, job: Job) -> None:
        self._positions.pop(job.id, None)
        pool = job.spec.pool
        if pool is not None:
            self._of_pools.setdefault(pool, {})[job.id] = None
        self.queues[job.spec.queue].note_start(self.now())

    def _note_end(self, job: Job) -> None:
        self._note_free(job)
        self.queues[job.spec.queue].note_ends(self.now())

    def _note_free(self, job: Job) -> None:
        """A job doesn't run any more, if it did."""
        self._positions.pop(job.id, None)
        pool = job.spec.pool
        if pool is not None:
            self._of_pools.get(pool, {}).pop(job.id, None)

    def note_change(self) -> None:
        """This process has changed something that no event tells: the next read asks for another copy."""
        self._changed = True

    def note_deleted(self, records: int) -> None:
        """Count records that were removed on request; their `Evicted` counts them as well."""
        self.tallies.deleted += records

    def note_position(self, job_id: JobId, position: int | None) -> None:
        """Keep the position that a look has told of a queued job; None: it has none."""
        self._positions.pop(job_id, None)
        if position is None:
            return
        if len(self._positions) >= POSITIONS_KEPT:
            del self._positions[next(iter(self._positions))]
        self._positions[job_id] = (position, self.now())

    def shared(self, queue: str, job_type: str, *, by_key: bool) -> None:
        """Count a submission that was answered with an existing job."""
        self.tallies.shared(queue, job_type, by_key=by_key)

    def admitted(self, queue: str, uniqueness: Uniqueness | None, live: int, capacity: int) -> None:
        """Note an accepted submission, and what its reply tells of the queue."""
        now, each = self.now(), self.queues[queue]
        each.note_live(now, live, capacity)
        each.retry_after.arrivals.add(now)
        if uniqueness is not None and uniqueness.key is not None:
            for other in self.queues.values():
                if other.retry_after.callers:
                    other.retry_after.accepted(uniqueness.caller, now, uniqueness.key.key)
        elif each.retry_after.callers:
            each.retry_after.accepted(None if uniqueness is None else uniqueness.caller, now)

    def queue_full(self, queue: str, uniqueness: Uniqueness | None, live: int, capacity: int) -> QueueFull:
        """Return the rejection of a submission that the store has rejected; count it."""
        now, each = self.now(), self.queues[queue]
        each.note_live(now, live, capacity)
        each.retry_after.arrivals.add(now)
        return each.full(now, uniqueness, self.processes, counted=True, live=live)

    def slot_s(self, queue: str) -> float:
        """Return the expected seconds until a queue's next free slot, for a rejected retry of an operator."""
        return self.queues[queue].slot_s(self.now())

    def retry_slot_s(self, queue: str, uniqueness: Uniqueness | None) -> float:
        """Give a submission that is rejected for want of room in the store a retry slot; return its seconds."""
        now, each = self.now(), self.queues[queue]
        each.retry_after.arrivals.add(now)
        return each.retry_slot_s(now, uniqueness, self.processes, counted=True)

    def refused(self, queue: str, error: Refused, caller: str | None = None) -> None:
        """Count a submission that was rejected for another reason than a full queue."""
        self.queues[queue].refuse(type(error))
        self.queues[queue].retry_after.came(caller, self.now())

    def stop_admitting(self) -> None:
        """Reject every submission of this process from now on."""
        self._draining = True

    # -- Snapshot

    def refuse_unseen(
        self,
        queue: str | None = None,
        uniqueness: Uniqueness | None = None,
        *,
        job_type: str = "",
        may_be_unique: bool = True,
    ) -> Refused | None:
        refusal = self._calls.refusal()
        if refusal is not None:
            self._soonest(queue).refuse(type(refusal))
            return refusal
        if uniqueness is not None and not uniqueness.plain:
            return None  # it may equal a job that is held
        if self._draining:
            self._soonest(queue).refuse(Draining)
            return Draining()
        now = self.now()
        if queue is not None:
            each = self.queues[queue]
            return each.full(now, uniqueness, self.processes, counted=False) if now < each.full_until else None
        for each in self.queues.values():  # the first one answers most of the time
            if now >= each.full_until:
                return None
        if may_be_unique and self._totals.get("uniques", 0):
            return None
        detail = "" if len(self.queues) == 1 else "every queue is at its capacity"
        return self._soonest(None).full(now, uniqueness, self.processes, counted=False, detail=detail)

    def _soonest(self, queue: str | None) -> QueueMirror:
        """Return a queue, or the one that should have a free slot first."""
        if queue is not None:
            return self.queues[queue]
        now = self.now()
        return min(self.queues.values(), key=lambda each: each.slot_s(now))

    def estimate(self, job: AnyJob) -> Estimate:
        if not job.live or job.spec.queue not in self.queues:
            return Estimate(None, None, POLL_AFTER_S_UNKNOWN)
        queue, now = self.queues[job.spec.queue], self.now()
        position = waiting_for = None
        if job.state is QUEUED:
            position, told_at = self._positions.get(job.id, (None, -inf))
            if now - told_at > POSITION_S:
                position = None
            waiting_for = PAUSED if queue.pause is not None else self._waiting_for(job, position)
        return queue.estimate(job, position, now, waiting_for)

    def _waiting_for(self, job: AnyJob, position: int | None) -> WaitingFor | None:
        """Return what a queued job of a running queue waits for, beside the jobs before it."""
        job_type = job.spec.type
        for each in self._quarantined:
            if each.type == job_type:
                return WaitingFor(WaitReason.TYPE_QUARANTINED, each.until)
        if job.spec.limits is not None:
            for name, pairs in self._types:
                if name == job_type and 0 < pairs["concurrency"] <= pairs["running"]:
                    return WaitingFor(WaitReason.LIMIT)
        return None

    def stats(self) -> tuple[StoreStats, Sequence[QueueStats]]:
        self._refresh_if_stale()
        totals, own, now = self._totals, self.tallies.totals(), self.now()
        records = StoreStats(
            live=totals.get("live", 0),
            terminal=totals.get("terminal", 0),
            bytes_used=totals.get("bytes", 0),
            accepted_total=own.accepted,
            evicted_total=own.evicted,
            evicted_early_total=own.evicted_early,
            deleted_total=own.deleted,
        )
        return records, [queue.stats(self._quarantined, now) for queue in self.queues.values()]

    def counts(self, queue: str) -> QueueCounts:
        return self.tallies.queues[queue].counts()

    def type_counts(self, job_type: str, queue: str) -> tuple[TypeCounts, Durations]:
        return self.tallies.of_type(job_type, queue)

    def quarantined(self) -> list[QuarantinedType]:
        self._refresh_if_stale()
        return self._quarantined

    def holding(self, caller: str | None) -> CallerHolding:
        return self._callers.holding(caller, stale=self._changed)

    def holders(self, most: int) -> tuple[list[str | None], bool]:
        return self._callers.holders(most, stale=self._changed)

    def limiters(self) -> Sequence[LimiterStats]:
        self._refresh_if_stale()
        pools = [
            LimiterStats(kind="pool", name=name, held=len(self._of_pools.get(name, ())), waiting=0, permits=permits)
            for name, permits in self.permits.items()
        ]
        return pools + [stats for name, pairs in self._types for stats in limiters_of(name, pairs, self._clock.at)]


def policy_of(blob: bytes, present: QueuePolicy) -> QueuePolicy:
    """Return the settings of a queue as the store keeps them, or `present` if only a later version can read them."""
    try:
        return _POLICY.decode(blob)
    except msgspec.ValidationError:
        return present


def _pairs(flat: Iterable[Any]) -> Pairs:
    """Return names and values of a flat list; numbers as numbers."""
    values = iter(flat)
    return {name.decode(): value for name, value in zip(values, values, strict=True)}


def _text(value: bytes | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _instant(ms: int, at: Callable[[int], float]) -> float | None:
    return None if ms < 0 else at(ms)
