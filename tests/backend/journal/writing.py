"""A writer for the tests of the journal, and the log that it has left."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from jobqueue.backend.journal.disk_thread import RunsCalls
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.reading import read_log
from jobqueue.backend.journal.snapshot_file import SnapshotFile, read_snapshot
from jobqueue.backend.journal.trouble import Trouble
from jobqueue.backend.journal.writer import Writer
from jobqueue.build import build
from jobqueue.errors import JournalFailed
from tests.backend.journal.faulty_disk import FaultyDisk
from tests.backend.journal.logs import opened

Sync = Literal["always", "interval"]
SEGMENT_BYTES = 1024

replaces_parts = pytest.mark.skipif(build() == "compiled", reason="a constant or a function within C can't be replaced")
"""For tests that replace a part of a compiled module."""


class InlineThread(RunsCalls):
    """Runs each call in an iteration of the loop of its own; while it is held, none."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[tuple[float, Callable[[], Any], Callable[[Any, Exception | None], None]]] = deque()
        self.held = False

    @property
    def oldest_at(self) -> float | None:
        return self.waiting[0][0] if self.waiting else None

    def submit(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        self.waiting.append((self.loop.time(), call, done))
        if not self.held:
            self.loop.call_soon(self.run_one)

    def run_one(self) -> None:
        if self.held or not self.waiting:
            return
        _, call, _ = self.waiting[0]
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        _, _, done = self.waiting.popleft()
        done(result, error)

    def release(self) -> None:
        self.held = False
        for _ in self.waiting:
            self.loop.call_soon(self.run_one)

    async def close(self) -> None:
        while self.waiting:
            await asyncio.sleep(0)


class Journal:
    """A writer with all that it reports."""

    def __init__(self, disk: FaultyDisk, folder: JournalFolder, thread: InlineThread) -> None:
        self.disk = disk
        self.folder = folder
        self.thread = thread
        self.troubles: list[Trouble | None] = []
        self.count = 0
        self.writer: Writer

    @classmethod
    async def start(
        cls, disk: FaultyDisk, sync: Sync = "always", *, segment_bytes: int = SEGMENT_BYTES, bytes_max: int = 10**6
    ) -> Journal:
        folder = opened(disk)
        journal = cls(disk, folder, InlineThread())
        snapshots = folder.snapshots()
        reading = read_log(folder, snapshots[-1] if snapshots else 0, segment_bytes=segment_bytes)
        journal.count = max([0, *(number for frame in reading for number in numbers(frame.body))])
        journal.writer = await Writer.open(
            folder,
            reading.end,
            sync=sync,
            bytes_max=bytes_max,
            on_failed=journal.troubles.append,
            on_recovered=lambda: journal.troubles.append(None),
            segment_bytes=segment_bytes,
            thread=journal.thread,
        )
        return journal

    def append(self, count: int = 1) -> None:
        """Append records, numbered on."""
        for _ in range(count):
            self.count += 1
            self.writer.append(record(self.count))

    def submit(self, count: int = 1) -> None:
        """Append records that an answer waits for."""
        self.append(count)
        self.writer.when_kept(lambda error: None)

    async def kept(self) -> JournalFailed | None:
        """Wait until all that was appended is kept; return the error if it is not."""
        future: asyncio.Future[JournalFailed | None] = asyncio.get_running_loop().create_future()
        self.writer.when_kept(future.set_result)
        return await future

    async def snapshot(self, *, anew: bool = False) -> int:
        """Begin a segment, and write a snapshot of all before it: the number of the last record."""
        last = self.count
        self.count += 1
        number = await self.writer.begin_segment([record(self.count)], anew=anew)
        file = SnapshotFile(self.folder, number)
        file.write(msgspec.msgpack.encode([record(last)]))
        file.finish()
        if anew:
            assert self.writer.resume()
        await self.writer.remove_before(number)
        return number

    async def close(self) -> None:
        try:
            await self.writer.close()
        finally:
            self.folder.close()

    def kinds(self) -> list[str]:
        return ["recovered" if trouble is None else trouble.kind for trouble in self.troubles]


def record(number: int) -> Any:
    """Return a record of five bytes."""
    return msgspec.Raw(b"\xce" + number.to_bytes(4, "big"))


def numbers(body: bytes) -> list[int]:
    found: list[int] = msgspec.msgpack.decode(body)
    return found


def logged(disk: FaultyDisk, *, segment_bytes: int = 0) -> list[int]:
    """Return the numbers of the records that the next start finds; of those in a snapshot, all up to the last one.

    Args:
        segment_bytes: Size that each segment was made with, at least. Defaults to 0, any size.
    """
    with opened(disk) as folder:
        snapshots = folder.snapshots()
        first = snapshots[-1] if snapshots else 0
        before = [number for frame in read_snapshot(folder, first) for number in numbers(frame.body)] if first else [0]
        return [
            *range(1, before[-1] + 1),
            *(
                number
                for frame in read_log(folder, first, segment_bytes=segment_bytes)
                for number in numbers(frame.body)
            ),
        ]


def frames(disk: FaultyDisk) -> list[list[Any]]:
    """Return the records of each frame of a log without a snapshot."""
    with opened(disk) as folder:
        return [numbers(frame.body) for frame in read_log(folder)]
