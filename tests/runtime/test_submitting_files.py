"""Files submitted in-process: copied into the spool within the limits of uploads, and removed with their job."""

from __future__ import annotations

import io
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.config import LimitsSettings, QueueSettings, Settings, SpoolSettings
from jobqueue.errors import Duplicate, InvalidSubmission, QueueFull, SpoolFull, UnknownType
from tests.runtime.pools import blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def running(tmp_path: Path, **changes: Any) -> AsyncIterator[JobQueue]:
    parts = {
        "spool": SpoolSettings(dir=str(tmp_path / "spool"), bytes_max=2000),
        "limits": LimitsSettings(files=3, files_bytes=1000),
        **changes,
    }
    queue = JobQueue(Settings(**parts))

    @queue.handler
    async def on_the_loop(ctx: JobContext) -> Any:
        return files_of(ctx)

    @queue.handler
    def in_a_thread(ctx: JobContext) -> Any:
        return files_of(ctx)

    queue.handler(blocking.list_files, name="in_a_process", run_in="process")
    async with queue:
        yield queue


def files_of(ctx: JobContext) -> Any:
    return blocking.list_files(ctx)


def spooled(tmp_path: Path) -> list[str]:
    return [name for _, _, names in os.walk(tmp_path / "spool") for name in names]


@pytest.mark.parametrize("handler", ["on_the_loop", "in_a_thread", "in_a_process"])
async def test_any_kind_of_file_reaches_any_kind_of_handler(tmp_path: Path, handler: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"1,2")
    async with running(tmp_path) as queue:
        with path.open("rb") as opened:
            files = {"p": path, "o": [opened, io.BytesIO(b"xyz")]}
            job = await queue.submit(handler, files=files)
        assert await job.result(timeout_s=30) == {
            "p": [["table.csv", "text/csv", 3, "1,2"]],
            "o": [["table.csv", "text/csv", 3, "1,2"], ["o", "application/octet-stream", 3, "xyz"]],
        }


async def test_a_submitted_file_is_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    async with running(tmp_path) as queue:
        await queue.pause("default")
        job = await queue.submit("on_the_loop", files={"a": path})
        path.unlink()
        await queue.resume("default")
        assert (await job.result(timeout_s=10))["a"][0][3] == "before"


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        ({"a": [b""] * 4}, "at most 3 files \\(limits.files\\), not 4"),
        ({"a": b"x" * 600, "b": b"x" * 600}, "1200 bytes together, and 1000 are allowed \\(limits.files_bytes\\)"),
    ],
)
async def test_files_over_the_upload_limits_are_rejected(tmp_path: Path, files: Any, detail: str) -> None:
    async with running(tmp_path) as queue:
        with pytest.raises(InvalidSubmission, match=f"/files: .*{detail}"):
            await queue.submit("on_the_loop", files=files)
        assert (spooled(tmp_path), queue.service.spool.bytes_used) == ([], 0)


async def test_a_full_spool_rejects_files_until_a_job_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as queue:
        await queue.pause("default")
        held = [await queue.submit("on_the_loop", files={"a": b"x" * 900}) for _ in range(2)]
        with pytest.raises(SpoolFull):
            await queue.submit("on_the_loop", files={"a": b"x" * 900})
        await queue.resume("default")
        for job in held:
            await job.wait(10)
        await queue.submit("on_the_loop", files={"a": b"x" * 900})


async def test_a_rejected_submission_leaves_no_file(tmp_path: Path) -> None:
    one = {"default": QueueSettings(workers=1, capacity=1)}
    async with running(tmp_path, queues=one) as queue:
        await queue.pause("default")
        files = {"a": b"x" * 10}
        with pytest.raises(UnknownType):
            await queue.submit("nope", files=files)
        with pytest.raises(TypeError, match="the file 'b' takes"):
            await queue.submit("on_the_loop", files={"a": b"x", "b": 7})  # type: ignore[dict-item]  # invalid on purpose
        with pytest.raises(FileNotFoundError):
            await queue.submit("on_the_loop", files={"a": b"x", "b": tmp_path / "none"})
        first = await queue.submit("on_the_loop", files=files, unique="u")
        with pytest.raises(QueueFull):
            await queue.submit("on_the_loop", files=files)
        with pytest.raises(Duplicate):
            await queue.submit("on_the_loop", files=files, unique="u", unique_mode="reject")
        assert (await queue.submit("on_the_loop", files=files, unique="u")).id == first.id
        assert queue.service.spool.bytes_used == 10
        await queue.resume("default")
        await first.wait(10)
        assert queue.service.spool.bytes_used == 0
