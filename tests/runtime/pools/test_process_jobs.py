"""Jobs with handlers in processes: the whole queue, with real processes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import psutil

from jobqueue import JobQueue, JobState
from jobqueue.config import RuntimeSettings, Settings, SpoolSettings
from jobqueue.core.backoff import Backoff
from jobqueue.core.events import Started
from jobqueue.runtime.pools import child as child_module
from jobqueue.runtime.pools import processes
from jobqueue.testing import EventRecorder
from tests.children import children_with
from tests.runtime.pools import blocking

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def make_queue(tmp_path: Path) -> JobQueue:
    queue = JobQueue(Settings(runtime=RuntimeSettings(processes=2), spool=SpoolSettings(dir=str(tmp_path))))
    queue.handler(run_in="process")(blocking.echo)
    return queue


def fork_server() -> psutil.Process:
    (server,) = children_with("jobqueue.runtime.pools.child", recursive=False)
    return server


async def test_a_job_stays_queued_until_a_process_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_queue(tmp_path) as queue:
        assert await (await queue.submit("echo", {"value": 1})).result() == 1
        server = fork_server()
        server.suspend()
        for child in server.children():
            child.kill()
        while not queue.degraded:
            await asyncio.sleep(0)
        recorder = EventRecorder(queue)
        job = await queue.submit("echo", {"value": 2})
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await job.status()).state is JobState.QUEUED
        assert recorder.of(Started) == []
        server.resume()
        assert await job.result() == 2
        assert queue.degraded == []


async def test_queue_and_jobs_report_the_reason_when_no_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01, backoff_s_max=0.02))
    monkeypatch.setattr(child_module, "command", lambda fd: [sys.executable, "-c", "import nowhere"])
    async with make_queue(tmp_path) as queue:
        job = await queue.submit("echo")
        status = await job.wait()
        assert status.state is JobState.FAILED
        assert status.error is not None
        assert status.error.message.endswith("ModuleNotFoundError: No module named 'nowhere'")
        (reason,) = queue.degraded
        assert reason.startswith(
            "handlers in processes can't run: no process is running: the fork server died: it exited"
        )
        assert reason.endswith("ModuleNotFoundError: No module named 'nowhere'")
