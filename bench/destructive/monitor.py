"""The monitor: a process of its own that samples a server every 0.1 s, from outside, and writes a CSV file.

    python -m bench.destructive.monitor PID BLOCK CSV GROUP

It reads /proc, the files of the server's control group and the block of shared memory; never over HTTP, so a frozen
server is seen as well. GROUP is `VERSION:memory folder:cpu folder`, or empty. It ends with its stdin, or END_S
after the server. An instant that it misses is left out, not made up for.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

from bench.destructive.block import Beat, Block, Torn
from bench.destructive.cgroup import ControlGroup, Usage
from bench.destructive.samples import EVERY_S, Sample, SampleFile

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_S = os.sysconf("SC_CLK_TCK")
NICE = -10
END_S = 2.0


class Monitor:
    """Reads one server's state. `group`: None if it has none."""

    def __init__(self, pid: int, block: Block, group: ControlGroup | None) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._block = block
        self._group = group
        self._beat = Beat()

    def sample(self) -> Sample:
        """Read it now. A process that is gone, or a zombie, is not alive, and has zeros."""
        rss = threads = descriptors = 0
        cpu_s, wait_s, alive = 0.0, 0.0, False
        with suppress(OSError, IndexError, ValueError):
            # proc_pid_stat(5), from the state on, which follows the name in brackets.
            stat = (self._proc / "stat").read_text().rpartition(")")[2].split()
            alive = stat[0] not in "ZXx"
            cpu_s, threads, rss = (int(stat[11]) + int(stat[12])) / TICKS_S, int(stat[17]), int(stat[21]) * PAGE_BYTES
            # The scheduler's figures of the first thread: on a CPU, waiting for one, both in ns.
            wait_s = int((self._proc / "schedstat").read_text().split()[1]) / 1e9
            descriptors = len(os.listdir(self._proc / "fd"))
        with suppress(Torn):
            self._beat = self._block.read()
        return Sample(
            at=time.monotonic(),
            alive=alive,
            rss_bytes=rss,
            cpu_s=cpu_s,
            wait_s=wait_s,
            threads=threads,
            descriptors=descriptors,
            processes=len(self._group.pids()) if self._group is not None else int(alive),
            usage=self._group.usage() if self._group is not None else Usage(),
            beat=self._beat,
        )


def group_of(text: str) -> ControlGroup | None:
    """Return the group that `spell` wrote."""
    if not text:
        return None
    version, memory, cpu = text.split(":")
    return ControlGroup(int(version), {"memory": Path(memory), "cpu": Path(cpu)})


def spell(group: ControlGroup | None) -> str:
    """Write a group as one argument."""
    return f"{group.version}:{group.folders['memory']}:{group.folders['cpu']}" if group is not None else ""


def watch(monitor: Monitor, rows: SampleFile) -> None:
    """Sample until stdin ends, or the server has."""
    start, number, gone_at = time.monotonic(), 0, None
    while True:
        due = start + number * EVERY_S
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0] and not sys.stdin.readline():
            return
        sample = monitor.sample()
        rows.write(sample)
        if not sample.alive:
            gone_at = gone_at or sample.at
            if sample.at - gone_at > END_S:
                return
        number = max(number + 1, int((time.monotonic() - start) / EVERY_S) + 1)


def main(pid: str, block: str, csv: str, group: str) -> None:
    with suppress(OSError):  # without the right to be before others
        os.nice(NICE)
    with Path(csv).open("w", newline="") as file:
        watch(Monitor(int(pid), Block(Path(block)), group_of(group)), SampleFile(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
