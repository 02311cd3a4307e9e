"""The loop monitor reports each block of the loop once, with the stack that blocks it."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from jobqueue.log import EventMessage
from jobqueue.runtime.loop_monitor import SMALL_S, Lag, LoopMonitor
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
        if message.event == "loop.unblocked":  # logged on the loop itself
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


def blocking_handler(reports: Reports, count: int = 1) -> None:
    reports.wait_for("loop.blocked", count)


async def test_a_blocked_loop_is_reported_during_the_block_with_its_stack(
    monitor: LoopMonitor, reports: Reports
) -> None:
    blocking_handler(reports)
    report = reports.events[-1]
    assert "blocking_handler" in str(report.fields["stack"])
    assert float(str(report.fields["seconds"])) >= 0.05


async def test_a_block_is_reported_once_and_its_end_has_the_duration(monitor: LoopMonitor, reports: Reports) -> None:
    blocking_handler(reports)
    threading.Event().wait(0.3)  # blocks further, for six times the threshold
    await reports.unblocked.get()
    assert ("loop.blocked", "loop.blocked") not in pairwise(reports.names())
    assert float(str(reports.events[-1].fields["seconds"])) >= 0.3


async def test_the_last_block_has_its_duration_and_the_line_of_code_that_is_no_library(
    monitor: LoopMonitor, reports: Reports
) -> None:
    blocking_handler(reports)  # in `threading.Condition.wait_for`, called from `Reports.wait_for`
    await reports.unblocked.get()
    assert monitor.last_block is not None
    assert monitor.last_block.seconds >= 0.05
    assert re.fullmatch(r"test_loop_monitor\.py:\d+ in wait_for", monitor.last_block.where)


async def test_each_block_is_reported(monitor: LoopMonitor, reports: Reports) -> None:
    for _ in range(3):
        blocking_handler(reports, reports.names().count("loop.blocked") + 1)
        await reports.unblocked.get()
    assert reports.names().count("loop.blocked") >= 3


async def test_the_maximum_lag_includes_a_block(monitor: LoopMonitor, reports: Reports) -> None:
    blocking_handler(reports)
    await reports.unblocked.get()
    health = monitor.health()
    assert health.lag_s_max >= 0.05
    assert 0.0 <= health.lag_s_p50 <= health.lag_s_max


async def test_the_current_lag_rises_during_a_block_and_is_zero_before_the_start(reports: Reports) -> None:
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01)
    assert monitor.lag() == 0.0
    monitor.start()
    blocking_handler(reports)
    early = monitor.lag()
    threading.Event().wait(0.1)
    assert 0.0 < early < monitor.lag() < 10.0
    monitor.stop()


async def test_health_counts_memory_and_open_files() -> None:
    monitor = LoopMonitor()
    before = monitor.health()
    with open(__file__):  # noqa: ASYNC230 - a test may open a file
        assert monitor.health().open_files == before.open_files + 1
    assert before.rss_bytes > 2**20
    assert before.lag_s_max == 0.0


async def test_a_loop_monitor_stopped_during_a_block_leaves_no_thread(reports: Reports) -> None:
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01)
    monitor.start()
    blocking_handler(reports)
    monitor.stop()
    monitor.stop()
    assert "jobqueue-watch" not in [thread.name for thread in threading.enumerate()]


async def test_a_loop_monitor_that_never_started_can_be_stopped() -> None:
    LoopMonitor().stop()


# The current lag, on a manual clock


BOUND_S = 0.5


class Iterations:
    """Iterations of a loop with given durations, and their measured lag."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._lag = Lag(0.1, clock=self.clock)
        self.lag = self._lag.read
        self._lag.beat()

    def take(self, *durations_s: float) -> None:
        for duration_s in durations_s:
            self.clock.advance(duration_s)
            if self.clock.now >= self._lag.due_at:
                self._lag.beat()

    def until_under(self, bound_s: float) -> float:
        """Run iterations of 10 ms until the lag is at most a bound; return the time that took."""
        began = self.clock.now
        while self.lag() > bound_s:
            self.take(0.01)
        return self.clock.now - began


def test_a_loop_on_time_has_no_lag() -> None:
    iterations = Iterations()
    for _ in range(1000):
        iterations.take(0.001)
        assert iterations.lag() < 0.001


@pytest.mark.parametrize("before", range(10))
def test_a_single_pause_of_600_ms_stays_below_the_bound_at_any_offset(before: int) -> None:
    iterations = Iterations()
    worst = 0.0
    for step_s in [0.01] * (20 + before) + [0.6] + [0.01] * 200:
        iterations.clock.advance(step_s)
        worst = max(worst, iterations.lag())  # read as by a request in the same iteration, before the beat
        iterations.take(0.0)
        worst = max(worst, iterations.lag())
    assert 0.3 < worst < 0.46
    assert iterations.lag() < 0.02


def test_two_late_iterations_in_a_row_exceed_the_bound_and_a_standing_lag_is_measured_within_a_beat() -> None:
    iterations = Iterations()
    iterations.take(0.7)
    assert iterations.lag() < BOUND_S
    iterations.take(0.7)
    assert iterations.lag() > BOUND_S
    iterations.take(*[0.7] * 20)
    assert 0.7 - 0.1 - 0.001 < iterations.lag() < 0.7


def test_a_standing_lag_below_the_bound_stays_below_it() -> None:
    iterations = Iterations()
    for _ in range(100):
        iterations.take(0.4)
        assert iterations.lag() < BOUND_S


def test_the_lag_rises_within_an_iteration_that_does_not_end() -> None:
    iterations = Iterations()
    lags = []
    for _ in range(20):
        iterations.clock.advance(0.1)
        lags.append(iterations.lag())
    assert lags[0] == 0.0  # the beat is just due
    assert all(earlier < later for earlier, later in pairwise(lags))
    assert lags[-1] > 1.8


@pytest.mark.parametrize(("pause_s", "shed_s"), [(1.0, 0.25), (2.0, 0.65), (5.0, 1.15)])
def test_the_lag_falls_below_the_bound_soon_after_a_long_pause(pause_s: float, shed_s: float) -> None:
    iterations = Iterations()
    iterations.take(pause_s)
    assert iterations.lag() > BOUND_S
    assert iterations.until_under(BOUND_S) == pytest.approx(shed_s, abs=0.05)
    assert iterations.until_under(0.01) < 3.0


def test_a_small_lag_falls_with_the_beats_and_a_further_pause_shows_at_once() -> None:
    iterations = Iterations()
    iterations.take(0.1 + 2 * SMALL_S)
    iterations.until_under(SMALL_S)
    before = iterations.lag()
    assert 0.0 < before < SMALL_S
    iterations.take(*[0.001] * 1000)
    assert 0.0 < iterations.lag() < before / 2
    iterations.clock.advance(0.2)
    assert iterations.lag() > SMALL_S


async def test_a_long_block_is_not_reported_as_a_suspended_process(reports: Reports) -> None:
    gaps: list[float] = []
    monitor = LoopMonitor(blocked_s=0.05, beat_s=0.01, on_suspended=gaps.append)
    monitor.start()

    threading.Event().wait(1.3)  # on the loop

    await asyncio.wait_for(reports.unblocked.get(), 10)
    monitor.stop()
    assert gaps == []
    assert reports.names() == ["loop.blocked", "loop.unblocked"]
