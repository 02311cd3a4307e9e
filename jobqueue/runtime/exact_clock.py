"""A loop's clock to the microsecond. uvloop's own counts whole milliseconds."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def exact_clock(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return what tells the loop's time in fractions of a millisecond: its own clock, unless that is uvloop's."""
    return monotonic if type(loop).__module__.partition(".")[0] == "uvloop" else loop.time
