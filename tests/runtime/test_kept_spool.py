"""The spool beside a journal: files go when it is kept that nothing needs them, and not before."""
# ruff: noqa: ASYNC240 - a test may access files

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue.config import SpoolSettings
from jobqueue.core.events import Ended, Evicted, Submitted
from jobqueue.core.job import JobState
from jobqueue.errors import JournalFailed
from jobqueue.runtime import kept_spool as module
from jobqueue.runtime.kept_spool import KeptSpool
from tests.runtime.test_spool import job_of, settled, uploaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FAILED = JournalFailed("the disk is broken", 10.0)


class Kept:
    """What waits for the journal."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[JournalFailed | None], None]] = []

    def tell(self, error: JournalFailed | None = None) -> None:
        told = self.waiting.copy()
        self.waiting.clear()
        for done in told:
            done(error)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def spool(tmp_path: Path, kept: Kept) -> AsyncIterator[KeptSpool]:
    spool = KeptSpool(SpoolSettings(), tmp_path / "files", syncs=False, when_kept=kept.waiting.append)
    await spool.open()
    spool.follow(lambda listener, *kinds: lambda: None)
    yield spool
    await spool.close()


async def test_submissions_are_heard_while_files_were_received_that_no_job_has_yet(spool: KeptSpool) -> None:
    heard: list[object] = []

    def subscribe(listener: object, *kinds: object) -> Callable[[], None]:
        def unsubscribe() -> None:
            for kind in kinds:
                heard.remove(kind)

        heard.extend(kinds)
        return unsubscribe

    spool.follow(subscribe)
    assert Submitted not in heard
    first, second = spool.new_upload(), spool.new_upload()
    assert heard.count(Submitted) == 1
    spool.discard(first.folder)
    assert Submitted in heard
    spool.discard(second.folder)
    spool.discard(second.folder)
    assert Submitted not in heard


async def test_files_that_come_before_any_event_go_to_their_job(tmp_path: Path, kept: Kept) -> None:
    spool = KeptSpool(SpoolSettings(), tmp_path / "files", syncs=False, when_kept=kept.waiting.append)
    await spool.open()
    discarded, upload = spool.new_upload(), spool.new_upload()
    spool.discard(discarded.folder)
    heard: list[object] = []

    def subscribe(listener: object, *kinds: object) -> Callable[[], None]:
        heard.extend(kinds)
        return lambda: None

    spool.follow(subscribe)
    assert Submitted in heard
    spool.discard(upload.folder)
    await spool.close()


@pytest.mark.parametrize("event", ["ended", "evicted"])
async def test_files_of_a_job_are_there_until_its_end_is_kept(spool: KeptSpool, kept: Kept, event: str) -> None:
    upload = await uploaded(spool, a=b"abc")
    job = job_of(upload, JobState.SUCCEEDED)
    spool.on_event(Ended(job) if event == "ended" else Evicted((job,)))
    await settled(spool)
    assert Path(upload.folder).exists()
    kept.tell()
    await settled(spool)
    assert not Path(upload.folder).exists()


async def test_files_are_removed_after_a_failure_of_the_journal(
    spool: KeptSpool, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    uploads = [await uploaded(spool, a=b"abc") for _ in range(3)]
    for upload in uploads:
        spool.on_event(Ended(job_of(upload)))
    kept.tell(FAILED)
    while not kept.waiting:
        await asyncio.sleep(0)
    assert len(kept.waiting) == 1
    assert all(Path(upload.folder).exists() for upload in uploads)
    kept.tell()
    await settled(spool)
    assert not any(Path(upload.folder).exists() for upload in uploads)


async def test_files_of_terminal_jobs_that_a_crash_has_left_are_removed_at_the_next_start(
    spool: KeptSpool, kept: Kept
) -> None:
    job = job_of(await uploaded(spool, a=b"abc"))
    failed = job_of(await uploaded(spool, a=b"abc"), JobState.FAILED)
    await spool.adopt([job, failed])
    kept.tell()
    await settled(spool)
    assert job.upload is not None
    assert failed.upload is not None
    assert not Path(job.upload.folder).exists()
    assert [path.read_bytes() for path in Path(failed.upload.folder).iterdir()] == [b"abc"]


async def test_a_closed_spool_removes_nothing(spool: KeptSpool, kept: Kept) -> None:
    upload = await uploaded(spool, a=b"abc")
    spool.on_event(Ended(job_of(upload)))
    await spool.close()
    kept.tell()
    await asyncio.sleep(0)
    assert Path(upload.folder).exists()
