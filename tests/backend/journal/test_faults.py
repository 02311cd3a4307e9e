"""Faults of the disk at each call of a life of the journal, and crashes."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from jobqueue.backend.journal import writer as writer_module
from jobqueue.backend.journal.segment import SegmentHead
from jobqueue.backend.journal.tail import PlacedFrame, Tail
from jobqueue.backend.journal.writer import Writer
from jobqueue.errors import JournalError, JournalFailed
from jobqueue.testing import virtual_time
from tests.backend.journal.faulty_disk import Crash, Fault, FaultyDisk
from tests.backend.journal.writing import Journal, Sync, logged, record, replaces_parts

both = pytest.mark.parametrize("sync", ["always", "interval"])
SEGMENT_BYTES = 256
KEPT_BY_A_CRASH = ((0.0, 0.0), (0.0, 1.0), (0.3, 0.5), (0.7, 0.5), (1.0, 0.0), (1.0, 1.0))
"""Chances of unsynced sectors, and of unsynced cuts of files."""


class Life:
    """A short life of a journal: three starts, with segments that fill and two snapshots.

    Attributes:
        kept: The last record that was kept, as far as the policy promises.
        synced: The last one that a snapshot or a clean end has put on the disk.
    """

    def __init__(self, disk: FaultyDisk, sync: Sync) -> None:
        self.disk = disk
        self.sync = sync
        self.kept = 0
        self.synced = 0
        self.appended = 0
        self.refused = 0
        self.journal: Journal | None = None

    async def run(self) -> None:
        for snapshots in (0, 1, 1):
            self.journal = await Journal.start(self.disk, self.sync, segment_bytes=SEGMENT_BYTES)
            for _ in range(4):
                await self.work(self.journal)
            if snapshots and not self.journal.writer.trouble:
                await self.journal.snapshot()
                self.synced = self.kept = self.journal.count
                await self.work(self.journal)
            await asyncio.sleep(0.06)
            await self.journal.close()
            self.synced = self.journal.count
        self.journal = None

    async def work(self, journal: Journal) -> None:
        journal.append(12)
        self.appended = journal.count
        if await journal.kept() is None:
            self.kept = max(self.kept, journal.count)
        else:
            self.refused += 1
        await asyncio.sleep(0)

    async def give_up(self) -> None:
        """End what a fault has left open."""
        if self.journal is not None:
            self.disk.crashed = False
            self.disk.crash_at = 0
            self.disk.faults = []
            with suppress(JournalFailed):
                await self.journal.close()


async def calls_of_a_life(sync: Sync) -> FaultyDisk:
    disk = FaultyDisk()
    life = Life(disk, sync)
    await life.run()
    assert life.kept == life.appended > 100
    assert logged(disk.after_crash()) == [*range(1, life.kept + 1)]
    return disk


def check_found(found: list[int], life: Life, least: int) -> None:
    assert found == [*range(1, len(found) + 1)], "no hole, and nothing twice"
    assert len(found) >= least, "a kept record is missing"


# -- faults


@both
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("for_ever", [False, True])
@virtual_time
async def test_a_fault_at_each_call_loses_no_kept_record_and_no_file_is_trusted_again(
    sync: Sync, number: int, for_ever: bool
) -> None:
    total = (await calls_of_a_life(sync)).calls.total()
    ends = {"lived": 0, "refused": 0, "failed": 0}
    for at in range(1, total + 1):
        disk = FaultyDisk(Fault("any", at, number, for_ever))
        life = Life(disk, sync)
        refusal = None
        try:
            await asyncio.wait_for(life.run(), 60)
            ends["lived"] += 1
        except JournalError as error:
            refusal = str(error)
            ends["refused"] += 1
        except (JournalFailed, OSError, TimeoutError):
            ends["failed"] += 1
        if refusal is not None:
            assert os.strerror(number) in refusal
            assert "/journal" in refusal
        killed, unplugged = disk.copy(), disk.after_crash(0.5, Random(at))
        await life.give_up()
        assert disk.trusted_again == []
        if for_ever and at <= 5:
            continue  # there is no folder
        check_found(logged(killed), life, life.kept)
        check_found(logged(unplugged), life, life.kept if sync == "always" else life.synced)
    assert ends["failed"] > 20
    assert ends["refused"] > 20
    assert for_ever or ends["lived"] > 5


@both
@pytest.mark.parametrize("kind", ["write", "sync_data"])
@virtual_time
async def test_a_failed_journal_says_so_and_is_revived_by_a_snapshot(sync: Sync, kind: str) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(5)
    await journal.kept()
    await asyncio.sleep(0.1)
    disk.faults = [Fault(kind, disk.calls[kind] + 1)]
    journal.append(5)
    error = await journal.kept()
    await asyncio.sleep(0.1)
    assert journal.kinds() == ["failed"]
    assert str(journal.writer.trouble) == "journal folder /journal: it can't be written: Input/output error"
    assert journal.writer.errors_total == 1
    if sync == "always" or kind == "write":
        assert isinstance(error, JournalFailed)
    journal.append(5)
    assert isinstance(await journal.kept(), JournalFailed), "records are dropped"
    with pytest.raises(JournalFailed):
        await journal.writer.begin_segment([])

    number = await journal.snapshot(anew=True)
    assert journal.kinds() == ["failed", "recovered"]
    assert {*disk.names_now} == {"format", f"{number:08}.log", f"{number:08}.snap", f"{number + 1:08}.log"}
    assert journal.writer.kept == journal.writer.appended
    journal.append(5)
    assert await journal.kept() is None
    await asyncio.sleep(0.1)
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]
    assert disk.trusted_again == []
    await journal.close()


@both
@virtual_time
async def test_a_revival_without_its_snapshot_counts_for_nothing(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(5)
    await journal.kept()
    await asyncio.sleep(0.1)
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1)]
    journal.append(5)
    await asyncio.sleep(0.1)
    assert journal.kinds() == ["failed"]
    journal.count = 1000
    await journal.writer.begin_segment([], anew=True)
    journal.append(5)
    await asyncio.sleep(0.1)
    assert isinstance(await journal.kept(), JournalFailed), "nothing is kept before the snapshot is there"
    assert logged(disk.after_crash()) == [1, 2, 3, 4, 5]
    with pytest.raises(JournalFailed):
        await journal.close()
    again = await Journal.start(disk.after_crash(), sync)
    again.append()
    await again.close()
    assert logged(again.disk.after_crash()) == [1, 2, 3, 4, 5, 6]


@both
@virtual_time
async def test_a_revival_that_fails_can_be_tried_again(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1), Fault("sync_data", disk.calls["sync_data"] + 2)]
    journal.append(5)
    await asyncio.sleep(0.1)
    with pytest.raises(JournalFailed):
        await journal.writer.begin_segment([], anew=True)
    assert not journal.writer.resume()
    assert journal.kinds() == ["failed"]
    await journal.snapshot(anew=True)
    assert journal.kinds() == ["failed", "recovered"]
    journal.append(5)
    assert await journal.kept() is None
    assert logged(disk.copy()) == [*range(1, journal.count + 1)]
    await journal.close()
    assert disk.open_files == {}
    assert disk.trusted_again == []


@virtual_time
async def test_the_report_of_a_sync_that_began_before_a_failure_is_void() -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, "interval")
    journal.append(5)
    journal.writer.commit()
    journal.thread.held = True
    await asyncio.sleep(0.06)
    disk.faults = [Fault("write", disk.calls["write"] + 1), Fault("sync_data", disk.calls["sync_data"] + 1)]
    journal.append(5)
    journal.writer.commit()
    assert journal.kinds() == ["failed"]
    begun = journal.writer.begin_segment([], anew=True)
    journal.thread.release()
    assert await begun == 2
    assert journal.writer.resume()
    await asyncio.sleep(0.1)
    assert journal.writer.errors_total == 1
    assert journal.kinds() == ["failed", "recovered"]
    await journal.close()
    assert disk.open_files == {}
    assert disk.trusted_again == []


STEPS_OF_A_FRAME = {
    "gathered": (writer_module, "batches_of"),
    "placed": (Tail, "place"),
    "first in its segment": (SegmentHead, "encode"),
    "encoded": (PlacedFrame, "encode"),
    "handed to the file": (FaultyDisk, "write"),
}


each_step = pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=replaces_parts if step in ("gathered", "placed") else ()) for step in STEPS_OF_A_FRAME],
)


def raise_once(monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], error: BaseException) -> None:
    def raising(*args: Any, **given: Any) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(*step, raising)


@both
@each_step
@virtual_time
async def test_an_exception_before_a_frame_is_written_fails_the_journal_and_leaves_no_hole(
    sync: Sync, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(5)
    await journal.kept()
    await asyncio.sleep(0.1)
    raise_once(monkeypatch, STEPS_OF_A_FRAME[step], MemoryError())
    journal.append(185)  # more than the segment has room for
    assert isinstance(await journal.kept(), JournalFailed)
    assert journal.kinds() == ["failed"]
    assert str(journal.writer.trouble) == "journal folder /journal: it can't be written: MemoryError"
    journal.append(5)
    assert isinstance(await journal.kept(), JournalFailed), "records are dropped"
    assert logged(disk.copy()) == [1, 2, 3, 4, 5]
    await journal.snapshot(anew=True)
    journal.append(5)
    assert await journal.kept() is None
    assert journal.writer.appended == journal.count
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]
    assert disk.open_files == {}
    assert disk.trusted_again == []


@both
@each_step
@virtual_time
async def test_an_exit_before_a_frame_is_written_leaves_no_hole_and_is_passed_on(
    sync: Sync, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(5)
    await journal.kept()
    await asyncio.sleep(0.1)
    raise_once(monkeypatch, STEPS_OF_A_FRAME[step], KeyboardInterrupt())
    journal.append(185)
    with pytest.raises(KeyboardInterrupt):
        journal.writer.commit()
    journal.append(5)
    with pytest.raises(JournalFailed, match="KeyboardInterrupt"):
        await journal.close()
    assert logged(disk.after_crash()) == [1, 2, 3, 4, 5]
    assert disk.open_files == {}


@both
@replaces_parts
@virtual_time
async def test_a_sync_that_cannot_be_asked_for_fails_the_journal(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    raise_once(monkeypatch, (Tail, "take_retired"), MemoryError())
    journal.append(5)
    await asyncio.sleep(0.1)
    assert journal.kinds() == ["failed"]
    await journal.snapshot(anew=True)
    journal.append(5)
    assert await journal.kept() is None
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]


@both
@each_step
@virtual_time
async def test_an_exception_while_a_segment_begins_anew_ends_that_try(
    sync: Sync, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(5)
    await journal.kept()
    await asyncio.sleep(0.1)
    disk.faults = [Fault("write", disk.calls["write"] + 1)]
    journal.append(5)
    await asyncio.sleep(0.1)
    raise_once(monkeypatch, STEPS_OF_A_FRAME[step], MemoryError())
    with pytest.raises(JournalFailed, match="MemoryError"):
        await journal.writer.begin_segment([record(1000)], anew=True)
    journal.append(5)
    await asyncio.sleep(0.1)
    assert not journal.writer.resume()
    assert logged(disk.copy()) == [1, 2, 3, 4, 5]
    await journal.snapshot(anew=True)
    assert journal.kinds() == ["failed", "recovered"]
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]
    assert disk.open_files == {}


# -- room


@both
@virtual_time
async def test_a_full_disk_is_met_before_the_log_needs_the_room(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    disk.faults = [Fault("allocate", 1, errno.ENOSPC, for_ever=True)]
    while not journal.troubles:
        journal.append(10)
        assert await journal.kept() is None
        await asyncio.sleep(0)
    assert journal.kinds() == ["full"]
    assert str(journal.writer.trouble) == (
        "journal folder /journal: there is no room for the next segment: No space left on device"
    )
    journal.append(10)
    assert await journal.kept() is None, "the current segment has room"
    journal.append(300)
    assert isinstance(await journal.kept(), JournalFailed), "now it has none"
    await asyncio.sleep(5)
    assert disk.calls["allocate"] in range(6, 9), "it is tried again each second"
    disk.faults = []
    await asyncio.sleep(1)
    assert journal.kinds() == ["full", "recovered"]
    assert await journal.kept() is None
    assert logged(disk.copy()) == [*range(1, journal.count + 1)], "nothing was dropped"
    await journal.close()


@both
@virtual_time
async def test_a_folder_at_its_bound_is_full_until_a_snapshot_makes_room(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync, bytes_max=4 * 1024 + 100)
    while not journal.troubles:
        journal.append(10)
        assert await journal.kept() is None
        await asyncio.sleep(0)
        assert journal.folder.bytes_used() <= 4 * 1024 + 100
    assert journal.kinds() == ["full"]
    assert re.fullmatch(
        "journal folder /journal: there is no room for the next segment: "
        r"it holds [34],\d{3} bytes, and with another segment more than its bound of 4,196",
        str(journal.writer.trouble),
    )
    assert journal.writer.errors_total == 0
    await journal.snapshot()
    await asyncio.sleep(0)
    assert journal.kinds() == ["full", "recovered"]
    journal.append(10)
    assert await journal.kept() is None
    assert logged(disk.copy()) == [*range(1, journal.count + 1)]
    await journal.close()


@both
@virtual_time
async def test_a_snapshot_begins_behind_records_that_have_no_room(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync, bytes_max=3 * 1024 + 100)
    while await journal.kept() is None:
        journal.append(25)
    assert journal.kinds() == ["full"]
    journal.append(3)
    await journal.snapshot()
    await asyncio.sleep(0)
    assert journal.kinds() == ["full", "recovered"]
    assert await journal.kept() is None
    assert journal.folder.bytes_used() <= 3 * 1024 + 100
    assert logged(disk.copy()) == [*range(1, journal.count + 1)]
    await journal.close()


@both
@virtual_time
async def test_a_segment_that_has_no_room_does_not_begin_and_its_records_are_logged(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    journal.append(3)
    await journal.kept()
    await asyncio.sleep(0.1)
    disk.faults = [Fault("allocate", 1, errno.ENOSPC, for_ever=True)]
    assert await journal.snapshot() == 2
    journal.append(3)
    with pytest.raises(JournalFailed, match="there is no room"):
        await journal.snapshot()
    journal.append(3)
    assert await journal.kept() is None
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]
    assert disk.open_files == {}


@both
@virtual_time
async def test_a_revival_that_has_no_room_can_be_tried_again(sync: Sync) -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, sync)
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1), Fault("allocate", 1, errno.ENOSPC, for_ever=True)]
    journal.append(30)
    await asyncio.sleep(0.1)
    assert journal.kinds()[-1] == "failed"
    await journal.writer.begin_segment([], anew=True)
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1), disk.faults[1]]
    journal.append(3)
    await asyncio.sleep(0.1)
    for _ in range(2):
        with pytest.raises(JournalFailed, match="No space left"):
            await journal.writer.begin_segment([], anew=True)
        assert not journal.writer.resume()
        journal.append(3)
    disk.faults = []
    await journal.snapshot(anew=True)
    assert journal.writer.trouble is None
    journal.append(5)
    assert await journal.kept() is None
    await journal.close()
    assert logged(disk.after_crash()) == [*range(1, journal.count + 1)]
    assert disk.trusted_again == []


@virtual_time
async def test_a_start_at_the_bound_is_full_and_one_on_a_full_disk_is_refused() -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk, bytes_max=1500)
    await asyncio.sleep(0)
    journal.append(3)
    assert await journal.kept() is None
    await asyncio.sleep(0)
    assert journal.kinds() == ["full"]
    await journal.close()
    for at in (1, 2):
        full = FaultyDisk(Fault("allocate", at, errno.ENOSPC))
        with pytest.raises(JournalError) as caught:
            await Journal.start(full)
        assert str(caught.value) == (
            "journal folder /journal: there is no room for another segment of 1,024 bytes: No space left on device"
        )
        assert [*full.names_now] == ["format"]


# -- crashes


@both
@virtual_time
async def test_a_crash_at_each_call_loses_no_kept_record(sync: Sync) -> None:
    total = (await calls_of_a_life(sync)).calls.total()
    for at in range(1, total + 1):
        disk = FaultyDisk(crash_at=at)
        life = Life(disk, sync)
        with suppress(Crash, JournalFailed, JournalError):
            await life.run()
        assert disk.crashed
        states = [(disk.copy(), life.kept)]
        for seed, (keep, keep_cut) in enumerate(KEPT_BY_A_CRASH):
            crashed = disk.after_crash(keep, Random(at * 10 + seed), keep_cut=keep_cut)
            states.append((crashed, life.kept if sync == "always" else life.synced))
        await life.give_up()
        for state, least in states:
            check_found(logged(state, segment_bytes=SEGMENT_BYTES), life, least)


@both
@virtual_time
async def test_lives_go_on_through_crash_after_crash(sync: Sync) -> None:
    random = Random(7)
    for _ in range(20):
        disk = FaultyDisk()
        least = 0
        for _ in range(6):
            disk.crash_at = random.randrange(20, 200)
            life = Life(disk, sync)
            life.kept = life.synced = least
            with suppress(Crash, JournalFailed, JournalError):
                await life.run()
            if random.random() < 0.5:
                after, least = disk.copy(), life.kept
            else:
                after = disk.after_crash(random.random(), random, keep_cut=random.random())
                least = life.kept if sync == "always" else life.synced
            await life.give_up()
            disk = after
            found = logged(disk, segment_bytes=SEGMENT_BYTES)
            check_found(found, life, least)
            least = len(found)


@virtual_time
async def test_a_writer_is_not_opened_in_a_log_that_is_lost() -> None:
    disk = FaultyDisk()
    journal = await Journal.start(disk)
    journal.append(5)
    await journal.close()
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1)]
    with pytest.raises(JournalError, match="it can't be written: Input/output error"):
        await Journal.start(disk)
    assert disk.open_files.keys() == {max(disk.open_files)}, "the folder's own is closed by its owner"
    assert Writer.__name__ == "Writer"
