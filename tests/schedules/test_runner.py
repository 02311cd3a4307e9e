"""Tests of the runner: schedules submit jobs at their instants, as the wall clock, the backend and a drain allow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, ScheduleSettings, Settings
from jobqueue.core.schedule import Schedule
from jobqueue.errors import ConfigError, Duplicate, ScheduleNotFound
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.schedules.runner import Ticked
from jobqueue.testing import virtual_time
from tests.schedules.clock import WallAt, at


def ticking(
    decorate: Any, begin: str = "2026-03-02T10:00:30Z", **queue_settings: Any
) -> tuple[JobQueue, WallAt, list[str]]:
    """Return a queue with a scheduled handler, its wall clock, and the times of the handler's runs."""
    queue = JobQueue(Settings(queues={"default": QueueSettings(**queue_settings)}), drain_s=0)
    wall, ran = at(queue, begin), list[str]()

    async def sweep(seconds: float = 0.0) -> None:
        ran.append(wall.text())
        await asyncio.sleep(seconds)

    decorate(queue)(queue.handler(name="sweep")(sweep))
    return queue, wall, ran


def the(queue: JobQueue) -> Schedule:
    (schedule,) = queue.service.schedules.runner.schedules
    return schedule


@virtual_time
async def test_jobs_run_at_the_instants_of_their_schedule() -> None:
    queue, _, ran = ticking(lambda queue: queue.every("5m"))
    async with queue:
        await asyncio.sleep(15 * 60)
    assert ran == ["2026-03-02T10:05:00", "2026-03-02T10:10:00", "2026-03-02T10:15:00"]


@virtual_time
async def test_a_time_of_day_follows_its_zone_through_a_change_of_the_clock() -> None:
    queue, _, ran = ticking(lambda queue: queue.cron("30 3 * * *", tz="Europe/Berlin"), "2026-03-27T12:00Z")
    async with queue:
        await asyncio.sleep(3 * 86_400)
    assert ran == ["2026-03-28T02:30:00", "2026-03-29T01:30:00", "2026-03-30T01:30:00"]


@virtual_time
@pytest.mark.parametrize(("overlap", "ran_at"), [("skip", 2), ("queue", 5), ("replace", 5)])
async def test_a_tick_meets_the_live_job_of_an_earlier_one_as_the_overlap_says(overlap: Any, ran_at: int) -> None:
    queue, _, ran = ticking(lambda queue: queue.every(60, overlap=overlap, args={"seconds": 150}))
    async with queue:
        await asyncio.sleep(290)
        schedule = the(queue)
        live = sum(stats.running for stats in queue.service.backend.stats()[1])
    assert len(ran) == ran_at
    assert (schedule.submitted_total, schedule.skipped_total) == (ran_at, 5 - ran_at)
    assert live == {"skip": 1, "queue": 3, "replace": 1}[overlap]


@virtual_time
async def test_a_full_queue_puts_a_tick_off_and_costs_no_other() -> None:
    queue, _, ran = ticking(lambda queue: queue.every(300), capacity=1)

    @queue.handler
    async def block() -> None:
        await asyncio.sleep(300)

    async with queue:
        await queue.submit("block", delay_s=0)
        await asyncio.sleep(280)
        assert ran == []
        assert the(queue).error is not None
        await asyncio.sleep(100)
        assert len(ran) == 1
        assert the(queue).error is None
        assert the(queue).submitted_total == 1


@virtual_time
async def test_a_wall_clock_set_forward_lets_a_tick_come_within_half_a_minute() -> None:
    queue, wall, ran = ticking(lambda queue: queue.cron("0 12 * * *"))
    async with queue:
        await asyncio.sleep(1)
        wall.ahead_s += 2 * 3600
        await asyncio.sleep(31)
    assert ran == [f"2026-03-02T12:{ran[0][14:]}"]


@virtual_time
async def test_a_wall_clock_set_back_does_not_keep_an_interval_waiting() -> None:
    queue, wall, ran = ticking(lambda queue: queue.every(60))
    async with queue:
        await asyncio.sleep(61)
        wall.ahead_s -= 3 * 3600
        await asyncio.sleep(180)
    assert len(ran) >= 3


@virtual_time
async def test_a_pause_gives_no_ticks_and_its_end_the_last_of_them() -> None:
    queue, _, ran = ticking(lambda queue: queue.every(60))
    async with queue:
        runner = queue.service.schedules.runner
        runner.pause((None, "sweep"), by="ann")
        await asyncio.sleep(600)
        assert ran == []
        runner.resume((None, "sweep"))
        await asyncio.sleep(1)
        assert len(ran) == 1
        assert the(queue).missed_total == 9


@virtual_time
async def test_a_run_on_request_meets_a_live_job_as_the_overlap_says() -> None:
    queue, _, ran = ticking(lambda queue: queue.every("1d", args={"seconds": 60}))
    async with queue:
        runner = queue.service.schedules.runner
        await runner.run((None, "sweep"))
        with pytest.raises(Duplicate):
            await runner.run((None, "sweep"))
        assert len(ran) <= 1
        assert the(queue).submitted_total == 1


@virtual_time
async def test_a_drain_begins_no_further_tick() -> None:
    queue, _, ran = ticking(lambda queue: queue.every(1, args={"seconds": 100}, overlap="queue"))
    async with queue:
        await asyncio.sleep(1.1)
        await queue.drain(50)
    assert len(ran) == 1


@virtual_time
async def test_ten_thousand_schedules_that_are_due_at_once_have_a_job_each() -> None:
    queue = JobQueue(Settings(queues={"default": QueueSettings(capacity=20_000)}), drain_s=0)
    at(queue, "2026-03-02T10:00:30Z")
    handler = queue.handler(name="sweep")(_nothing)
    for number in range(10_000):
        queue.every(60, name=f"s{number}")(handler)
    async with queue:
        await asyncio.sleep(35)
        assert sum(stats.submitted_total for stats in queue.service.backend.stats()[1]) == 10_000


async def _nothing() -> None: ...


@virtual_time
async def test_a_reload_replaces_the_schedules_of_the_settings_alone() -> None:
    hourly = ScheduleSettings(type="sweep", every_s=3600.0)
    queue = JobQueue(Settings(schedules={"kept": hourly, "dropped": hourly, "changed": hourly}), drain_s=0)
    at(queue, "2026-03-02T10:00:30Z")
    queue.every(60)(queue.handler(name="sweep")(_nothing))
    async with queue:
        runner = queue.service.schedules.runner
        kept = runner.schedules.get((None, "kept"))
        queue.service.schedules.put("put", ScheduleSubmission(type="sweep", every_s=9.0), owner=None, caller=None)
        daily = ScheduleSettings(type="sweep", every_s=86_400.0)
        await queue.reload(Settings(schedules={"kept": hourly, "changed": daily, "new": hourly}))
        assert {name for _, name in runner.definitions} == {"sweep", "put", "kept", "changed", "new"}
        assert runner.schedules.get((None, "kept")) is kept
        assert runner.definitions[None, "changed"].given.every_s == 86_400.0
        with pytest.raises(ConfigError, match="no handler has the type 'nope'"):
            await queue.reload(Settings(schedules={"new": ScheduleSettings(type="nope", every_s=60.0)}))
        assert (None, "kept") in runner.definitions, "nothing of it was applied"


@virtual_time
async def test_an_application_runs_pauses_and_resumes_its_schedules() -> None:
    queue, _, ran = ticking(lambda queue: queue.every("1d"))
    async with queue:
        job = await queue.run_schedule("sweep")
        await job.result()
        assert len(ran) == 1
        await queue.pause_schedule("sweep")
        assert the(queue).pause is not None
        await queue.resume_schedule("sweep")
        assert the(queue).pause is None
        with pytest.raises(ScheduleNotFound):
            await queue.run_schedule("nope")


@virtual_time
async def test_jobs_of_a_schedule_that_fail_three_times_in_a_row_are_a_trouble() -> None:
    queue, fails = JobQueue(drain_s=0), [True, True, True, False]
    at(queue, "2026-03-02T10:00:30Z")

    @queue.every(60)
    @queue.handler
    async def sweep() -> None:
        if fails.pop(0):
            raise ValueError("the disk is full")

    async with queue:
        runner = queue.service.schedules.runner
        await asyncio.sleep(100)
        assert runner.figures().troubles == []
        await asyncio.sleep(60)
        (trouble,) = runner.figures().troubles
        assert (trouble.kind, trouble.count) == ("failed", 3)
        assert trouble.reason == "handler_error: ValueError: the disk is full"
        assert trouble.since == pytest.approx(runner.wall_now() - 130, abs=1.0)
        await asyncio.sleep(60)
        assert runner.figures().troubles == []


@virtual_time
async def test_jobs_of_a_schedule_that_are_cancelled_are_no_trouble() -> None:
    queue, _, _ = ticking(lambda queue: queue.every(3600, overlap="queue", args={"seconds": 30}))
    async with queue:
        schedules = queue.service.schedules
        for _ in range(3):
            submitted = await schedules.runner.run((None, "sweep"))
            await queue.service.backend.cancel(submitted.job.id)
            await queue.job(submitted.job.id).wait()
        assert schedules.runner.figures().troubles == []


@virtual_time
async def test_listeners_hear_the_outcome_of_each_tick() -> None:
    queue, _, _ = ticking(lambda queue: queue.every(60, args={"seconds": 90}))
    async with queue:
        runner, heard = queue.service.schedules.runner, list[Ticked]()
        leave = runner.listen(heard.append)
        begun = runner.wall_now()
        await asyncio.sleep(160)
        leave()
        await asyncio.sleep(60)
    assert [(tick.schedule, tick.due_at - begun) for tick in heard] == [
        ((None, "sweep"), 30.0 + 60 * n) for n in range(3)
    ]
    assert [tick.outcome for tick in heard] == ["submitted", "skipped", "submitted"]
