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
from jobqueue.testing import EventRecorder, ManualClock, inline, virtual_time
from jobqueue.wiring import Surroundings, system


def make_queue(*, drain_s: float = 20.0, **settings: object) -> JobQueue:
    queue = JobQueue(Settings(**settings), drain_s=drain_s)  # type: ignore[arg-type]

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


class WallClockThatSteps:
    """The system's wall clock, each time off by the next of `steps`, in seconds."""

    def __init__(self) -> None:
        self.steps: Iterator[float] = itertools.repeat(0.0)

    def __call__(self) -> float:
        return time.time() + next(self.steps)

    def surroundings(self, settings: Settings) -> Surroundings:
        return replace(system(settings), wall_clock=WallClock(now, wall=self))


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_job_is_submitted_and_its_result_awaited_without_http() -> None:
    async with make_queue() as queue:
        job = await queue.submit("double", {"n": 21})
        assert await job.result(timeout_s=5) == 42
        assert (await job.status()).state is JobState.SUCCEEDED
        assert await queue.job(job.id).result() == 42


@virtual_time
async def test_waiting_may_time_out_and_the_job_goes_on() -> None:
    async with make_queue() as queue:
        job = await queue.submit("nap", {"seconds": 10})
        with pytest.raises(TimeoutError, match=f"job {job.id} is still running after 3 s"):
            await job.wait(timeout_s=3)
        assert await job.result() == "rested"


@virtual_time
async def test_a_result_that_never_was_raises_with_the_reason() -> None:
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
        at = dt.datetime.fromtimestamp(queue.wall(now()) + 60, tz=dt.UTC)
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
async def test_a_step_of_the_wall_clock_changes_nothing_for_live_jobs_and_all_that_is_told(
    step_s: float,
) -> None:
    queue, clock = make_queue(), WallClockThatSteps()
    queue.surroundings = clock.surroundings
    async with queue:
        start, before = now(), queue.wall(now())
        timed_out = await queue.submit("nap", {"seconds": 100}, timeout_s=50)
        dated = await queue.submit("double", {"n": 1}, run_at=dt.datetime.fromtimestamp(before + 60, tz=dt.UTC))
        clock.steps = itertools.repeat(step_s)
        assert queue.wall(start) == pytest.approx(before + step_s, abs=0.01)
        at = dt.datetime.fromtimestamp(queue.wall(now()) + 0.5, tz=dt.UTC)
        new = await queue.submit("double", {"n": 1}, run_at=at)
        assert (await new.wait()).started_at == pytest.approx(start + 0.5, abs=0.05)
        assert (await timed_out.wait()).finished_at == pytest.approx(start + 50, abs=0.05)
        assert (await dated.wait()).started_at == pytest.approx(start + 60, abs=0.05)


@virtual_time
async def test_times_that_are_told_stay_the_same_while_the_wall_clock_only_jitters() -> None:
    queue, clock = make_queue(), WallClockThatSteps()
    queue.surroundings = clock.surroundings
    async with queue:
        before = queue.wall(now())
        clock.steps = itertools.cycle([0.0, 0.004, -0.004])
        assert {queue.wall(now()) for _ in range(100)} == {before}
        assert round(before - now(), 3) == pytest.approx(before - now(), abs=1e-6)  # in whole milliseconds


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
async def test_a_submission_that_is_not_right_is_refused_and_says_where(call: dict[str, object], pointer: str) -> None:
    async with make_queue() as queue:
        with pytest.raises(InvalidSubmission) as error:
            await queue.submit(**call)  # type: ignore[arg-type]
        assert [fault.pointer for fault in error.value.errors] == [pointer]
        assert queue.backend.stats()[0].accepted_total == 0


@virtual_time
async def test_an_unknown_type_and_an_unknown_id_are_told() -> None:
    async with make_queue() as queue:
        with pytest.raises(UnknownType):
            await queue.submit("triple")
        with pytest.raises(JobNotFound):
            await queue.job("x" * 22).status()


@virtual_time
async def test_leaving_the_block_waits_for_jobs_no_longer_than_drain_s() -> None:
    loop = asyncio.get_running_loop()
    async with make_queue(drain_s=7.0) as queue:
        await queue.submit("nap", {"seconds": 5.0})
        await queue.submit("nap", {"seconds": 3600.0})
        await asyncio.sleep(0)
        left_at = loop.time()
    assert 7.0 <= loop.time() - left_at < 10.0


@pytest.mark.parametrize("drain_s", [-1.0, float("nan"), True, "20"])
def test_a_drain_that_is_no_duration_is_refused(drain_s: Any) -> None:
    with pytest.raises(ValueError, match=r"drain_s is 0 or more|a duration is"):
        JobQueue(drain_s=drain_s)


@virtual_time
async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async with make_queue(queues={"default": QueueSettings(workers=1, capacity=2)}, drain_s=0.0) as queue:
        await queue.submit("nap")
        await queue.submit("nap")
        with pytest.raises(QueueFull) as refusal:
            await queue.submit("nap")
        assert refusal.value.retry_after_s > 0


@virtual_time
async def test_leaving_the_block_works_the_queue_off() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1)})
    ended = []
    async with queue:
        queue.backend.subscribe(lambda event: ended.append(event.job.state) if isinstance(event, Ended) else None)
        for _ in range(3):
            await queue.submit("nap", {"seconds": 5})
    assert ended == [JobState.SUCCEEDED] * 3


@virtual_time
async def test_a_drain_ends_at_its_deadline_and_counts_what_it_loses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with make_queue(queues={"default": QueueSettings(workers=2)}) as queue:
        done = await queue.submit("nap", {"seconds": 5})
        running = [await queue.submit("nap") for _ in range(2)]
        queued = await queue.submit("nap")
        delayed = await queue.submit("nap", delay_s=3600)
        start = now()
        lost = await queue.drain(20)
        assert lost == {"delayed": 1, "queued": 1, "running": 2}
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
async def test_a_shutdown_of_thousands_lets_others_go_on() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1, capacity=4000)})
    async with queue:
        jobs = [await queue.submit("nap") for _ in range(4000)]
        await asyncio.sleep(1)
        draining = asyncio.create_task(queue.drain(0.0))
        ended = [0]
        while not draining.done():
            await asyncio.sleep(0)
            ended.append(sum([not (await job.status()).live for job in jobs]))
        assert draining.result() == {"delayed": 0, "queued": 3999, "running": 1}
        assert max(after - before for before, after in pairwise(ended)) <= 500


@virtual_time
async def test_a_drain_that_is_cancelled_amid_its_end_leaves_no_job_behind() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1, capacity=4000)})
    async with queue:
        for _ in range(4000):
            await queue.submit("nap")
        draining = asyncio.create_task(queue.drain(0.0))
        while queue.backend.stats()[0].live in (0, 4000):
            await asyncio.sleep(0)
        draining.cancel()
        await asyncio.sleep(1)
        assert draining.cancelled()
        assert queue.backend.stats()[0].live == 0


@virtual_time
async def test_an_empty_queue_is_drained_at_once() -> None:
    async with make_queue() as queue:
        start = now()
        assert await queue.drain(20) == {"delayed": 0, "queued": 0, "running": 0}
        assert now() == start
        assert queue.draining


@virtual_time
async def test_leaving_the_block_by_an_error_waits_for_nothing() -> None:
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
async def test_a_stop_that_is_cancelled_still_answers_who_waits_for_a_job() -> None:
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
async def test_who_stops_a_queue_that_is_being_stopped_waits_for_the_same_end() -> None:
    queue = make_queue()
    await queue.start()
    await queue.submit("nap")
    first, second = (asyncio.create_task(queue.stop()) for _ in range(2))
    await first
    assert second.done() or not await second
    assert not queue.running
    assert [task for task in asyncio.all_tasks() if not task.done()] == [asyncio.current_task()]


@virtual_time
async def test_a_queue_may_be_stopped_within_its_own_block() -> None:
    async with make_queue() as queue:
        await queue.stop()
    assert not queue.running


def test_a_queue_that_does_not_run_is_not_draining_because_somebody_asked() -> None:
    queue = make_queue()
    with pytest.raises(RuntimeError, match="not running"):
        queue.stop_admitting()
    assert not queue.draining


@virtual_time
async def test_a_queue_that_is_being_stopped_is_not_started_beside_that() -> None:
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
async def test_a_restart_is_a_new_run_and_knows_the_ids_of_the_earlier_one() -> None:
    queue = make_queue()
    async with queue:
        job = await queue.submit("double", {"n": 1})
    async with queue:
        with pytest.raises(JobGone) as error:
            await queue.job(job.id).status()
        assert error.value.reason == "earlier-run"


@virtual_time
async def test_a_queue_that_does_not_run_says_how_to_start_it() -> None:
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
async def test_a_handler_for_a_queue_that_is_not_configured_stops_the_start() -> None:
    queue = make_queue()

    @queue.handler(queue="fast")
    async def quick() -> None: ...

    with pytest.raises(ValueError, match="uses queue 'fast'; configured: default"):
        await queue.start()


@virtual_time
async def test_named_queues_have_workers_of_their_own() -> None:
    queue = make_queue(queues={"default": QueueSettings(workers=1), "fast": QueueSettings(workers=1)})
    async with queue:
        slow = await queue.submit("nap", {"seconds": 60})
        assert await (await queue.submit("double", {"n": 1}, queue="fast")).result(timeout_s=1) == 2
        await slow.wait()


# -- the test kit


@virtual_time
async def test_inline_a_submission_returns_when_its_job_is_over() -> None:
    async with inline(make_queue()) as queue:
        job = await queue.submit("nap", {"seconds": 100})
        assert (await job.status()).state is JobState.SUCCEEDED
    assert "accept" not in vars(queue), "the queue is as it was"


@virtual_time
async def test_a_recorder_keeps_the_events_and_waits_for_them() -> None:
    async with make_queue(statuses=StatusesSettings(ttl_s=5.0)) as queue:
        recorder = EventRecorder(queue.backend)
        job = await queue.submit("nap", {"seconds": 1})
        (ended,) = await recorder.wait_for(Ended)
        assert ended.job.id == job.id
        (evicted,) = await recorder.wait_for(Evicted)
        assert [gone.id for gone in evicted.jobs] == [job.id]
        recorder.close()
        await queue.submit("double", {"n": 1})
        await asyncio.sleep(1)
        assert len(recorder.of(Ended)) == 1


def test_a_manual_clock_goes_only_forward() -> None:
    clock = ManualClock(5.0)
    assert (clock(), clock.advance(2.5), clock()) == (5.0, 7.5, 7.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_a_virtual_hour_takes_no_time() -> None:
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
async def test_of_two_starts_at_once_one_is_refused() -> None:
    queue = make_queue()
    first, second = await asyncio.gather(queue.start(), queue.start(), return_exceptions=True)
    assert first is None
    assert isinstance(second, RuntimeError)
    await queue.stop()
    assert not queue.running


@virtual_time
async def test_a_block_that_is_cancelled_twice_leaves_a_queue_that_can_start_again() -> None:
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
async def test_what_is_no_regular_file_is_no_result_file(kind: str) -> None:
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
async def test_a_media_type_is_a_text() -> None:
    queue = make_queue()

    @queue.handler
    async def writes(ctx: JobContext) -> None:
        ctx.result_file(123)  # type: ignore[arg-type]

    async with queue:
        job = await (await queue.submit("writes")).wait()
        assert job.error is not None
        assert "takes a string as its media type" in job.error.message


@virtual_time
async def test_a_result_file_for_which_the_spool_has_no_room_fails_its_job() -> None:
    queue = make_queue(spool=SpoolSettings(bytes_max=1000), limits=LimitsSettings(files_bytes=1000))

    @queue.handler
    async def writes(ctx: JobContext, size: int) -> None:
        ctx.result_file().write_bytes(bytes(size))

    async with queue:
        assert (await (await queue.submit("writes", {"size": 900})).wait()).state is JobState.SUCCEEDED
        job = await (await queue.submit("writes", {"size": 200})).wait()
        assert job.error is not None
        assert (job.error.code, queue.spool.bytes_used) == ("result_too_large", 900)
