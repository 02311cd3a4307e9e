"""The ramp that the reference service was measured with: how many users there are, and when.

One user a second up to 500, then faster and faster up to 100 a second, up to 15,000. Pure
arithmetic, so that it can be tested, and be shrunk to a short run without changing its form.
"""

from __future__ import annotations

import msgspec

SLOW_USERS = 500
SLOW_RATE = 1.0  # users a second, as is the next
FAST_RATE = 100.0
RISE_S = 120.0  # from the slow rate to the fast one
USERS_MAX = 15_000
HOLD_S = 60.0


def _own_users_at(seconds: float) -> float:
    slow_s = SLOW_USERS / SLOW_RATE
    if seconds <= slow_s:
        return SLOW_RATE * seconds
    rising_s = min(seconds - slow_s, RISE_S)
    users = SLOW_USERS + SLOW_RATE * rising_s + (FAST_RATE - SLOW_RATE) * rising_s**2 / (2 * RISE_S)
    users += FAST_RATE * max(0.0, seconds - slow_s - RISE_S)
    return min(users, USERS_MAX)


def _own_duration_s() -> float:
    fast_s = (USERS_MAX - _own_users_at(SLOW_USERS / SLOW_RATE + RISE_S)) / FAST_RATE
    return SLOW_USERS / SLOW_RATE + RISE_S + fast_s + HOLD_S


OWN_DURATION_S = _own_duration_s()


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ramp, or a shrunk copy of it.

    Attributes:
        users_max: How many users there are at its top.
        duration_s: How long it takes in all.
    """

    users_max: int = USERS_MAX
    duration_s: float = OWN_DURATION_S

    def users_at(self, seconds: float) -> int | None:
        """Return how many users there shall be so long after the start; None once it is over."""
        if seconds > self.duration_s:
            return None
        users = _own_users_at(seconds * OWN_DURATION_S / self.duration_s)
        return max(1, round(users * self.users_max / USERS_MAX))
