"""Rates, as text and as numbers."""

from __future__ import annotations

import re

import msgspec

PERIODS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


RATE_PATTERN = r"([1-9][0-9]{0,8})/(s|m|h)( burst ([1-9][0-9]{0,8}))?"


RATE_EXPECTED = (
    "a rate such as 10/s, 600/m, 5/h or 10/s burst 1: a whole number from 1, a slash, and s, m or h; "
    "with burst, how many may come at once"
)


class Rate(msgspec.Struct, frozen=True, gc=False):
    """A rate: `count` starts in `period_s` seconds, and at most `burst` of them at once (None: `count`)."""

    count: int
    period_s: float
    burst: int | None = None

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse `10/s`, `600/m` or `5/h burst 1`. Raises ValueError with the valid forms."""
        match = re.fullmatch(RATE_PATTERN, text)
        if match is None:
            raise ValueError(f"must be {RATE_EXPECTED}, got {text!r}")
        return cls(int(match[1]), PERIODS_S[match[2]], int(match[4]) if match[4] else None)

    @property
    def burst_max(self) -> int:
        """Maximum number at once."""
        return self.count if self.burst is None else self.burst

    def __str__(self) -> str:
        unit = next((unit for unit, period_s in PERIODS_S.items() if period_s == self.period_s), f"{self.period_s:g}s")
        return f"{self.count}/{unit}" if self.burst is None else f"{self.count}/{unit} burst {self.burst}"
