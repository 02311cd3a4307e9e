"""The virtual clock of the test kit."""

from __future__ import annotations

import asyncio

from jobqueue import JobQueue, JobState
from jobqueue.testing import virtual_time

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_virtual_sleeps_of_years_keep_the_exact_time() -> None:
    start = now()
    for _ in range(3):
        await asyncio.sleep(90 * DAY_S)
    assert now() == start + 270 * DAY_S
    await asyncio.sleep(20 * YEAR_S)
    for seconds in (0.0, 0.001, 1.0 / 3, 60.0):
        began = now()
        await asyncio.sleep(seconds)
        assert abs(now() - began - seconds) < 1e-6


@virtual_time
async def test_timers_keep_their_order_after_years() -> None:
    await asyncio.sleep(20 * YEAR_S)
    order: list[int] = []
    for number in (3, 1, 2):
        asyncio.get_running_loop().call_later(number / 1000, order.append, number)
    await asyncio.sleep(1)
    assert order == [1, 2, 3]


@virtual_time
async def test_jobs_run_and_time_out_after_years() -> None:
    queue = JobQueue()

    @queue.handler(timeout_s=5)
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with queue:
        await asyncio.sleep(5 * YEAR_S)
        short = await queue.submit("nap", {"seconds": 1}, delay_s=30 * DAY_S)
        assert (await short.wait()).state is JobState.SUCCEEDED
        assert (await (await queue.submit("nap", {"seconds": 60})).wait()).state is JobState.FAILED
