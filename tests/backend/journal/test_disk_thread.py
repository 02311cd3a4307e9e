from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import uvloop

from jobqueue.backend.journal.disk import Disk
from jobqueue.backend.journal.disk_thread import DiskThread
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.reading import read_log
from jobqueue.backend.journal.trouble import Trouble
from jobqueue.backend.journal.writer import Writer
from tests.backend.journal.faulty_disk import FaultyDisk
from tests.backend.journal.logs import opened
from tests.backend.journal.writing import Sync, logged, numbers, record


async def test_calls_run_in_order_in_one_thread_and_report_to_the_loop() -> None:
    thread = DiskThread()
    reports: list[tuple[object, object, int]] = []
    ran: list[int] = []

    def call(number: int) -> int:
        ran.append(threading.get_ident())
        return number

    for number in range(3):
        thread.submit(
            lambda number=number: call(number),  # type: ignore[misc]  # mypy infers no type for such a default
            lambda result, error: reports.append((result, error, threading.get_ident())),
        )
    assert thread.oldest_at is not None
    await thread.close()
    here = threading.get_ident()
    assert reports == [(0, None, here), (1, None, here), (2, None, here)]
    assert len({*ran}) == 1
    assert here not in ran
    assert thread.oldest_at is None


async def test_an_exception_of_a_call_is_reported() -> None:
    thread = DiskThread()
    reports: list[Exception | None] = []
    thread.submit(lambda: 1 // 0, lambda result, error: reports.append(error))
    await thread.close()
    assert [type(error) for error in reports] == [ZeroDivisionError]


def test_a_loop_that_is_closed_ends_the_thread() -> None:
    async def start() -> DiskThread:
        thread = DiskThread()
        thread.submit(gate.wait, lambda result, error: None)
        return thread

    gate = threading.Event()
    with asyncio.Runner() as runner:
        thread = runner.run(start())
    gate.set()
    thread._thread.join(10)
    assert not thread._thread.is_alive()


async def start(disk: Disk, folder: JournalFolder, sync: Sync, troubles: list[Trouble | None]) -> Writer:
    reading = read_log(folder)
    assert [*reading] == []
    return await Writer.open(
        folder,
        reading.end,
        sync=sync,
        bytes_max=10**9,
        interval_s=0.001,
        on_failed=troubles.append,
        on_recovered=lambda: troubles.append(None),
        segment_bytes=64 * 1024,
    )


async def kept(writer: Writer) -> object:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    writer.when_kept(future.set_result)
    return await future


@pytest.mark.parametrize("sync", ["always", "interval"])
async def test_the_loop_never_waits_for_a_sync(sync: Sync) -> None:
    disk = FaultyDisk()
    troubles: list[Trouble | None] = []
    folder = opened(disk)
    writer = await start(disk, folder, sync, troubles)
    release = disk.hold("sync_data")
    loop = asyncio.get_running_loop()
    writer.append(record(1))
    assert await loop.run_in_executor(None, disk.entered.wait, 10), "a sync waits for the disk"
    writes = disk.calls["write"]
    longest = 0.0
    for number in range(2, 500):
        before = loop.time()
        writer.append(record(number))
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - before)
    assert longest < 5, "while it does, the loop goes on"
    assert writer.kept == (0 if sync == "always" else 499)
    assert (disk.calls["write"] == writes) is (sync == "always"), "what is next is written after the sync"
    release.set()
    assert await kept(writer) is None
    await writer.close()
    folder.close()
    here = threading.get_ident()
    assert [kind for kind, thread in disk.by_thread if thread == here and kind.startswith("sync_data")] == []
    assert logged(disk.after_crash()) == [*range(1, 500)]


async def test_closing_syncs_the_records_that_a_running_sync_does_not_cover() -> None:
    disk = FaultyDisk()
    folder = opened(disk)
    writer = await start(disk, folder, "interval", [])
    release = disk.hold("sync_data")
    writer.append(record(1))
    assert await asyncio.get_running_loop().run_in_executor(None, disk.entered.wait, 10)
    writer.append(record(2))
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    release.set()
    await closing
    folder.close()
    assert logged(disk.after_crash()) == [1, 2]


def test_data_of_a_file_is_found_between_holes(tmp_path: Path) -> None:
    disk = Disk()
    fd = disk.create(tmp_path / "file")
    size = 8 * 1024 * 1024
    disk.allocate(fd, size)
    assert disk.written(fd) in ([], [(0, size)]), "a file system that can't tell says that all of it is"
    disk.write(fd, b"x", 4_000_000)
    for synced in (False, True):
        if synced:
            disk.sync_data(fd)
        ranges = disk.written(fd)
        assert any(start <= 4_000_000 < end for start, end in ranges)
        assert sum(end - start for start, end in ranges) in (4096, size)
    disk.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.written(fd)


async def test_a_start_reads_only_the_written_part(tmp_path: Path) -> None:
    class Counting(Disk):
        bytes_read = 0

        def read(self, fd: int, length: int, offset: int) -> bytes:
            data = super().read(fd, length, offset)
            self.bytes_read += len(data)
            return data

    disk = Counting()
    if len(holes(tmp_path, disk)) == 0:
        pytest.skip("this file system can't tell what was written")
    for start in range(4):
        disk.bytes_read = 0
        folder = JournalFolder.open(tmp_path / "journal", disk)
        reading = read_log(folder)
        assert len([*reading]) == start
        writer = await Writer.open(
            folder, reading.end, sync="always", bytes_max=10**9, on_failed=print, on_recovered=print
        )
        writer.append(record(1))
        await writer.close()
        folder.close()
        assert disk.bytes_read < 100_000


def holes(tmp_path: Path, disk: Disk) -> list[int]:
    fd = disk.create(tmp_path / "file")
    disk.allocate(fd, 1024 * 1024)
    try:
        return [] if disk.written(fd) else [0]
    finally:
        disk.close(fd)


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_log_on_a_real_disk_is_read_by_the_next_start(tmp_path: Path, sync: Sync) -> None:
    async def write() -> None:
        folder = JournalFolder.open(tmp_path / "journal")
        writer = await start(folder.disk, folder, sync, [])
        for number in range(20_000):
            writer.append(record(number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert await kept(writer) is None
        await writer.close()
        folder.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write())
    with JournalFolder.open_existing(tmp_path / "journal") as folder:
        assert [number for frame in read_log(folder) for number in numbers(frame.body)] == [*range(20_000)]
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()} == {0o600}
        sizes = [(tmp_path / "journal" / f"{number:08}.log").stat().st_size for number in folder.segments()]
        assert all(size >= 64 * 1024 for size in sizes[-2:]), "the last one, and a spare"
        assert all(size <= 64 * 1024 for size in sizes[:-2]), "each other one ends with its last frame"
