"""Freed memory: returns free pages of the heap to the system, in a process that has used much of its memory.

glibc returns only what lies at the heap's end (M_TRIM_THRESHOLD) or in blocks of their own (M_MMAP_THRESHOLD). After an
attack with half a CPU, 66 MiB of free pages lay between blocks in use, for good: 158 MiB of a server in 256 MiB, and
93 MiB after malloc_trim(3).

Rules:

1. It trims only above a share of the memory that the process may use: elsewhere nothing lacks, and a trim takes up to
   60 ms for 250 MiB in small blocks, in which the loop waits.
2. The pauses are a five-hundredth of the time at most; after a trim that returned little the next comes later.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 4
"""A trim needs a resident set above one part in this many of the memory that the process may use."""

EVERY_S = 5.0
EVERY_S_MAX = 30.0
PAUSES = 500
"""The least time between trims is so many times what the last one took."""

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
        clock: Seconds of CPU that `trim` takes: beside busy programs its wall time would put off the next one.
    """

    def __init__(
        self,
        memory_bytes: int,
        *,
        trim: Callable[[], object] | None,
        resident: Callable[[], int] = resident_bytes,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._threshold_bytes = memory_bytes // SHARE
        self._trim = trim
        self._resident = resident
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._trim is not None:
            self._later(EVERY_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _later(self, after_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(after_s, self._run, after_s)

    def _run(self, waited_s: float) -> None:
        before = self._resident()
        if self._trim is None or before <= self._threshold_bytes:
            self._later(EVERY_S)
            return
        began = self._clock()
        self._trim()
        took_s = self._clock() - began
        little = before - self._resident() < LITTLE_BYTES
        self._later(max(PAUSES * took_s, min(EVERY_S_MAX, 2 * waited_s) if little else EVERY_S))
