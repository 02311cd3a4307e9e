"""Tests of schedules beside a journal: what of them outlives a process, what a stopped machine has missed, and what
becomes of jobs that end before they are kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue import JobQueue
from jobqueue.config import JournalSettings, ScheduleSettings, Settings, StatusesSettings
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.testing import virtual_time
from tests.backend.keeping import HeldKeeper
from tests.schedules.clock import WallAt

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.surroundings import Surroundings

NIGHTLY = ScheduleSubmission(type="sweep", cron="0 3 * * *", args=msgspec.Raw(b'{"depth":2}'))
MINUTE = (None, "minute")


def made(folder: Path, begin: str, **options: Any) -> JobQueue:
    """Return a queue with a schedule of a minute, that starts at an instant; time goes on as it does."""
    queue, wall = JobQueue(Settings(journal=JournalSettings(dir=str(folder))), drain_s=0), WallAt(begin)

    def surroundings(settings: Settings) -> Surroundings:
        given = wall.surroundings(settings)
        journal: Any = given.journal
        journal._offset_s = given.wall_clock.offset_s
        return replace(given, journal=journal)

    queue.service.surroundings = surroundings

    @queue.every("1m", name="minute", **options)
    @queue.handler
    async def sweep(depth: int = 0) -> None: ...

    return queue


async def ticked(queue: JobQueue) -> Any:
    """Return the state of the schedule of a minute once its ticks that are due have their jobs."""
    runner = queue.service.schedules.runner
    while runner._work is not None or (runner.schedules.next_at() or 0.0) <= runner.wall_now():
        await asyncio.sleep(0)
    return runner.schedules.get(MINUTE)


async def test_a_schedule_goes_on_where_the_process_before_has_stopped(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T10:00:30Z"):
        pass
    async with made(tmp_path, "2026-03-02T10:10:30Z") as queue:
        state = await ticked(queue)
        assert (state.submitted_total, state.missed_total) == (1, 9)
        assert state.last.instant % 3600 == 600
    async with made(tmp_path, "2026-03-02T10:10:40Z") as queue:
        assert (await ticked(queue)).submitted_total == 0


async def test_all_ticks_of_a_stopped_machine_are_caught_up_if_asked_to(tmp_path: Path) -> None:
    options = {"catch_up": "all", "overlap": "queue"}
    async with made(tmp_path, "2026-03-02T10:00:30Z", **options):
        pass
    async with made(tmp_path, "2026-03-02T10:10:30Z", **options) as queue:
        assert (await ticked(queue)).submitted_total == 10


async def test_a_tick_that_was_submitted_but_not_noted_is_not_submitted_again(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T10:00:30Z") as queue:
        reached = queue.service.schedules.runner.schedules.get(MINUTE)
        assert reached is not None
    async with made(tmp_path, "2026-03-02T10:01:10Z") as queue:
        assert (await ticked(queue)).submitted_total == 1
        book: Any = queue.service.schedules.runner._book
        book.note(MINUTE, reached=reached.reached, pause=None)  # as if the process had ended before
    async with made(tmp_path, "2026-03-02T10:01:20Z") as queue:
        state = await ticked(queue)
        assert (state.submitted_total, state.elsewhere_total) == (0, 1)


async def test_a_schedule_that_was_put_and_a_pause_are_kept(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T10:00:30Z") as queue:
        operations = queue.service.schedules
        operations.put("nightly", NIGHTLY, owner="ann", caller="ann")
        operations.put("weekly", NIGHTLY, owner=None, caller=None)
        operations.pause(operations.find("minute"), by="bob")
    async with made(tmp_path, "2026-03-02T10:10:30Z") as queue:
        operations = queue.service.schedules
        nightly = operations.find("nightly", owner="ann", sees="ann")
        assert (nightly.given, nightly.caller, nightly.source) == (NIGHTLY, "ann", "api")
        pause = operations.state(operations.find("minute")).pause
        assert pause is not None
        assert pause.by == "bob"
        operations.delete(nightly, by=None)
        operations.resume(operations.find("minute"), by=None)
    async with made(tmp_path, "2026-03-02T10:10:40Z") as queue:
        assert {name for _, name in queue.service.schedules.runner.definitions} == {"minute", "weekly"}
        assert (await ticked(queue)).pause is None


async def test_an_interval_goes_on_if_the_clock_of_the_process_before_was_ahead(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T22:00:30Z"):
        pass
    async with made(tmp_path, "2026-03-02T10:00:30Z") as queue:
        at = queue.service.schedules.state(queue.service.schedules.find("minute")).next_at
        assert at is not None
        assert at - queue.service.schedules.runner.wall_now() <= 60


async def test_a_reload_before_kept_jobs_are_back_keeps_pauses_and_brings_new_schedules(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T10:00:30Z") as queue:
        await queue.pause_schedule("minute")
    queue = made(tmp_path, "2026-03-02T10:10:30Z")
    await queue.service.open()
    new = ScheduleSettings(type="sweep", every_s=3600.0)
    await queue.reload(msgspec.structs.replace(queue.service.settings, schedules={"new": new}))
    await queue.service.recover()
    operations = queue.service.schedules
    assert operations.find("new").source == "config"
    assert operations.state(operations.find("minute")).pause is not None
    await queue.stop()


async def test_nothing_is_kept_of_a_schedule_that_the_code_no_longer_has(tmp_path: Path) -> None:
    async with made(tmp_path, "2026-03-02T10:00:30Z") as queue:
        queue.service.schedules.put("nightly", NIGHTLY, owner=None, caller=None)
    bare = JobQueue(Settings(journal=JournalSettings(dir=str(tmp_path))), drain_s=0)
    async with bare:
        book: Any = bare.service.schedules.runner._book
        assert list(book.kept) == [(None, "nightly")]
        assert bare.service.schedules.runner.definitions == {}, "its handler is gone; it is kept for the next process"
    async with made(tmp_path, "2026-03-02T10:20:30Z") as queue:
        assert (None, "nightly") in queue.service.schedules.runner.definitions


def failing(keeper: HeldKeeper, every: str, *, ttl_s: float = 3600.0) -> JobQueue:
    """Return a queue with a schedule of jobs that fail three times, then succeed, each kept when the keeper says so."""
    wall, fails = WallAt("2026-03-02T10:00:30Z"), [True] * 3
    queue = JobQueue(Settings(statuses=StatusesSettings(ttl_s=ttl_s, failed_ttl_s=ttl_s)), drain_s=0)
    queue.service.surroundings = lambda settings: replace(wall.surroundings(settings), journal=keeper)

    @queue.every(every, name="minute")
    @queue.handler
    async def sweep() -> None:
        if fails and fails.pop():
            raise ValueError("the disk is full")

    return queue


def waits(queue: JobQueue) -> dict[str, Any]:
    """Return the waits for ends of jobs."""
    local: Any = queue.service.local
    return local._waits.ends


@virtual_time
async def test_the_end_of_a_job_that_comes_before_its_tick_is_kept_is_noted() -> None:
    async with failing(keeper := HeldKeeper(), "1m") as queue:
        runner = queue.service.schedules.runner
        for _ in range(3):
            assert runner.figures().troubles == []
            await asyncio.sleep(60)
            keeper.release()
            await asyncio.sleep(1)
        (trouble,) = runner.figures().troubles
        assert (trouble.kind, trouble.count) == ("failed", 3)
        assert trouble.reason == "handler_error: ValueError: the disk is full"
        await asyncio.sleep(60)
        keeper.release()
        await asyncio.sleep(1)
        assert runner.figures().troubles == [], "a success ends the row"
        assert waits(queue) == {}


@virtual_time
async def test_the_end_of_a_job_that_comes_before_its_run_on_request_is_kept_is_noted() -> None:
    async with failing(keeper := HeldKeeper(), "1d") as queue:
        runner = queue.service.schedules.runner
        for _ in range(3):
            run = asyncio.ensure_future(runner.run(MINUTE))
            await asyncio.sleep(1)
            keeper.release()
            await run
        (trouble,) = runner.figures().troubles
        assert (trouble.kind, trouble.count) == ("failed", 3)
        assert waits(queue) == {}


@virtual_time
async def test_a_job_that_is_evicted_before_its_tick_is_kept_leaves_no_wait() -> None:
    async with failing(keeper := HeldKeeper(), "1m", ttl_s=1.0) as queue:
        await asyncio.sleep(60)
        assert len(keeper.waiting) == 1
        assert queue.service.backend.stats()[0].terminal == 0, "its record is gone"
        keeper.release()
        await asyncio.sleep(1)
        schedule = queue.service.schedules.runner.schedules.get(MINUTE)
        assert schedule is not None
        assert schedule.submitted_total == 1
        assert waits(queue) == {}
