"""Handlers with exceptions that fail when they are inspected, and handlers that leave state behind.

Processes import them from here. `raises` takes the name of one exception of `RAISED`.
"""

from __future__ import annotations

import asyncio
import decimal
from contextvars import ContextVar
from typing import Any, NoReturn

from jobqueue.errors import Reject, Retry

LEFT_BEHIND: ContextVar[str] = ContextVar("left_behind", default="nothing")


class RateLimited(Retry):
    """A subclass that does not call `Retry.__init__`."""

    def __init__(self, response: object) -> None:
        self.response = response


class Forgetful(Reject):
    def __init__(self, what: str) -> None:
        self.what = what


class Exiting:
    """An object with a text that raises SystemExit and attributes that raise KeyboardInterrupt."""

    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise KeyboardInterrupt


class HostileRetry(Retry):
    """A retry with attributes and a text that raise."""

    def __init__(self) -> None: ...

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(3)

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class HostileMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # hostile on purpose
        raise SystemExit(4)


class Hostile(Exception, metaclass=HostileMeta):
    def __init__(self) -> None: ...

    @property
    def __class__(self) -> Any:  # type: ignore[override]  # hostile on purpose
        raise SystemExit(5)

    @property
    def args(self) -> Any:  # type: ignore[override]  # hostile on purpose
        raise SystemExit(6)

    @property
    def __cause__(self) -> Any:  # type: ignore[override]  # hostile on purpose
        raise SystemExit(7)

    @property
    def __notes__(self) -> Any:
        raise SystemExit(8)

    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__


class HostileCancelled(asyncio.CancelledError):
    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__


class HostileExit(SystemExit):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Text(str):
    """A text with methods that fail."""

    def __getitem__(self, index: object) -> Any:
        raise SystemExit(1)

    def encode(self, *args: object) -> Any:
        raise SystemExit(1)


RAISED: dict[str, Any] = {
    "rate limited": lambda: RateLimited(object()),
    "hostile retry": HostileRetry,
    "retry with a hostile message": lambda: Retry(None, Exiting()),  # type: ignore[arg-type]  # hostile on purpose
    "retry with a hostile wait": lambda: Retry(Exiting()),  # type: ignore[arg-type]  # hostile on purpose
    "hostile": Hostile,
    "hostile exit": HostileExit,
    "hostile cancellation": HostileCancelled,
    "a text that is none": lambda: ValueError(Text("abc")),
    "forgetful": lambda: Forgetful("a thing"),
}


def raises(which: str) -> NoReturn:
    raise RAISED[which]()


async def raises_on_the_loop(which: str) -> NoReturn:
    raise RAISED[which]()


def leave_behind() -> tuple[str, int]:
    """Return the state that the former job left behind, and change it."""
    found = LEFT_BEHIND.get(), decimal.getcontext().prec
    LEFT_BEHIND.set("something")
    decimal.getcontext().prec = 5
    decimal.getcontext().flags[decimal.Inexact] = True
    return found


async def leave_behind_on_the_loop() -> tuple[str, int]:
    return leave_behind()
