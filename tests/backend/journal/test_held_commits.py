"""When the writer commits with `always`: at once, held for more answers, or later where none waits."""

from __future__ import annotations

import asyncio

from jobqueue.backend.journal.commit_pace import HOLD_S, MEASURED_EVERY, WAITING_MIN
from jobqueue.backend.journal.writer import UNWAITED_S
from jobqueue.errors import JournalFailed
from jobqueue.testing import virtual_time
from tests.backend.journal.faulty_disk import Fault, FaultyDisk
from tests.backend.journal.writing import Journal, frames, logged


async def turn(count: int = 1) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@virtual_time
async def test_records_that_no_answer_waits_for_are_written_at_once_and_synced_a_little_later() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.append()
    await turn(5)
    assert logged(journal.disk.copy()) == [1], "a kill of the process loses nothing"
    assert (logged(journal.disk.after_crash()), journal.writer.kept) == ([], 0)
    await asyncio.sleep(UNWAITED_S + 0.001)
    assert (logged(journal.disk.after_crash()), journal.writer.kept) == ([1], 1)
    syncs = journal.disk.calls["sync_data"]
    await asyncio.sleep(10)
    assert journal.disk.calls["sync_data"] == syncs, "nothing was written, and nothing is synced"
    await journal.close()


@virtual_time
async def test_a_sync_that_an_answer_waits_for_has_all_that_was_written_before() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.append(2)
    await turn(5)
    syncs = journal.disk.calls["sync_data"]
    journal.append()
    began_at = asyncio.get_running_loop().time()
    assert await journal.kept() is None
    assert asyncio.get_running_loop().time() == began_at
    assert logged(journal.disk.after_crash()) == [1, 2, 3]
    assert journal.disk.calls["sync_data"] == syncs + 1
    await journal.close()


@virtual_time
async def test_an_answer_that_waits_for_written_records_has_them_synced_at_once() -> None:
    journal = await Journal.start(FaultyDisk())
    journal.append()
    await turn(5)
    began_at = asyncio.get_running_loop().time()
    assert await journal.kept() is None
    assert asyncio.get_running_loop().time() == began_at
    assert logged(journal.disk.after_crash()) == [1]
    await journal.close()


async def with_a_held_commit(waiting: int = WAITING_MIN) -> tuple[Journal, list[object]]:
    """Return a journal at the end of its first sync, and the ends of the waits that came during it."""
    journal = await Journal.start(FaultyDisk())
    journal.thread.held = True
    journal.submit()
    await turn(2)
    ended: list[object] = []
    for _ in range(waiting):
        journal.append()
        journal.writer.when_kept(ended.append)
    journal.thread.release()
    await turn(5)
    assert logged(journal.disk.after_crash())[0] == 1
    return journal, ended


@virtual_time
async def test_a_commit_that_few_answers_wait_for_begins_at_once() -> None:
    journal, ended = await with_a_held_commit(WAITING_MIN - 1)
    assert ended == [None] * (WAITING_MIN - 1)
    await journal.close()


@virtual_time
async def test_a_commit_that_many_answers_wait_for_is_held_for_more() -> None:
    journal, ended = await with_a_held_commit()
    journal.append()
    journal.writer.when_kept(ended.append)
    await turn(5)
    assert ended == []
    await asyncio.sleep(HOLD_S + 0.0001)
    assert ended == [None] * (WAITING_MIN + 1)
    assert frames(journal.disk.copy()) == [[1], [2, 3, 4, 5, 6]]
    await journal.close()


@virtual_time
async def test_a_held_commit_begins_at_the_expected_number_of_waits() -> None:
    journal, ended = await with_a_held_commit()
    journal.submit()
    journal.thread.held = True
    await asyncio.sleep(HOLD_S + 0.0001)  # the measured one: `WAITING_MIN + 1` answers waited for it
    for _ in range(WAITING_MIN):
        journal.append()
        journal.writer.when_kept(ended.append)
    began_at = asyncio.get_running_loop().time()
    journal.thread.release()
    await turn(5)
    assert ended == [None] * WAITING_MIN, "the next one is held for one answer more"
    journal.submit()
    await turn(5)
    assert ended == [None] * 2 * WAITING_MIN
    assert asyncio.get_running_loop().time() == began_at
    await journal.close()


@virtual_time
async def test_a_held_commit_has_the_records_of_a_segment_that_begins_meanwhile() -> None:
    journal, ended = await with_a_held_commit()
    assert await journal.snapshot() == 2
    assert ended == [None] * WAITING_MIN
    await journal.close()


@virtual_time
async def test_a_held_commit_that_a_segment_cuts_short_measures_nothing() -> None:
    journal, _ = await with_a_held_commit()
    assert await journal.snapshot() == 2
    journal.thread.held = True
    journal.submit()
    await turn(2)
    journal.submit(WAITING_MIN)
    ended: list[object] = []
    for _ in range(WAITING_MIN):
        journal.writer.when_kept(ended.append)
    journal.thread.release()
    await turn(5)
    assert ended == [], "it is held, though as many wait as for the one that was cut short"
    await journal.close()


@virtual_time
async def test_commits_are_held_again_under_a_load_greater_than_the_measured_one() -> None:
    journal, _ = await with_a_held_commit()
    await asyncio.sleep(HOLD_S + 0.0001)  # `WAITING_MIN` are measured
    held = 0
    for _ in range(MEASURED_EVERY):
        journal.thread.held = True
        journal.submit()
        await turn(2)
        ended: list[object] = []
        for _ in range(5 * WAITING_MIN):
            journal.append()
            journal.writer.when_kept(ended.append)
        journal.thread.release()
        await turn(5)
        held += not ended
        await asyncio.sleep(HOLD_S + 0.0001)
        assert len(ended) == 5 * WAITING_MIN
    assert held > 0
    await journal.close()


@virtual_time
async def test_a_failure_ends_the_waits_for_a_held_commit_and_later_ones_are_kept_again() -> None:
    journal, ended = await with_a_held_commit()
    journal.disk.faults.append(Fault("write", journal.disk.calls["write"] + 1))
    await asyncio.sleep(HOLD_S + 0.0001)
    assert [type(error) for error in ended] == [JournalFailed] * WAITING_MIN
    await journal.snapshot(anew=True)
    journal.append()
    assert await journal.kept() is None
    await journal.close()


@virtual_time
async def test_closing_has_the_records_of_a_held_commit() -> None:
    journal, ended = await with_a_held_commit()
    await journal.close()
    assert ended == [None] * WAITING_MIN
    assert logged(journal.disk.after_crash()) == [1, 2, 3, 4, 5]
