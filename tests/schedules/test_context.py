"""What a handler is told of the schedule that started its job, wherever it runs, and after a restart."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.config import JournalSettings, Settings
from jobqueue.context import Scheduled
from jobqueue.core.events import Ended
from jobqueue.core.job_view import JobView, view_of
from jobqueue.schedules.runner import Ticked
from jobqueue.testing import virtual_time
from tests.runtime.pools import blocking
from tests.runtime.test_children import PLACES, make_queue
from tests.schedules.clock import at

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.handlers import RunIn

RUNS_AT = datetime(2026, 3, 2, 10, 5, tzinfo=UTC)


@virtual_time
async def test_each_attempt_has_the_instant_of_its_tick_without_the_jitter() -> None:
    queue, told = JobQueue(drain_s=0), list[tuple[int, Scheduled | None]]()
    at(queue, "2026-03-02T10:00:30Z")

    @queue.every("5m", jitter_s=20)
    @queue.handler(attempts_max=2)
    async def sweep(ctx: JobContext) -> None:
        told.append((ctx.attempt, ctx.schedule))
        if len(told) == 1:
            raise ValueError("once more")

    async with queue:
        await asyncio.sleep(10 * 60)
    assert [(attempt, schedule and schedule.name) for attempt, schedule in told] == [
        *((1, "sweep"), (2, "sweep")),
        (1, "sweep"),
    ]
    assert [schedule and schedule.due_at for _, schedule in told] == [RUNS_AT, RUNS_AT, RUNS_AT + timedelta(minutes=5)]


@virtual_time
async def test_a_run_on_request_has_no_instant_and_another_job_no_schedule() -> None:
    queue, told = JobQueue(drain_s=0), list[Scheduled | None]()

    @queue.every("5m", overlap="queue")
    @queue.handler
    async def sweep(ctx: JobContext) -> None:
        told.append(ctx.schedule)

    async with queue:
        run = await queue.service.schedules.runner.run((None, "sweep"))
        await queue.job(run.job.id).wait()
        await (await queue.submit("sweep")).wait()
    assert told[0] is not None
    assert (told[0].name, told[0].due_at, told[1]) == ("sweep", None, None)


@pytest.mark.parametrize("place", PLACES)
async def test_a_handler_in_a_thread_or_a_process_gets_the_name_and_instant_of_its_schedule(
    tmp_path: Path, place: RunIn
) -> None:
    queue = make_queue(tmp_path, place)
    queue.every("1s", name="each-second")(queue.handler(run_in=place)(blocking.due))
    ended = asyncio.Queue[JobView]()
    async with queue:
        run = await queue.service.schedules.runner.run((None, "each-second"))
        assert await queue.job(run.job.id).result() == ["each-second", None]
        queue.service.backend.subscribe(lambda event: ended.put_nowait(view_of(event.job)), Ended)
        name, due_at = json.loads((await ended.get()).result or b"")
        assert name == "each-second"
        assert datetime.fromisoformat(due_at).microsecond == 0


async def test_a_job_that_a_restart_brings_back_has_its_instant(tmp_path: Path) -> None:
    told = asyncio.Queue[Scheduled | None]()

    def made(begin: str) -> JobQueue:
        queue = JobQueue(Settings(journal=JournalSettings(dir=str(tmp_path))), drain_s=0)
        at(queue, begin)

        @queue.every("5m")
        @queue.handler
        async def sweep(ctx: JobContext) -> None:
            told.put_nowait(ctx.schedule)

        return queue

    first = made("2026-03-02T10:04:59.9Z")
    await first.start()
    await first.pause("default")
    ticks = asyncio.Queue[Ticked]()
    first.service.schedules.runner.listen(ticks.put_nowait)
    await ticks.get()
    await first.stop()
    assert told.empty()
    async with made("2026-03-02T10:06:00Z") as second:
        await second.resume("default")
        schedule = await told.get()
        assert schedule is not None
        assert (schedule.name, schedule.due_at) == ("sweep", RUNS_AT)
