"""A JobQueue with a journal, as an application has it: settings, files, and starts after crashes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.config import JournalSettings, Settings, SpoolSettings
from jobqueue.errors import ConfigError, JournalError, LifespanFailed
from jobqueue.runtime.kept_spool import KeptSpool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from jobqueue import JobHandle
    from jobqueue.errors import JournalFailed


def made(folder: Path, **journal: Any) -> JobQueue:
    queue = JobQueue(Settings(journal=JournalSettings(dir=str(folder), **journal)))

    @queue.handler
    async def echo(value: int = 0) -> int:
        return value

    @queue.handler
    async def write(ctx: JobContext) -> int:
        ctx.result_file("text/plain").write_bytes(b"result")
        return ctx.files["a"].stat().st_size

    return queue


@contextlib.asynccontextmanager
async def running(queue: JobQueue) -> AsyncIterator[JobQueue]:
    """Run a queue for the block, and stop it without working its jobs off."""
    await queue.start()
    try:
        yield queue
    finally:
        await queue.stop()


def after_crash(folder: Path, number: int) -> Path:
    """Return a copy of a folder in use: what the next process finds."""
    copy = folder.with_name(f"{folder.name}-{number}")
    while True:
        try:
            shutil.copytree(folder, copy)
        except shutil.Error:  # a file was just given its name, or removed
            shutil.rmtree(copy)
        else:
            return copy


async def test_starts_after_crashes_in_a_row_begin_with_all_queues_paused(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    for number in range(3):
        queue = made(folder)
        async with running(queue):
            assert not any(each.pause for each in queue.service.backend.stats()[1])
            folder = after_crash(folder, number)
    async with running(made(folder)) as queue:
        (default,) = queue.service.backend.stats()[1]
        assert default.pause is not None
        assert default.pause.reason is not None
        assert default.pause.reason.startswith("the server has crashed 3 times within a minute")
        job = await queue.submit("echo", {"value": 3})
        await queue.resume("default")
        assert await job.result() == 3
    async with running(made(folder)) as queue:
        assert not any(each.pause for each in queue.service.backend.stats()[1]), "that was a clean stop"


async def test_files_follow_a_folder_that_was_moved(tmp_path: Path) -> None:
    folder, file = tmp_path / "journal", tmp_path / "a"
    file.write_text("content")
    async with running(made(folder)) as queue:
        first = await queue.submit("write", files={"a": file})
        assert await first.result() == 7
        second = await queue.submit("write", files={"a": file}, delay_s=1000)
        used = queue.service.spool.bytes_used
    moved = folder.rename(tmp_path / "moved")
    async with running(made(moved)) as queue:
        assert queue.service.spool.bytes_used == used == len("content") + len("result")
        stored = (await queue.service.backend.get(first.id)).file
        assert stored is not None
        assert stored.path.startswith(str(moved))
        await queue.service.backend.run_now(second.id)
        assert await queue.job(second.id).result() == 7
        await queue.service.backend.delete(first.id)
    assert len(list((moved / "files").iterdir())) == 1, "the second one's result"


async def test_files_without_a_record_are_removed_and_jobs_without_files_have_failed(tmp_path: Path) -> None:
    folder, file = tmp_path / "journal", tmp_path / "a"
    file.write_text("content")
    async with running(made(folder)) as queue:
        job = await queue.submit("write", files={"a": file}, delay_s=1000)
    (kept,) = (folder / "files").iterdir()
    shutil.rmtree(kept)
    (folder / "files" / "up-left").mkdir()
    (folder / "files" / "job-left").mkdir()
    (folder / "files" / "notes").mkdir()
    async with running(made(folder)) as queue:
        found = await queue.service.backend.get(job.id)
        assert found.extras is not None
        assert found.extras.error is not None
        assert found.extras.error.code == "files_lost"
    assert [path.name for path in (folder / "files").iterdir()] == ["notes"]


@pytest.mark.parametrize("repeated", [True, False])
async def test_files_of_a_cancelled_submission_stay_as_its_job_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeated: bool
) -> None:
    folder, file = tmp_path / "journal", tmp_path / "a"
    file.write_text("content")
    waiting: list[Callable[[JournalFailed | None], None]] = []
    async with running(made(folder)) as queue:
        backend: Any = queue.service.backend
        monkeypatch.setattr(backend._keeper, "when_kept", waiting.append)
        monkeypatch.setattr(backend._keeper, "settle", lambda: False)

        async def submitted(number: int) -> asyncio.Task[JobHandle]:
            """Submit, until it waits for the disk."""
            submitting = queue.submit("write", files={"a": file}, delay_s=1000, unique="the same")
            task = asyncio.create_task(submitting)
            while len(waiting) < number:
                await asyncio.sleep(0)
            return task

        first = await submitted(1)
        second = await submitted(2) if repeated else None
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        monkeypatch.undo()
        for done in waiting:
            done(None)
        if second is not None:
            job = await second
            await backend.run_now(job.id)
            assert await job.result() == len("content")
        assert backend.stats()[0].live == 0
    assert len(list((folder / "files").glob("up-*/file-*"))) == 0, "whatever is over leaves no upload"


@pytest.mark.parametrize(("left", "state"), [(b"", "failed"), (b"cont", "failed"), (b"content and more", "delayed")])
async def test_a_job_with_a_file_that_was_cut_short_has_failed(tmp_path: Path, left: bytes, state: str) -> None:
    folder, file = tmp_path / "journal", tmp_path / "a"
    file.write_text("content")
    async with running(made(folder)) as queue:
        job = await queue.submit("write", files={"a": file}, delay_s=1000)
    (upload,) = (folder / "files").iterdir()
    (stored,) = upload.iterdir()
    stored.write_bytes(left)
    async with running(made(folder)) as queue:
        found = await queue.service.backend.get(job.id)
        assert found.state == state


async def test_a_spool_folder_beside_a_journal_is_a_fault(tmp_path: Path) -> None:
    settings = Settings(
        journal=JournalSettings(dir=str(tmp_path / "journal")), spool=SpoolSettings(dir=str(tmp_path / "spool"))
    )
    with pytest.raises(ConfigError, match=r"spool\.dir: must not be set beside journal\.dir"):
        await JobQueue(settings).start()
    assert os.listdir(tmp_path) == []


async def test_a_second_queue_on_a_folder_does_not_start_until_the_first_one_stops(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    async with running(made(folder)):
        with pytest.raises(JournalError, match="another process uses it"):
            await made(folder).start()
    async with running(made(folder)):
        pass


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stop_gives_the_folder_up_last(tmp_path: Path, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, left = tmp_path / "journal", []
    queue = made(folder)

    @queue.lifespan
    @contextlib.asynccontextmanager
    async def until_all_has_ended(queue: JobQueue) -> AsyncIterator[None]:
        yield
        with pytest.raises(JournalError, match="another process uses it"):
            JournalFolder.open_existing(folder)
        left.append(folder)

    close = KeptSpool.close

    async def close_and_fail(spool: KeptSpool) -> None:
        await close(spool)
        raise OSError("no")

    await queue.start()
    if fails:
        monkeypatch.setattr(KeptSpool, "close", close_and_fail)
    with pytest.raises(OSError, match="no") if fails else contextlib.nullcontext():
        await queue.stop()
    assert left == [folder]
    JournalFolder.open_existing(folder).close()


async def test_a_start_that_fails_gives_the_folder_up(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    queue = made(folder)

    @queue.lifespan
    @contextlib.asynccontextmanager
    async def broken(queue: JobQueue) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    with pytest.raises(LifespanFailed):
        await queue.start()
    async with running(made(folder)) as later:
        assert await (await later.submit("echo")).result() == 0


async def test_many_jobs_in_flight_at_a_stop_are_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    queue = made(folder)
    started = asyncio.Event()

    @queue.handler
    async def hold() -> None:
        started.set()
        await asyncio.Event().wait()

    async with running(queue):
        jobs = [await queue.submit("hold") for _ in range(20)]
        await started.wait()
    queue = made(folder)

    @queue.handler(name="hold")
    async def quick() -> int:
        return 1

    async with running(queue):
        assert [await queue.job(job.id).result() for job in jobs] == [1] * 20
