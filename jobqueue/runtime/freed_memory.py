"""Freed memory: returns free pages of the heap to the system, in a process that has used much of its memory.

glibc returns only what lies at the heap's end (M_TRIM_THRESHOLD) or in blocks of their own (M_MMAP_THRESHOLD). After an
attack with half a CPU, 66 MiB of free pages lay between blocks in use, for good: 158 MiB of a server in 256 MiB, and
93 MiB after malloc_trim(3).

Rules:

1. It trims only above a share of the memory that the process may use, a larger one while it is busy: elsewhere nothing
   lacks, and a trim takes up to 60 ms for 250 MiB in small blocks, in which the loop waits. With PYTHONMALLOC=malloc
   the small objects are among them: 20 to 100 ms.
2. While the process is busy, the pauses are a five-hundredth of the time at most. An idle one trims every 30 s, even
   after a long trim: one of 250 MiB would put off the next by a minute. After a trim that returned little the next
   comes later.
3. Before a trim of an idle process all garbage in cycles is freed, with the objects that the interpreter's types keep
   for reuse (some 6,000 after a load), and the lines of source that tracebacks have read: it makes no garbage that
   would have the collector start by itself. And what is kept for long is compacted: caches are cleared, and the latest
   lines of the log, the latest events and the history are copied into adjacent memory, since each of their objects may
   keep a 1 MiB arena in use (`jobqueue.caches`). A busy one is spared that: with thousands of connections and half a
   CPU its loop stood still for half a second.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import linecache
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE, BUSY_SHARE = 4, 2
"""A trim needs a resident set above one part in this many of the memory that the process may use: idle, and busy."""

EVERY_S = 5.0
EVERY_S_MAX = 30.0
PAUSES = 500
"""The least time between trims is so many times what the last one took."""

BUSY = 0.1
"""The part of a CPU from which on the process counts as busy."""

LITTLE_BYTES = 4 * 2**20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


def heap_trim() -> Callable[[], object] | None:
    """Return malloc_trim, for the whole heap; None where there is none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)


def resident_bytes() -> int:
    """Return the resident set of this process; 0 where it can't be read."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


class FreedMemory:
    """Trims the heap from time to time, on the running loop.

    Args:
        memory_bytes: The memory that the process may use.
        trim: Returns free pages to the system; None: nothing is done.
        resident: Returns the resident set, in bytes.
        clock: Seconds of CPU that this takes: beside busy programs its wall time would put off the next one.
        used: Seconds of CPU that the whole process has taken.
    """

    def __init__(
        self,
        memory_bytes: int,
        *,
        trim: Callable[[], object] | None,
        resident: Callable[[], int] = resident_bytes,
        clock: Callable[[], float] = time.thread_time,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._trim = trim
        self._compactions: tuple[Callable[[], object], ...] = ()
        self._resident = resident
        self._clock = clock
        self._used = used
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = self._used_s = 0.0
        self._trimmed_at = self._due_busy_at = self._due_idle_at = 0.0

    def start(self, *compactions: Callable[[], object]) -> None:
        """Trim from now on. Args: compactions: Each clears or copies what is kept for long."""
        self._compactions = compactions
        if self._trim is not None:
            self._trimmed_at = asyncio.get_running_loop().time()
            self._rest()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        self._looked_at, self._used_s = loop.time(), self._used()
        self._timer = loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        """Trim, if it is time."""
        now = asyncio.get_running_loop().time()
        busy = self._used() - self._used_s > BUSY * (now - self._looked_at)
        before, threshold_bytes = self._resident(), self._memory_bytes // (BUSY_SHARE if busy else SHARE)
        if now >= (self._due_busy_at if busy else self._due_idle_at) and before > threshold_bytes:
            took_s = self._take(thorough=not busy)
            little = before - self._resident() < LITTLE_BYTES
            pause_s = min(EVERY_S_MAX, 2 * (now - self._trimmed_at)) if little else EVERY_S
            self._trimmed_at = now
            self._due_busy_at = now + max(PAUSES * took_s, pause_s)
            self._due_idle_at = now + min(EVERY_S_MAX, max(PAUSES * took_s, pause_s))
        self._rest()

    def _take(self, *, thorough: bool) -> float:
        """Return free pages to the system; return the seconds of CPU that it took."""
        assert self._trim is not None
        began = self._clock()
        if thorough:
            gc.collect()
            linecache.clearcache()
            for compact in self._compactions:
                compact()
        self._trim()
        return self._clock() - began
