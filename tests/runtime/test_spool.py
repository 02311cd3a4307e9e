"""The spool alone: folders, locks, counters, and the files that each event removes."""
# ruff: noqa: ASYNC240 - a test may access files

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue.config import SpoolSettings
from jobqueue.core.events import Ended, Evicted
from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.job_extras import Extras
from jobqueue.core.report import ErrorCode, JobError
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.errors import ConfigError, SpoolFull
from jobqueue.runtime import spool as module
from jobqueue.runtime.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(SpoolSettings(dir=str(tmp_path), bytes_max=1000))
    await opened.open()
    yield opened
    await opened.close()


def job_of(upload: Upload | None, state: JobState = JobState.SUCCEEDED, file: StoredFile | None = None) -> Job:
    return Job(
        id=JobId("i" * 22),
        spec=JobSpec(type="t"),
        args=b"{}",
        upload=upload,
        state=state,
        created_at=0.0,
        run_at=0.0,
        extras=None if file is None else Extras(file=file),
    )


async def uploaded(spool: Spool, **files: bytes) -> Upload:
    async with spool.new_upload() as pending:
        for name, content in files.items():
            file = pending.new_file(name, "text/plain")
            await file.write(content)
            await file.finish()
        upload = pending.received()
        pending.keep()
    assert upload is not None
    return upload


async def settled(spool: Spool) -> None:
    while spool._removing is not None:
        await spool._removing


def written(path: Path, content: bytes) -> StoredFile:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return StoredFile(str(path), "text/plain", len(content))


async def test_an_upload_has_the_written_content(spool: Spool) -> None:
    upload = await uploaded(spool, a=b"1" * 300, b=b"")
    assert {name: Path(file.path).read_bytes() for name, (file,) in upload.files.items()} == {"a": b"1" * 300, "b": b""}
    assert spool.bytes_used == 300


async def test_an_upload_that_is_not_kept_is_removed(spool: Spool) -> None:
    async with spool.new_upload() as pending:
        file = pending.new_file("a", "text/plain")
        await file.write(b"1")
        await file.finish()
        assert len(list(spool.folder.rglob("file-*"))) == 1
    await settled(spool)
    assert list(spool.folder.iterdir()) == []
    assert spool.bytes_used == 0


async def test_an_upload_cancelled_during_a_write_is_removed_after_the_write(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, began = threading.Event(), asyncio.Event()
    loop, append = asyncio.get_running_loop(), module._append

    def slow(folder: str, path: str, data: bytearray) -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(5)
        append(folder, path, data)

    monkeypatch.setattr(module, "_append", slow)
    writing = asyncio.create_task(uploaded(spool, a=b"1"))
    await began.wait()
    writing.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not writing.done(), "the thread still writes"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await settled(spool)
    assert list(spool.folder.iterdir()) == []


async def test_bytes_over_the_bound_raise_spool_full_and_ended_jobs_release_theirs(spool: Spool) -> None:
    upload = await uploaded(spool, a=b"1" * 900)
    with pytest.raises(SpoolFull) as refused:
        await uploaded(spool, a=b"1" * 101)
    assert refused.value.retry_after_s > 0
    assert spool.bytes_used == 900
    spool.on_event(Ended(job_of(upload)))
    assert spool.bytes_used == 0
    await uploaded(spool, a=b"1" * 1000)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED])
async def test_inputs_are_removed_when_the_job_ends(spool: Spool, state: JobState) -> None:
    upload = await uploaded(spool, a=b"1")
    spool.on_event(Ended(job_of(upload, state)))
    await settled(spool)
    assert list(spool.folder.iterdir()) == []


async def test_a_failed_job_keeps_only_its_inputs_until_it_is_evicted(spool: Spool) -> None:
    upload = await uploaded(spool, a=b"1")
    job = job_of(upload, JobState.FAILED)
    job.attempt = 1
    written(spool.folder_of(job.id, job.upload) / "result-1", b"half")
    spool.on_event(Ended(job))
    await settled(spool)
    assert [path.name for path in Path(upload.folder).iterdir()] == ["file-0"]
    assert spool.bytes_used == 1
    spool.on_event(Evicted((job,)))
    await settled(spool)
    assert list(spool.folder.iterdir()) == []
    assert spool.bytes_used == 0


async def test_a_job_that_is_cancelled_for_its_parent_keeps_its_inputs_for_the_retry_of_its_flow(spool: Spool) -> None:
    upload = await uploaded(spool, a=b"1")
    job = job_of(upload, JobState.CANCELLED)
    job.error = JobError(ErrorCode.PARENT_FAILED, "the parent failed")
    spool.on_event(Ended(job))
    await settled(spool)
    assert [path.name for path in Path(upload.folder).iterdir()] == ["file-0"]


@pytest.mark.parametrize("with_upload", [True, False])
async def test_a_late_removal_keeps_the_files_of_a_retried_job(spool: Spool, with_upload: bool) -> None:
    upload = await uploaded(spool, a=b"1") if with_upload else None
    job = job_of(upload, JobState.FAILED)
    folder = spool.folder_of(job.id, job.upload)
    job.attempt = 9
    written(folder / "result-8", b"half")
    written(folder / "result-9", b"half")
    spool.on_event(Ended(job))
    # The next attempt begins before the removal reaches the folder.
    job.attempt = 10
    job.file = written(folder / "result-10", b"whole")
    await settled(spool)
    assert sorted(path.name for path in folder.iterdir()) == ["file-0", "result-10"][not with_upload :]
    job.state = JobState.SUCCEEDED
    spool.on_event(Ended(job))
    await settled(spool)
    assert [path.name for path in folder.iterdir()] == ["result-10"]
    assert spool.bytes_used == 5
    spool.on_event(Evicted((job,)))
    await settled(spool)
    assert list(spool.folder.iterdir()) == []
    assert spool.bytes_used == 0


@pytest.mark.parametrize("with_upload", [True, False])
async def test_a_result_file_is_counted_from_the_end_of_the_job_until_its_eviction(
    spool: Spool, with_upload: bool
) -> None:
    upload = await uploaded(spool, a=b"1" * 50) if with_upload else None
    job = job_of(upload)
    folder = spool.folder_of(job.id, job.upload)
    written(folder / "result-1", b"of an attempt that failed")
    job.file = written(folder / "result-2", b"2" * 700)
    spool.on_event(Ended(job))
    await settled(spool)
    assert [path.name for path in folder.iterdir()] == ["result-2"]
    assert spool.bytes_used == 700
    spool.on_event(Evicted((job,)))
    await settled(spool)
    assert not folder.exists()
    assert spool.bytes_used == 0


@pytest.mark.parametrize("with_upload", [True, False])
async def test_a_file_that_an_abandoned_handler_writes_is_removed_with_the_record(
    spool: Spool, with_upload: bool
) -> None:
    upload = await uploaded(spool, a=b"1") if with_upload else None
    job = job_of(upload, JobState.CANCELLED)
    folder = spool.folder_of(job.id, job.upload)
    spool.on_event(Ended(job))
    await settled(spool)
    written(folder / "result-1", b"late")
    spool.on_event(Evicted((job,)))
    await settled(spool)
    assert list(spool.folder.iterdir()) == []


async def test_a_job_without_files_starts_no_removal(spool: Spool) -> None:
    spool.on_event(Ended(job_of(None)))
    spool.on_event(Evicted((job_of(None),)))
    assert spool._removing is None


async def test_a_folder_that_was_never_made_is_no_error(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    spool.folder_of(job_of(None).id, None)
    spool.on_event(Ended(job_of(None)))
    await settled(spool)
    assert not caplog.records


async def test_close_removes_the_folder_of_the_run(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    await spool.open()
    await uploaded(spool, a=b"1")
    await spool.close()
    assert [path.name for path in tmp_path.rglob("*")] == [f"jobqueue-{os.geteuid()}"]


async def test_folders_of_dead_runs_are_removed_and_those_of_live_ones_kept(tmp_path: Path, spool: Spool) -> None:
    await uploaded(spool, a=b"1")
    code = (
        "import asyncio, os, sys\n"
        "from jobqueue.config import SpoolSettings\n"
        "from jobqueue.runtime.spool import Spool\n"
        "spool = Spool(SpoolSettings(dir=sys.argv[1]))\n"
        "asyncio.run(spool.open())\n"
        "(spool.folder / 'left').write_text('x')\n"
        "print(spool.folder, flush=True)\n"
        "os._exit(9)\n"
    )
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    dead = Path((await run.communicate())[0].decode().strip())
    assert (dead / "left").exists()
    later = Spool(SpoolSettings(dir=str(tmp_path)))
    await later.open()
    await settled(later)
    assert not dead.exists()
    assert spool.folder.exists()
    await later.close()


async def test_a_shared_base_folder_gets_owner_only_permissions(tmp_path: Path) -> None:
    base = tmp_path / f"jobqueue-{os.geteuid()}"
    base.mkdir(mode=0o755)
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    await spool.open()
    assert base.stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 != 0, "the configured folder keeps its permissions"
    await spool.close()


async def test_a_symbolic_link_as_the_base_folder_raises_config_error(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"jobqueue-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"spool\.dir"):
        await spool.open()
    await spool.close()


async def test_a_file_as_the_configured_folder_raises_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(SpoolSettings(dir=str(tmp_path / "file")))
    with pytest.raises(ConfigError, match=r"spool\.dir"):
        await spool.open()
    await spool.close()


async def test_a_failed_removal_is_logged(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upload = await uploaded(spool, a=b"1")

    def refuse(path: str) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr("shutil.rmtree", refuse)
    spool.on_event(Evicted((job_of(upload),)))
    await settled(spool)
    monkeypatch.undo()
    assert "spool.remove_failed" in caplog.text


def test_a_missing_run_folder_is_not_dead(tmp_path: Path) -> None:
    assert module._is_dead(tmp_path / "run-gone") is False


async def test_entries_that_are_no_run_folders_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / f"jobqueue-{os.geteuid()}"
    elsewhere = tmp_path / "elsewhere"
    for folder in (base, elsewhere, base / "run-dead", base / "run-closed"):
        folder.mkdir()
    (elsewhere / "kept").touch()
    (base / "run-x").write_text("a stray file")
    (base / "run-link").symlink_to(elsewhere)
    (base / "run-lost").symlink_to(tmp_path / "missing")
    os.mkfifo(base / "run-pipe")
    opening = module._open_folder

    def open_or_refuse(folder: Path) -> int:
        if folder.name == "run-closed":  # for root, no folder is closed
            raise PermissionError(errno.EACCES, "Permission denied")
        return opening(folder)

    monkeypatch.setattr(module, "_open_folder", open_or_refuse)
    opened = Spool(SpoolSettings(dir=str(tmp_path)))
    await opened.open()
    await settled(opened)
    await opened.close()
    warnings = [dict(record.msg.fields) for record in caplog.records if "spool.entry_ignored" in record.getMessage()]  # type: ignore[attr-defined]  # an EventMessage
    assert {Path(fields["path"]).name: fields["reason"] for fields in warnings} == {
        "run-x": "Not a directory",
        "run-link": "is a symbolic link",
        "run-lost": "is a symbolic link",
        "run-pipe": "Not a directory",
        "run-closed": "Permission denied",
    }
    assert sorted(path.name for path in base.iterdir()) == ["run-closed", "run-link", "run-lost", "run-pipe", "run-x"]
    assert (elsewhere / "kept").exists()


async def test_a_tilde_expands_to_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    opened = Spool(SpoolSettings(dir="~/files"))
    await opened.open()
    assert opened.folder.is_relative_to(tmp_path / "files")
    await opened.close()
    with pytest.raises(ConfigError, match=r"^spool\.dir: ~no-such-user is not a home folder$"):
        await Spool(SpoolSettings(dir="~no-such-user/x")).open()
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
