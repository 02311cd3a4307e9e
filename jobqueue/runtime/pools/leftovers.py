"""Leftovers: removes the remains of a call from its process before the next one.

Rules:

1. Descendants that a call has started end with it, those in sessions of their own too. Those that were there
   before the first call (started by an imported module) stay.
2. Timers that would signal the process, its working folder, its umask and the handlers of the signals that the
   pool relies on are as before the call.
3. Threads, open files, environment variables and module globals stay: a handler's libraries need them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from jobqueue.runtime.pools import descendants

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

_PYTHONS_OWN = (
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
)
"""Where the standard library keeps the pids of helpers that it starts once and expects to find again."""


class Leftovers:
    """Records the state before a process's first call, and restores it after each."""

    def __init__(self) -> None:
        self._children = descendants.children() if descendants.has_children() else set()
        self._folder = _working_folder()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def clear(self) -> None:
        """Remove the leftovers of the last call. Raises RuntimeError if its descendants multiply too fast."""
        for timer in _TIMERS:
            signal.setitimer(timer, 0.0)
        if self._children or descendants.has_children():
            descendants.end_children(self._children | _pythons_own())
        os.umask(self._umask)
        if self._folder is not None:
            with contextlib.suppress(OSError):  # it was removed: then no job is in it
                os.chdir(self._folder)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed under the server
        return None


def _pythons_own() -> set[int]:
    pids = (
        getattr(getattr(sys.modules.get(module), holder, None), attribute, None)
        for module, holder, attribute in _PYTHONS_OWN
    )
    return {pid for pid in pids if isinstance(pid, int)}
