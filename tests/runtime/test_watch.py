"""The watch names who blocks the loop, once a block."""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from jobqueue.log import EventMessage
from jobqueue.runtime.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Reports(logging.Handler):
    """Collects the watch's events, and lets any thread wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[EventMessage] = []
        self.unblocked: asyncio.Queue[None] = asyncio.Queue()
        self._came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        message: object = record.msg
        assert isinstance(message, EventMessage)
        with self._came:
            self.events.append(message)
            self._came.notify_all()
        if message.event == "loop.unblocked":  # told on the loop itself
            self.unblocked.put_nowait(None)

    def wait_for(self, event: str, count: int = 1) -> None:
        with self._came:
            assert self._came.wait_for(lambda: self.names().count(event) >= count, 10), f"no {event} came"

    def names(self) -> list[str]:
        return [message.event for message in self.events]


@pytest.fixture
def reports() -> Iterator[Reports]:
    reports = Reports()
    logger = logging.getLogger("jobqueue.runtime.watch")
    logger.addHandler(reports)
    yield reports
    logger.removeHandler(reports)


@pytest.fixture
async def watch(reports: Reports) -> AsyncIterator[Watch]:
    watch = Watch(blocked_s=0.05, beat_s=0.01)
    watch.start()
    yield watch
    watch.stop()


def a_handler_that_blocks(reports: Reports, count: int = 1) -> None:
    reports.wait_for("loop.blocked", count)


async def test_a_blocked_loop_is_reported_while_it_is_blocked_with_the_stack_that_blocks_it(
    watch: Watch, reports: Reports
) -> None:
    a_handler_that_blocks(reports)
    report = reports.events[-1]
    assert "a_handler_that_blocks" in str(report.fields["stack"])
    assert float(str(report.fields["seconds"])) >= 0.05


async def test_a_block_is_reported_once_however_long_and_its_end_tells_how_long(watch: Watch, reports: Reports) -> None:
    a_handler_that_blocks(reports)
    threading.Event().wait(0.3)  # blocks on, for six times what is reported
    await reports.unblocked.get()
    assert ("loop.blocked", "loop.blocked") not in pairwise(reports.names())
    assert float(str(reports.events[-1].fields["seconds"])) >= 0.3


async def test_each_block_is_reported(watch: Watch, reports: Reports) -> None:
    for _ in range(3):
        a_handler_that_blocks(reports, reports.names().count("loop.blocked") + 1)
        await reports.unblocked.get()
    assert reports.names().count("loop.blocked") >= 3


async def test_the_lag_tells_of_a_block(watch: Watch, reports: Reports) -> None:
    a_handler_that_blocks(reports)
    await reports.unblocked.get()
    health = watch.health()
    assert health.lag_s_max >= 0.05
    assert 0.0 <= health.lag_s_p50 <= health.lag_s_max


async def test_health_counts_memory_and_open_files() -> None:
    watch = Watch()
    before = watch.health()
    with open(__file__):  # noqa: ASYNC230
        assert watch.health().open_files == before.open_files + 1
    assert before.rss_bytes > 2**20
    assert before.lag_s_max == 0.0


async def test_a_stopped_watch_leaves_no_thread_even_in_the_middle_of_a_block(reports: Reports) -> None:
    watch = Watch(blocked_s=0.05, beat_s=0.01)
    watch.start()
    a_handler_that_blocks(reports)
    watch.stop()
    watch.stop()
    assert "jobqueue-watch" not in [thread.name for thread in threading.enumerate()]


async def test_a_watch_that_never_started_can_be_stopped() -> None:
    Watch().stop()
