"""Schedules of several servers on one store: each tick is one job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert

from jobqueue import JobQueue
from jobqueue.config import Settings
from jobqueue.errors import NotInStore
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.wiring import system
from tests.http.far import far

if TYPE_CHECKING:
    from bench.store import Store

TICKS = 4


def server(url: str | None, ran: asyncio.Queue[str]) -> JobQueue:
    """Return one of the servers on a store; None: on one that is another part of this process."""
    valkey = {} if url is None else {"valkey": {"url": url}}
    queue = JobQueue(convert({"backend": "valkey", **valkey}, Settings), drain_s=0)
    if url is None:
        queue.service.surroundings = far(system)

    @queue.every(1, overlap="queue")
    @queue.handler
    async def sweep() -> None:
        ran.put_nowait("sweep")

    return queue


def the(queue: JobQueue) -> Any:
    return queue.service.schedules.runner.schedules.get((None, "sweep"))


async def test_each_tick_of_two_servers_is_one_job(store: Store) -> None:
    ran: asyncio.Queue[str] = asyncio.Queue()
    async with server(store.url, ran) as one, server(store.url, ran) as other:
        async with asyncio.timeout(30):
            for _ in range(TICKS):
                await ran.get()
            while the(one).last is None or the(other).last is None or the(one).reached != the(other).reached:
                await asyncio.sleep(0.01)
        for queue in (one, other):
            queue.service.schedules.runner.stop_ticks()
        first, last = sorted((the(one), the(other)), key=lambda schedule: schedule.submitted_total)
        ticks = [schedule.submitted_total + schedule.elsewhere_total for schedule in (first, last)]
        assert first.submitted_total + last.submitted_total == max(ticks), "each instant has one job"
        assert first.elsewhere_total + last.elsewhere_total == min(ticks), "the other server has found it"


async def test_a_server_of_a_store_keeps_no_schedule_of_a_request() -> None:
    async with server(None, asyncio.Queue()) as queue:
        operations = queue.service.schedules
        given = ScheduleSubmission(type="sweep", every_s=60.0)
        with pytest.raises(NotInStore):
            operations.put("mine", given, owner=None, caller=None)
        for change in (operations.delete, operations.pause, operations.resume):
            with pytest.raises(NotInStore):
                change(operations.find("sweep"), by=None)
        assert (await operations.run(operations.find("sweep"))).job.live
