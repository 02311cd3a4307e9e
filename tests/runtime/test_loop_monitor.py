"""The loop monitor names who blocks the loop, once a block."""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from jobqueue.log import EventMessage
from jobqueue.runtime.loop_monitor import Lag, LoopMonitor
from jobqueue.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Reports(logging.Handler):
    """Collects the loop monitor's events, and lets any thread wait for one."""

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
    logger = logging.getLogger("jobqueue.runtime.loop_monitor")
    logger.addHandler(reports)
    yield reports
    logger.removeHandler(reports)


@pytest.fixture
async def monitor(reports: Reports) -> AsyncIterator[LoopMonitor]:
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01)
    monitor.start()
    yield monitor
    monitor.stop()


def a_handler_that_blocks(reports: Reports, count: int = 1) -> None:
    reports.wait_for("loop.blocked", count)


async def test_a_blocked_loop_is_reported_while_it_is_blocked_with_the_stack_that_blocks_it(
    monitor: LoopMonitor, reports: Reports
) -> None:
    a_handler_that_blocks(reports)
    report = reports.events[-1]
    assert "a_handler_that_blocks" in str(report.fields["stack"])
    assert float(str(report.fields["seconds"])) >= 0.05


async def test_a_block_is_reported_once_however_long_and_its_end_tells_how_long(
    monitor: LoopMonitor, reports: Reports
) -> None:
    a_handler_that_blocks(reports)
    threading.Event().wait(0.3)  # blocks on, for six times what is reported
    await reports.unblocked.get()
    assert ("loop.blocked", "loop.blocked") not in pairwise(reports.names())
    assert float(str(reports.events[-1].fields["seconds"])) >= 0.3


async def test_each_block_is_reported(monitor: LoopMonitor, reports: Reports) -> None:
    for _ in range(3):
        a_handler_that_blocks(reports, reports.names().count("loop.blocked") + 1)
        await reports.unblocked.get()
    assert reports.names().count("loop.blocked") >= 3


async def test_the_lag_tells_of_a_block(monitor: LoopMonitor, reports: Reports) -> None:
    a_handler_that_blocks(reports)
    await reports.unblocked.get()
    health = monitor.health()
    assert health.lag_s_max >= 0.05
    assert 0.0 <= health.lag_s_p50 <= health.lag_s_max


async def test_the_lag_of_now_rises_during_a_block_and_is_zero_before_the_start(reports: Reports) -> None:
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01)
    assert monitor.lag() == 0.0
    monitor.start()
    a_handler_that_blocks(reports)
    early = monitor.lag()
    threading.Event().wait(0.1)
    assert 0.0 < early < monitor.lag() < 10.0
    monitor.stop()


async def test_health_counts_memory_and_open_files() -> None:
    monitor = LoopMonitor()
    before = monitor.health()
    with open(__file__):  # noqa: ASYNC230
        assert monitor.health().open_files == before.open_files + 1
    assert before.rss_bytes > 2**20
    assert before.lag_s_max == 0.0


async def test_a_stopped_loop_monitor_leaves_no_thread_even_in_the_middle_of_a_block(reports: Reports) -> None:
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01)
    monitor.start()
    a_handler_that_blocks(reports)
    monitor.stop()
    monitor.stop()
    assert "jobqueue-watch" not in [thread.name for thread in threading.enumerate()]


async def test_a_loop_monitor_that_never_started_can_be_stopped() -> None:
    LoopMonitor().stop()


# The lag of now, on a clock by hand


BOUND_S = 0.5


class Turns:
    """A loop of which each turn takes as long as it is told, and the lag that it tells of itself."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lag = Lag(0.1, clock=self.clock)
        self.lag.beat()

    def take(self, *turns_s: float) -> None:
        for turn_s in turns_s:
            self.clock.advance(turn_s)
            if self.clock.now >= self.lag.due_at:
                self.lag.beat()

    def until_under(self, bound_s: float) -> float:
        """Take turns of 10 ms until the lag is under a bound; return how long that took."""
        began = self.clock.now
        while self.lag() > bound_s:
            self.take(0.01)
        return self.clock.now - began


def test_a_loop_on_time_has_no_lag() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.take(0.001)
        assert turns.lag() < 0.001


@pytest.mark.parametrize("before", range(10))
def test_one_pause_of_600_ms_does_not_shed_whenever_it_falls_between_two_beats(before: int) -> None:
    turns = Turns()
    worst = 0.0
    for step_s in [0.01] * (20 + before) + [0.6] + [0.01] * 200:
        turns.clock.advance(step_s)
        worst = max(worst, turns.lag())  # as a request does that comes in the same turn, before the beat
        turns.take(0.0)
        worst = max(worst, turns.lag())
    assert 0.3 < worst < 0.46
    assert turns.lag() < 0.02


def test_a_second_late_turn_in_a_row_sheds_and_a_standing_lag_is_told_to_within_a_beat() -> None:
    turns = Turns()
    turns.take(0.7)
    assert turns.lag() < BOUND_S
    turns.take(0.7)
    assert turns.lag() > BOUND_S
    turns.take(*[0.7] * 20)
    assert 0.7 - 0.1 - 0.001 < turns.lag() < 0.7


def test_a_lag_under_the_bound_does_not_shed_however_long_it_stands() -> None:
    turns = Turns()
    for _ in range(100):
        turns.take(0.4)
        assert turns.lag() < BOUND_S


def test_the_lag_rises_within_a_turn_that_does_not_end() -> None:
    turns = Turns()
    told = []
    for _ in range(20):
        turns.clock.advance(0.1)
        told.append(turns.lag())
    assert told[0] == 0.0  # the beat is just due
    assert all(earlier < later for earlier, later in pairwise(told))
    assert told[-1] > 1.8


@pytest.mark.parametrize(("pause_s", "shed_s"), [(1.0, 0.25), (2.0, 0.65), (5.0, 1.15)])
def test_after_a_long_pause_the_lag_is_soon_under_the_bound_again(pause_s: float, shed_s: float) -> None:
    turns = Turns()
    turns.take(pause_s)
    assert turns.lag() > BOUND_S
    assert turns.until_under(BOUND_S) == pytest.approx(shed_s, abs=0.05)
    assert turns.until_under(0.01) < 3.0


async def test_a_loop_that_is_blocked_for_long_is_no_suspended_process(reports: Reports) -> None:
    gaps: list[float] = []
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01, on_suspended=gaps.append)
    monitor.start()

    threading.Event().wait(1.3)  # on the loop

    await asyncio.wait_for(reports.unblocked.get(), 10)
    monitor.stop()
    assert gaps == []
    assert reports.names() == ["loop.blocked", "loop.unblocked"]
