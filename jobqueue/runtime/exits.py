"""Exits: a SystemExit or a KeyboardInterrupt that leaves a task or a callback doesn't end the server.

asyncio passes both through the loop to the caller of `run_until_complete`, whichever task raised them. A handler's own
are its attempt's failure (`executor.py`); those of tasks and callbacks that a handler has started come here. Rules:

1. The loop goes on where it stopped: what was ready stays ready. Each exit is logged; of several in one loop
   iteration of uvloop, the last.
2. The main task's own exit is the program's.
3. Signals are no exits: the server has handlers of its own for them (`signals.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.handlers.result import failure_of
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

T = TypeVar("T")

log = event_logger(__name__)


def run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run a loop until its main task has ended; return what that returned, or raise what it raised."""
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            own = task.exception() if task.done() and not task.cancelled() else None
            if error is not own:
                told = failure_of(error)
                log.error("loop.exit_ignored", message=told.message, traceback=told.traceback)
    return task.result()
