"""When the refused should come back: a place in the crowd, measured, not guessed.

A herd that is told one time comes back as a herd. So each refused submission gets a place of its own behind
those refused before it, and the places are as far apart as free seats are: the rate at which seats come free,
less the rate at which newcomers take them. At least a twentieth of the seats is counted for those who
come back, or else a crowd that newcomers outrun would never be told a time.

Why not more: a door can't tell who has waited from who is new. Where newcomers alone take all seats, and returns
come on top at a share s of that rate, all find a seat with the same chance, 1 / (1 + s): 95 % with a twentieth. With
a tenth it was measured as low as 87 %. The crowd as a whole is let in no sooner either way: the seats
are the same, so with a larger share each is told half the time, and twice as often.

What bounds the truth: nobody's seat is held for them, so newcomers may be faster; and beyond
`RETRY_AFTER_S_MAX` a place is no more than a wide, even spread.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jobqueue.core.sojourn import EventRate

if TYPE_CHECKING:
    from random import Random

RETRY_AFTER_S_MAX = 300.0
RETURNS_SHARE_MIN = 0.05
JITTER = 0.1


class Returns:
    """Args:
    rng: Draws the jitter, which grows with the crowd: a tenth of the wait.

    Attributes:
        arrivals: Where each submission is counted as it comes, whatever becomes of it.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.arrivals = EventRate()
        self._returned = EventRate()
        # Places that were given away, counted by second, so that a crowd of any size takes little memory.
        self._places: deque[list[float]] = deque()
        self._last_at = 0.0
        self.waiting = 0

    def place_s(self, now: float, *, seats_per_s: float, lacking: int = 0) -> float:
        """Give a refused submission a place; return in how many seconds it should come back.

        Args:
            seats_per_s: How many seats come free in a second, as measured.
            lacking: So many of them come free for nobody, because more are taken than there are by now.
        """
        self._pass_places(now)
        newcomers_per_s = max(0.0, self.arrivals.per_s(now) - self._returned.per_s(now))
        free_per_s = max(seats_per_s - newcomers_per_s, seats_per_s * RETURNS_SHARE_MIN, 1e-9)
        # Who has nobody before it is told when the next seat may be free; places are what a crowd needs.
        at = max(self._last_at + 1.0 / free_per_s, now + (lacking + 1.0) / seats_per_s)
        wait_s = at - now
        if wait_s * (1 + JITTER) > RETRY_AFTER_S_MAX:
            return self._rng.uniform(RETRY_AFTER_S_MAX / 2, RETRY_AFTER_S_MAX)
        self._last_at = at
        wait_s += self._rng.uniform(0.0, JITTER * wait_s)
        self._note_place(at)
        return wait_s

    def _note_place(self, at: float) -> None:
        second = float(int(at))
        if self._places and self._places[-1][0] == second:
            self._places[-1][1] += 1
        else:
            self._places.append([second, 1])
        self.waiting += 1

    def _pass_places(self, now: float) -> None:
        while self._places and self._places[0][0] + 1.0 <= now:
            second, count = self._places.popleft()
            self._returned.add(second + 1.0, int(count))
            self.waiting -= int(count)
