"""The rate at which an attempt's progress reaches the backend."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from jobqueue.core.report import Progress
from jobqueue.runtime.progress import INTERVAL_S, ProgressReporter
from jobqueue.testing import virtual_time


class Sent:
    """Takes reports, each with the instant at which it came; one of them may take `for_s` seconds."""

    def __init__(self, *, for_s: float = 0.0) -> None:
        self.progress: list[Progress] = []
        self.at: list[float] = []
        self._for_s = for_s

    async def __call__(self, progress: Progress) -> None:
        if self._for_s:
            await asyncio.sleep(self._for_s)
        self.progress.append(progress)
        self.at.append(asyncio.get_running_loop().time())


@virtual_time
async def test_reports_are_sent_an_interval_apart_and_the_newest_arrives_while_the_handler_goes_on() -> None:
    sent = Sent()
    reporter = ProgressReporter(sent)
    for n in range(1, 101):
        reporter.tell(n / 100, None)
        await asyncio.sleep(INTERVAL_S / 10)
    await asyncio.sleep(INTERVAL_S)
    assert sent.progress[0] == Progress(0.01, None), "the first one is sent at once"
    assert sent.progress[-1] == Progress(1.0, None)
    assert all(later - earlier > INTERVAL_S * 0.99 for earlier, later in pairwise(sent.at))
    assert len(sent.at) >= 10


@virtual_time
async def test_a_report_that_waits_is_sent_before_the_outcome() -> None:
    sent = Sent()
    reporter = ProgressReporter(sent)
    reporter.tell(0.1, None)
    await asyncio.sleep(0)
    reporter.tell(0.2, "last")
    await reporter.finish()
    assert sent.progress == [Progress(0.1, None), Progress(0.2, "last")]


@virtual_time
async def test_one_report_is_sent_at_a_time_and_in_order() -> None:
    sent = Sent(for_s=INTERVAL_S * 2)
    reporter = ProgressReporter(sent)
    for fraction in (0.1, 0.2, 0.3):
        reporter.tell(fraction, None)
        await asyncio.sleep(INTERVAL_S)
    await reporter.finish()
    assert [progress.fraction for progress in sent.progress] == [0.1, 0.3]


async def test_a_thread_that_reports_in_a_tight_loop_is_bounded_and_its_last_report_arrives() -> None:
    sent = Sent()
    reporter = ProgressReporter(sent)

    def report() -> None:
        for n in range(1, 10_001):
            reporter.tell(n / 10_000, f"step {n}")

    await asyncio.to_thread(report)
    await reporter.finish()
    assert sent.progress[-1] == Progress(1.0, "step 10000")
    assert len(sent.progress) < 200
    await asyncio.get_running_loop().shutdown_default_executor()
