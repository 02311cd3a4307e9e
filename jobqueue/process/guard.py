"""Guard: ends the process by force where the event loop can't. A leaf."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

FORCE_S = 0.2
"""How long the loop may take to end the process, before a thread does it, in seconds."""


class Guard:
    """A thread that ends the process by force if the loop can't; it waits for orders from the start.

    Args:
        stop_s: How long an orderly stop may take, in seconds.
        end: Ends the process; its argument: an orderly stop took too long.
    """

    def __init__(self, stop_s: float, end: Callable[[bool], None]) -> None:
        self._stop_s = stop_s
        self._end = end
        # A SimpleQueue, because its put may interrupt a put of the same thread: signals' handlers give orders.
        self._orders: SimpleQueue[Literal["stop", "force", "over"]] = SimpleQueue()
        self._claimed = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="jobqueue-exit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, order: Literal["stop", "force", "over"]) -> None:
        """Give an order; safe in a signal's handler."""
        self._orders.put(order)

    def claim(self) -> bool:
        """Return True once, for the one that may end the process."""
        return self._claimed.acquire(blocking=False)

    def _run(self) -> None:
        order = self._orders.get()
        stuck = False
        if order == "stop":
            try:
                order = self._orders.get(timeout=self._stop_s)
            except Empty:
                stuck = True
        if order == "force":
            with suppress(Empty):  # the loop ends it, unless it is blocked
                order = self._orders.get(timeout=FORCE_S)
        if order != "over":
            self._end(stuck)


def kill_children() -> None:
    """Kill every process that this one, or one of them, has started."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
