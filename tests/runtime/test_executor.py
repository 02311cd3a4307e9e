"""Handlers on the loop: progress from their threads, durations, and errors of their task groups."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from jobqueue import Backoff, JobContext, JobQueue, Reject, Retry
from jobqueue.core.events import BackedOff
from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode
from jobqueue.errors import InvalidSubmission
from jobqueue.testing import EventRecorder, virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def _own_threads() -> AsyncIterator[None]:
    """Shut down the threads of `asyncio.to_thread`."""
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.usefixtures("_own_threads")
async def test_progress_can_be_reported_from_any_thread() -> None:
    queue, reported = JobQueue(), threading.Event()

    @queue.handler
    async def report(ctx: JobContext) -> None:
        await asyncio.to_thread(ctx.progress, 0.25, "in a thread")

        def own_loop() -> None:
            async def tell() -> None:
                ctx.progress(0.5, "in a loop of its own")

            asyncio.run(tell())

        await asyncio.to_thread(own_loop)
        ctx.progress(0.75, "on the loop")

    @queue.handler
    async def report_a_lot(ctx: JobContext) -> None:
        def tell() -> None:
            for n in range(10_000):
                ctx.progress(n / 10_000)
            ctx.progress(1.0, "the last")

        await asyncio.gather(*(asyncio.to_thread(tell) for _ in range(3)))
        reported.set()

    async with queue:
        for type, note in (("report", "on the loop"), ("report_a_lot", "the last")):
            job = await (await queue.submit(type)).wait(timeout_s=30)
            assert (job.state, job.error) == (JobState.SUCCEEDED, None)
            assert job.progress is not None
            assert job.progress.note == note


@pytest.mark.usefixtures("_own_threads")
async def test_progress_after_the_end_of_the_job_is_ignored() -> None:
    queue, ended = JobQueue(), threading.Event()
    threads: list[threading.Thread] = []

    @queue.handler
    async def leave_a_thread(ctx: JobContext) -> None:
        def late() -> None:
            ended.wait(30)
            ctx.progress(1.0, "too late")

        threads.append(threading.Thread(target=late))
        threads[0].start()

    async with queue:
        job = await (await queue.submit("leave_a_thread")).wait(timeout_s=30)
        ended.set()
        await asyncio.to_thread(threads[0].join)
        assert (job.state, job.progress) == (JobState.SUCCEEDED, None)


async def test_progress_of_an_abandoned_thread_does_not_reach_the_next_attempt() -> None:
    queue, go_on, reported = JobQueue(), threading.Event(), threading.Event()

    @queue.handler(timeout_s=0.1, attempts_max=2, backoff=Backoff(backoff_s_base=0.01), run_in="thread")
    def hang(ctx: JobContext) -> str:
        if ctx.attempt == 2:
            go_on.set()
            reported.wait(30)
            return "the second attempt"
        go_on.wait(30)
        ctx.progress(1.0, "too late")
        reported.set()
        return "the first attempt"

    async with queue:
        job = await (await queue.submit("hang")).wait(timeout_s=30)
        assert (job.result, job.progress) == (b'"the second attempt"', None)


def test_progress_after_the_loop_is_closed_is_ignored() -> None:
    contexts: list[JobContext] = []
    queue = JobQueue()

    @queue.handler
    async def keep(ctx: JobContext) -> None:
        contexts.append(ctx)

    async def run() -> None:
        async with queue:
            await (await queue.submit("keep")).wait(timeout_s=30)

    asyncio.run(run())
    contexts[0].progress(1.0)


@pytest.mark.usefixtures("_own_threads")
async def test_a_thread_of_a_cancelled_handler_sees_the_cancellation() -> None:
    queue, seen = JobQueue(), threading.Event()

    @queue.handler
    async def wait(ctx: JobContext) -> None:
        def watch() -> None:
            while not ctx.cancelled:
                pass
            seen.set()

        ctx.progress(0.0)
        await asyncio.gather(asyncio.to_thread(watch), asyncio.Event().wait())

    async with queue:
        recorder = EventRecorder(queue)
        handle = await queue.submit("wait")
        while (await handle.status()).progress is None:
            await asyncio.sleep(0)
        await handle.cancel()
        assert (await handle.wait(timeout_s=30)).state is JobState.CANCELLED
        assert await asyncio.to_thread(seen.wait, 30)
        recorder.close()


@virtual_time
async def test_durations_are_seconds_or_timedeltas() -> None:
    queue = JobQueue()
    starts: list[float] = []
    loop = asyncio.get_running_loop()

    @queue.handler(timeout_s=timedelta(minutes=5), attempts_max=3, backoff=Backoff(backoff_s_max=timedelta(minutes=1)))
    async def again(ctx: JobContext) -> None:
        starts.append(loop.time())
        if ctx.attempt == 1:
            raise Retry(timedelta(hours=1), "busy")
        await asyncio.sleep(3600)

    async with queue:
        recorder = EventRecorder(queue)
        before = loop.time()
        handle = await queue.submit(
            "again", delay_s=timedelta(hours=2), timeout_s=timedelta(minutes=1), ttl_s=timedelta(days=1), attempts_max=2
        )
        await recorder.wait_for(BackedOff)
        job = await handle.wait(timeout_s=timedelta(days=1))
        assert [start - before for start in starts] == [7200, 7200 + 3600]
        assert (job.spec.timeout_s, job.spec.ttl_s, job.spec.backoff) == (60, 86_400, Backoff(backoff_s_max=60))
        recorder.close()


@pytest.mark.parametrize("delay_s", [timedelta(seconds=-1), timedelta(days=31), float("nan"), True, "5"])
@virtual_time
async def test_an_invalid_duration_is_rejected(delay_s: object) -> None:
    queue = JobQueue()

    @queue.handler
    async def nothing() -> None: ...

    async with queue:
        with pytest.raises(InvalidSubmission, match="/delay_s"):
            await queue.submit("nothing", delay_s=delay_s)  # type: ignore[arg-type]  # invalid on purpose


@virtual_time
async def test_an_exception_of_a_task_in_a_group_counts_as_the_handlers() -> None:
    queue, loop = JobQueue(), asyncio.get_running_loop()
    starts: list[float] = []

    async def raising(error: Exception) -> None:
        raise error

    @queue.handler(attempts_max=3)
    async def in_a_group(ctx: JobContext) -> None:
        starts.append(loop.time())
        error = Retry(timedelta(hours=1)) if ctx.attempt == 1 else Reject("no")
        async with asyncio.TaskGroup() as group:
            group.create_task(raising(error))
            group.create_task(asyncio.sleep(60))

    async with queue:
        job = await (await queue.submit("in_a_group")).wait()
        assert job.error is not None
        assert (job.attempt, job.error.code, job.error.message) == (2, ErrorCode.REJECTED, "no")
        assert starts[1] - starts[0] == 3600
