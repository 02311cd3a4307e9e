"""The event loop of the server and of the fleet: uvloop's, or asyncio's own where uvloop doesn't exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, for `asyncio.Runner`; None, which is asyncio's own, without uvloop."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
