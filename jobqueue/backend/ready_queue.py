"""The queue that wakes workers: an asyncio.Queue over the engine's scheduler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from jobqueue.core.job import Job
    from jobqueue.core.scheduling.scheduler import Scheduler


class ReadyQueue(asyncio.Queue[Any]):
    """The asyncio.Queue that workers get jobs from. It stores nothing: its storage is the engine's scheduler.

    The engine puts ready jobs into the scheduler, which orders them by queue and discipline; a FIFO beside it would be
    a second order to keep in step. `get` waits as in any asyncio.Queue, and takes the scheduler's next job. `wake`
    replaces `put_nowait`. Unbounded: the engine bounds the jobs (`capacity`). Overrides the hooks that asyncio.Queue
    documents for subclasses, and wakes by its private list of waiting getters.

    Attributes:
        searching: A worker is about to take jobs: it takes all there are, or passes on. No other need be woken.
    """

    _getters: deque[asyncio.Future[None]]  # the base class's: one for each waiting `get`

    def __init__(self, ready: Scheduler, now: Callable[[], float]) -> None:
        self._ready = ready
        self._now = now
        self.searching = False
        super().__init__()

    def _init(self, maxsize: int) -> None:
        self._queue = self._ready  # qsize() and empty() count the jobs that may be taken now

    def _put(self, item: None) -> None:
        """Store nothing: the engine's scheduler has the job."""

    def _get(self) -> Job:
        return self._ready.pop(self._now())

    def empty(self) -> bool:
        """Return whether there is no job. `get` asks before it waits, so a worker that finds none searches no more."""
        if self._ready:
            return False
        self.searching = False
        return True

    def wake(self) -> bool:
        """Wake one waiting `get`; return whether there was one.

        As `put_nowait`, but that doesn't tell whether it woke one, and takes three times as long (unfinished items).
        """
        getters = self._getters
        while getters:
            getter = getters.popleft()
            if not getter.done():  # else its task was cancelled, and has not run since
                getter.set_result(None)
                return True
        return False
