"""A virtual loop whose every accident is drawn from a seed: what is late, what coincides, who goes first.

What asyncio promises is kept; what it leaves open is drawn:

1. Callbacks run in the order in which they were scheduled (`call_soon` promises that), and never in the turn that
   scheduled them.
2. Timers of the same instant run in any order: the documentation calls it undefined. So do those of the same
   millisecond, to which uvloop rounds. Timers of different milliseconds keep their order.
3. A timer never runs early, but it may be late: by a little, since the machine has more to do; and sometimes, with
   everybody else, by a lot, since somebody blocked the loop. Then much is due in one turn.
4. Time may pass between two callbacks of a turn.
5. `shuffled`: steps of *tasks* that follow each other in a turn run in any order. That is more than a loop of today
   does: its tasks, too, are woken first in, first out. But no code may count on it, for whether two tasks become ready
   in one turn or in two is up to timers and the network, and eager tasks and other loops order them
   differently. A plain callback stays where it was scheduled: what was scheduled before it runs before it. Seeds
   come with and without this, so that what only fails with it is known as such.

Sockets and threads are no part of it: who waits for them waits forever, which is an error (`Deadlock`) at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop
from random import Random
from typing import TYPE_CHECKING

from jobqueue.testing import VirtualLoop

if TYPE_CHECKING:
    from asyncio import Handle, TimerHandle


class Deadlock(Exception):
    """Every task waits, and no timer is set: nothing will ever happen again."""


class Livelock(Exception):
    """The loop turns and turns, and time stands still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What a loop's turns are like.

    Attributes:
        shuffled: Rule 5.
        late_s: How late the loop looks at its timers, at most; drawn anew for half of its sleeps.
        stall_s: How long somebody blocks it, at most: in one callback of 200, and one sleep of 100.
        callback_s: How long a callback takes, at most.
    """

    shuffled: bool = False
    late_s: float = 0.0
    stall_s: float = 0.0
    callback_s: float = 0.0

    @property
    def lateness_s(self) -> float:
        """How late anything may be: a few stalls, or some turns, in a row."""
        return 0.5 + 2 * self.late_s + 8 * self.stall_s


TURNS_AT_ONE_INSTANT_MAX = 20_000


class SeededLoop(VirtualLoop):
    """A virtual loop whose choices are drawn from a seed.

    Args:
        seed: Of all that is drawn here.
    """

    def __init__(self, seed: str, weather: Weather) -> None:
        super().__init__()
        self._rng = Random(seed)
        self._weather = weather
        self._turned_at = 0.0
        self._turns_here = 0
        self.turns = 0
        # Called after each turn, and whenever nothing is left to do but to let time pass. What they raise ends the run.
        self.after_turn: Callable[[], None] = lambda: None
        self.when_quiet: Callable[[], None] = lambda: None

    def _run_once(self) -> None:
        """Run one turn: as `BaseEventLoop._run_once`, without a selector, and by the rules above."""
        ready: list[Handle] = self._ready  # type: ignore[attr-defined] # a deque, which asyncio's own methods fill
        if not ready:
            self._sleep()
        batch = [*ready, *self._due()]
        ready.clear()
        if self._weather.shuffled:
            self._shuffle(batch)
        callback_s, stall_s = self._weather.callback_s, self._weather.stall_s
        for handle in batch:
            if not handle.cancelled():
                if callback_s:
                    self._now += self._rng.random() * callback_s
                if stall_s and self._rng.random() < 0.005:
                    self._now += self._rng.random() * stall_s
                handle._run()
        self.turns += 1
        self._turns_here = self._turns_here + 1 if self._now == self._turned_at else 0
        self._turned_at = self._now
        if self._turns_here > TURNS_AT_ONE_INSTANT_MAX:
            raise Livelock(f"{self._turns_here} turns at the instant {self._now}; the last ran {batch}")
        self.after_turn()

    def _sleep(self) -> None:
        """Let time pass until the next timer is due, or later."""
        timers: list[TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self.when_quiet()
        while timers and timers[0].cancelled():
            self._unschedule(timers)
        if not timers:
            raise Deadlock("every task waits, and no timer is set")
        self._now = max(self._now, timers[0].when()) + self._late_s()

    def _late_s(self) -> float:
        weather, rng = self._weather, self._rng
        late_s = 0.0
        if weather.stall_s and rng.random() < 0.01:
            late_s = rng.random() * weather.stall_s
        elif weather.late_s and rng.random() < 0.5:
            late_s = rng.random() * weather.late_s
        return late_s

    def _due(self) -> list[Handle]:
        timers: list[TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not timers or timers[0].when() > self._now:
            return []
        due = []
        while timers and timers[0].when() <= self._now:
            handle = self._unschedule(timers)
            if not handle.cancelled():
                due.append((round(handle.when(), 3), self._rng.random(), handle))
        due.sort(key=lambda each: each[:2])
        return [handle for _, _, handle in due]

    def _unschedule(self, timers: list[TimerHandle]) -> TimerHandle:
        handle = heappop(timers)
        handle._scheduled = False  # type: ignore[attr-defined] # so that a late cancel doesn't count it
        return handle

    def _shuffle(self, batch: list[Handle]) -> None:
        """Shuffle each row of tasks' steps that no plain callback interrupts."""
        begin = 0
        for end in range(len(batch) + 1):
            if end == len(batch) or not _is_step(batch[end]):
                if end - begin > 1:
                    row = batch[begin:end]
                    self._rng.shuffle(row)
                    batch[begin:end] = row
                begin = end + 1


def _is_step(handle: Handle) -> bool:
    """Tell whether a handle runs a step of a task; asyncio's own reports find that out the same way."""
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[attr-defined]
