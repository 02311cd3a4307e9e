"""The journal of a backend: what a stop and a crash leave, a disk that fails, and snapshots in use."""

from __future__ import annotations

import asyncio
import errno
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobqueue.backend.journal.snapshot_walk import SnapshotWalk
from jobqueue.backend.journal.writer import Writer
from jobqueue.core.events import Submitted
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, Uniqueness
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.core.tuning import TUNING
from jobqueue.errors import JobGone, JobNotFound, JournalDamaged, JournalError, JournalFailed, JournalFull
from tests.backend.journal.faulty_disk import Fault, FaultyDisk
from tests.backend.journal.keeping import FOLDER, SEGMENT_BYTES, begun, kept_backend, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.backend.journal.journal import Journal
    from jobqueue.backend.journal.records import Record
    from jobqueue.backend.journaled import JournaledBackend

SPEC = JobSpec(type="echo")
LATER = JobSpec(type="echo", own=True, delay_s=1000.0)
NEXT_YEAR = JobSpec(type="echo", own=True, delay_s=3e7)
SMALL = JobSpec(type="echo", queue="small")
QUEUES = {"default": QueuePolicy(), "small": QueuePolicy()}
KEYED = Uniqueness("caller", None, IdempotencyKey("key", b"print"))
SYNCS = pytest.mark.parametrize("sync", ["always", "interval"])


async def stopped(backend: JournaledBackend, disk: FaultyDisk) -> FaultyDisk:
    await backend.stop()
    return disk.after_crash()  # what is not synced by now is lost


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


@virtual_time
async def test_the_next_job_of_a_type_writes_the_record_of_its_spec_that_could_not_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append, errors = Writer.append, list[MemoryError]()

    def append_or_raise(writer: Writer, record: Record) -> None:
        if errors:
            raise errors.pop()
        append(writer, record)

    monkeypatch.setattr(Writer, "append", append_or_raise)
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    await asyncio.sleep(0.1)
    errors.append(MemoryError())
    with pytest.raises(MemoryError):
        await backend.submit(SPEC)
    receipt = await backend.submit(SPEC)
    backend, _ = await begun(disk.copy())
    assert (await backend.get(receipt.job.id)).spec == SPEC


@virtual_time
async def test_a_journal_has_all_events_of_a_step_in_which_another_listener_raises() -> None:
    def raising(event: Submitted) -> None:
        raise MemoryError

    disk = FaultyDisk()
    backend, _ = await begun(disk)
    unsubscribe = backend.subscribe(raising, Submitted)
    with pytest.raises(MemoryError):
        await backend.submit_together([(SPEC, b"{}", None, None)] * 2)
    unsubscribe()
    receipt = await backend.submit(SPEC)
    backend, _ = await begun(disk.copy())
    assert (await backend.get(receipt.job.id)).state is JobState.QUEUED
    assert backend.stats()[0].live == 3


@SYNCS
@virtual_time
async def test_a_stop_leaves_all_jobs_to_the_next_process(sync: Any) -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk, sync=sync)
    assert journal.figures().recovered == {}
    waiting = (await backend.submit(SPEC, b'{"a":1}', uniqueness=KEYED)).job
    later = (await backend.submit(LATER)).job
    lease = await backend.lease()
    done = (await backend.submit(SPEC)).job
    await backend.ack(lease.job_id, lease.attempt, Success(b"7"))
    await backend.pause("default", reason="no")
    disk = await stopped(backend, disk)

    backend, journal = await begun(disk, sync=sync)
    assert (await backend.get(waiting.id)).result == b"7"
    assert [(await backend.get(each.id)).state for each in (later, done)] == [JobState.DELAYED, JobState.QUEUED]
    assert (await backend.submit(SPEC, b'{"a":1}', uniqueness=KEYED)).job.id == waiting.id
    assert backend.stats()[1][0].pause is not None
    assert (journal.unclean_starts, journal.figures().recovered) == (0, {"succeeded": 1, "delayed": 1, "queued": 1})
    new = (await backend.submit(SPEC)).job
    assert new.id > max(waiting.id, later.id, done.id)
    with pytest.raises(JobNotFound):
        await backend.get("x" * 22)
    await stopped(backend, disk)


@SYNCS
@virtual_time
async def test_a_crash_loses_nothing_that_was_answered(sync: Any) -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk, sync=sync)
    jobs = [(await backend.submit(spec)).job for spec in (SPEC, SPEC, LATER, JobSpec(type="echo", attempts_max=2))]
    gone = (await backend.submit(LATER)).job
    await backend.cancel(gone.id)
    await backend.delete(gone.id)
    first, second = await backend.lease(), await backend.lease()
    await backend.ack(first.job_id, first.attempt, Success(b"1"))
    third = await backend.lease()
    assert third.job_id == jobs[3].id
    await asyncio.sleep(0.2)
    found = disk.after_crash() if sync == "always" else disk.copy()

    again, journal = await begun(found, sync=sync)
    states = [(await again.get(job.id)).state for job in jobs]
    assert states == [JobState.SUCCEEDED, JobState.FAILED, JobState.DELAYED, JobState.QUEUED]
    crashed = await again.get(second.job_id)
    assert crashed.extras is not None
    assert crashed.extras.error is not None
    assert crashed.extras.error.code is ErrorCode.WORKER_CRASHED
    with pytest.raises(JobGone):
        await again.get(gone.id)
    lease = await again.lease()
    assert (lease.job_id, lease.attempt > third.attempt, lease.recovered) == (jobs[3].id, True, True)
    assert journal.unclean_starts == 1
    await until(lambda: journal.figures().snapshot_at is not None)
    await stopped(again, found)


@virtual_time
async def test_starts_after_crashes_are_counted_within_a_minute() -> None:
    disk, counts = FaultyDisk(), []
    for wait_s in (0.0, 1.0, 1.0, 70.0, 1.0):
        await asyncio.sleep(wait_s)
        _, journal = await begun(disk)
        counts.append(journal.unclean_starts)
        await asyncio.sleep(0.5)
        disk = disk.copy()
    assert counts == [0, 1, 2, 1, 2]


@virtual_time
async def test_a_submission_returns_once_it_is_on_disk() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk)
    syncs = disk.calls["sync_data"]
    job = (await backend.submit(SPEC)).job
    assert disk.calls["sync_data"] > syncs
    backend, _ = await begun(disk.after_crash())
    assert (await backend.get(job.id)).id == job.id
    assert journal.figures().commits_total


@virtual_time
async def test_many_submissions_at_once_share_a_commit() -> None:
    backend, journal = await begun(FaultyDisk())
    before = journal.figures().commits_total
    await asyncio.gather(*(backend.submit(SPEC) for _ in range(200)))
    assert journal.figures().commits_total <= before + 2


@SYNCS
@virtual_time
async def test_a_disk_that_fails_rejects_until_fresh_files_hold_everything(sync: Any) -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk, sync=sync)
    kept = (await backend.submit(SPEC)).job
    running = await backend.lease()
    kinds = ("write", "sync_data") if sync == "interval" else ("sync_data",)
    disk.faults = [Fault(kind, disk.calls[kind] + 1, errno.EIO, for_ever=True) for kind in kinds]
    with pytest.raises(JournalFailed, match="can't be written: Input/output error"):
        await backend.submit(LATER)
    assert backend.stats()[0].live == 1, "what was rejected is no job"
    for change in (backend.submit(SPEC), backend.cancel(kept.id), backend.pause("default")):
        with pytest.raises(JournalFailed):
            await change
    assert isinstance(backend.refuse_unseen(), JournalFailed)
    await backend.ack(running.job_id, running.attempt, Success(b"1"))  # work goes on
    assert journal.figures().state == "failed"
    await asyncio.sleep(30)
    assert journal.figures().state == "failed"
    disk.faults = []
    await until(lambda: journal.figures().state == "ok")
    assert backend.refuse_unseen() is None
    new = (await backend.submit(LATER)).job
    assert disk.trusted_again == [], "a file that failed is never trusted again"
    again, _ = await begun(disk.after_crash() if sync == "always" else disk.copy(), sync=sync)
    assert (await again.get(kept.id)).state is JobState.SUCCEEDED
    assert (await again.get(new.id)).state is JobState.DELAYED


@virtual_time
async def test_a_drain_stays_one_while_the_disk_fails_and_recovers() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk)
    disk.faults = [Fault("sync_data", disk.calls["sync_data"] + 1)]
    with pytest.raises(JournalFailed):
        await backend.submit(SPEC)
    backend.stop_admitting()
    await until(lambda: journal.figures().state == "ok")
    refusal = backend.refuse_unseen()
    assert type(refusal).__name__ == "Draining"


@virtual_time
async def test_a_full_folder_rejects_jobs_and_becomes_smaller_when_they_end() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    disk.faults = [Fault("allocate", disk.calls["allocate"] + 1, errno.ENOSPC, for_ever=True)]
    args = b'{"a":"%b"}' % (b"x" * 9000)
    refused = None
    while refused is None:
        try:
            await backend.submit(LATER, args)
        except (JournalFull, JournalFailed) as error:
            refused = error
    await until(lambda: isinstance(backend.refuse_unseen(), JournalFull))
    live = backend.stats()[0].live
    await backend.bulk("cancel", JobFilter(), limit=1)  # what ends is still logged
    disk.faults = []
    await until(lambda: backend.refuse_unseen() is None)
    await backend.submit(LATER, args)
    assert backend.stats()[0].live == live
    await stopped(backend, disk)


@virtual_time
async def test_a_folder_that_snapshots_do_not_make_smaller_gets_few_and_one_soon_when_jobs_end() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk, bytes_max=6 * SEGMENT_BYTES)
    args = b'{"a":"%b"}' % (b"x" * 9000)
    refused = 0
    while refused < 300:
        try:
            await backend.submit(NEXT_YEAR, args)
        except (JournalFull, JournalFailed):
            refused += 1
            await asyncio.sleep(1)
        else:
            refused = 0
    assert isinstance(backend.refuse_unseen(), JournalFull)
    before = disk.calls["rename"]
    await asyncio.sleep(7200)
    # A segment and a snapshot each time.
    assert 2 <= disk.calls["rename"] - before <= 20, "not one a minute"
    assert journal.figures().state == "full"
    await backend.bulk("cancel", JobFilter())
    while journal.figures().state != "ok":
        await asyncio.sleep(0.05)
    await stopped(backend, disk)


@virtual_time
async def test_the_log_becomes_a_snapshot_while_jobs_come_and_go() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk)
    held = [(await backend.submit(LATER)).job.id for _ in range(50)]
    while journal.figures().snapshot_at is None:
        await asyncio.gather(*(backend.submit(SPEC, b'{"a":"%b"}' % (b"x" * 500)) for _ in range(50)))
        while (lease := backend.lease_now()) is not None:
            await backend.ack(lease.job_id, lease.attempt, Success(b"1"))
        await asyncio.sleep(0.3)
    await until(lambda: journal.figures().segments <= 3)
    before = {view.id: view for view in (await backend.page(JobFilter(), limit=1000, cursor=None)).jobs}
    again, _ = await begun(disk.after_crash())
    found = {view.id: view for view in (await again.page(JobFilter(), limit=1000, cursor=None)).jobs}
    assert set(found) == set(before)
    assert all(found[job_id].state is JobState.DELAYED for job_id in held)
    assert {view.state for view in found.values()} == {JobState.DELAYED, JobState.SUCCEEDED}


@virtual_time
async def test_a_snapshot_that_fails_leaves_the_log() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk)
    job = (await backend.submit(LATER)).job
    disk.faults = [Fault("create", disk.calls["create"] + 1, errno.ENOSPC, for_ever=True)]
    found = await stopped(backend, disk)
    again, journal = await begun(found)
    assert (await again.get(job.id)).state is JobState.DELAYED
    assert journal.unclean_starts == 0, "it was a clean stop all the same"


@virtual_time
async def test_a_damaged_folder_is_refused_and_left_unchanged() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    for _ in range(5):
        await backend.submit(LATER)
    found = disk.after_crash()
    log = found.names_now["00000001.log"]
    log.data[60] ^= 1
    before = {name: bytes(file.data) for name, file in found.names_now.items()}
    with pytest.raises(JournalDamaged, match=r"00000001\.log: damaged at byte"):
        await begun(found)
    assert {name: bytes(file.data) for name, file in found.names_now.items()} == before
    assert not found.locked


@virtual_time
async def test_jobs_of_unknown_queues_and_types_are_refused_by_number_or_fail() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk, queues=QUEUES)
    small = (await backend.submit(SMALL)).job
    other = (await backend.submit(SPEC)).job
    found = await stopped(backend, disk)
    before = {name: bytes(file.data) for name, file in found.names_now.items()}
    with pytest.raises(JournalError, match=r"1 of the queue 'small'.*journal\.unknown: fail"):
        await begun(found)
    with pytest.raises(JournalError, match="2 of the type 'echo'"):
        await begun(found, queues=QUEUES, knows_type=lambda job_type: False)
    assert {name: bytes(file.data) for name, file in found.names_now.items()} == before
    again, _ = await begun(found, unknown="fail")
    assert (await again.get(small.id)).state is JobState.FAILED
    assert (await again.get(other.id)).state is JobState.QUEUED


@virtual_time
async def test_settings_changed_in_use_outlive_the_process() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    await backend.change_queue("default", QueuePolicy(capacity=3))
    again, journal = await begun(await stopped(backend, disk))
    assert journal.policies == {"default": QueuePolicy(capacity=3)}
    _, journal = await begun(await stopped(again, disk), queues={"default": QueuePolicy(capacity=9)})
    assert journal.policies == {}, "the configuration is another one"


@virtual_time
async def test_a_job_without_its_files_has_failed(tmp_path: Path) -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    file = StoredFile(str(FOLDER / "files" / "up-x" / "file-0"), "text/plain", 3)
    job = (await backend.submit(SPEC, upload=Upload(str(FOLDER / "files" / "up-x"), {"a": (file,)}))).job
    again, journal = await begun(disk.copy())
    found = await again.get(job.id)
    assert found.extras is not None
    assert found.extras.error is not None
    assert (found.state, found.extras.error.code) == (JobState.FAILED, ErrorCode.FILES_LOST)
    assert [each.id for each in journal.with_files] == [job.id]


@virtual_time
async def test_a_failed_job_can_be_retried_in_the_next_process() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    job = (await backend.submit(SPEC, b'{"a":1}')).job
    lease = await backend.lease()
    await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    again, _ = await begun(await stopped(backend, disk))
    assert (await again.retry(job.id)).state is JobState.QUEUED
    assert (await again.lease()).args == b'{"a":1}'


async def test_a_journal_that_was_not_restored_leaves_the_folder_as_it_is() -> None:
    disk = FaultyDisk()
    backend, journal = kept_backend(disk)
    before = dict(disk.names_now)
    await backend.stop()
    journal.unlock()
    assert (disk.names_now, disk.locked) == (before, False)
    assert journal.figures().state == "recovering"


@virtual_time
async def test_a_fault_within_a_snapshot_is_logged_and_jobs_are_still_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    disk = FaultyDisk()
    backend, _ = await begun(disk)
    first = (await backend.submit(LATER)).job
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotWalk, "go_on", broken)
        again, journal = await begun(disk.copy())  # after a crash it writes one
        await until(lambda: "journal.snapshot_failed" in caplog.text)
        second = (await again.submit(LATER)).job
        assert journal.figures().state == "ok"
        assert journal.figures().snapshot_at is None
        left = cast("FaultyDisk", journal._folder.disk).copy()
    third, _ = await begun(left)
    assert {(await third.get(each.id)).state for each in (first, second)} == {JobState.DELAYED}


@virtual_time
async def test_a_stop_with_a_snapshot_that_can_not_be_encoded_closes_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(walk: SnapshotWalk, now: float) -> bool:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    disk = FaultyDisk()
    backend, _ = await begun(disk)
    job = (await backend.submit(LATER)).job
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotWalk, "go_on", broken)
        left = await stopped(backend, disk)
    again, journal = await begun(left)
    assert (await again.get(job.id)).state is JobState.DELAYED
    assert journal.unclean_starts == 0, "the log says that it was closed"


@SYNCS
@virtual_time
async def test_no_change_begins_while_nothing_can_be_kept(sync: Any) -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk, sync=sync)
    waiting = (await backend.submit(LATER, uniqueness=KEYED)).job
    disk.faults = [Fault("write", disk.calls["write"] + 1)]
    with pytest.raises(JournalFailed):
        await backend.submit(LATER)
    for change in (backend.cancel(waiting.id), backend.submit(LATER, uniqueness=KEYED), backend.pause("default")):
        with pytest.raises(JournalFailed):
            await change
    assert (await backend.get(waiting.id)).state is JobState.DELAYED
    assert not backend.stats()[1][0].pause
    await until(lambda: journal.figures().state == "ok")
    assert (await backend.cancel(waiting.id)).state is JobState.CANCELLED


@SYNCS
@virtual_time
async def test_a_bulk_action_that_a_stop_overtakes_is_not_answered_as_kept(sync: Any) -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk, sync=sync)
    assert journal.settle()
    for _ in range(2 * TUNING.bulk_portion):
        await backend.submit(LATER)
    acting = asyncio.create_task(backend.bulk("cancel", JobFilter()))
    while backend.stats()[0].live > TUNING.bulk_portion:
        await asyncio.sleep(0)
    await backend.stop()
    with pytest.raises(JournalFailed, match="it is closed"):
        await acting
    with pytest.raises(JournalFailed, match="it is closed"):
        await backend.submit(SPEC)
    assert backend.stats()[0].live == 0, "what was rejected is no job"


@virtual_time
async def test_the_folder_of_a_closed_journal_stays_locked_until_it_is_given_up() -> None:
    disk = FaultyDisk()
    backend, journal = await begun(disk)
    await backend.stop()
    assert list(disk.open_files.values()) == [None], "the folder alone"
    journal.unlock()
    assert disk.open_files == {}


async def test_a_stop_while_a_snapshot_begins_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = await begun(FaultyDisk())
    disk = cast("FaultyDisk", cast("Journal", first._keeper)._folder.disk).copy()
    await first.stop()
    begins, goes_on, create = threading.Event(), threading.Event(), disk.create

    def create_later(path: Path) -> int:
        if path.name.endswith(".snap.tmp"):
            begins.set()
            assert goes_on.wait(30)
        return create(path)

    monkeypatch.setattr(disk, "create", create_later)
    again, journal = await begun(disk)  # after a crash it writes one
    assert await asyncio.to_thread(begins.wait, 30)
    stopping = asyncio.create_task(again.stop())
    await asyncio.sleep(0)
    goes_on.set()
    await stopping
    journal.unlock()
    assert disk.open_files == {}


@virtual_time
async def test_a_snapshot_that_the_end_of_the_loop_cancels_is_not_begun_again() -> None:
    disk = FaultyDisk()
    backend, _ = await begun(disk)
    await asyncio.gather(*(backend.submit(LATER, b'{"a":"%b"}' % (b"x" * 500)) for _ in range(300)))
    _, journal = await begun(disk.copy())
    assert journal._working is not None
    journal._working.cancel()
    await asyncio.wait([journal._working])
    await asyncio.sleep(5)
    assert (journal._working, journal.figures().snapshot_at) == (None, None)
