"""Snapshotting: writes all that a backend holds into a file, while it goes on changing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from jobqueue.backend.journal.snapshot_file import SnapshotFile
from jobqueue.backend.journal.snapshot_walk import SnapshotWalk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.core.engine import Engine
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.schedule import KeptSchedule, ScheduleId

T = TypeVar("T")

TURN_S: Final = 0.0005
"""How long a snapshot is written before other tasks run, in seconds; a portion more at most."""


class SnapshotDone(NamedTuple):
    """A snapshot that is on disk. `at`: when it was complete, on the engine's clock."""

    file: Path
    jobs: int
    size_bytes: int
    seconds: float
    at: float


class Bodies:
    """The bodies that wait to be written."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def write(self, body: bytes) -> None:
        self._waiting.append(body)

    def take(self) -> list[bytes]:
        waiting, self._waiting = self._waiting, []
        return waiting


class Snapshotting:
    """The snapshots of a journal, one after the other.

    Args:
        now, offset_s: As of `Journal`.
        configured: Returns a queue's settings by the configuration.
        schedules: Returns what is kept of each schedule.
    """

    def __init__(
        self,
        folder: JournalFolder,
        engine: Engine,
        ids: IdIssuer,
        *,
        now: Callable[[], float],
        offset_s: Callable[[], float],
        configured: Callable[[str], QueuePolicy],
        schedules: Callable[[], Mapping[ScheduleId, KeptSchedule]],
    ) -> None:
        self._folder, self._engine, self._ids = folder, engine, ids
        self._now, self._offset_s, self._configured = now, offset_s, configured
        self._schedules = schedules
        self.last: SnapshotDone | None = None

    async def write(self, number: int, starts: list[float]) -> SnapshotDone:
        """Write the snapshot that the segment of a number goes on with; return once it is on disk.

        Args:
            starts: When processes began since the last clean stop, in Unix seconds.

        Raises:
            OSError: There is none: the disk failed, or is full.
        """
        began, bodies = self._now(), Bodies()
        walk = SnapshotWalk(
            self._engine,
            self._ids,
            bodies,
            configured=self._configured,
            offset_s=self._offset_s(),
            starts=starts,
            schedules=self._schedules(),
        )
        file = SnapshotFile(self._folder, number)
        thread = ThreadPoolExecutor(1, thread_name_prefix="jobqueue-snapshot")
        try:
            more = True
            while more:
                turn_ends_at = perf_counter() + TURN_S
                while more and perf_counter() < turn_ends_at:
                    more = walk.go_on(self._now())
                await _in_thread(thread, partial(_write_all, file, bodies.take()))
            await _in_thread(thread, file.finish)
        except BaseException:
            await _in_thread(thread, file.abandon)
            raise
        finally:
            thread.shutdown()  # it has nothing left to do
        at = self._now()
        path = self._folder.snapshot_path(number)
        self.last = SnapshotDone(path, walk.jobs, file.size_bytes, at - began, at)
        return self.last


async def _in_thread(thread: Executor, call: Callable[[], T]) -> T:
    """Run a call that waits for the disk; it is waited for even if this task is cancelled."""
    running = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(thread, call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _write_all(file: SnapshotFile, bodies: list[bytes]) -> None:
    for body in bodies:
        file.write(body)
