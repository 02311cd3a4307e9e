"""Workers and their supervisor, on a virtual clock."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobQueue, JobState, Reject, Retry
from jobqueue.config import QueueSettings, Settings
from jobqueue.core.events import Ended, LeaseLost, Progressed, Started
from jobqueue.core.job import StopReason
from jobqueue.core.report import ErrorCode, Progress
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.core.tuning import Tuning
from jobqueue.runtime.workers import WAITING_MIN
from jobqueue.testing import EventRecorder, virtual_time
from jobqueue.wiring import system

if TYPE_CHECKING:
    from jobqueue.core.job import Job


def make_queue(workers: int = 4, capacity: int = 100) -> JobQueue:
    return JobQueue(Settings(queues={"default": QueueSettings(workers=workers, capacity=capacity)}))


def worker_tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "worker"}


def error_code(job: Job) -> ErrorCode | None:
    return None if job.error is None else job.error.code


def now() -> float:
    return asyncio.get_running_loop().time()


async def noop() -> None:
    """Succeed without doing anything."""


def add_stubborn(queue: JobQueue, **options: Any) -> asyncio.Event:
    """Register the handler `stubborn`, which ignores its cancellation until the returned event is set."""
    release = asyncio.Event()

    @queue.handler(**options)
    async def stubborn() -> str:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return "too late"

    return release


@virtual_time
async def test_a_job_runs_with_its_arguments_and_its_context() -> None:
    queue = make_queue()

    @queue.handler
    async def describe(ctx: JobContext, path: str, width: int = 128) -> dict[str, object]:
        return {"path": path, "width": width, "attempt": ctx.attempt, "group": ctx.group, "id": ctx.job_id}

    async with queue:
        job = await queue.submit("describe", {"path": "a.png"}, group="g")
        assert await job.result() == {"path": "a.png", "width": 128, "attempt": 1, "group": "g", "id": job.id}


@virtual_time
async def test_each_worker_runs_one_job_at_a_time_in_order() -> None:
    queue = make_queue(workers=2)
    order: list[int] = []

    @queue.handler
    async def nap(n: int) -> None:
        order.append(n)
        await asyncio.sleep(10)

    async with queue:
        start = now()
        jobs = [await queue.submit("nap", {"n": n}) for n in range(6)]
        for job in jobs:
            await job.wait()
        assert order == [0, 1, 2, 3, 4, 5]
        assert now() - start == pytest.approx(30, abs=0.01)


@virtual_time
async def test_an_exception_of_a_handler_fails_its_job_with_the_message() -> None:
    queue = make_queue()

    @queue.handler
    async def broken() -> None:
        raise KeyError("nothing here")

    async with queue:
        job = await (await queue.submit("broken")).wait()
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert (job.error.code, job.error.message) == (ErrorCode.HANDLER_ERROR, "KeyError: 'nothing here'")


@virtual_time
async def test_a_timeout_cancels_the_handler_at_its_time() -> None:
    queue = make_queue()
    cancelled_at: list[float] = []

    @queue.handler(timeout_s=5)
    async def slow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled_at.append(now())

    async with queue:
        start = now()
        job = await (await queue.submit("slow")).wait()
        assert error_code(job) is ErrorCode.TIMED_OUT
        assert cancelled_at == [pytest.approx(start + 5, abs=0.05)]
        assert job.finished_at == pytest.approx(start + 5, abs=0.05)


@virtual_time
async def test_a_submission_can_shorten_the_timeout_of_its_handler() -> None:
    queue = make_queue()

    @queue.handler(timeout_s=50)
    async def slow() -> None:
        await asyncio.sleep(3600)

    async with queue:
        start = now()
        await (await queue.submit("slow", timeout_s=2)).wait()
        assert now() - start == pytest.approx(2, abs=0.05)


@virtual_time
async def test_a_running_job_is_cancelled_after_the_cleanup_of_its_handler() -> None:
    queue = make_queue()
    steps: list[str] = []
    started = asyncio.Event()

    @queue.handler
    async def slow() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)
            steps.append("cleaned up")

    async with queue:
        job = await queue.submit("slow")
        await started.wait()
        record = await job.cancel()
        assert (record.state, record.stopping) == (JobState.RUNNING, StopReason.CANCELLED)
        assert (await job.wait()).state is JobState.CANCELLED
        assert steps == ["cleaned up"]


@virtual_time
async def test_a_handler_that_ignores_its_cancellation_loses_its_lease_and_its_worker_is_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = make_queue(workers=2)
    release = add_stubborn(queue, timeout_s=5)

    async with queue:
        start = now()
        stuck = await queue.submit("stubborn")
        record = await stuck.wait()
        assert error_code(record) is ErrorCode.TIMED_OUT
        assert now() - start == pytest.approx(5 + LEASE_GRACE_S, abs=0.05)
        await asyncio.sleep(0)
        assert len(worker_tasks()) == 3, "the stuck worker and two more"
        warnings = [r.getMessage() for r in caplog.records if r.getMessage().startswith("worker.stuck")]
        assert len(warnings) == 1
        assert "stubborn" in warnings[0], "the log names the handler by its stack"
        release.set()
        await asyncio.sleep(1)
        assert len(worker_tasks()) == 2
        assert (await stuck.status()).state is JobState.FAILED, "the late outcome was rejected"


@virtual_time
async def test_workers_are_replaced_once_enough_stuck_handlers_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = make_queue(workers=1)
    queue.service.surroundings = lambda settings: replace(system(settings), tuning=Tuning(abandoned_min=2))
    release = add_stubborn(queue, timeout_s=1)

    queue.handler(name="fine")(noop)
    async with queue:
        for _ in range(3):
            await (await queue.submit("stubborn")).wait()
        waiting = await queue.submit("fine")
        await asyncio.sleep(10)
        assert (await waiting.status()).state is JobState.QUEUED, "three workers are stuck, and none is replaced"
        assert any("worker.not_replaced" in record.getMessage() for record in caplog.records)
        release.set()
        assert (await waiting.wait(timeout_s=1)).state is JobState.SUCCEEDED
        await asyncio.sleep(0)
        assert len(worker_tasks()) == 1


@virtual_time
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
async def test_a_base_exception_of_a_handler_ends_neither_the_loop_nor_the_workers(
    kind: type[BaseException],
) -> None:
    queue = make_queue(workers=1)

    @queue.handler
    async def fatal() -> None:
        raise kind("enough")

    @queue.handler
    async def fine() -> int:
        return 1

    async with queue:
        job = await (await queue.submit("fatal")).wait()
        assert error_code(job) is ErrorCode.WORKER_CRASHED
        assert await (await queue.submit("fine")).result() == 1


@virtual_time
async def test_a_cancellation_caused_by_the_handler_is_a_handler_error() -> None:
    queue = make_queue(workers=1)

    @queue.handler
    async def awaits_the_cancelled() -> None:
        other = asyncio.ensure_future(asyncio.sleep(100))
        other.cancel()
        await other

    async with queue:
        job = await (await queue.submit("awaits_the_cancelled")).wait()
        assert error_code(job) is ErrorCode.HANDLER_ERROR
        await asyncio.sleep(0)
        assert len(worker_tasks()) == 1


@virtual_time
async def test_a_busy_worker_that_is_killed_is_replaced_and_its_job_has_crashed() -> None:
    queue = make_queue(workers=2)

    @queue.handler
    async def work() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(3600)

    async with queue:
        start = now()
        job = await (await queue.submit("work")).wait()
        assert error_code(job) is ErrorCode.WORKER_CRASHED
        await asyncio.sleep(0)
        assert len(worker_tasks()) == 2
        assert now() - start < 0.1


@virtual_time
async def test_a_killed_idle_worker_is_replaced_within_100_ms() -> None:
    queue = make_queue(workers=3)

    @queue.handler
    async def fine() -> int:
        return 1

    async with queue:
        await asyncio.sleep(0)
        victim = next(iter(worker_tasks()))
        victim.cancel()
        await asyncio.sleep(0.1)
        assert len(worker_tasks()) == 3
        assert victim not in worker_tasks()
        assert await (await queue.submit("fine")).result() == 1


@virtual_time
async def test_replacements_of_workers_back_off_and_a_success_resets_the_backoff() -> None:
    queue = make_queue(workers=1)
    queue.handler(name="fine")(noop)

    async with queue:
        gaps = []
        for _ in range(6):
            await asyncio.sleep(0)
            (victim,) = worker_tasks()
            victim.cancel()
            start = now()
            await asyncio.sleep(0)
            while not worker_tasks() - {victim}:
                await asyncio.sleep(0.01)
            gaps.append(now() - start)
        assert gaps[0] < 0.02
        assert gaps == sorted(gaps)
        assert 0.5 < gaps[-1] <= 5.1
        await (await queue.submit("fine")).wait()
        await asyncio.sleep(0)
        (victim,) = worker_tasks()
        victim.cancel()
        await asyncio.sleep(0.05)
        assert len(worker_tasks() - {victim}) == 1


@virtual_time
async def test_a_crashed_job_gets_its_next_attempt() -> None:
    queue = make_queue(workers=1)

    @queue.handler(attempts_max=3)
    async def dies_twice(ctx: JobContext) -> int:
        if ctx.attempt < 3:
            raise SystemExit
        return ctx.attempt

    async with queue:
        assert await (await queue.submit("dies_twice")).result() == 3


@virtual_time
async def test_a_worker_takes_its_next_job_in_the_same_loop_iteration() -> None:
    queue = make_queue(workers=2)
    queue.handler(name="fine")(noop)
    async with queue:
        jobs = [await queue.submit("fine") for _ in range(100)]
        iterations = 0
        while (await jobs[-1].status()).live:
            await asyncio.sleep(0)
            iterations += 1
        assert iterations <= 55


@virtual_time
async def test_few_idle_workers_are_kept_before_and_after_a_burst() -> None:
    queue = make_queue(workers=1000)
    queue.handler(name="fine")(noop)
    async with queue:
        assert len(worker_tasks()) == WAITING_MIN
        jobs = [await queue.submit("fine") for _ in range(100)]
        await asyncio.gather(*(job.wait() for job in jobs))
        await asyncio.sleep(0)
        assert len(worker_tasks()) == WAITING_MIN


@virtual_time
@pytest.mark.parametrize("held_back_by", ["nothing", "a pause", "too few workers"])
async def test_a_burst_of_jobs_starts_within_two_loop_iterations(held_back_by: str) -> None:
    queue = make_queue(workers=2 if held_back_by == "too few workers" else 1000, capacity=1000)
    running = 0

    @queue.handler
    async def nap() -> None:
        nonlocal running
        running += 1
        await asyncio.sleep(1)

    async with queue:
        if held_back_by == "a pause":
            await queue.pause("default")
        for _ in range(500):
            await queue.submit("nap")
        if held_back_by == "a pause":
            await queue.resume("default")
        if held_back_by == "too few workers":
            await queue.change("default", workers=1000)
        for _ in range(2):
            await asyncio.sleep(0)
        assert running == 500


@virtual_time
async def test_idle_workers_follow_the_limit_down_and_up_again() -> None:
    queue = make_queue(workers=1000)
    async with queue:
        await queue.change("default", workers=1)
        await asyncio.sleep(0)
        assert len(worker_tasks()) == 1
        await queue.change("default", workers=1000)
        assert len(worker_tasks()) == WAITING_MIN


@virtual_time
async def test_context_variables_of_a_job_do_not_reach_the_next() -> None:
    queue = make_queue(workers=1)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")

    @queue.handler
    async def leaves_a_trace() -> str:
        before = variable.get()
        variable.set("dirty")
        return before

    async with queue:
        assert await (await queue.submit("leaves_a_trace")).result() == "clean"
        assert await (await queue.submit("leaves_a_trace")).result() == "clean"


@virtual_time
async def test_progress_is_rate_limited_and_the_last_report_precedes_the_outcome() -> None:
    queue = make_queue()

    @queue.handler
    async def steps(ctx: JobContext) -> None:
        for n in range(1000):
            ctx.progress(n / 1000)
        await asyncio.sleep(1)
        ctx.progress(1.0, "done")

    async with queue:
        recorder = EventRecorder(queue)
        job = await (await queue.submit("steps")).wait()
        assert job.progress == Progress(1.0, "done")
        assert 1 < len(recorder.of(Progressed)) < 10, "overtaken reports are not sent"
        assert [type(event) for event in recorder.events][-1] is Ended


@virtual_time
@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
async def test_progress_outside_of_0_to_1_is_a_handler_error(fraction: float) -> None:
    queue = make_queue()

    @queue.handler
    async def steps(ctx: JobContext) -> None:
        ctx.progress(fraction)

    async with queue:
        job = await (await queue.submit("steps")).wait()
        assert job.error is not None
        assert "from 0 to 1" in job.error.message


@virtual_time
async def test_retry_delays_and_reject_ends_a_job() -> None:
    queue = make_queue()

    @queue.handler(attempts_max=5)
    async def picky(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise Retry(after_s=30)
        raise Reject("never again")

    async with queue:
        start = now()
        job = await (await queue.submit("picky")).wait()
        assert error_code(job) is ErrorCode.REJECTED
        assert job.attempt == 2
        assert now() - start == pytest.approx(30, abs=0.05)


@virtual_time
@pytest.mark.parametrize(
    ("result", "code"),
    [
        (object(), ErrorCode.BAD_RESULT),
        (float("nan"), ErrorCode.BAD_RESULT),
        ({"deep": [None, float("inf")]}, ErrorCode.BAD_RESULT),
        (2**64, ErrorCode.BAD_RESULT),
        ("\ud800", ErrorCode.BAD_RESULT),
        ({None: "none"}, ErrorCode.BAD_RESULT),
        ("x" * 2**20, ErrorCode.RESULT_TOO_LARGE),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_an_invalid_or_oversized_result_fails_its_job(result: object, code: ErrorCode) -> None:
    queue = make_queue()

    @queue.handler(attempts_max=3)
    async def returns() -> object:
        return result

    async with queue:
        job = await (await queue.submit("returns")).wait()
        assert (error_code(job), job.attempt) == (code, 1)


@virtual_time
async def test_a_lost_lease_is_an_event() -> None:
    queue = make_queue(workers=1)
    release = add_stubborn(queue)

    async with queue:
        recorder = EventRecorder(queue)
        job = await queue.submit("stubborn")
        await recorder.wait_for(Started)
        await job.cancel()
        (event,) = await recorder.wait_for(LeaseLost)
        assert (event.job.id, event.attempt) == (job.id, 1)
        assert (await job.wait()).state is JobState.CANCELLED
        release.set()


@virtual_time
async def test_stop_does_not_wait_for_a_handler_that_never_stops() -> None:
    queue = make_queue(workers=1)
    release = add_stubborn(queue)

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    await queue.start()
    await queue.submit("stubborn")
    start = now()
    await queue.stop()
    assert now() - start < 4
    release.set()
    await asyncio.sleep(0.1)
    assert not worker_tasks()
