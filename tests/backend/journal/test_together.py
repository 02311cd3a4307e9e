"""What waits together is told together: once the last record is kept that gathered with it, or with the reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.journal import gathered as gathered_module
from jobqueue.testing import virtual_time
from tests.backend.journal.faulty_disk import Fault, FaultyDisk
from tests.backend.journal.writing import Journal, Sync, logged

if TYPE_CHECKING:
    from jobqueue.errors import JournalFailed

both = pytest.mark.parametrize("sync", ["always", "interval"])


async def turn(count: int = 1) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Told:
    """What a list of waiting answers is told to, with the number of records that are kept by then."""

    def __init__(self, journal: Journal) -> None:
        self.calls: list[tuple[list[int], int, str]] = []
        self.journal = journal
        self._tell = self._on_told

    def _on_told(self, waiting: list[int], error: JournalFailed | None) -> None:
        self.calls.append((list(waiting), self.journal.writer.kept, "" if error is None else str(error)))

    def submit(self) -> None:
        """Append a record, and let its answer wait."""
        self.journal.append()
        self.wait()

    def wait(self) -> None:
        self.journal.writer.kept_together(self._tell).append(self.journal.count)


@both
@virtual_time
async def test_answers_of_one_iteration_go_out_together_after_its_commit(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    told = Told(journal)
    for _ in range(3):
        told.submit()
    assert told.calls == []
    await turn(5)
    told.submit()
    await turn(5)
    assert told.calls == [([1, 2, 3], 3, ""), ([4], 4, "")]
    await journal.close()


@virtual_time
async def test_an_answer_to_a_submission_during_a_sync_waits_for_the_next_sync() -> None:
    journal = await Journal.start(FaultyDisk())
    told = Told(journal)
    journal.thread.held = True
    told.submit()
    await turn(5)
    told.submit()
    await turn()
    told.submit()
    journal.thread.run_one()
    assert told.calls == []
    journal.thread.held = False
    journal.thread.run_one()
    assert told.calls == [([1], 1, "")]
    await turn(5)
    assert told.calls == [([1], 1, ""), ([2, 3], 3, "")]
    assert logged(journal.disk.after_crash()) == [1, 2, 3]
    await journal.close()


@both
@virtual_time
async def test_answers_with_records_in_several_frames_wait_for_the_last_frame(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered_module, "FRAME_BYTES", 100)
    journal = await Journal.start(FaultyDisk(), sync)
    told = Told(journal)
    for _ in range(50):
        told.submit()
    await turn(10)
    assert told.calls == [([*range(1, 51)], 50, "")]
    await journal.close()


@both
@virtual_time
async def test_a_new_segment_ends_the_list_of_waiting_answers(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    told = Told(journal)
    await turn(5)
    told.submit()
    await journal.snapshot()
    told.submit()
    await turn(5)
    assert [(waiting, error) for waiting, _, error in told.calls] == [([1], ""), ([3], "")]
    assert all(kept >= max(waiting) for waiting, kept, _ in told.calls)
    await journal.close()


@virtual_time
async def test_a_repeated_submission_waits_for_the_commit_of_the_first() -> None:
    journal = await Journal.start(FaultyDisk())
    told = Told(journal)
    told.wait()
    await turn()
    assert told.calls == [([0], 0, "")], "nothing is on its way"
    journal.thread.held = True
    told.submit()
    await turn(5)
    told.wait()
    await turn(5)
    assert len(told.calls) == 1
    journal.thread.release()
    await turn(5)
    assert told.calls[1:] == [([1], 1, ""), ([1], 1, "")]
    await journal.close()


@both
@virtual_time
async def test_waiting_answers_get_the_error_of_a_failed_write(sync: Sync) -> None:
    journal = await Journal.start(FaultyDisk(), sync)
    told = Told(journal)
    await turn(5)
    told.submit()
    journal.disk.faults = [Fault("write", 1, for_ever=True)]
    await turn(5)
    told.submit()
    await turn(5)
    assert [waiting for waiting, _, _ in told.calls] == [[1], [2]]
    assert all("can't be written" in error for _, _, error in told.calls)


@virtual_time
async def test_the_pace_of_commits_counts_each_waiting_answer() -> None:
    journal = await Journal.start(FaultyDisk())
    told, waits = Told(journal), journal.writer._waits
    journal.thread.held = True
    for number in range(1, 4):
        told.submit()
        assert len(waits) == number
    await turn(5)
    assert len(waits) == 3
    told.submit()
    assert len(waits) == 4
    journal.thread.release()
    await turn(10)
    assert len(waits) == 0
    await journal.close()


@virtual_time
async def test_waiting_answers_of_the_next_commit_get_the_error_of_a_failed_sync() -> None:
    journal = await Journal.start(FaultyDisk())
    told = Told(journal)
    journal.thread.held = True
    told.submit()
    await turn(5)
    journal.disk.faults = [Fault("sync_data", journal.disk.calls["sync_data"] + 1)]
    told.submit()
    journal.thread.held = False
    journal.thread.run_one()
    assert [waiting for waiting, _, _ in told.calls] == [[1], [2]]
    assert all("can't be written" in error for _, _, error in told.calls)
