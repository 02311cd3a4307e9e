"""Deadlines of waits: one timer for all waits of the same duration.

A timer of the loop costs as much as all the rest of a short wait, and nearly every wait ends before its time. Waits of
the same duration end in the order in which they began, so one timer at the first of them is enough.

Rules:

1. A wait ends no more than a millisecond before its time, the resolution of the loop's timers.
2. At most `ENDED_AT_ONCE` waits end per loop iteration.
3. There are as many queues as there are durations, whole seconds up to `limits.long_poll_max_s`; an empty one goes when
   its timer is due.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Protocol

ENDED_AT_ONCE = 100
RESOLUTION_S = 0.001


class Timed(Protocol):
    """A wait with a deadline.

    Attributes:
        revoked: The grant of its request was revoked.
        caller: The caller that it counts for; None: they are not limited.
    """

    caller: str | None

    @property
    def revoked(self) -> bool: ...

    def time_over(self) -> None:
        """Its time is over, and it has left its queue. Must not raise."""
        ...

    def leave(self) -> None:
        """It ends early: the client has shut its sending side, or the server stops. Must not raise."""
        ...


class Deadlines:
    """All waits with a deadline, by duration.

    Attributes:
        count: Their number.
        by_caller: The number of waits, these and others, of each caller that is limited.
    """

    def __init__(self) -> None:
        self.count = 0
        self.by_caller: dict[str, int] = {}
        self.queues: dict[float, DurationQueue] = {}

    def add(self, wait: Timed, duration_s: float, now: float) -> DurationQueue:
        """Add a wait; return its queue, to be taken out of it.

        Args:
            now: The loop's time.
        """
        queue = self.queues.get(duration_s)
        if queue is None:
            queue = self.queues[duration_s] = DurationQueue(duration_s, self)
        queue.deadlines[wait] = now + duration_s
        self.count += 1
        self.count_in(wait.caller)
        return queue

    def count_in(self, caller: str | None) -> None:
        """Count a wait for its caller; None: it is not limited."""
        if caller is not None:
            self.by_caller[caller] = self.by_caller.get(caller, 0) + 1

    def count_out(self, caller: str | None) -> None:
        """Count a wait for its caller no more."""
        if caller is not None:
            left = self.by_caller[caller] - 1
            if left:
                self.by_caller[caller] = left
            else:
                del self.by_caller[caller]

    def end(self) -> None:
        """End all waits early."""
        queues = tuple(self.queues.values())
        self.queues.clear()
        for queue in queues:
            queue.end()

    def end_revoked(self) -> None:
        """End the waits of revoked grants early."""
        for queue in tuple(self.queues.values()):
            for wait in [wait for wait in queue.deadlines if wait.revoked]:
                if queue.remove(wait):
                    wait.leave()


class DurationQueue:
    """The waits of one duration, by deadline.

    Args:
        queues: All of them: it leaves them once it is empty.
    """

    __slots__ = ("_all", "_duration_s", "_timer", "deadlines")

    def __init__(self, duration_s: float, queues: Deadlines) -> None:
        self.deadlines: dict[Timed, float] = {}
        self._duration_s = duration_s
        self._all = queues
        self._timer = asyncio.get_running_loop().call_later(duration_s, self._end_due)

    def remove(self, wait: Timed) -> bool:
        """Take a wait out; return whether it was in."""
        if self.deadlines.pop(wait, None) is None:
            return False
        self._all.count -= 1
        if wait.caller is not None:
            self._all.count_out(wait.caller)
        return True

    def end(self) -> None:
        """End all waits early."""
        self._timer.cancel()
        for wait in tuple(self.deadlines):
            if self.remove(wait):
                wait.leave()

    def _end_due(self) -> None:
        loop, deadlines = asyncio.get_running_loop(), self.deadlines
        latest = loop.time() + RESOLUTION_S
        due = [wait for wait, deadline in islice(deadlines.items(), ENDED_AT_ONCE) if deadline <= latest]
        try:
            for wait in due:
                if self.remove(wait):
                    wait.time_over()
        finally:  # a wait that fails must not hold up the others
            if not deadlines:
                del self._all.queues[self._duration_s]
            elif len(due) == ENDED_AT_ONCE:
                self._timer = loop.call_later(0.0, self._end_due)
            else:
                self._timer = loop.call_at(next(iter(deadlines.values())), self._end_due)
