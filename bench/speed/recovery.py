"""A start with many jobs in the journal: how long until the server is ready, its memory, and the bytes on disk.

Jobs that have succeeded and jobs that wait, left by a SIGKILL, so it is the log that is read; and the first again,
after an orderly stop, so it is the snapshot.
"""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import Generator
from bench.load.generator import Order
from bench.load.scripts import Batch, Cycle
from bench.measure.builds import Build
from bench.measure.meter import cpu_s, rss_bytes, rss_bytes_max
from bench.peers.contenders import BATCH, BATCH_JOBS, request
from bench.peers.durable import Journaled, folder

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 1_000_000
CONNECTIONS = 4
STOP_S = 120.0
SYNC = "interval"
"""How a journal was written makes no difference to its reader."""


class Left(StrEnum):
    """What is in the journal, and how the server before ended."""

    NOTHING = "nothing"
    ENDED = "succeeded, killed"
    STOPPED = "succeeded, stopped"
    WAITING = "queued, killed"


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """One start.

    Attributes:
        ready_s: From the start of the process until `/readyz` answers 200.
        cpu_s: CPU time of the process by then.
        before_bytes: Memory of the server that wrote the journal, at its end; 0 without one.
        after_bytes, most_bytes: Memory of the one that has read it, then and at most.
        disk_bytes: Size of the journal's files at the start.
    """

    build: Build
    left: Left
    jobs: int
    ready_s: float
    cpu_s: float
    before_bytes: int
    after_bytes: int
    most_bytes: int
    disk_bytes: int


def measure_recovery(build: Build, jobs: int) -> list[Recovery]:
    """Leave journals of as many jobs, and start a server on each; the first starts on an empty one."""
    readings: list[Recovery] = []
    with folder() as name:
        path = Path(name) / "journal"
        with _started(build, path, Left.NOTHING, 0, 0, readings) as server:
            _run(server, jobs)
            before = _end(server, signal.SIGKILL)
        with _started(build, path, Left.ENDED, jobs, before, readings) as server:
            before = _end(server, signal.SIGTERM)
        with _started(build, path, Left.STOPPED, jobs, before, readings) as server:
            _end(server, signal.SIGKILL)
    with folder() as name:
        path = Path(name) / "journal"
        with Journaled(SYNC, build=build, path=path) as server:
            server.hold(full=False)
            with Generator(server.port, CONNECTIONS) as generator:
                post = request("POST", f"{server.jobs}:batch", body=BATCH)
                generator.run(Order(script=Cycle(request=post), units=jobs // BATCH_JOBS))
            before = _end(server, signal.SIGKILL)
        with _started(build, path, Left.WAITING, jobs, before, readings) as server:
            _end(server, signal.SIGKILL)
    return readings


@contextmanager
def _started(
    build: Build, path: Path, left: Left, jobs: int, before_bytes: int, readings: list[Recovery]
) -> Iterator[Journaled]:
    """Start a server on a journal, and measure it until it is ready.

    Raises:
        RuntimeError: It has other jobs than were left.
    """
    disk_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    began = time.monotonic()
    with Journaled(SYNC, build=build, path=path) as server:
        ready_s, pid = time.monotonic() - began, server.process.pid
        readings.append(
            Recovery(
                build=build,
                left=left,
                jobs=jobs,
                ready_s=ready_s,
                cpu_s=cpu_s(pid),
                before_bytes=before_bytes,
                after_bytes=rss_bytes(pid),
                most_bytes=rss_bytes_max(pid),
                disk_bytes=disk_bytes,
            )
        )
        told = msgspec.json.decode(server.call("GET", "/v1/server").body)
        if (held := told["jobs_live"] + told["jobs_terminal"]) != jobs:
            raise RuntimeError(f"{jobs} jobs were left, and {held} are there")
        yield server


def _run(server: Journaled, jobs: int) -> None:
    """Have this number of jobs succeed."""
    look = request("GET", f"{server.jobs}?ids={{id}}", {"Prefer": "wait=10"})
    script = Batch(submit=request("POST", f"{server.jobs}:batch", body=BATCH), look=look, size=BATCH_JOBS)
    with Generator(server.port, CONNECTIONS) as generator:
        generator.run(Order(script=script, units=jobs // BATCH_JOBS))
    server.settle()


def _end(server: Journaled, number: signal.Signals) -> int:
    """End a server by a signal; return its memory before."""
    held_bytes = rss_bytes(server.process.pid)
    server.process.signalled(number, STOP_S)
    return held_bytes
