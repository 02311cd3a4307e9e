"""A virtual loop with seeded timing: lateness, coincidence and order are drawn from a seed.

It keeps the promises of asyncio and draws the rest:

1. Callbacks run in the order in which they were scheduled (`call_soon` promises that), and never in the iteration that
   scheduled them.
2. Timers of the same instant run in any order: the documentation calls it undefined. So do those of the same
   millisecond, to which uvloop rounds. Timers of different milliseconds keep their order.
3. A timer never runs early, but may be late: slightly, on a busy machine, or with all others by a long time, after a
   callback that blocked the loop. Then many timers are due in one iteration.
4. Time may pass between two callbacks of an iteration.
5. `shuffled`: consecutive steps of *tasks* in an iteration run in any order. Current loops are stricter: they wake
   tasks first in, first out as well. But no code may rely on it: timers and the network decide whether two tasks
   become ready in the same iteration, and eager tasks and other loops order them differently. A plain callback keeps
   its position: everything scheduled before it runs before it. Seeds come with and without shuffling, so that a
   failure that needs it is recognizable.

Sockets and threads are not simulated: a task that waits for them raises `Deadlock`.
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
    """Every task waits, and no timer is set."""


class Livelock(Exception):
    """The loop iterates without end at one instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The timing of loop iterations.

    Attributes:
        shuffled: Rule 5.
        late_s: Maximum lateness of timers, in seconds; drawn for half of the sleeps.
        stall_s: Maximum time for which the loop is blocked: in one of 200 callbacks, and one of 100 sleeps.
        callback_s: Maximum duration of a callback.
    """

    shuffled: bool = False
    late_s: float = 0.0
    stall_s: float = 0.0
    callback_s: float = 0.0

    @property
    def lateness_s(self) -> float:
        """Maximum lateness of a timed action: several stalls or iterations in a row."""
        return 0.5 + 2 * self.late_s + 8 * self.stall_s


TURNS_AT_ONE_INSTANT_MAX = 20_000


class SeededLoop(VirtualLoop):
    """A virtual loop with choices drawn from a seed.

    Args:
        seed: The seed of all draws of this loop.
    """

    def __init__(self, seed: str, timing: Timing) -> None:
        super().__init__()
        self._rng = Random(seed)
        self._timing = timing
        self._turned_at = 0.0
        self._turns_here = 0
        self.turns = 0
        # Called after each iteration, and before time advances. Exceptions end the run.
        self.after_turn: Callable[[], None] = lambda: None
        self.when_quiet: Callable[[], None] = lambda: None

    def _run_once(self) -> None:
        """Run one iteration: as `BaseEventLoop._run_once`, without a selector, and by the rules above."""
        ready: list[Handle] = self._ready  # type: ignore[attr-defined] # private: a deque filled by asyncio
        if not ready:
            self._sleep()
        batch = [*ready, *self._due()]
        ready.clear()
        if self._timing.shuffled:
            self._shuffle(batch)
        callback_s, stall_s = self._timing.callback_s, self._timing.stall_s
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
        """Advance time to the next timer, or later."""
        timers: list[TimerHandle] = self._scheduled  # type: ignore[attr-defined] # private: the heap of timers
        self.when_quiet()
        while timers and timers[0].cancelled():
            self._unschedule(timers)
        if not timers:
            raise Deadlock("every task waits, and no timer is set")
        self._now = max(self._now, timers[0].when()) + self._late_s()

    def _late_s(self) -> float:
        timing, rng = self._timing, self._rng
        late_s = 0.0
        if timing.stall_s and rng.random() < 0.01:
            late_s = rng.random() * timing.stall_s
        elif timing.late_s and rng.random() < 0.5:
            late_s = rng.random() * timing.late_s
        return late_s

    def _due(self) -> list[Handle]:
        timers: list[TimerHandle] = self._scheduled  # type: ignore[attr-defined] # private: the heap of timers
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
        handle._scheduled = False  # type: ignore[attr-defined] # private: a later cancel must not count it
        return handle

    def _shuffle(self, batch: list[Handle]) -> None:
        """Shuffle each run of consecutive steps of tasks."""
        begin = 0
        for end in range(len(batch) + 1):
            if end == len(batch) or not _is_step(batch[end]):
                if end - begin > 1:
                    row = batch[begin:end]
                    self._rng.shuffle(row)
                    batch[begin:end] = row
                begin = end + 1


def _is_step(handle: Handle) -> bool:
    """Return whether a handle runs a step of a task, by the test that asyncio uses in its reports."""
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[attr-defined] # private
