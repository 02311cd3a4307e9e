"""Backoff: the wait before the next attempt, spread by jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.duration import Duration, as_seconds

if TYPE_CHECKING:
    from random import Random


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with full jitter.

    Before try n + 1 the wait is drawn evenly from 0 to min(max, base * 2**(n - 1)).
    Full jitter spreads simultaneous retries best for a given mean wait (Brooker, "Exponential
    Backoff and Jitter", AWS Architecture Blog, 2015). Both take seconds or a timedelta.
    """

    backoff_s_base: float = 1.0
    backoff_s_max: float = 60.0

    if TYPE_CHECKING:

        def __init__(self, *, backoff_s_base: Duration = 1.0, backoff_s_max: Duration = 60.0) -> None: ...

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, as_seconds(getattr(self, name)))

    def ceiling_s(self, attempt: int) -> float:
        """Return the longest wait after `attempt` (counted from 1) failed."""
        # 2.0 ** 1024 overflows; long before that the maximum rules.
        return min(self.backoff_s_max, self.backoff_s_base * 2.0 ** min(attempt - 1, 62))

    def wait_s(self, attempt: int, rng: Random) -> float:
        """Draw the wait in seconds after `attempt` (counted from 1) failed."""
        return rng.uniform(0.0, self.ceiling_s(attempt))
