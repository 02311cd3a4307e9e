"""ProgressThrottle: passes on at most 20 of a handler's progress reports a second.

The newest report always arrives: at once if the last one is old enough, else when
the interval is over or the attempt ends, whichever comes first.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.context import ProgressSink

INTERVAL_S = 0.05


class ProgressThrottle:
    """Passes reports on to `send`, from the thread that reports or from a timer's, never from two at a time."""

    def __init__(self, send: ProgressSink) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._latest: tuple[float, str | None] | None = None
        self._due_at = 0.0
        self._timer: threading.Timer | None = None
        self._closed = False

    def __call__(self, fraction: float, note: str | None) -> None:
        with self._lock:
            if self._closed:
                return
            self._latest = (fraction, note)
            if self._timer is not None:
                return
            wait_s = self._due_at - time.monotonic()
            if wait_s <= 0:
                self._pass_on()
            else:
                self._timer = threading.Timer(wait_s, self._when_due)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Pass on the waiting report, and none after that."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._pass_on()

    def _when_due(self) -> None:
        with self._lock:
            self._timer = None
            self._pass_on()

    def _pass_on(self) -> None:
        if self._latest is not None:
            latest, self._latest = self._latest, None
            self._due_at = time.monotonic() + INTERVAL_S
            self._send(*latest)
