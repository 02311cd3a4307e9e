"""Retry slots: computes when a refused submission should come back, and spaces the refused evenly.

A herd that is told one time comes back as a herd. So each refusal gets a slot of its own, and the slots are as far
apart as seats come free: the rate at which seats come free, less the rate at which newcomers take them. At least a
twentieth of the seats is counted for those that come back, or else a crowd that newcomers outrun would never be told a
time.

Slots are given out among callers as fair queueing would (Demers, Keshav & Shenker, 1989: the next turn of a flow
depends on its own backlog, and on how many flows have one):

1. The first slot of each caller stands in one line, behind the first slots of the callers before it. Refusals of a
   caller that has slots already don't lengthen that line.
2. A caller's further slots follow its own last one, as far apart as seats come free, times the callers that have slots
   at least as late. So a caller's refusals push its own later ones back, not those of others; the refused behind one
   address (a fleet, a proxy) are spread as if they were alone.
3. A caller with one slot that is refused again, after a second or more, came early: it keeps its slot, or gets the one
   that it would get now, if that is sooner. Accepted early, it gives its slot up, and the line is shorter by it. (Of
   several slots of one caller, which of its clients came early can't be told.)
4. Refusals of callers with several slots are no newcomers to the line of rule 1.
5. `CALLERS_MAX` callers are remembered, each until its last slot is over. Any more share one entry.

Why a twentieth: admission can't tell which submission has waited from which is new. Where newcomers alone take all
seats, and returns come on top at a share s of that rate, all find a seat with the same chance, 1 / (1 + s): 95 % with a
twentieth. With a tenth it was measured as low as 87 %. The crowd as a whole is let in no sooner either way: the seats
are the same, so with a larger share each is told half the time, and twice as often.

What bounds the truth: no seat is held for any slot, so newcomers may be faster; slots that were told can't be told
anew when another caller comes; and beyond `RETRY_AFTER_S_MAX` a slot is no more than a wide, even spread.
"""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING

from jobqueue.core.sojourn import EventRate

if TYPE_CHECKING:
    from random import Random

RETRY_AFTER_S_MAX = 300.0
RETURNS_SHARE_MIN = 0.05
JITTER = 0.1

_REACH_S = RETRY_AFTER_S_MAX / (1 + JITTER)

EARLY_S = 1.0
"""No refused submission is told to come back sooner, so one that does is not the same that was just refused."""

CALLERS_MAX = 10_000
SWEEP = 2
"""How many callers are looked at for slots that are over when a new one comes: more than come, so the rest shrink."""

MEASURED_S = 0.01
"""How long a measurement of the newcomers is good."""

OTHERS = ""
"""The caller that stands for all that are not remembered by themselves."""


class _Slots:
    """What one caller was told: its last slot, how many there are, and of the first one its share of the line."""

    __slots__ = ("count", "gap_s", "last_at", "told_at")

    def __init__(self, last_at: float, gap_s: float, told_at: float) -> None:
        self.last_at = last_at
        self.gap_s = gap_s
        self.told_at = told_at
        self.count = 1


class Returns:
    """Args:
    rng: Draws the jitter, which grows with the crowd: a tenth of the wait.

    Attributes:
        arrivals: Where each submission is counted as it comes; those of rule 4 are taken back as they are refused.
        callers: Those that have slots, by name; None: the application itself.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.arrivals = EventRate()
        self._returned = EventRate()
        self._pressing = EventRate()
        # Newcomers per second, with the refusals of callers that have several slots, and without.
        self._newcomers_per_s = self._modest_per_s = 0.0
        self._measured_until = -inf
        self.callers: dict[str | None, _Slots] = {}
        self._line_at = 0.0
        # Slots by second, and callers by the second of their last one: small tables, however large the crowd is.
        self._due = _Seconds()
        self._lasts = _Seconds()

    @property
    def waiting(self) -> int:
        """How many slots are to come."""
        return self._due.total

    def place_s(self, now: float, *, seats_per_s: float, lacking: int = 0, caller: str | None = None) -> float:
        """Give a refused submission a slot; return in how many seconds it should come back.

        Args:
            seats_per_s: How many seats come free in a second, as measured.
            lacking: Seats that come free for no one, because more are taken than there are by now.
            caller: The name of the caller that was refused.
        """
        if now >= self._measured_until:
            self._measure(now)
        slots = self.callers.get(caller)
        if slots is None or slots.last_at <= now:
            slots = self._slots_of(caller, now)
        # The first in line is told when the next seat may be free; distances are what a crowd needs.
        soonest_s = (lacking + 1.0) / seats_per_s
        if slots is None:
            if soonest_s > _REACH_S:
                return self._far_off_s()
            gap_s = _gap_s(seats_per_s, self._modest_per_s)
            at = max(self._line_at + gap_s, now + soonest_s)
            if (wait_s := self._within_reach(at - now)) is None:
                return self._far_off_s()
            self._line_at = at
            self._remember(caller, _Slots(at, gap_s, now), now)
        elif slots.count == 1 and now - slots.told_at >= EARLY_S:
            at = min(slots.last_at, max(self._line_at, now + soonest_s))
            self._move(slots, at)
            slots.told_at = now
            return self._jittered(at - now)
        else:
            self.arrivals.add(now, -1)  # taken back exactly: the difference of two rates would not be
            self._pressing.add(now)
            if slots.last_at - now > _REACH_S:
                return self._far_off_s()
            share = 1 if len(self.callers) == 1 else self._lasts.from_second(slots.last_at)
            at = slots.last_at + share * _gap_s(seats_per_s, self._newcomers_per_s)
            if (wait_s := self._within_reach(at - now)) is None:
                return self._far_off_s()
            if floor(at) != floor(slots.last_at):
                self._lasts.add(slots.last_at, -1)
                self._lasts.add(at, 1)
            slots.last_at = at
            slots.count += 1
        self._due.add(at, 1)
        return wait_s

    def accepted(self, caller: str | None, now: float) -> None:
        """Take back the slot of a caller that was let in before it was due, if it is its only one (rule 3)."""
        slots = self.callers.get(caller)
        if slots is not None and slots.count == 1 and slots.last_at > now:
            self._line_at -= slots.gap_s
            self._due.add(slots.last_at, -1)
            self._forget(caller, slots)

    def _within_reach(self, wait_s: float) -> float | None:
        return None if wait_s > _REACH_S else self._jittered(wait_s)

    def _jittered(self, wait_s: float) -> float:
        return wait_s + self._rng.uniform(0.0, JITTER * wait_s)

    def _far_off_s(self) -> float:
        return self._rng.uniform(RETRY_AFTER_S_MAX / 2, RETRY_AFTER_S_MAX)

    # -- what is remembered

    def _slots_of(self, caller: str | None, now: float) -> _Slots | None:
        slots = self.callers.get(caller)
        if slots is None and len(self.callers) >= CALLERS_MAX:
            slots = self.callers.get(OTHERS)
        if slots is not None and slots.last_at <= now:
            del self.callers[caller if caller in self.callers else OTHERS]
            return None
        return slots

    def _remember(self, caller: str | None, slots: _Slots, now: float) -> None:
        for _ in range(SWEEP):
            name = next(iter(self.callers), None)
            if name is None:
                break
            oldest = self.callers.pop(name)
            if oldest.last_at > now:
                self.callers[name] = oldest
        self.callers[caller if len(self.callers) < CALLERS_MAX else OTHERS] = slots
        self._lasts.add(slots.last_at, 1)

    def _forget(self, caller: str | None, slots: _Slots) -> None:
        self._lasts.add(slots.last_at, -1)
        del self.callers[caller]

    def _move(self, slots: _Slots, at: float) -> None:
        for seconds in (self._due, self._lasts):
            seconds.add(slots.last_at, -1)
            seconds.add(at, 1)
        slots.last_at = at

    def _measure(self, now: float) -> None:
        """Pass the seconds that are over, and measure the newcomers."""
        self._measured_until = now + MEASURED_S
        self._pressing.begin_with(self.arrivals)
        self._lasts.pass_until(now)
        for second, count in self._due.pass_until(now):
            self._returned.add(second, count)
        self._modest_per_s = self.arrivals.per_s(now) - self._returned.per_s(now)
        self._newcomers_per_s = self._modest_per_s + self._pressing.per_s(now)


def _gap_s(seats_per_s: float, newcomers_per_s: float) -> float:
    """Return how far apart slots are."""
    free_per_s = seats_per_s - newcomers_per_s if newcomers_per_s > 0.0 else seats_per_s
    return 1.0 / max(free_per_s, seats_per_s * RETURNS_SHARE_MIN, 1e-9)


class _Seconds:
    """Counts by second, from the present one on, as far as any slot may be."""

    __slots__ = ("_begin", "_counts", "total")

    def __init__(self) -> None:
        self._begin = 0
        self._counts: list[int] = []
        self.total = 0

    def add(self, at: float, count: int) -> None:
        index = floor(at) - self._begin
        if index < 0:
            return  # it is over, and was counted then
        counts = self._counts
        while len(counts) <= index:
            counts.append(0)
        counts[index] += count
        self.total += count

    def from_second(self, at: float) -> int:
        """Count from the second of that instant on."""
        return sum(self._counts[floor(at) - self._begin :])

    def pass_until(self, now: float) -> list[tuple[float, int]]:
        """Drop the seconds that are over; return the end of each that counted any, and its count."""
        over = floor(now) - self._begin
        if over <= 0:
            return []
        counts = self._counts[:over]
        del self._counts[:over]
        passed = [(self._begin + number + 1.0, count) for number, count in enumerate(counts) if count]
        self.total -= sum(count for _, count in passed)
        self._begin += over
        return passed
