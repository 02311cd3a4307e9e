"""Resource use of a process: CPU time to the nanosecond, and memory. Linux only.

`/proc/<pid>/stat` counts CPU time in hundredths of a second, too coarse for runs of half a second; the process's own
CPU clock, which any process may read, is exact.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_CPUCLOCK_SCHED = 2


def cpu_s(pid: int) -> float:
    """Return the CPU time, user and system, of a process and its threads. Raises ProcessLookupError if it is gone."""
    try:
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)  # what clock_getcpuclockid(3) makes of a pid
    except OSError:
        raise ProcessLookupError(f"there is no process {pid}") from None


def family(pids: Iterable[int]) -> list[int]:
    """Return these processes and all that they have started."""
    found: list[int] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found += [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return list(dict.fromkeys(found))


def rss_bytes(pid: int) -> int:
    """Return the memory that a process holds now."""
    return int(psutil.Process(pid).memory_info().rss)


def rss_bytes_max(pid: int) -> int:
    """Return the most that a process has held so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
