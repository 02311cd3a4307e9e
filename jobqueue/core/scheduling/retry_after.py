"""Retry slots: computes Retry-After from the measured drain rate and spaces rejected clients evenly.

One time for all would bring them back together (a thundering herd). So each rejection gets a retry slot of its own
(here just slot), and slots are spaced at the rate at which capacity comes free: the drain rate, less the rate of new
arrivals. At least a twentieth of the drain rate is reserved for returns, or else arrivals above the drain rate would
leave none.

Slots are shared among callers as in fair queueing (Demers, Keshav & Shenker, 1989: the next turn of a flow
depends on its own backlog, and on the number of flows with one):

1. The first slots of all callers form one sequence, in the order of their first rejections. Rejections of a caller
   that has slots already don't lengthen it.
2. A caller's further slots follow its own last one, at the spacing times the number of callers with slots at least as
   late. So a caller's rejections delay its own later ones, not those of others; clients behind one
   address (a fleet, a proxy) are spread as if they were alone.
3. A caller with one slot that is rejected again, after a second or more, came early: it keeps its slot, or gets the one
   that it would get now, if that is sooner. If it is accepted early, its slot is removed, and the sequence is shorter.
4. With several slots, an idempotency key identifies the client. A submission that comes early under its key keeps
   its slot, or gets a sooner one that is free, and is no new arrival. If it is accepted early, its slot goes to the
   caller's next rejection. Without a key, and during a stream of submissions, an early return looks like a
   new client: both are one more submission from that address, which pays for it with a slot.
5. No-shows: the slots of a caller that submitted nothing while they came due are removed.
   Where clearly fewer submissions came than slots were due, that share of its later slots is freed
   (`core/scheduling/retry_slots.py`).
6. Rejections of callers with several slots are no new arrivals to the sequence of rule 1.
7. `CALLERS_MAX` callers are kept, each until its last slot is over. Any more share one entry.

Why a twentieth: admission control can't distinguish returns from new arrivals. Where new arrivals alone take all
capacity, and returns come on top at a share s of the drain rate, each is accepted with the same probability,
1 / (1 + s): 95 % with a twentieth. With a tenth it was measured as low as 87 %. A larger share accepts clients no
sooner: they would return after half the time, and twice as often.

Limits of accuracy: no capacity is reserved for a slot, so new arrivals may be faster; slots that were given can't be
changed when another caller comes; and beyond `RETRY_AFTER_S_MAX` a slot is only a wide, even spread. A server that
stood still for longer than `LATE_S`, or was so late that submissions were shed before they were counted here, takes
that for no-shows: the slots that are given again then overlap those of the clients.
"""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING, Final

from jobqueue.core.rate_meter import RateMeter
from jobqueue.core.scheduling.retry_slots import JITTER, SILENT_S, WINDOW_S, Slots
from jobqueue.core.scheduling.seconds import Seconds

if TYPE_CHECKING:
    from random import Random

RETRY_AFTER_S_MAX: Final = 300.0
RETURNS_SHARE_MIN: Final = 0.05

_REACH_S: Final = RETRY_AFTER_S_MAX / (1 + JITTER)

EARLY_S: Final = 1.0
"""Least Retry-After: a submission that comes sooner is not the one that was just rejected."""

CALLERS_MAX = 10_000
SWEEP: Final = 2
"""Callers that are checked for expired slots with each new one: more than come, so their number shrinks."""

MEASURED_S: Final = 0.01
"""How long a measurement of the new arrivals is valid."""

OTHERS: Final = ""
"""The entry of all callers beyond `CALLERS_MAX`."""


class RetryAfter:
    """Retry slots of one queue, by caller.

    Args:
        rng: Draws the jitter, a tenth of the wait.

    Attributes:
        arrivals: The rate of submissions; rejections of rules 4 and 6 are subtracted.
        callers: The callers with slots, by name; None: the application itself.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._random = rng.random
        self.arrivals = RateMeter()
        self._returned = RateMeter()
        self._pressing = RateMeter()
        # New arrivals per second, with the rejections of callers that have several slots, and without.
        self._newcomers_per_s = self._modest_per_s = 0.0
        self._measured_until = -inf
        # The spacing of further slots at a drain rate, until the next measurement.
        self._gap_s = self._gap_at_per_s = 0.0
        self.callers: dict[str | None, Slots] = {}
        self._sequence_at = 0.0
        # Slots by second, and callers by the second of their last one: small tables at any number of clients.
        self._due = Seconds()
        self._lasts = Seconds()

    @property
    def waiting(self) -> int:
        """Number of slots that are to come."""
        return self._due.total

    def retry_slot_s(
        self,
        now: float,
        drain_per_s: float,
        lacking: int = 0,
        caller: str | None = None,
        key: str | None = None,
        counted: bool = True,
    ) -> float:
        """Give a rejected submission a slot; return its Retry-After in seconds.

        Args:
            drain_per_s: The measured drain rate.
            lacking: Jobs over a lowered capacity: that many ends free no capacity.
            caller: The name of the rejected caller.
            key: The idempotency key under which it submitted.
            counted: Whether `arrivals` has the submission already.
        """
        if now >= self._measured_until:
            if not counted:
                self.arrivals.add(now)
                counted = True
            self._measure(now)
        slots = self.callers.get(caller)
        if slots is None or slots.last_at <= now or now - slots.seen_at >= SILENT_S:
            slots = self._slots_of(caller, now)
        name = None if key is None else hash((caller, key))
        # The first slot is at the expected time of the next free capacity; spacing begins with the second.
        soonest_s = (lacking + 1.0) / drain_per_s
        if slots is None:
            if not counted:
                self.arrivals.add(now)
            return self._first_s(caller, name, now, soonest_s, drain_per_s)
        if now - slots.window_at >= WINDOW_S:
            self._close_window(slots, now)
        slots.seen_at = now
        slots.came += 1
        if name is not None and (at := slots.held(name, now)) is not None:
            if counted:
                self.arrivals.add(now, -1)  # taken back exactly: the difference of two rates would not be
            return self._kept_s(slots, name, at, now, soonest_s)
        if name is None and slots.count == 1 and slots.is_anonymous and now - slots.told_at >= EARLY_S:
            if not counted:
                self.arrivals.add(now)
            return self._jittered(self._sooner(slots, now, soonest_s) - now)
        if counted:
            self.arrivals.add(now, -1)
        self._pressing.add(now)
        at = None if slots.freed is None else self._freed_at(slots, slots.last_at, now + soonest_s)
        if at is None:
            if drain_per_s != self._gap_at_per_s:
                self._gap_at_per_s, self._gap_s = drain_per_s, _gap_s(drain_per_s, self._newcomers_per_s)
            last_at, gap_s = slots.last_at, self._gap_s
            at = last_at + (gap_s if len(self.callers) == 1 else self._lasts.from_second(last_at) * gap_s)
            if at - now > _REACH_S:
                return self._far_off_s()
            second = floor(at)
            if second != floor(last_at):
                self._lasts.take(last_at)
                self._lasts.add_to(second)
            slots.last_at = at
        else:
            second = floor(at)
        wait_s = at - now
        slots.count += 1
        slots.due.add_to(second)
        if wait_s > slots.longest_s:
            slots.longest_s = wait_s
        self._due.add_to(second)
        if name is not None:
            slots.remember(name, at, now, len(self.callers))
        return wait_s + JITTER * wait_s * self._random()

    def accepted(self, caller: str | None, now: float, key: str | None = None) -> None:
        """Remove the slot of a submission that was accepted early, where it is known (rules 3, 4)."""
        slots = self.callers.get(caller)
        found, slots = (caller, slots) if slots is not None else (OTHERS, self.callers.get(OTHERS))
        if slots is None or slots.last_at <= now:
            return
        if now - slots.seen_at >= SILENT_S and slots.is_abandoned(now):
            self._drop(found, slots, now)
            return
        if now - slots.window_at >= WINDOW_S:
            self._close_window(slots, now)
        slots.seen_at = now
        slots.came += 1
        if key is None:
            if slots.count != 1 or not slots.is_anonymous or found != caller:
                return
        elif slots.keys is None or (at := slots.keys.pop(hash((caller, key)), 0.0)) <= now:
            return
        elif slots.count > 1:
            slots.came -= 1
            slots.count -= 1
            self._free(slots, at, 1, now)
            return
        self._sequence_at -= slots.gap_s
        self._drop(found, slots, now)

    def came(self, caller: str | None, now: float) -> None:
        """Note a submission that was rejected for another reason than capacity: its caller isn't silent."""
        slots = self.callers.get(caller) or self.callers.get(OTHERS)
        if slots is not None:
            slots.seen_at = now
            slots.came += 1

    def _first_s(self, caller: str | None, name: int | None, now: float, soonest_s: float, drain_per_s: float) -> float:
        if soonest_s > _REACH_S:
            return self._far_off_s()
        gap_s = _gap_s(drain_per_s, self._modest_per_s)
        at = max(self._sequence_at + gap_s, now + soonest_s)
        if at - now > _REACH_S:
            return self._far_off_s()
        wait_s = self._jittered(at - now)
        self._sequence_at = at
        self._remember(caller, Slots(at, gap_s, now, name), now)
        self._due.add(at)
        return wait_s

    def _kept_s(self, slots: Slots, name: int, at: float, now: float, soonest_s: float) -> float:
        """Return the slot of a submission that came early under its key, or a sooner one."""
        assert slots.keys is not None
        slots.came -= 1
        if slots.count == 1 and slots.freed is None:
            at = self._sooner(slots, now, soonest_s)
        elif slots.freed is not None and (sooner := self._freed_at(slots, at, now + soonest_s)) is not None:
            self._free(slots, at, 1, now)
            slots.due.add(sooner)
            self._due.add(sooner)
            at = sooner
        slots.keys[name] = at
        return self._jittered(at - now)

    def _sooner(self, slots: Slots, now: float, soonest_s: float) -> float:
        """Move a caller's only slot to the one that it would get now, if that is sooner; return it."""
        at = min(slots.last_at, max(self._sequence_at, now + soonest_s))
        for seconds in (self._due, self._lasts):
            seconds.take(slots.last_at)
            seconds.add(at)
        slots.move(at)
        slots.told_at = now
        return at

    def _freed_at(self, slots: Slots, before: float, soonest_at: float) -> float | None:
        """Take the caller's soonest free slot, if there is one, and not after `before`."""
        assert slots.freed is not None
        second = slots.freed.first_from(soonest_at)
        if second is None or second > floor(before):
            return None
        slots.freed.take(second)
        return min(before, max(soonest_at, second + self._rng.uniform(0.0, 1.0)))

    def _free(self, slots: Slots, at: float, count: int, now: float) -> None:
        self._due.take(at, slots.free(at, count, now))

    def _close_window(self, slots: Slots, now: float) -> None:
        """Free the share of the later slots that will not be used (rule 5), evenly."""
        share = slots.lacking_share(now)
        owed = 0.0
        for second, count in tuple(slots.due.each_from(now + 1.0)) if share else ():
            owed += share * count
            self._free(slots, second, int(owed), now)
            owed -= int(owed)

    def _jittered(self, wait_s: float) -> float:
        return wait_s + JITTER * wait_s * self._random()

    def _far_off_s(self) -> float:
        return self._rng.uniform(RETRY_AFTER_S_MAX / 2, RETRY_AFTER_S_MAX)

    # -- state of the callers

    def _slots_of(self, caller: str | None, now: float) -> Slots | None:
        """Return the slots of a caller, or the shared entry; None: there are none, or none any more."""
        slots = self.callers.get(caller)
        if slots is None and len(self.callers) >= CALLERS_MAX:
            caller, slots = OTHERS, self.callers.get(OTHERS)
        if slots is None:
            return None
        if slots.last_at <= now:
            del self.callers[caller]
            return None
        if now - slots.seen_at >= SILENT_S and slots.is_abandoned(now):
            self._drop(caller, slots, now)
            return None
        return slots

    def _remember(self, caller: str | None, slots: Slots, now: float) -> None:
        for _ in range(SWEEP):
            name = next(iter(self.callers), None)
            if name is None:
                break
            oldest = self.callers.pop(name)
            if oldest.last_at > now:
                self.callers[name] = oldest
        named = len(self.callers) - (OTHERS in self.callers)
        self.callers[caller if named < CALLERS_MAX else OTHERS] = slots
        self._lasts.add(slots.last_at)

    def _drop(self, caller: str | None, slots: Slots, now: float) -> None:
        self._lasts.take(slots.last_at)
        for second, count in slots.due.each_from(now):
            self._due.take(second, count)
        del self.callers[caller]

    def _measure(self, now: float) -> None:
        """Drop the seconds that are over, and measure the new arrivals."""
        self._measured_until = now + MEASURED_S
        self._pressing.begin_with(self.arrivals)
        self._lasts.pass_until(now)
        for second, count in self._due.pass_until(now):
            self._returned.add(second, count)
        self._modest_per_s = self.arrivals.per_s(now) - self._returned.per_s(now)
        self._newcomers_per_s = self._modest_per_s + self._pressing.per_s(now)
        self._gap_at_per_s = 0.0


def _gap_s(drain_per_s: float, newcomers_per_s: float) -> float:
    """Return the spacing of slots, in seconds."""
    # Comparisons, because `max` of three takes three times as long.
    free_per_s = drain_per_s - newcomers_per_s if newcomers_per_s > 0.0 else drain_per_s
    reserved_per_s = drain_per_s * RETURNS_SHARE_MIN
    if free_per_s < reserved_per_s:
        free_per_s = reserved_per_s
    return 1.0 / (free_per_s if free_per_s > 1e-9 else 1e-9)
