"""Signals that stop the process, or reload its settings, handled from its start on. A leaf.

The handlers are installed before anything else is imported: the first process of a container (PID 1) ignores a signal
that it has no handler for. Rules:

1. SIGTERM or SIGINT before there is a server ends the process with exit code 0: a stop during the start is a stop.
2. Terminals, process managers and wrappers forward one stop twice. Signals within `SAME_STOP_S` of the first
   are the same stop; a later one forces the end at once.
3. A handler never waits: neither for the loop, nor for a lock that the interrupted code may hold.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SAME_STOP_S = 1.0
"""How long after the first stop signal others count as the same one, in seconds."""


class Signals:
    """The stop and reload signals of this process, and their actions."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        self._hung_up = False
        self._on_stop: Callable[[], None] = _leave
        self._on_force: Callable[[], None] = _abort
        self._on_hangup: Callable[[], None] | None = None

    @property
    def stopped(self) -> bool:
        """Whether a stop signal has come."""
        return self._stopped_at is not None

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGHUP from now on; SIGHUP is kept until there is a server to take it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_stop)
        signal.signal(signal.SIGHUP, self._handle_hangup)

    def hand_over(
        self, *, on_stop: Callable[[], None], on_force: Callable[[], None], on_hangup: Callable[[], None]
    ) -> None:
        """Let a server act on signals, from within the handlers; earlier signals are delivered at once."""
        self._on_stop, self._on_force, self._on_hangup = on_stop, on_force, on_hangup
        if self.stopped:
            on_stop()
        if self._hung_up:
            on_hangup()

    def release(self) -> None:
        """From now on act only on a forced end: the server is gone, and the process ends by itself."""
        self._on_stop = self._on_hangup = _ignore
        self._on_force = _abort

    def stop(self) -> None:
        """Stop as by a signal: the first call begins it, one after `SAME_STOP_S` forces the end."""
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            self._on_stop()
        elif now - self._stopped_at >= SAME_STOP_S:
            self._on_force()

    def _handle_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def _handle_hangup(self, number: int, frame: FrameType | None) -> None:
        if self._on_hangup is None:
            self._hung_up = True
        else:
            self._on_hangup()


def _leave() -> None:
    # An import may swallow it; then the server finds that a stop has come, and does not start.
    raise SystemExit(0)


def _abort() -> None:
    os._exit(1)


def _ignore() -> None:
    pass


signals = Signals()
"""The signals of this process."""
