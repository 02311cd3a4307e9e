from __future__ import annotations

import asyncio

from jobqueue.backend.timer import Timer
from jobqueue.testing import virtual_time


class Source:
    """A source of deadlines that records its ticks."""

    def __init__(self, *due: float) -> None:
        self.due = list(due)
        self.ticked: list[float] = []
        self.looks = 0
        self.error: Exception | None = None

    def tick(self) -> float | None:
        now = asyncio.get_running_loop().time()
        self.ticked.append(now)
        self.due = [at for at in self.due if at > now]
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self.next_at()

    def next_at(self) -> float | None:
        self.looks += 1
        return min(self.due, default=None)


@virtual_time
async def test_the_timer_ticks_exactly_at_each_deadline() -> None:
    source = Source(1001.0, 1002.5, 1100.0)
    timer = Timer(source)
    timer.start()
    await asyncio.sleep(200)
    timer.stop()
    assert source.ticked == [1001.0, 1002.5, 1100.0]


@virtual_time
async def test_the_timer_follows_a_deadline_that_moves_closer() -> None:
    source = Source(1050.0)
    timer = Timer(source)
    timer.start()
    source.due.append(1001.0)
    timer.look()
    await asyncio.sleep(10)
    timer.stop()
    assert source.ticked == [1001.0]


@virtual_time
async def test_the_timer_reads_the_next_deadline_once_per_loop_iteration() -> None:
    source = Source(1050.0)
    timer = Timer(source)
    timer.start()
    await asyncio.sleep(1)
    before = source.looks
    for _ in range(100):
        timer.look()
    source.due.append(1002.0)
    await asyncio.sleep(0)
    assert source.looks - before == 1
    await asyncio.sleep(10)
    timer.stop()
    assert source.ticked == [1002.0]


@virtual_time
async def test_a_stopped_timer_does_not_tick() -> None:
    source = Source(1001.0)
    timer = Timer(source)
    timer.start()
    timer.stop()
    timer.look()
    await asyncio.sleep(10)
    assert source.ticked == []


@virtual_time
async def test_a_failing_tick_is_reported_and_does_not_stop_the_timer() -> None:
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    source = Source(1001.0, 1002.0)
    source.error = RuntimeError("boom")
    timer = Timer(source)
    timer.start()
    await asyncio.sleep(10)
    timer.stop()
    assert source.ticked == [1001.0, 1002.0]
    assert [str(error) for error in reported] == ["boom"]


@virtual_time
async def test_the_timer_lets_other_callbacks_run_between_portions_of_overdue_work() -> None:
    source = Source(1000.0)
    portions = [1000.0, 1000.0]

    def tick() -> float | None:
        source.ticked.append(asyncio.get_running_loop().time())
        source.due = [portions.pop()] if portions else []
        return source.next_at()

    source.tick = tick  # type: ignore[method-assign]  # another tick
    iterations = 0

    def iteration() -> None:
        nonlocal iterations
        iterations += 1
        if len(source.ticked) < 3:
            asyncio.get_running_loop().call_soon(iteration)

    timer = Timer(source)
    timer.start()
    iteration()
    await asyncio.sleep(1)
    timer.stop()
    assert len(source.ticked) == 3
    assert iterations >= 3
