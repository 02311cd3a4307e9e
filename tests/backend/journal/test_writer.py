from __future__ import annotations

import asyncio
from time import process_time
from typing import Any, cast

import pytest

from jobqueue.backend.journal import gathered as gathered_module
from jobqueue.backend.journal import writer as writer_module
from jobqueue.backend.journal.segment import SEGMENT_HEAD_BYTES
from jobqueue.backend.journal.writer import UNWAITED_S
from jobqueue.errors import JournalFailed
from jobqueue.testing import virtual_time
from tests.backend.journal.faulty_disk import Fault, FaultyDisk
from tests.backend.journal.writing import InlineThread, Journal, Sync, frames, logged, record, replaces_parts

both = pytest.mark.parametrize("sync", ["always", "interval"])


async def turn(count: int = 1) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- keeping


@virtual_time
async def test_a_record_is_kept_when_it_is_synced() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    journal.append(3)
    await turn(5)
    kept: list[object] = []
    journal.writer.when_kept(kept.append)
    assert (journal.writer.appended, journal.writer.kept, kept) == (3, 0, [])
    journal.thread.release()
    await turn(3)
    assert (journal.writer.kept, kept) == (3, [None])
    assert logged(journal.disk.after_crash()) == [1, 2, 3]
    await journal.close()


@virtual_time
async def test_a_record_is_kept_when_it_is_written_if_syncs_come_at_intervals() -> None:
    journal = await Journal.start(FaultyDisk(), "interval")
    journal.thread.held = True
    journal.append(3)
    kept: list[object] = []
    journal.writer.when_kept(kept.append)
    assert (journal.writer.kept, kept) == (0, [])
    journal.writer.commit()
    assert (journal.writer.kept, kept) == (3, [None])
    assert logged(journal.disk.copy()) == [1, 2, 3], "a kill of the process loses nothing"
    assert logged(journal.disk.after_crash()) == [], "a power cut does"
    journal.thread.release()
    await journal.close()


@virtual_time
async def test_a_written_record_is_synced_after_the_interval() -> None:
    journal = await Journal.start(FaultyDisk(), "interval")
    journal.append()
    await asyncio.sleep(0.049)
    assert logged(journal.disk.after_crash()) == []
    await asyncio.sleep(0.002)
    assert logged(journal.disk.after_crash()) == [1]
    syncs = journal.disk.calls["sync_data"]
    await asyncio.sleep(10)
    assert journal.disk.calls["sync_data"] == syncs, "nothing was written, and nothing is synced"
    await journal.close()


@both
@virtual_time
async def test_records_of_one_iteration_of_the_loop_are_one_frame(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append(2)
    journal.append()
    await turn()
    journal.append()
    await journal.kept()
    assert frames(journal.disk.copy()) == [[1, 2, 3], [4]]
    await journal.close()


@virtual_time
async def test_records_that_gather_during_a_commit_are_the_next_frame() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    for _ in range(5):
        journal.submit(2)
        await turn()
    journal.thread.release()
    await journal.kept()
    assert frames(journal.disk) == [[1, 2], [3, 4, 5, 6, 7, 8, 9, 10]]
    assert journal.writer.times.total == 2
    await journal.close()


@both
@virtual_time
async def test_waits_end_in_their_order_each_with_its_commit(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    ended: list[int] = []
    for number in range(4):
        journal.append()
        journal.writer.when_kept(lambda error, number=number: ended.append(number))  # type: ignore[misc]  # mypy infers no type for such a default
        if number == 1:
            await turn()
    assert ended in ([], [0, 1])
    await journal.kept()
    assert ended == [0, 1, 2, 3]
    await journal.close()


@virtual_time
async def test_a_wait_with_nothing_to_wait_for_ends_in_the_next_iteration_of_the_loop() -> None:
    journal = await Journal.start(FaultyDisk())
    ended: list[object] = []
    journal.writer.when_kept(ended.append)
    assert ended == []
    await turn()
    assert ended == [None]
    await journal.close()


@virtual_time
async def test_a_wait_that_raises_does_not_stop_the_others() -> None:
    journal = await Journal.start(FaultyDisk())
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context["message"]))
    journal.append()
    journal.writer.when_kept(lambda error: 1 / 0)  # type: ignore[arg-type]  # it raises, and returns nothing
    assert await journal.kept() is None
    assert raised == ["a wait for the journal raised"]
    await journal.close()


@both
@virtual_time
async def test_a_wait_may_append_again(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    left = [5]

    def again(error: JournalFailed | None) -> None:
        if left[0]:
            left[0] -= 1
            journal.append()
            journal.writer.when_kept(again)
            journal.writer.commit()

    again(None)
    await turn(30)
    assert logged(journal.disk.copy()) == [1, 2, 3, 4, 5]
    await journal.close()


# -- segments


@both
@virtual_time
async def test_a_log_goes_on_over_segments_and_a_spare_is_always_there(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    for _ in range(100):
        journal.append(10)
        await journal.kept()
        await turn(3)
        numbers = journal.folder.segments()
        assert not any(journal.disk.names_now[f"{numbers[-1]:08}.log"].data), "the last one is unused"
    assert len(journal.folder.segments()) > 8
    assert journal.writer.segments == len(journal.folder.segments())
    assert 1024 * 2 < journal.writer.bytes_used <= 1024 * journal.writer.segments
    assert logged(journal.disk.copy()) == [*range(1, 1001)]
    await journal.close()
    assert logged(journal.disk.after_crash()) == [*range(1, 1001)]
    assert journal.disk.open_files == {}


@both
@virtual_time
async def test_a_segment_is_cut_behind_its_last_frame_once_the_next_one_is_synced(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(10)
    await journal.kept()
    beginning = journal.writer.begin_segment([record(11)])
    await beginning
    await turn(3)
    first = bytes(disk.names_now["00000001.log"].data)
    assert SEGMENT_HEAD_BYTES < len(first) < 300
    assert first[-1]
    assert len(disk.names_now["00000002.log"].data) == 1024
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, 12)]


@both
@virtual_time
async def test_a_burst_of_records_fills_segments_that_are_not_made_yet(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    for _ in range(20):
        journal.append(100)
        journal.writer.commit()
    assert await journal.kept() is None
    assert logged(journal.disk.copy()) == [*range(1, 2001)]
    await journal.close()


@both
@virtual_time
async def test_a_record_greater_than_a_segment_gets_a_greater_one(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    big = bytes(5000)
    for number in range(3):
        journal.append()
        if number == 1:
            journal.writer.append(cast("Any", big))
        assert await journal.kept() is None
        await turn(5)
    sizes = [len(journal.disk.names_now[f"{number:08}.log"].data) for number in journal.folder.segments()]
    assert sizes[0] <= 1024, "once it is synced, it ends with its last frame"
    assert sizes[1] > 5000
    assert sizes[-1] == 1024
    assert frames(journal.disk.copy()) == [[1], [2, big], [3]]
    await journal.close()


@replaces_parts
@virtual_time
async def test_a_long_batch_becomes_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_module, "FRAME_BYTES", 100)
    journal = await Journal.start(FaultyDisk())
    journal.append(50)
    await journal.kept()
    assert [len(frame) for frame in frames(journal.disk)] == [20, 20, 10]
    await journal.close()


@replaces_parts
@virtual_time
async def test_records_of_a_long_batch_are_kept_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_module, "FRAME_BYTES", 100)
    journal = await Journal.start(FaultyDisk(), "interval")
    journal.thread.held = True
    journal.append(500)
    await turn(3)
    written = logged(journal.disk.copy())
    assert 20 <= len(written) < 500, "the others wait for a segment"
    assert journal.writer.kept == len(written)
    journal.thread.release()
    assert await journal.kept() is None
    await journal.close()


@both
@replaces_parts
@virtual_time
async def test_a_segment_that_begins_with_a_long_batch_is_one(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_module, "FRAME_BYTES", 100)
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append()
    assert await journal.writer.begin_segment([record(number) for number in range(2, 52)]) == 2
    journal.count = 51
    journal.append()
    assert await journal.kept() is None
    assert [len(frame) for frame in frames(journal.disk.copy())] == [1, 20, 20, 10, 1]
    await journal.close()
    assert logged(journal.disk) == [*range(1, 53)]
    assert len(journal.folder.segments()) == 3, "the first, this one and a spare"


@both
@virtual_time
async def test_the_next_start_goes_on_in_the_same_segment(sync: Sync) -> None:
    disk = FaultyDisk()
    for start in range(4):
        journal = await Journal.start(disk, sync)
        journal.append(5)
        await journal.close()
        assert logged(disk.after_crash()) == [*range(1, 5 * start + 6)]
        assert [*disk.names_now] == ["format", "00000001.log", "00000002.log"]


@both
@virtual_time
async def test_a_segment_begins_at_the_call(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append(3)
    journal.count = 100
    begun = journal.writer.begin_segment([])
    journal.append(3)
    number = await begun
    assert number == 2
    assert logged(journal.disk.after_crash())[:3] == [1, 2, 3], "all before it is on the disk"
    await journal.kept()
    await journal.writer.remove_before(number)
    assert journal.folder.segments()[0] == 2
    journal.disk.close(journal.disk.create(journal.folder.snapshot_path(2)))
    with pytest.raises(Exception, match="snapshot"):
        logged(journal.disk.copy())
    await journal.close()


@both
@virtual_time
async def test_a_snapshot_replaces_the_segments_before_it(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    for _ in range(3):
        journal.append(300)
        await journal.snapshot()
        assert journal.folder.segments()[0] == journal.folder.snapshots()[0]
        assert len(journal.folder.snapshots()) == 1
        journal.append(10)
        await journal.kept()
        assert logged(journal.disk.copy()) == [*range(1, journal.count + 1)]
    assert journal.writer.bytes_used == journal.folder.bytes_used()
    await journal.close()


@virtual_time
async def test_a_segment_begins_even_with_nothing_to_write() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    journal.append()
    await turn()
    first, second = journal.writer.begin_segment([]), journal.writer.begin_segment([])
    journal.thread.release()
    assert (await first, await second) == (2, 3)
    await journal.close()


# -- stalls


@both
@virtual_time
async def test_a_disk_that_does_not_answer_stalls_the_journal_for_a_bounded_time(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.thread.held = True
    journal.append()
    waiting = asyncio.ensure_future(journal.kept())
    await asyncio.sleep(9.9)
    assert journal.troubles == []
    await asyncio.sleep(0.2)
    assert journal.kinds() == ["stalled"]
    assert str(journal.writer.trouble) == "journal folder /journal: the disk has not answered for 10 s"
    error = await waiting
    if sync == "always":
        assert isinstance(error, JournalFailed)
        assert error.retry_after_s > 0
        journal.append()
        assert isinstance(await journal.kept(), JournalFailed), "nothing waits for a stalled disk"
    journal.thread.release()
    await turn(5)
    assert journal.kinds() == ["stalled", "recovered"]
    journal.append()
    assert await journal.kept() is None
    assert logged(journal.disk.copy()) == [*range(1, journal.count + 1)], "nothing was dropped"
    await journal.close()


@replaces_parts
@virtual_time
async def test_a_backlog_stalls_the_journal_and_a_greater_one_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "STALLED_BYTES", 100)
    monkeypatch.setattr(writer_module, "GIVEN_UP_BYTES", 400)
    monkeypatch.setattr(gathered_module, "UNMEASURED", 0)
    journal = await Journal.start(FaultyDisk())
    journal.append()
    await turn()
    journal.thread.held = True
    journal.submit()
    await turn()
    journal.append(21)
    await turn()
    assert journal.kinds() == ["stalled"]
    journal.thread.release()
    await asyncio.sleep(UNWAITED_S + 0.001)
    assert journal.kinds() == ["stalled", "recovered"]
    journal.thread.held = True
    journal.submit()
    await turn()
    journal.append(100)
    await turn()
    assert journal.kinds() == ["stalled", "recovered", "failed"]
    assert "503 bytes wait to be written" in str(journal.writer.trouble)
    journal.thread.release()
    with pytest.raises(JournalFailed):
        await journal.close()


@replaces_parts
@virtual_time
async def test_a_backlog_of_many_iterations_of_the_loop_stalls_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "STALLED_BYTES", 20 * 6)
    monkeypatch.setattr(gathered_module, "UNMEASURED", 0)
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    for _ in range(21):
        assert journal.troubles == []
        journal.submit()
        await turn()
    journal.append()
    await turn()
    assert journal.kinds() == ["stalled"]
    journal.thread.release()
    await asyncio.sleep(UNWAITED_S + 0.001)
    assert journal.kinds() == ["stalled", "recovered"]
    assert journal.writer.kept == 22
    await journal.close()


@virtual_time
async def test_an_iteration_of_the_loop_costs_the_same_with_many_gathered_records() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    journal.submit()
    await turn()

    async def turns_s() -> float:
        began = process_time()
        for _ in range(100):
            journal.append()
            await turn()
        return process_time() - began

    before = min([await turns_s() for _ in range(5)])
    journal.append(500_000)
    await turn()
    assert min([await turns_s() for _ in range(5)]) < 5 * before
    journal.thread.release()
    await journal.close()


@both
@virtual_time
async def test_a_segment_that_does_not_begin_is_not_waited_for(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append()
    await journal.kept()
    journal.thread.held = True
    with pytest.raises(JournalFailed, match="has not answered for 10 s"):
        await journal.writer.begin_segment([])
    journal.thread.release()
    await turn(5)
    assert journal.kinds() == ["stalled", "recovered"]
    assert await journal.snapshot() == 3
    await journal.close()
    assert logged(journal.disk.after_crash()) == [*range(1, journal.count + 1)]


# -- the end


class StuckThread(InlineThread):
    """Its calls never end."""

    async def close(self) -> None:
        await asyncio.get_running_loop().create_future()


@both
@virtual_time
async def test_closing_waits_for_a_stuck_disk_for_a_bounded_time_and_keeps_the_lock(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append()
    journal.thread.__class__ = StuckThread
    journal.thread.held = True
    before = asyncio.get_running_loop().time()
    with pytest.raises(JournalFailed, match="has not answered for 10 s"):
        await journal.close()
    assert asyncio.get_running_loop().time() - before <= 20.1
    assert None in journal.disk.open_files.values(), "the folder is still open, and so locked"


@both
@virtual_time
async def test_closing_syncs_everything(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append(7)
    await journal.close()
    assert logged(journal.disk.after_crash()) == [1, 2, 3, 4, 5, 6, 7]
    assert journal.disk.open_files == {}
    journal.append()
    await turn()
    assert logged(journal.disk.copy()) == [1, 2, 3, 4, 5, 6, 7]


@both
@virtual_time
async def test_closing_tells_that_not_all_is_on_the_disk(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    journal.append()
    journal.disk.faults = [Fault("sync_data", journal.disk.calls["sync_data"] + 1)]
    with pytest.raises(JournalFailed, match="it can't be written"):
        await journal.close()
    assert journal.disk.open_files == {}
    await journal.writer.close()


@both
@virtual_time
async def test_figures_of_a_writer(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    for _ in range(4):
        journal.append(5)
        await journal.kept()
        await asyncio.sleep(0.1)
    writer = journal.writer
    assert (writer.appended, writer.kept, writer.times.total, writer.errors_total) == (20, 20, 4, 0)
    assert writer.bytes_written_total == 4 * (32 + 1 + 25)
    assert (writer.segments, writer.bytes_used) == (2, 2048)
    await journal.close()
