"""Rates: how often something may happen, and the token bucket that holds to it.

The bucket is GCRA, the generic cell rate algorithm (ITU-T I.371, annex A): one instant
instead of a count of tokens and a refill. `now` is an argument; nothing here waits.
"""

from __future__ import annotations

import re

import msgspec

PERIODS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
RATE_PATTERN = r"([1-9][0-9]{0,8})/(s|m|h)"
RATE_EXPECTED = "a rate such as 10/s, 600/m or 5/h: a whole number from 1, a slash, and s, m or h"


class Rate(msgspec.Struct, frozen=True, gc=False):
    """So many in so long: `count` starts in `period_s` seconds, and at most `count` of them at once."""

    count: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `10/s`, `600/m` or `5/h`. Raises ValueError, saying what would be right."""
        match = re.fullmatch(RATE_PATTERN, text)
        if match is None:
            raise ValueError(f"must be {RATE_EXPECTED}, got {text!r}")
        return cls(int(match[1]), PERIODS_S[match[2]])

    def __str__(self) -> str:
        unit = next((unit for unit, period_s in PERIODS_S.items() if period_s == self.period_s), f"{self.period_s:g}s")
        return f"{self.count}/{unit}"
