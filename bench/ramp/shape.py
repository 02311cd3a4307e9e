"""Ramp shapes: how many users there are at each second. Pure arithmetic.

1. `known` is the ramp that the reference service was measured with: one user a second up to 500, then faster and
   faster up to 100 a second, up to 15,000.
2. `steps` rises in ten equal steps, `linear` by the same number each second.
3. At the top the users stay for the hold, which is part of the duration.
4. A shorter duration or fewer users shrink the shape without changing its form.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOW_USERS = 500
SLOW_RATE = 1.0  # users a second, as is the next
FAST_RATE = 100.0
RISE_S = 120.0  # from the slow rate to the fast one
USERS_MAX = 15_000
HOLD_S = 60.0
STEPS = 10
WAYS = ("head", "wait", "batch")  # how users follow their jobs: VIA


class Form(StrEnum):
    """The form of a ramp."""

    KNOWN = "known"
    STEPS = "steps"
    LINEAR = "linear"


def _known_users_at(seconds: float) -> float:
    slow_s = SLOW_USERS / SLOW_RATE
    if seconds <= slow_s:
        return SLOW_RATE * seconds
    rising_s = min(seconds - slow_s, RISE_S)
    users = SLOW_USERS + SLOW_RATE * rising_s + (FAST_RATE - SLOW_RATE) * rising_s**2 / (2 * RISE_S)
    users += FAST_RATE * max(0.0, seconds - slow_s - RISE_S)
    return min(users, USERS_MAX)


def _known_rise_s() -> float:
    return SLOW_USERS / SLOW_RATE + RISE_S + (USERS_MAX - _known_users_at(SLOW_USERS / SLOW_RATE + RISE_S)) / FAST_RATE


KNOWN_RISE_S = _known_rise_s()
KNOWN_DURATION_S = KNOWN_RISE_S + HOLD_S
HOLD_SHARE = HOLD_S / KNOWN_DURATION_S


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp of users.

    Attributes:
        form: Defaults to the known one.
        users_max: Users at the top.
        duration_s: Length of the whole ramp, hold included.
        hold_s: Length of the hold; None: as large a share of the duration as in the known ramp.
    """

    form: Form = Form.KNOWN
    users_max: int = USERS_MAX
    duration_s: float = KNOWN_DURATION_S
    hold_s: float | None = None

    def __post_init__(self) -> None:
        if self.users_max < 1:
            raise ValueError(f"USERS must be 1 or more, not {self.users_max}")
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"SECONDS must be a positive number, not {self.duration_s:g}")
        if self.hold_s is not None and not 0 <= self.hold_s < self.duration_s:
            raise ValueError(
                f"HOLD must be from 0 up to, not including, SECONDS ({self.duration_s:g}), not {self.hold_s:g}"
            )

    def users_at(self, seconds: float) -> int | None:
        """Return the number of users at an instant, in seconds after the start; None once the ramp is over."""
        if seconds > self.duration_s:
            return None
        hold_s = self.duration_s * HOLD_SHARE if self.hold_s is None else self.hold_s
        share = min(1.0, seconds / (self.duration_s - hold_s))
        return max(1, round(self._users_share(share) * self.users_max))

    def _users_share(self, rise: float) -> float:
        """Return the share of the users at a share of the rise."""
        match self.form:
            case Form.KNOWN:
                return _known_users_at(rise * KNOWN_RISE_S) / USERS_MAX
            case Form.STEPS:
                return min(STEPS, math.floor(rise * STEPS) + 1) / STEPS
            case Form.LINEAR:
                return rise


def ramp_of(environment: Mapping[str, str]) -> Ramp:
    """Return the ramp that the variables RAMP, USERS, SECONDS and HOLD describe; empty ones stand for the defaults.

    VIA is checked as well, though the ramp has no part in it.

    Raises:
        ValueError: A variable has a value that it can't have; the message names it.
    """
    form = environment.get("RAMP") or Form.KNOWN
    if form not in list(Form):
        raise ValueError(f"RAMP must be one of {', '.join(Form)}, not {form!r}")
    if (via := environment.get("VIA") or WAYS[0]) not in WAYS:
        raise ValueError(f"VIA must be one of {', '.join(WAYS)}, not {via!r}")
    hold_s = _number("HOLD", environment, default=-1.0)
    return Ramp(
        form=Form(form),
        users_max=int(_number("USERS", environment, default=USERS_MAX)),
        duration_s=_number("SECONDS", environment, default=KNOWN_DURATION_S),
        hold_s=None if hold_s == -1.0 else hold_s,
    )


def _number(name: str, environment: Mapping[str, str], *, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None
    if value < 0 or not math.isfinite(value) or (name == "USERS" and value != int(value)):
        raise ValueError(f"{name} must be a {'whole ' * (name == 'USERS')}number from 0, not {text}")
    return value
