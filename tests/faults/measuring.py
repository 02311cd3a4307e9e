"""What the tests of faults measure: a server's descriptors, memory and CPU, and the rows of their table."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.processes import ServerProcess

ROOT = Path(__file__).parent.parent.parent
ROWS = ROOT / "tmp" / "faults.jsonl"


def seen(fault: str, text: str) -> None:
    """Append the measured figures of a fault to the rows of which `make faults` makes the table.

    Args:
        fault: Its name in `tests/faults/table.py`.
    """
    print(f"{fault}: {text}")
    ROWS.parent.mkdir(exist_ok=True)
    line = json.dumps({"fault": fault, "seen": text}) + "\n"
    with open(ROWS, "ab", buffering=0) as rows:
        rows.write(line.encode())


class Vitals:
    """The vitals of a server since they were first taken; by then its handler process has started.

    Args:
        server: A server with one handler process.
    """

    def __init__(self, server: ServerProcess) -> None:
        server.wait_for("process.started")
        self._process = psutil.Process(server.pid)
        self._descriptors = self.descriptors
        self._rss = self._process.memory_info().rss
        self._cpu_s, self._at = sum(self._process.cpu_times()[:2]), time.monotonic()

    @property
    def descriptors(self) -> int:
        return self._process.num_fds()

    @property
    def grown_mib(self) -> float:
        """Growth of the resident set, in MiB."""
        return float(self._process.memory_info().rss - self._rss) / 2**20

    @property
    def cpu_share(self) -> float:
        """CPU time over elapsed time."""
        return float(sum(self._process.cpu_times()[:2]) - self._cpu_s) / (time.monotonic() - self._at)

    async def descriptors_are_back(self, timeout_s: float = 10.0) -> None:
        """Wait until the process has as many descriptors as before."""
        await until(lambda: self.descriptors <= self._descriptors, f"{self._descriptors} descriptors", timeout_s)


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Wait until a condition that can only be polled holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.02)


def machine() -> str:
    """Return the machine and the interpreter of this process, as in the heads of published figures."""
    system = os.uname()
    release = system.release.partition("-")[0]
    return f"{os.cpu_count()} CPUs, {system.sysname} {release}, Python {platform.python_version()}"
