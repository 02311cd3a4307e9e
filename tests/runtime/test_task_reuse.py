"""A worker's task serves the next job, too, unless the handler has suspended or left something behind in the task."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobHandle, JobQueue
from jobqueue.config import QueueSettings, Settings
from jobqueue.runtime import exact_clock
from jobqueue.runtime.workers import JOBS_IN_A_ROW, ROW_S, ROW_S_MAX, WAITING_MIN
from jobqueue.testing import VirtualLoop, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

kept: list[object] = []
"""What a handler keeps beyond its end."""


def make_queue(workers: int = 1) -> JobQueue:
    queue = JobQueue(Settings(queues={"default": QueueSettings(workers=workers, capacity=100_000)}))

    @queue.handler
    async def identify() -> int:
        await asyncio.sleep(0)  # a cancellation that came late would be raised here
        return id(current())

    @queue.handler
    async def identify_at_once() -> int:
        return id(current())

    return queue


async def turns_until_over(job: JobHandle) -> int:
    """Return the number of loop iterations until the job is terminal."""
    turns = 0
    while (await job.status()).live:
        await asyncio.sleep(0)
        turns += 1
    return turns


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@pytest.fixture(autouse=True)
def _forget() -> None:
    kept.clear()


@virtual_time
async def test_jobs_that_never_suspend_share_a_task() -> None:
    queue = make_queue(workers=100)
    async with queue:
        jobs = [await queue.submit("identify_at_once") for _ in range(20)]
        assert len({await job.result() for job in jobs}) == 1


@virtual_time
async def test_a_job_after_one_that_suspended_has_a_task_of_its_own() -> None:
    queue = make_queue()
    async with queue:
        jobs = [await queue.submit("identify") for _ in range(2)]
        assert len({await job.result() for job in jobs}) == 2


def keep_the_task() -> None:
    kept.append(current())


def keep_a_weak_reference() -> None:
    kept.append(weakref.ref(current(), kept.append))


def cancel_later() -> None:
    asyncio.get_running_loop().call_later(0.0, current().cancel)


def cancel_now() -> None:
    current().cancel()


def add_a_callback() -> None:
    current().add_done_callback(print)


def rename() -> None:
    current().set_name("renamed")


def open_a_timeout() -> None:
    with suppress(StopIteration):
        asyncio.timeout(0).__aenter__().send(None)


def raise_with_the_task() -> None:
    error = LookupError("gone")
    error.task = current()  # type: ignore[attr-defined]  # a frame or an exception may hold it, too
    kept.append(error)
    raise error


TRACES = [
    keep_the_task,
    keep_a_weak_reference,
    cancel_later,
    cancel_now,
    add_a_callback,
    rename,
    open_a_timeout,
    raise_with_the_task,
]


@virtual_time
@pytest.mark.parametrize("leave", TRACES)
async def test_a_job_after_one_that_left_something_in_its_task_has_a_task_of_its_own(leave: Callable[[], None]) -> None:
    queue, tasks = make_queue(), []

    @queue.handler
    async def leaves() -> None:
        tasks.append(id(current()))
        leave()

    async with queue:
        await queue.submit("leaves")
        job = await queue.submit("identify")
        assert await job.result() not in tasks


@virtual_time
async def test_a_cancellation_that_a_handler_withdrew_does_not_reach_the_next_job() -> None:
    queue = make_queue()

    @queue.handler
    async def changes_its_mind() -> None:
        current().cancel()
        current().uncancel()

    async with queue:
        await queue.submit("changes_its_mind")
        await (await queue.submit("identify")).result()


@virtual_time
async def test_a_job_after_one_that_cancelled_itself_has_a_task_of_its_own() -> None:
    queue, tasks = make_queue(), []

    @queue.handler
    async def cancels_itself(ctx: JobContext) -> None:
        tasks.append(id(current()))
        await queue.job(ctx.job_id).cancel()
        current().uncancel()

    async with queue:
        await queue.submit("cancels_itself")
        job = await queue.submit("identify_at_once")
        assert await job.result() not in tasks


@virtual_time
async def test_an_exception_alone_is_nothing_left_behind() -> None:
    queue, tasks = make_queue(), []

    @queue.handler
    async def fails() -> None:
        tasks.append(id(current()))
        raise LookupError("gone")

    async with queue:
        await queue.submit("fails")
        assert await (await queue.submit("identify_at_once")).result() in tasks


@virtual_time
async def test_other_tasks_have_their_turn_after_a_row_of_jobs() -> None:
    queue = make_queue()
    async with queue:
        jobs = [await queue.submit("identify_at_once") for _ in range(10 * JOBS_IN_A_ROW)]
        assert 10 <= await turns_until_over(jobs[-1]) <= 12


@virtual_time
async def test_other_tasks_have_their_turn_after_each_job_that_takes_longer_than_a_row() -> None:
    queue, loop = make_queue(), asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)

    @queue.handler
    async def computes() -> None:
        loop.jump(2 * ROW_S)

    async with queue:
        jobs = [await queue.submit("computes") for _ in range(10)]
        assert 10 <= await turns_until_over(jobs[-1]) <= 12


def make_counting_queue() -> tuple[JobQueue, VirtualLoop, list[int]]:
    """Return a queue, its loop, and a list; each job of `computes` takes an eighth of a row, and adds 1 to the last."""
    queue, loop, rows = make_queue(), asyncio.get_running_loop(), [0]
    assert isinstance(loop, VirtualLoop)

    @queue.handler
    async def computes() -> None:
        loop.jump(ROW_S / 8)
        rows[-1] += 1

    return queue, loop, rows


@pytest.mark.parametrize(
    ("rest_s", "row_s"),
    [(ROW_S / 4, ROW_S), (4 * ROW_S, 4 * ROW_S), (10 * ROW_S_MAX, ROW_S_MAX)],
    ids=["at least a millisecond", "as long as the rest", "at most ten milliseconds"],
)
@virtual_time
async def test_jobs_get_as_much_of_an_iteration_as_everything_else(rest_s: float, row_s: float) -> None:
    queue, loop, rows = make_counting_queue()

    async with queue:
        jobs = [await queue.submit("computes") for _ in range(2000)]
        while (await jobs[-1].status()).live:
            loop.jump(rest_s)
            rows.append(0)
            await asyncio.sleep(0)
    took = [jobs * ROW_S / 8 for jobs in rows[10:-2]]
    assert len(took) > 5
    assert row_s - ROW_S / 4 <= min(took) <= max(took) <= row_s + ROW_S / 4


@virtual_time
async def test_first_steps_that_compute_are_no_time_of_everything_else() -> None:
    queue, loop, rows = make_counting_queue()

    @queue.handler
    async def computes_and_naps() -> None:
        loop.jump(4 * ROW_S)
        await asyncio.sleep(0)

    async with queue:
        jobs = [await queue.submit("computes_and_naps" if number % 20 == 0 else "computes") for number in range(1000)]
        while (await jobs[-1].status()).live:
            rows.append(0)
            await asyncio.sleep(0)
    assert max(rows) <= 10, "a row of one millisecond has eight"


class WholeMilliseconds(VirtualLoop):
    """A loop with the clock of uvloop."""

    __module__ = "uvloop"

    def time(self) -> float:
        return int(super().time() * 1000) / 1000


def test_rows_that_begin_late_in_a_millisecond_last_their_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, turns = make_queue(), 0

    @queue.handler
    async def computes() -> None:
        loop.jump(ROW_S / 4)

    async def run() -> None:
        nonlocal turns
        async with queue:
            jobs = [await queue.submit("computes") for _ in range(40)]
            while (await jobs[-1].status()).live:
                loop.jump(ROW_S - exact() % ROW_S - ROW_S / 10)
                await asyncio.sleep(0)
                turns += 1

    with asyncio.Runner(loop_factory=WholeMilliseconds) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        exact = super(WholeMilliseconds, loop).time
        monkeypatch.setattr(exact_clock, "monotonic", exact)
        runner.run(run())
    assert turns <= 12, "four jobs a row, not the one that the rest of the millisecond has time for"


@virtual_time
async def test_many_workers_share_the_time_that_further_jobs_take_in_an_iteration() -> None:
    queue, loop, most, seen = make_queue(workers=100), asyncio.get_running_loop(), 0.0, 0.0
    assert isinstance(loop, VirtualLoop)

    @queue.handler
    async def computes() -> None:
        loop.jump(ROW_S / 10)

    @queue.handler
    async def naps() -> None:
        await asyncio.sleep(0)

    async with queue:
        await queue.submit("naps")
        jobs = [await queue.submit("computes") for _ in range(1000)]
        seen = loop.time()
        while (await jobs[-1].status()).live:
            await asyncio.sleep(0)
            most, seen = max(most, loop.time() - seen), loop.time()
        assert most <= 100 * ROW_S / 10 + 2 * ROW_S, "one job of each worker, and one row"


@virtual_time
async def test_a_job_that_waits_for_a_place_starts_when_one_comes_free_while_others_pause() -> None:
    queue = make_queue(workers=8)

    @queue.handler
    async def dies() -> None:
        current().cancel()
        await asyncio.sleep(0)

    @queue.handler
    async def naps() -> None:
        await asyncio.sleep(0.02)

    async with queue:
        await asyncio.sleep(0)
        for job in [await queue.submit("dies") for _ in range(12)]:
            await job.wait()
        for _ in range(8):
            await queue.submit("naps")
            await asyncio.sleep(0)
        start = asyncio.get_running_loop().time()
        jobs = [await queue.submit("identify_at_once") for _ in range(3)]
        for job in jobs:
            await job.result()
        waited_s = asyncio.get_running_loop().time() - start
        assert waited_s < 1.0, "the pauses last up to 5 s"


@virtual_time
async def test_jobs_that_suspend_behind_one_that_does_not_start_in_the_next_turn() -> None:
    queue, running = make_queue(workers=100), []

    @queue.handler
    async def naps() -> None:
        running.append(current())
        await asyncio.sleep(1)

    async with queue:
        await queue.submit("identify_at_once")
        for _ in range(50):
            await queue.submit("naps")
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(running) == 50


@virtual_time
@pytest.mark.parametrize("leaves_something", [False, True])
async def test_a_burst_starts_no_more_workers_than_it_has_jobs(leaves_something: bool) -> None:
    queue, most = make_queue(workers=1000), 0

    def workers() -> int:
        return sum(task.get_name() == "worker" for task in asyncio.all_tasks())

    @queue.handler
    async def naps() -> None:
        nonlocal most
        most = max(most, workers())
        if leaves_something:
            kept.append(current())
        else:
            await asyncio.sleep(1)

    async with queue:
        jobs = [await queue.submit("naps") for _ in range(50)]
        for job in jobs:
            await job.wait()
        assert most <= 50 + WAITING_MIN


@virtual_time
async def test_a_worker_of_a_pool_made_smaller_ends_after_its_job() -> None:
    queue = make_queue(workers=2)

    @queue.handler
    async def naps() -> None:
        await asyncio.sleep(3600)

    @queue.handler
    async def shrinks() -> None:
        await queue.change("default", workers=1)

    async with queue:
        nap = await queue.submit("naps")
        await (await queue.submit("shrinks")).result()
        await asyncio.sleep(0)
        assert sum(task.get_name() == "worker" for task in asyncio.all_tasks()) == 1
        await nap.cancel()


@virtual_time
async def test_jobs_go_on_after_the_worker_about_to_take_them_is_killed() -> None:
    queue = make_queue(workers=2)
    async with queue:
        await asyncio.sleep(0)  # both workers wait
        jobs = [await queue.submit("identify_at_once") for _ in range(3)]
        for task in asyncio.all_tasks():
            if task.get_name() == "worker":
                task.cancel()
        for job in jobs:
            await job.result()


@virtual_time
async def test_worker_tasks_bypass_the_task_factory_of_the_loop() -> None:
    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        started.append(coroutine.__qualname__)
        return task

    started: list[str] = []
    queue = make_queue()
    asyncio.get_running_loop().set_task_factory(factory)
    async with queue:
        jobs = [await queue.submit(name) for name in ("identify", "identify_at_once")]
        await asyncio.gather(*(job.result() for job in jobs))
        assert started, "the factory is in use"
        assert "WorkerPool._serve" not in started
