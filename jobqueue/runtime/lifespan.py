"""Lifespan: the application's own async context manager around the life of a queue.

Rules:

1. It is entered and left in one task of its own, as task groups and cancel scopes within it need; start and stop of
   a queue may be called from different ones. So handlers don't see context variables that it sets: use `ctx.state`.
2. An exception at the start is the start's (`LifespanFailed`). One at the end is logged: a stop goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jobqueue.errors import LifespanFailed
from jobqueue.handlers.result import described
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

log = event_logger(__name__)


class Lifespan:
    """The lifespan of one queue: one context manager, entered and left in a task of its own.

    Args:
        open: Makes the context manager; None: there is nothing to enter.
    """

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[Any]] | None) -> None:
        self._open = open
        self._task: asyncio.Task[None] | None = None
        self._entered = asyncio.Event()
        self._leaving = asyncio.Event()
        self._state: Any = None

    async def enter(self) -> Any:
        """Enter it and return what it yields, if there is one. Raises LifespanFailed from what it raised."""
        if self._open is None:
            return None
        task = self._task = asyncio.get_running_loop().create_task(self._live(self._open), name="lifespan")
        entered = asyncio.ensure_future(self._entered.wait())
        try:
            await asyncio.wait([task, entered], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the start was: what has been entered is left, with the cancellation
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            entered.cancel()
        if not self._entered.is_set():
            self._task = None
            error = (None if task.cancelled() else task.exception()) or asyncio.CancelledError("it was cancelled")
            raise LifespanFailed(f"the lifespan failed at its start: {described(error)}") from error
        return self._state

    async def leave(self) -> None:
        """Leave it, if it was entered, and return when it has ended. Its exceptions are logged."""
        task, self._task = self._task, None
        if task is None:
            return
        self._leaving.set()
        await asyncio.wait([task])
        if task.cancelled():
            log.error("lifespan.failed", reason="it was cancelled")
        elif (error := task.exception()) is not None:
            log.error("lifespan.failed", reason=described(error), exc=error)

    async def _live(self, open: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        try:
            manager = open()
            if not hasattr(type(manager), "__aenter__") or not hasattr(type(manager), "__aexit__"):
                raise TypeError(f"it returned {type(manager).__name__}, which is not an async context manager")
            async with manager as self._state:
                self._entered.set()
                await self._leaving.wait()
        except (SystemExit, KeyboardInterrupt) as error:  # from a task these would end the whole loop
            raise RuntimeError(f"it raised {type(error).__name__}") from error
