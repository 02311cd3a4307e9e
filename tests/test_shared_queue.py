"""The in-process API on a store: the same calls, for jobs that other servers share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert

from bench.store import executable
from jobqueue.app import JobQueue
from jobqueue.config import Settings
from jobqueue.context import JobContext
from jobqueue.core.events import Ended, PolicyChanged, Started
from jobqueue.core.job import JobState
from jobqueue.errors import InvalidSubmission, JobFailed, JobGone, WrongState
from jobqueue.testing import EventRecorder, inline
from jobqueue.wiring import system
from tests.http.far import far

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.store import Store


@pytest.fixture(scope="module", autouse=True)
def _one_store_for_all(request: pytest.FixtureRequest) -> None:
    """Start the store, if there is one here, before the first test: it outlives the tests."""
    if executable() is not None:
        request.getfixturevalue("shared_store")


def queue_on(url: str | None) -> JobQueue:
    """Make a queue on a store; None: on one that is another part of this process."""
    valkey = {} if url is None else {"valkey": {"url": url}}
    queue = JobQueue(convert({"backend": "valkey", **valkey}, Settings))
    if url is None:
        queue.service.surroundings = far(system)

    @queue.handler
    async def add(a: int, b: int) -> int:
        return a + b

    @queue.handler
    async def fail() -> None:
        raise ValueError("no")

    @queue.handler
    async def hold(ctx: JobContext) -> None:
        ctx.progress(0.5, "half")
        await asyncio.Event().wait()

    @queue.handler
    async def write(ctx: JobContext) -> None:
        ctx.result_file()

    @queue.handler(run_in="thread")
    def write_in_thread(ctx: JobContext) -> None:
        ctx.result_file()

    return queue


@pytest.fixture(params=["far", "valkey"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[JobQueue]:
    store: Store | None = request.getfixturevalue("store") if request.param == "valkey" else None
    async with queue_on(None if store is None else store.url) as queue:
        yield queue


async def test_a_job_is_submitted_awaited_and_read(queue: JobQueue) -> None:
    job = await queue.submit("add", {"a": 1, "b": 2})
    assert await job.result(20) == 3
    status = await job.status()
    assert (status.state, status.attempt) == (JobState.SUCCEEDED, 1)
    assert (await queue.job(job.id).wait(1)).result == b"3"
    with pytest.raises(WrongState):
        await job.cancel()
    await queue.service.backend.delete(job.id)
    with pytest.raises(JobGone):
        await queue.job(job.id).status()


async def test_a_failed_job_is_retried_and_a_running_one_cancelled(queue: JobQueue) -> None:
    failed, held = await queue.submit("fail"), await queue.submit("hold")
    with pytest.raises(JobFailed, match="no"):
        await failed.result(20)
    await failed.retry()
    assert (await failed.wait(20)).attempt == 2
    with pytest.raises(TimeoutError):
        await held.wait(0.2)
    await held.cancel()
    assert (await held.wait(20)).state is JobState.CANCELLED


async def test_a_delayed_job_runs_now_and_a_paused_queue_later(queue: JobQueue) -> None:
    delayed = await queue.submit("add", {"a": 1, "b": 1}, delay_s=3600)
    await delayed.run_now()
    assert await delayed.result(20) == 2
    await queue.pause("default", reason="a test")
    waiting = await queue.submit("add", {"a": 2, "b": 2})
    with pytest.raises(TimeoutError):
        await waiting.wait(0.3)
    await queue.resume("default")
    assert await waiting.result(20) == 4


async def test_settings_of_a_queue_are_changed_and_told_to_the_server(queue: JobQueue) -> None:
    recorder = EventRecorder(queue)
    await queue.change("default", workers=3, capacity=77)
    async with asyncio.timeout(20):
        await recorder.wait_for(PolicyChanged)
    policy = queue.service.policies["default"]
    assert (policy.workers, policy.capacity) == (3, 77)
    assert await queue.reload(queue.settings) == []


async def test_files_and_result_files_are_refused_with_the_reason(queue: JobQueue) -> None:
    with pytest.raises(InvalidSubmission, match="jobs have no files with backend: valkey"):
        await queue.submit("hold", files={"a": b"x"})
    for job_type in ("write", "write_in_thread"):
        job = await (await queue.submit(job_type)).wait(20)
        assert job.error is not None
        assert "there are no result files with backend: valkey" in job.error.message


async def test_a_recorder_hears_the_events_of_this_process(queue: JobQueue) -> None:
    recorder = EventRecorder(queue)
    job = await queue.submit("add", {"a": 1, "b": 2})
    async with asyncio.timeout(20):
        (ended,) = await recorder.wait_for(Ended)
    assert [event.job.id for event in recorder.of(Started)] == [job.id] == [ended.job.id]
    recorder.close()


@pytest.mark.parametrize("where", ["far", "valkey"])
async def test_inline_submissions_return_when_their_job_is_over(where: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("store").url if where == "valkey" else None
    async with inline(queue_on(url)) as queue:
        assert (await (await queue.submit("add", {"a": 1, "b": 2})).status()).result == b"3"


async def test_a_stop_leaves_jobs_for_the_next_process(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    first = queue_on(store.url)
    await first.start()
    recorder = EventRecorder(first)
    held = await first.submit("hold")
    waiting = await first.submit("add", {"a": 1, "b": 1}, delay_s=3600)
    async with asyncio.timeout(20):
        await recorder.wait_for(Started)
    caplog.set_level("INFO")
    assert await first.drain(0.0) == {"waiting": 0, "delayed": 0, "queued": 0, "running": 0}
    assert any(record.message.startswith("drain.returned") for record in caplog.records)
    await first.stop()
    async with queue_on(store.url) as second:
        assert (await second.job(waiting.id).status()).state is JobState.DELAYED
        await second.job(waiting.id).run_now()
        assert await second.job(waiting.id).result(20) == 2
        job: Any = await second.job(held.id).status()
        assert job.live
        assert job.attempts_max == job.attempt or job.state is JobState.QUEUED
        await second.job(held.id).cancel()
        assert (await second.job(held.id).wait(20)).state is JobState.CANCELLED
