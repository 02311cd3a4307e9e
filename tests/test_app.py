"""The in-process API, on a virtual clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from jobqueue import JobContext, JobQueue, JobState
from jobqueue.config import LimitsSettings, QueueSettings, Settings, SpoolSettings, StatusesSettings
from jobqueue.core.events import Ended, Evicted
from jobqueue.errors import (
    Draining,
    InvalidSubmission,
    JobFailed,
    JobGone,
    JobNotFound,
    QueueFull,
    UnknownType,
    WrongState,
)
from jobqueue.runtime.wall_clock import WallClock
from jobqueue.surroundings import Surroundings
from jobqueue.testing import EventRecorder, ManualClock, inline, virtual_time
from jobqueue.wiring import system


def make_queue(*, drain_s: float = 20.0, **settings: object) -> JobQueue:
    queue = JobQueue(Settings(**settings), drain_s=drain_s)  # type: ignore[arg-type]  # groups of settings by name

    @queue.handler
    async def double(ctx: JobContext, n: int) -> int:
        return 2 * n

    @queue.handler
    async def anything(x: Any) -> None: ...

    @queue.handler(timeout_s=None)
    async def nap(ctx: JobContext, seconds: float = 3600) -> str:
        await asyncio.sleep(seconds)
        return "rested"

    return queue


class SteppingWallClock:
    """The wall clock of the system, offset by the next of `steps`, in seconds, at each reading."""

    def __init__(self) -> None:
        self.steps: Iterator[float] = itertools.repeat(0.0)

    def __call__(self) -> float:
        return time.time() + next(self.steps)

    def surroundings(self, settings: Settings) -> Surroundings:
        return replace(system(settings), wall_clock=WallClock(now, wall=self))


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_submit_returns_a_handle_to_the_result_and_status() -> None:
    async with make_queue() as queue:
        job = await queue.submit("double", {"n": 21})
        assert await job.result(timeout_s=5) == 42
        assert (await job.status()).state is JobState.SUCCEEDED
        assert await queue.job(job.id).result() == 42


@virtual_time
async def test_wait_times_out_and_the_job_runs_on() -> None:
    async with make_queue() as queue:
        job = await queue.submit("nap", {"seconds": 10})
        with pytest.raises(TimeoutError, match=f"job {job.id} is still running after 3 s"):
            await job.wait(timeout_s=3)
        assert await job.result() == "rested"


@virtual_time
async def test_the_result_of_a_cancelled_job_raises_job_failed() -> None:
    async with make_queue() as queue:
        job = await queue.submit("nap", delay_s=60)
        await job.cancel()
        with pytest.raises(JobFailed) as error:
            await job.result()
        assert error.value.state == "cancelled"
        with pytest.raises(WrongState):
            await job.cancel()


@virtual_time
async def test_a_delayed_job_starts_at_its_time() -> None:
    async with make_queue() as queue:
        start = now()
        delayed = await queue.submit("double", {"n": 1}, delay_s=30)
        at = dt.datetime.fromtimestamp(queue.service.wall(now()) + 60, tz=dt.UTC)
        dated = await queue.submit("double", {"n": 1}, run_at=at)
        assert (await delayed.wait()).started_at == pytest.approx(start + 30, abs=0.05)
        assert (await dated.wait()).started_at == pytest.approx(start + 60, abs=0.05)


@virtual_time
async def test_a_record_is_gone_after_its_ttl() -> None:
    async with make_queue(statuses=StatusesSettings(ttl_s=30.0)) as queue:
        job = await queue.submit("double", {"n": 1})
        await job.wait()
        await asyncio.sleep(30)
        assert (await job.status()).state is JobState.SUCCEEDED
        await asyncio.sleep(1)
        with pytest.raises(JobGone):
            await job.status()


@virtual_time
@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 0.5, 365 * 86400.0])
async def test_a_step_of_the_wall_clock_changes_reported_times_but_no_deadline(
    step_s: float,
) -> None:
    queue, clock = make_queue(), SteppingWallClock()
    queue.service.surroundings = clock.surroundings
    async with queue:
        start, before = now(), queue.service.wall(now())
        timed_out = await queue.submit("nap", {"seconds": 100}, timeout_s=50)
        dated = await queue.submit("double", {"n": 1}, run_at=dt.datetime.fromtimestamp(before + 60, tz=dt.UTC))
        clock.steps = itertools.repeat(step_s)
        assert queue.service.wall(start) == pytest.approx(before + step_s, abs=0.01)
        at = dt.datetime.fromtimestamp(queue.service.wall(now()) + 0.5, tz=dt.UTC)
        new = await queue.submit("double", {"n": 1}, run_at=at)
        assert (await new.wait()).started_at == pytest.approx(start + 0.5, abs=0.05)
        assert (await timed_out.wait()).finished_at == pytest.approx(start + 50, abs=0.05)
        assert (await dated.wait()).started_at == pytest.approx(start + 60, abs=0.05)


@virtual_time
async def test_reported_times_ignore_jitter_of_the_wall_clock() -> None:
    queue, clock = make_queue(), SteppingWallClock()
    queue.service.surroundings = clock.surroundings
    async with queue:
        before = queue.service.wall(now())
        clock.steps = itertools.cycle([0.0, 0.004, -0.004])
        assert {queue.service.wall(now()) for _ in range(100)} == {before}
        assert round(before - now(), 3) == pytest.approx(before - now(), abs=1e-6)  # whole milliseconds


@pytest.mark.parametrize(
    ("call", "pointer"),
    [
        ({"type": "double", "args": {"n": "x"}}, "/args/n"),
        ({"type": "double", "args": {"n": float("nan")}}, "/args"),
        ({"type": "double", "args": {"n": object()}}, "/args"),
        ({"type": "anything", "args": {"x": float("inf")}}, "/args"),
        ({"type": "double", "args": {"n": 1}, "group": "\ud800"}, "/group"),
        ({"type": "double", "args": {"n": 1, 1: 2}}, "/args/1"),
        ({"type": "double", "args": {"n": 1}, "priority": 10}, "/priority"),
        ({"type": "double", "args": {"n": 1}, "delay_s": -1}, "/delay_s"),
        ({"type": "double", "args": {"n": 1}, "queue": "nowhere"}, "/queue"),
        ({"type": "double", "args": {"n": 1}, "run_at": dt.datetime(2026, 1, 1)}, "/run_at"),
        ({"type": 5}, "/type"),
    ],
)
@virtual_time
async def test_an_invalid_submission_raises_an_error_with_its_pointer(call: dict[str, object], pointer: str) -> None:
    async with make_queue() as queue:
        with pytest.raises(InvalidSubmission) as error:
            await queue.submit(**call)  # type: ignore[arg-type]  # invalid on purpose
        assert [fault.pointer for fault in error.value.errors] == [pointer]
        assert queue.service.backend.stats()[0].accepted_total == 0


@virtual_time
async def test_an_unknown_type_or_id_raises_an_error() -> None:
    async with make_queue() as queue:
        with pytest.raises(UnknownType):
            await queue.submit("triple")
        with pytest.raises(JobNotFound):
            await queue.job("x" * 22).status()


@virtual_time
async def test_leaving_the_context_waits_at_most_drain_s() -> None:
    loop = asyncio.get_running_loop()
    async with make_queue(drain_s=7.0) as queue:
        await queue.submit("nap", {"seconds": 5.0})
        await queue.submit("nap", {"seconds": 3600.0})
        await asyncio.sleep(0)
        left_at = loop.time()
    assert 7.0 <= loop.time() - left_at < 10.0


@pytest.mark.parametrize("drain_s", [-1.0, float("nan"), True, "20"])
def test_an_invalid_drain_s_raises_value_error(drain_s: Any) -> None:
    with pytest.raises(ValueError, match=r"drain_s is 0 or more|a duration is"):
        JobQueue(drain_s=drain_s)


def test_a_queue_with_settings_of_another_type_is_refused_where_it_is_made() -> None:
    with pytest.raises(TypeError, match=r"settings is a jobqueue\.Settings, got dict"):
        JobQueue({"queues": {}})  # type: ignore[arg-type]  # the fault


@virtual_time
async def test_a_full_queue_raises_queue_full_with_retry_after() -> None:
    async with make_queue(queues={"default": QueueSettings(workers=1, capacity=2)}, drain_s=0.0) as queue:
        await queue.submit("nap")
        await queue.submit("nap")
        with pytest.raises(QueueFull) as refusal:
            await queue.submit("nap")
        assert refusal.value.retry_after_s > 0


@virtual_time
async def test_leaving_the_context_finishes_the_jobs() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1)})
    ended = []
    async with queue:
        queue.service.backend.subscribe(
            lambda event: ended.append(event.job.state) if isinstance(event, Ended) else None
        )
        for _ in range(3):
            await queue.submit("nap", {"seconds": 5})
    assert ended == [JobState.SUCCEEDED] * 3


@virtual_time
async def test_a_drain_cancels_jobs_at_its_deadline_and_counts_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with make_queue(queues={"default": QueueSettings(workers=2)}) as queue:
        done = await queue.submit("nap", {"seconds": 5})
        running = [await queue.submit("nap") for _ in range(2)]
        queued = await queue.submit("nap")
        delayed = await queue.submit("nap", delay_s=3600)
        start = now()
        lost = await queue.drain(20)
        assert lost == {"waiting": 0, "delayed": 1, "queued": 1, "running": 2}
        assert now() - start == pytest.approx(20, abs=1.1)
        with pytest.raises(Draining):
            await queue.submit("double", {"n": 1})
        assert (await done.status()).state is JobState.SUCCEEDED
        for job in [*running, queued, delayed]:
            record = await job.status()
            assert record.state is JobState.CANCELLED
            assert record.error is not None
            assert record.error.code == "shutdown"
    assert any("drain.lost" in record.getMessage() for record in caplog.records)


@virtual_time
async def test_a_drain_of_thousands_of_jobs_yields_to_the_loop() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1, capacity=4000)})
    async with queue:
        jobs = [await queue.submit("nap") for _ in range(4000)]
        await asyncio.sleep(1)
        draining = asyncio.create_task(queue.drain(0.0))
        ended = [0]
        while not draining.done():
            await asyncio.sleep(0)
            ended.append(sum([not (await job.status()).live for job in jobs]))
        assert draining.result() == {"waiting": 0, "delayed": 0, "queued": 3999, "running": 1}
        assert max(after - before for before, after in pairwise(ended)) <= 500


@virtual_time
async def test_a_drain_cancelled_while_it_ends_jobs_leaves_no_live_job() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1, capacity=4000)})
    async with queue:
        for _ in range(4000):
            await queue.submit("nap")
        draining = asyncio.create_task(queue.drain(0.0))
        while queue.service.backend.stats()[0].live in (0, 4000):
            await asyncio.sleep(0)
        draining.cancel()
        await asyncio.sleep(1)
        assert draining.cancelled()
        assert queue.service.backend.stats()[0].live == 0


@virtual_time
async def test_a_drain_of_an_empty_queue_returns_immediately() -> None:
    async with make_queue() as queue:
        start = now()
        assert await queue.drain(20) == {"waiting": 0, "delayed": 0, "queued": 0, "running": 0}
        assert now() == start
        assert queue.draining


@virtual_time
async def test_leaving_the_context_by_an_exception_does_not_drain() -> None:
    start = now()

    class Boom(Exception): ...

    async def fails() -> None:
        async with make_queue() as queue:
            await queue.submit("nap")
            raise Boom

    with pytest.raises(Boom):
        await fails()
    assert now() - start < 3


@virtual_time
async def test_a_cancelled_stop_still_ends_the_waits_for_jobs() -> None:
    queue = make_queue()
    released = asyncio.Event()

    @queue.handler
    async def cling() -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    await queue.start()
    job = await queue.submit("cling")
    waiting = asyncio.create_task(job.wait())
    await asyncio.sleep(1)
    stopping = asyncio.create_task(queue.stop())
    await asyncio.sleep(0.1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not queue.running
    assert (await asyncio.wait_for(waiting, 10)).state is JobState.CANCELLED
    released.set()
    await asyncio.sleep(0.1)


@virtual_time
async def test_concurrent_stops_wait_for_the_same_end() -> None:
    queue = make_queue()
    await queue.start()
    await queue.submit("nap")
    first, second = (asyncio.create_task(queue.stop()) for _ in range(2))
    await first
    assert second.done() or not await second
    assert not queue.running
    assert [task for task in asyncio.all_tasks() if not task.done()] == [asyncio.current_task()]


@virtual_time
async def test_a_queue_can_be_stopped_within_its_context() -> None:
    async with make_queue() as queue:
        await queue.stop()
    assert not queue.running


def test_stop_admitting_of_a_stopped_queue_raises_and_changes_nothing() -> None:
    queue = make_queue()
    with pytest.raises(RuntimeError, match="not running"):
        queue.service.stop_admitting()
    assert not queue.draining


@virtual_time
async def test_start_during_a_stop_raises_runtime_error() -> None:
    queue = make_queue()
    await queue.start()
    stopping = asyncio.create_task(queue.stop())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"being stopped|already running"):
        await queue.start()
    await stopping
    await queue.start()
    await queue.stop()


@virtual_time
async def test_a_restarted_queue_reports_ids_of_the_earlier_run_as_gone() -> None:
    queue = make_queue()
    async with queue:
        job = await queue.submit("double", {"n": 1})
    async with queue:
        with pytest.raises(JobGone) as error:
            await queue.job(job.id).status()
        assert error.value.reason == "earlier-run"


@virtual_time
async def test_a_call_in_the_wrong_state_raises_an_error_with_a_hint() -> None:
    queue = make_queue()
    assert not queue.running
    with pytest.raises(RuntimeError, match="async with queue"):
        await queue.submit("double", {"n": 1})
    await queue.stop()
    async with queue:
        with pytest.raises(RuntimeError, match="already running"):
            await queue.start()
        with pytest.raises(RuntimeError, match="can't be replaced"):
            queue.configure(Settings())


@virtual_time
async def test_start_raises_for_a_handler_of_an_unknown_queue() -> None:
    queue = make_queue()

    @queue.handler(queue="fast")
    async def quick() -> None: ...

    with pytest.raises(ValueError, match="uses queue 'fast'; configured: default"):
        await queue.start()


@virtual_time
async def test_each_named_queue_has_its_own_workers() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1), "fast": QueueSettings(workers=1)})
    async with queue:
        slow = await queue.submit("nap", {"seconds": 60})
        assert await (await queue.submit("double", {"n": 1}, queue="fast")).result(timeout_s=1) == 2
        await slow.wait()


# -- the test kit


@virtual_time
async def test_inline_submissions_return_after_their_jobs() -> None:
    async with inline(make_queue()) as queue:
        job = await queue.submit("nap", {"seconds": 100})
        assert (await job.status()).state is JobState.SUCCEEDED
    assert "accept" not in vars(queue), "the queue is restored"


@virtual_time
async def test_an_event_recorder_collects_and_awaits_events_until_closed() -> None:
    async with make_queue(statuses=StatusesSettings(ttl_s=5.0)) as queue:
        recorder = EventRecorder(queue)
        job = await queue.submit("nap", {"seconds": 1})
        (ended,) = await recorder.wait_for(Ended)
        assert ended.job.id == job.id
        (evicted,) = await recorder.wait_for(Evicted)
        assert [gone.id for gone in evicted.jobs] == [job.id]
        recorder.close()
        await queue.submit("double", {"n": 1})
        await asyncio.sleep(1)
        assert len(recorder.of(Ended)) == 1


def test_a_manual_clock_advances_only_forward() -> None:
    clock = ManualClock(5.0)
    assert (clock(), clock.advance(2.5), clock()) == (5.0, 7.5, 7.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_virtual_time_passes_an_hour_immediately() -> None:
    start = time.perf_counter()

    @virtual_time
    async def an_hour() -> float:
        before = now()
        await asyncio.sleep(3600)
        return now() - before

    assert an_hour() == 3600
    assert time.perf_counter() - start < 5


# -- misuse


@virtual_time
async def test_the_second_of_two_concurrent_starts_raises_runtime_error() -> None:
    queue = make_queue()
    first, second = await asyncio.gather(queue.start(), queue.start(), return_exceptions=True)
    assert first is None
    assert isinstance(second, RuntimeError)
    await queue.stop()
    assert not queue.running


@virtual_time
async def test_a_queue_can_start_again_after_a_twice_cancelled_context() -> None:
    queue = make_queue()
    inside = asyncio.Event()

    async def use() -> None:
        async with queue:
            await queue.submit("nap")
            inside.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(use())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not queue.running
    async with queue:
        assert await (await queue.submit("double", {"n": 2})).result() == 4


# -- result files


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
@virtual_time
async def test_a_result_file_that_is_not_regular_fails_the_job(kind: str) -> None:
    queue = make_queue()

    @queue.handler
    async def writes(ctx: JobContext) -> None:
        path = ctx.result_file("text/plain")
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")

    async with queue:
        job = await (await queue.submit("writes")).wait()
        assert job.error is not None
        assert job.error.code == "bad_result"


@virtual_time
async def test_a_media_type_that_is_not_a_string_fails_the_job() -> None:
    queue = make_queue()

    @queue.handler
    async def writes(ctx: JobContext) -> None:
        ctx.result_file(123)  # type: ignore[arg-type]  # invalid on purpose

    async with queue:
        job = await (await queue.submit("writes")).wait()
        assert job.error is not None
        assert "takes a string as its media type" in job.error.message


@virtual_time
async def test_a_result_file_beyond_the_spool_limit_fails_the_job() -> None:
    queue = make_queue(spool=SpoolSettings(bytes_max=1000), limits=LimitsSettings(files_bytes=1000))

    @queue.handler
    async def writes(ctx: JobContext, size: int) -> None:
        ctx.result_file().write_bytes(bytes(size))

    async with queue:
        assert (await (await queue.submit("writes", {"size": 900})).wait()).state is JobState.SUCCEEDED
        job = await (await queue.submit("writes", {"size": 200})).wait()
        assert job.error is not None
        assert (job.error.code, queue.service.spool.bytes_used) == ("result_too_large", 900)
