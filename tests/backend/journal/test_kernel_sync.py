from __future__ import annotations

import asyncio
import errno
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import pytest
import uvloop

from jobqueue.backend.journal.disk import Disk
from jobqueue.backend.journal.disk_thread import DiskThread
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.kernel_sync import KernelSync, SystemCalls
from jobqueue.backend.journal.log_files import SegmentSync
from jobqueue.backend.journal.reading import read_log
from jobqueue.backend.journal.segment import Segment
from jobqueue.backend.journal.trouble import Trouble
from jobqueue.backend.journal.watched_thread import STALL_S, WatchedThread
from jobqueue.errors import JournalFailed
from jobqueue.testing import virtual_time
from tests.backend.journal.kernel_syncs import Reports, Syncs, needs_kernel, sync
from tests.backend.journal.test_disk_thread import kept, start
from tests.backend.journal.writing import Sync, numbers, record
from tests.leaks import held

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [uvloop.new_event_loop, asyncio.SelectorEventLoop]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"data")
    yield fd
    os.close(fd)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


@needs_kernel
@pytest.mark.parametrize("new_loop", LOOPS)
def test_the_kernel_syncs_a_file_and_the_loop_hears_of_it(
    new_loop: Callable[[], asyncio.AbstractEventLoop], file: int, syncs: Syncs
) -> None:
    async def run() -> None:
        thread, reports = DiskThread(), Reports()
        for count in (1, 2):
            sync(thread, file, reports)
            assert reports.errors == [None] * (count - 1), "it is reported later, not at once"
            assert thread.oldest_at is not None
            await reports.wait_for(count)
            assert thread.oldest_at is None
        await thread.close()
        assert reports.errors == [None, None]
        assert all(seconds is not None and 0 < seconds < 60 for seconds in reports.seconds)
        assert reports.threads == {threading.get_ident()}

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    assert (syncs.in_kernel, syncs.in_threads) == (2, [])


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EAGAIN])
async def test_a_machine_that_refuses_the_calls_syncs_in_the_thread(
    file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(calls: SystemCalls) -> int:
        asked.append(number)
        raise OSError(number, os.strerror(number))

    asked: list[int] = []

    monkeypatch.setattr(SystemCalls, "setup", refuse)
    thread, reports = DiskThread(), Reports()
    for count in (1, 2):
        sync(thread, file, reports)
        await reports.wait_for(count)
    await thread.close()
    assert reports.errors == [None, None]
    assert (syncs.in_kernel, syncs.in_threads) == (0, [file, file])
    assert asked in ([number], []), "it is asked once, or not at all on a machine of another kind"


@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("linux", "i686"), ("darwin", "x86_64")])
async def test_another_kind_of_machine_syncs_in_the_thread(file: int, syncs: Syncs, system: str, machine: str) -> None:
    thread, reports = DiskThread(), Reports()
    with pytest.MonkeyPatch.context() as other:
        other.setattr(platform, "machine", lambda: machine)
        other.setattr(sys, "platform", system)
        sync(thread, file, reports)
    await reports.wait_for(1)
    await thread.close()
    assert reports.errors == [None]
    assert (syncs.in_kernel, syncs.in_threads) == (0, [file])


async def test_a_loop_that_watches_no_descriptors_has_the_thread_sync(
    file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise NotImplementedError

    thread, reports = DiskThread(), Reports()
    for method in ("add_reader", "remove_reader"):
        monkeypatch.setattr(asyncio.get_running_loop(), method, refuse)
    sync(thread, file, reports)
    await reports.wait_for(1)
    await thread.close()
    assert reports.errors == [None]
    assert (syncs.in_kernel, syncs.in_threads) == (0, [file])


@needs_kernel
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES])
async def test_after_a_refused_sync_the_thread_does_all(file: int, syncs: Syncs, number: int) -> None:
    thread, reports = DiskThread(), Reports()
    sync(thread, file, reports)
    await reports.wait_for(1)
    syncs.refused = number
    for count in (2, 3):
        sync(thread, file, reports)
        await reports.wait_for(count)
    await thread.close()
    assert reports.errors == [None] * 3, "what was not begun has not failed"
    assert (syncs.in_kernel, syncs.in_threads) == (2, [file, file])


@needs_kernel
async def test_a_sync_that_the_kernel_has_no_memory_for_is_done_in_the_thread(file: int, syncs: Syncs) -> None:
    thread, reports = DiskThread(), Reports()
    syncs.refused = errno.EAGAIN
    sync(thread, file, reports)
    await reports.wait_for(1)
    syncs.refused = 0
    sync(thread, file, reports)
    await reports.wait_for(2)
    await thread.close()
    assert reports.errors == [None, None]
    assert (syncs.in_kernel, syncs.in_threads) == (2, [file]), "the kernel does the next one"


@needs_kernel
async def test_the_kernel_refuses_a_sync_where_there_is_nothing_to_sync() -> None:
    reader, writer = os.pipe()
    kernel_sync, errors = KernelSync(), list[OSError | None]()
    assert not kernel_sync.begin(writer, errors.append)
    assert kernel_sync.began_at is None
    await kernel_sync.close()
    kernel_sync.destroy()
    os.close(reader)
    os.close(writer)
    assert errors == []


@needs_kernel
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINVAL, errno.EOPNOTSUPP])
async def test_the_error_of_a_sync_is_that_of_the_disk(file: int, syncs: Syncs, number: int) -> None:
    thread, reports = DiskThread(), Reports()
    syncs.result = -number
    sync(thread, file, reports)
    await reports.wait_for(1)
    (error,) = reports.errors
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror) == (number, os.strerror(number))
    assert reports.seconds == [None]
    assert syncs.in_threads == [], "a second sync would succeed, though the data is lost"
    syncs.result = 0
    sync(thread, file, reports)
    await reports.wait_for(2)
    await thread.close()
    in_thread = [file] if number in (errno.EINVAL, errno.EOPNOTSUPP) else []
    assert syncs.in_threads == in_thread, "the kernel may not know how to sync this file"


@needs_kernel
async def test_a_sync_with_an_unknown_result_has_failed(
    file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(calls: SystemCalls, context: int) -> int:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    monkeypatch.setattr(SystemCalls, "result", fail)
    thread, reports = DiskThread(), Reports()
    sync(thread, file, reports)
    await reports.wait_for(1)
    sync(thread, file, reports)
    await reports.wait_for(2)
    await thread.close()
    assert [type(error) for error in reports.errors] == [OSError, type(None)]
    assert (syncs.in_kernel, syncs.in_threads) == (1, [file])


@needs_kernel
async def test_a_sync_that_has_not_ended_is_not_reported(file: int, syncs: Syncs) -> None:
    thread, reports = DiskThread(), Reports()
    syncs.held = True
    sync(thread, file, reports)
    syncs.held = False
    ran = asyncio.get_running_loop().create_future()

    def take(calls: SystemCalls, context: int) -> int:
        ran.set_result(None)
        return _not_yet()

    syncs._take = take
    syncs.end()
    await ran
    assert reports.errors == []
    assert thread.oldest_at is not None
    syncs.held = True
    syncs.end()
    await reports.wait_for(1)
    await thread.close()
    assert reports.errors == [None]


def _not_yet() -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@needs_kernel
async def test_a_sync_beside_one_in_flight_is_done_in_the_thread(file: int, syncs: Syncs) -> None:
    thread, first, second = DiskThread(), Reports(), Reports()
    syncs.held = True
    sync(thread, file, first)
    sync(thread, file, second)
    await second.wait_for(1)
    assert first.errors == []
    syncs.end()
    await first.wait_for(1)
    await thread.close()
    assert (first.errors, second.errors) == ([None], [None])
    assert (syncs.in_kernel, syncs.in_threads) == (1, [file])


@needs_kernel
async def test_full_segments_are_synced_in_the_thread_together_with_the_current_one(
    file: int, syncs: Syncs, tmp_path: Path
) -> None:
    retired = os.open(tmp_path / "retired", os.O_RDWR | os.O_CREAT, 0o600)
    thread, reports = DiskThread(), Reports()
    current = Segment(2, file, 4, 0, 4)
    thread.sync(SegmentSync(Disk(), [Segment(1, retired, 4, 0, 4)], current, perf_counter()), reports)
    thread.sync(SegmentSync(Disk(), [], None, perf_counter()), reports)
    await reports.wait_for(2)
    await thread.close()
    assert reports.errors == [None, None]
    assert (syncs.in_kernel, syncs.in_threads) == (0, [retired, file])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(retired)


async def test_a_disk_with_a_sync_of_its_own_sees_each(
    file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Disk):
        def sync_data(self, fd: int) -> None:
            seen.append(fd)

    seen: list[int] = []
    thread, reports = DiskThread(), Reports()
    sync(thread, file, reports, Own())
    await reports.wait_for(1)
    assert seen == [file]
    monkeypatch.setattr(Disk, "sync_data", Own.sync_data)
    sync(thread, file, reports, Disk())
    await reports.wait_for(2)
    await thread.close()
    assert seen == [file, file]
    assert syncs.in_kernel == 0


@needs_kernel
@virtual_time
async def test_a_sync_in_flight_for_ten_seconds_is_a_stall(file: int, syncs: Syncs) -> None:
    loop, heard, reports = asyncio.get_running_loop(), list[str](), Reports()
    stalled = asyncio.Event()
    disk_thread = DiskThread()

    def on_stalled() -> None:
        heard.append("stalled")
        stalled.set()

    watched = WatchedThread(
        disk_thread,
        on_stalled=on_stalled,
        before_report=lambda: heard.append("answered"),
        after_report=lambda: heard.append("reported"),
    )
    syncs.held = True
    began = loop.time()
    sync(watched, file, reports)
    await stalled.wait()
    assert loop.time() - began == pytest.approx(STALL_S)
    assert disk_thread.oldest_at == began
    syncs.end()
    await reports.wait_for(1)
    assert heard == ["stalled", "answered", "reported"]
    assert watched._timer is not None
    watched._timer.cancel()  # it would let the virtual time run before the thread ends
    await disk_thread.close()


@needs_kernel
async def test_closing_waits_for_a_sync_in_flight(file: int, syncs: Syncs) -> None:
    thread, reports = DiskThread(), Reports()
    syncs.held = True
    sync(thread, file, reports)
    closing = asyncio.ensure_future(thread.close())
    called = asyncio.get_running_loop().create_future()
    thread.submit(lambda: None, lambda result, error: called.set_result(None))
    await called
    assert not closing.done()
    syncs.end()
    await closing
    assert reports.errors == [None]


@needs_kernel
async def test_calls_that_the_last_sync_submits_are_done_before_closing_ends(file: int, syncs: Syncs) -> None:
    ran = []
    thread = DiskThread()

    def fail(seconds: float | None, error: Exception | None) -> None:
        thread.submit(partial(ran.append, error), lambda result, error: None)

    syncs.result = -errno.EIO
    thread.sync(SegmentSync(Disk(), [], Segment(1, file, 4, 0, 4), perf_counter()), fail)
    await thread.close()
    assert [type(error) for error in ran] == [OSError]


@needs_kernel
@virtual_time
async def test_closing_ends_though_a_sync_never_does(file: int, syncs: Syncs) -> None:
    loop, heard, reports = asyncio.get_running_loop(), list[str](), Reports()
    disk_thread = DiskThread()
    watched = WatchedThread(
        disk_thread,
        on_stalled=lambda: heard.append("stalled"),
        before_report=lambda: heard.append("answered"),
        after_report=lambda: heard.append("reported"),
    )
    syncs.held = True
    sync(watched, file, reports)
    began = loop.time()
    assert not await watched.close()
    assert loop.time() - began == pytest.approx(STALL_S)
    assert (heard, reports.errors) == ([], [])
    disk_thread._thread.join(10)
    assert not disk_thread._thread.is_alive(), "it has no call that waits"


@needs_kernel
@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_thousand_syncs_leave_no_descriptor(
    new_loop: Callable[[], asyncio.AbstractEventLoop], file: int, syncs: Syncs
) -> None:
    async def run() -> None:
        thread, reports = DiskThread(), Reports()
        opened = []
        for count in range(1, 1001):
            sync(thread, file, reports)
            await reports.wait_for(count)
            if count in (1, 1000):
                opened.append(held().descriptors)
        assert opened[0] == opened[1]
        await thread.close()
        left = opened[1] - held().descriptors
        assert [target for _, target in left] == ["anon_inode:[eventfd]"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    assert syncs.in_kernel == 1000


@needs_kernel
async def test_a_context_is_given_back_at_the_end(file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    ended: list[int] = []
    setup, destroy = SystemCalls.setup, SystemCalls.destroy

    def count_setup(calls: SystemCalls) -> int:
        made.append(setup(calls))
        return made[-1]

    def count_destroy(calls: SystemCalls, context: int) -> None:
        assert threading.current_thread().name == "jobqueue-journal", "it takes some 30 ms"
        destroy(calls, context)
        ended.append(context)

    monkeypatch.setattr(SystemCalls, "setup", count_setup)
    monkeypatch.setattr(SystemCalls, "destroy", count_destroy)
    thread, reports = DiskThread(), Reports()
    for count in (1, 2):
        sync(thread, file, reports)
        await reports.wait_for(count)
    await thread.close()
    assert len(made) == 1
    assert ended == made


@needs_kernel
async def test_a_context_with_a_sync_in_flight_is_left_to_the_end_of_the_process(
    file: int, syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroyed: list[int] = []
    monkeypatch.setattr(SystemCalls, "destroy", lambda calls, context: destroyed.append(context))
    kernel_sync = KernelSync()
    syncs.held = True
    assert kernel_sync.begin(file, lambda error: None)
    closing = asyncio.ensure_future(kernel_sync.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    kernel_sync.destroy()
    assert destroyed == [], "that would wait for the disk"


@needs_kernel
@pytest.mark.parametrize("mode", ["always", "interval"])
def test_a_writer_on_a_real_folder_keeps_records_by_syncs_of_the_kernel(
    tmp_path: Path, syncs: Syncs, mode: Sync
) -> None:
    async def write() -> None:
        folder = JournalFolder.open(tmp_path / "journal")
        syncs.in_threads.clear()
        troubles: list[Trouble | None] = []
        writer = await start(folder.disk, folder, mode, troubles)
        opening = len(syncs.in_threads)
        for number in range(50):
            writer.append(record(number))
            assert await kept(writer) is None
        await writer.close()
        folder.close()
        assert (writer.kept, troubles) == (50, [])
        assert len(syncs.in_threads) == opening
        assert syncs.in_kernel == writer.times.total
        assert syncs.in_kernel >= (50 if mode == "always" else 1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write())
    with JournalFolder.open_existing(tmp_path / "journal") as folder:
        assert [number for frame in read_log(folder) for number in numbers(frame.body)] == [*range(50)]


@needs_kernel
async def test_a_writer_fails_when_a_sync_of_the_kernel_does(tmp_path: Path, syncs: Syncs) -> None:
    folder = JournalFolder.open(tmp_path / "journal")
    troubles: list[Trouble | None] = []
    writer = await start(folder.disk, folder, "always", troubles)
    opening = len(syncs.in_threads)
    writer.append(record(1))
    assert await kept(writer) is None
    syncs.result = -errno.EIO
    writer.append(record(2))
    error = await kept(writer)
    assert isinstance(error, JournalFailed)
    assert os.strerror(errno.EIO) in str(error)
    assert [trouble.kind for trouble in troubles if trouble] == ["failed"]
    assert (writer.kept, writer.errors_total) == (1, 1)
    assert (syncs.in_kernel, len(syncs.in_threads)) == (2, opening), "the file is not trusted again"
    with pytest.raises(JournalFailed):
        await writer.close()
    folder.close()


@needs_kernel
async def test_a_writer_begins_anew_beside_a_sync_of_the_file_that_it_gave_up(tmp_path: Path, syncs: Syncs) -> None:
    folder = JournalFolder.open(tmp_path / "journal")
    writer = await start(folder.disk, folder, "always", [])
    syncs.held = True
    writer.append(record(1))
    waiting = asyncio.ensure_future(kept(writer))
    while not syncs.in_kernel:
        await asyncio.sleep(0)
    writer._fail(OSError(errno.EIO, "a write has failed"))
    assert isinstance(await waiting, JournalFailed)
    number = await writer.begin_segment([record(2)], anew=True)
    assert writer.resume()
    before = writer.kept
    syncs.result = -errno.EIO
    syncs.end()
    while writer._disk_thread._thread.oldest_at is not None:
        await asyncio.sleep(0)
    assert (writer.trouble, writer.kept) == (None, before), "it belongs to the file that is given up"
    syncs.held, syncs.result = False, 0
    writer.append(record(3))
    assert await kept(writer) is None
    await writer.close()
    with folder:
        assert [n for frame in read_log(folder, number) for n in numbers(frame.body)] == [2, 3]
