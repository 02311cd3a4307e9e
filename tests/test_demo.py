"""The built-in demo handlers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, Reject
from jobqueue.demo import digest, queue
from jobqueue.errors import InvalidSubmission, JobFailed
from jobqueue.files.uploaded import UploadedFile, UploadedFiles
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from pathlib import Path


async def outcome(type: str, args: dict[str, Any]) -> Any:
    async with queue:
        job = await queue.submit(type, args)
        return await job.result(timeout_s=60)


@virtual_time
async def test_echo_returns_its_arguments() -> None:
    assert await outcome("echo", {"text": "hello", "list": [1, None]}) == {"text": "hello", "list": [1, None]}
    assert await outcome("echo", {}) == {}


@virtual_time
async def test_sleep_takes_a_time_within_its_arguments() -> None:
    async with queue:
        job = await queue.submit("sleep", {"min_s": 5, "max_s": 10})
        slept_s = (await job.result())["slept_s"]
        record = await job.status()
    assert 5 <= slept_s <= 10
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.finished_at - record.started_at == pytest.approx(slept_s, abs=0.01)
    assert await outcome("sleep", {"min_s": 3}) == {"slept_s": 3.0}


@virtual_time
async def test_sleep_rejects_invalid_times() -> None:
    with pytest.raises(InvalidSubmission, match="/args/min_s"):
        await outcome("sleep", {"min_s": -1})
    with pytest.raises(JobFailed, match=r"max_s \(1.0\) is under min_s"):
        await outcome("sleep", {"min_s": 2, "max_s": 1})


@virtual_time
async def test_fail_raises_an_error_with_the_given_message() -> None:
    with pytest.raises(JobFailed, match="handler_error: RuntimeError: so be it"):
        await outcome("fail", {"message": "so be it"})


async def test_spin_runs_in_a_process_and_returns_its_rounds() -> None:
    assert (await outcome("spin", {"duration_s": 0.01}))["rounds"] >= 1
    assert (await outcome("spin", {"duration_s": 0})) == {"rounds": 0}
    assert queue.service.registry.get("spin").run_in == "process"


def context(files: dict[str, Any], progress: list[float]) -> JobContext:
    def folder() -> Path:
        raise AssertionError("digest writes no file")

    return JobContext(
        job_id="j",
        attempt=1,
        group=None,
        files=UploadedFiles(files),
        folder=folder,
        on_progress=lambda fraction, note: progress.append(fraction),
    )


def test_digest_hashes_every_uploaded_file(tmp_path: Path) -> None:
    contents = {"a": b"x" * 3_000_000, "b": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    progress: list[float] = []
    assert digest(context({name: uploaded(tmp_path / name) for name in contents}, progress)) == {
        name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    assert progress[-1] == 1.0
    assert progress == sorted(progress)


def test_digest_hashes_every_file_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"x")
    (tmp_path / "2").write_bytes(b"yy")
    several = digest(context({"a": [uploaded(tmp_path / "1"), uploaded(tmp_path / "2")]}, []))
    assert [file["size_bytes"] for file in several["a"]] == [1, 2]


def uploaded(path: Path) -> UploadedFile:
    return UploadedFile.of(str(path), filename=path.name, media_type="text/plain", size_bytes=path.stat().st_size)


def test_digest_stops_when_cancelled(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    ctx = context({"a": uploaded(tmp_path / "a")}, [])
    ctx.cancel()
    with pytest.raises(Reject, match="asked to stop"):
        digest(ctx)


def test_digest_without_a_file_is_rejected_with_a_hint() -> None:
    with pytest.raises(Reject, match="multipart/form-data"):
        digest(context({}, []))
