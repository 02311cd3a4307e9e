"""The spool by itself: folders, locks, counting, and what each event removes."""
# ruff: noqa: ASYNC240 - a test may look at the disk

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
from jobqueue.core.job import Job, JobId, JobSpec, JobState, StoredFile, Upload
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
        file=file,
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


async def test_an_upload_is_what_was_written(spool: Spool) -> None:
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


async def test_an_upload_that_is_cancelled_while_it_is_written_is_removed_after_the_write(
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


async def test_bytes_over_the_bound_are_refused_and_those_of_ended_jobs_free_again(spool: Spool) -> None:
    upload = await uploaded(spool, a=b"1" * 900)
    with pytest.raises(SpoolFull) as refused:
        await uploaded(spool, a=b"1" * 101)
    assert refused.value.retry_after_s > 0
    assert spool.bytes_used == 900
    spool.on_event(Ended(job_of(upload)))
    assert spool.bytes_used == 0
    await uploaded(spool, a=b"1" * 1000)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED])
async def test_inputs_go_when_the_job_ends(spool: Spool, state: JobState) -> None:
    upload = await uploaded(spool, a=b"1")
    spool.on_event(Ended(job_of(upload, state)))
    await settled(spool)
    assert list(spool.folder.iterdir()) == []


async def test_a_failed_job_keeps_its_inputs_and_nothing_else_until_it_is_evicted(spool: Spool) -> None:
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


@pytest.mark.parametrize("with_upload", [True, False])
async def test_a_removal_that_comes_late_takes_nothing_of_a_job_that_was_sent_round_again(
    spool: Spool, with_upload: bool
) -> None:
    upload = await uploaded(spool, a=b"1") if with_upload else None
    job = job_of(upload, JobState.FAILED)
    folder = spool.folder_of(job.id, job.upload)
    job.attempt = 9
    written(folder / "result-8", b"half")
    written(folder / "result-9", b"half")
    spool.on_event(Ended(job))
    # Its next attempt begins before a thread gets to its folder.
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
async def test_a_result_file_is_counted_from_the_end_and_goes_with_the_record(spool: Spool, with_upload: bool) -> None:
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


async def test_a_job_that_has_no_files_costs_no_removal(spool: Spool) -> None:
    spool.on_event(Ended(job_of(None)))
    spool.on_event(Evicted((job_of(None),)))
    assert spool._removing is None


async def test_a_folder_that_was_handed_out_and_never_made_is_no_fault(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.folder_of(job_of(None).id, None)
    spool.on_event(Ended(job_of(None)))
    await settled(spool)
    assert not caplog.records


async def test_the_run_takes_everything_with_it(tmp_path: Path) -> None:
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    await spool.open()
    await uploaded(spool, a=b"1")
    await spool.close()
    assert [path.name for path in tmp_path.rglob("*")] == [f"jobqueue-{os.geteuid()}"]


async def test_folders_of_dead_runs_are_removed_and_those_of_live_ones_not(tmp_path: Path, spool: Spool) -> None:
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


async def test_a_folder_that_someone_else_may_write_to_is_closed_to_them(tmp_path: Path) -> None:
    base = tmp_path / f"jobqueue-{os.geteuid()}"
    base.mkdir(mode=0o755)
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    await spool.open()
    assert base.stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 != 0, "the configured folder itself is left alone"
    await spool.close()


async def test_a_symbolic_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"jobqueue-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    spool = Spool(SpoolSettings(dir=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"spool\.dir"):
        await spool.open()
    await spool.close()


async def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(SpoolSettings(dir=str(tmp_path / "file")))
    with pytest.raises(ConfigError, match=r"spool\.dir"):
        await spool.open()
    await spool.close()


async def test_what_cannot_be_removed_is_told(
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


def test_a_folder_that_another_server_has_just_removed_is_nobodys_remains(tmp_path: Path) -> None:
    assert module._is_dead(tmp_path / "run-gone") is False


async def test_what_is_called_like_a_run_and_is_none_is_passed_over_with_a_warning(
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
    told = [dict(record.msg.fields) for record in caplog.records if "spool.entry_ignored" in record.getMessage()]  # type: ignore[attr-defined]
    assert {Path(fields["path"]).name: fields["reason"] for fields in told} == {
        "run-x": "Not a directory",
        "run-link": "is a symbolic link",
        "run-lost": "is a symbolic link",
        "run-pipe": "Not a directory",
        "run-closed": "Permission denied",
    }
    assert sorted(path.name for path in base.iterdir()) == ["run-closed", "run-link", "run-lost", "run-pipe", "run-x"]
    assert (elsewhere / "kept").exists()


async def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    opened = Spool(SpoolSettings(dir="~/files"))
    await opened.open()
    assert opened.folder.is_relative_to(tmp_path / "files")
    await opened.close()
    with pytest.raises(ConfigError, match=r"^spool\.dir: ~nobody-of-that-name is not a home folder$"):
        await Spool(SpoolSettings(dir="~nobody-of-that-name/x")).open()
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
