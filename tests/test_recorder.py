"""The recorder of a service: one sample a second, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, Settings, StatsSettings
from jobqueue.core.counting.history import Reading
from jobqueue.core.counting.series import COLUMNS, FIRST_TOTAL, RUNNING, TOTALS, WAITING
from jobqueue.recorder import Recorder
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from jobqueue.core.counting.history import History

SUBMITTED, SUCCEEDED = (FIRST_TOTAL + TOTALS.index(name) for name in ("submitted", "succeeded"))


def queue_of_two(bytes_max: int = 16 * 1024 * 1024) -> JobQueue:
    queue = JobQueue(
        Settings(queues={"default": QueueSettings(workers=1), "other": QueueSettings()}, stats=StatsSettings(bytes_max))
    )

    @queue.handler
    async def rest(s: float) -> None:
        await asyncio.sleep(s)

    @queue.handler(queue="other")
    async def count() -> int:
        return 1

    return queue


def values(history: History, kind: str, name: str, column: int) -> dict[int, int]:
    """Return the values of a series that are not 0, by seconds before the last one."""
    assert history.last is not None
    since, number = history.last - 59, history.numbers[kind, name]
    reading = Reading(history, step_s=1, since=since, points=60, wanted=frozenset({number}))
    for _ in reading.read():
        pass
    found = reading.columns.get(number, {}).get(column, [])
    return {59 - point: value for point, value in enumerate(found) if value}


def covered(history: History) -> list[int]:
    """Return the seconds that the points up to now cover."""
    assert history.last is not None
    reading = Reading(history, step_s=1, since=history.last - 9, points=10, wanted=frozenset())
    for _ in reading.read():
        pass
    return reading.covered_s


def recorded(recorder: Recorder) -> History:
    assert recorder.history is not None
    return recorder.history


@virtual_time
async def test_each_second_is_a_point_with_the_jobs_of_that_second() -> None:
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    async with queue:
        recorder.start()
        await asyncio.sleep(0.5)
        for _ in range(3):
            await queue.submit("rest", {"s": 1.0})
        await queue.submit("count")
        await asyncio.sleep(5)
        recorder.stop()
    history = recorded(recorder)
    for kind, name in (("queue", "default"), ("type", "rest")):
        assert values(history, kind, name, SUBMITTED) == {4: 3}
        assert values(history, kind, name, SUCCEEDED) == {3: 1, 2: 1, 1: 1}
        assert values(history, kind, name, RUNNING) == {4: 1, 3: 1, 2: 1}
        assert values(history, kind, name, WAITING) == {4: 2, 3: 1}
    for kind, name in (("queue", "other"), ("type", "count")):
        assert values(history, kind, name, SUCCEEDED) == {4: 1}


@virtual_time
async def test_jobs_before_the_first_sample_belong_to_no_point() -> None:
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    async with queue:
        await (await queue.submit("count")).result()
        await queue.submit("rest", {"s": 60.0})
        await asyncio.sleep(0.1)
        recorder.start()
        await asyncio.sleep(3)
        recorder.stop()
    history = recorded(recorder)
    assert values(history, "type", "count", SUCCEEDED) == {}
    assert values(history, "type", "rest", SUBMITTED) == {}
    assert values(history, "type", "rest", RUNNING) == {2: 1, 1: 1, 0: 1, 3: 1}


@virtual_time
async def test_seconds_in_which_the_loop_was_blocked_are_a_gap() -> None:
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    async with queue:
        recorder.start()
        await asyncio.sleep(3)
        await queue.submit("count")
        loop: Any = asyncio.get_running_loop()
        loop.jump(4.0)
        await asyncio.sleep(1.5)
        recorder.stop()
    history = recorded(recorder)
    assert covered(history)[-7:] == [1, 0, 0, 0, 0, 5, 1]
    assert values(history, "type", "count", SUBMITTED) == {1: 1}


@virtual_time
async def test_the_recorder_rests_after_a_sample_of_many_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.recorder.TYPES_PER_S", 1)
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    async with queue:
        recorder.start()
        await queue.submit("rest", {"s": 100.0})
        await asyncio.sleep(15)
        recorder.stop()
    assert set(covered(recorded(recorder))[-6:]) == {0, 2}


@virtual_time
async def test_an_idle_queue_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    async with queue:
        copied: list[str] = []
        counts = queue.service.counts
        monkeypatch.setattr(queue.service, "counts", lambda name: copied.append(name) or counts(name))
        recorder.start()
        await asyncio.sleep(1.5)
        assert copied == ["default", "other"]
        await (await queue.submit("count")).result()
        await asyncio.sleep(5)
        recorder.stop()
    assert copied == ["default", "other", "other"]
    assert covered(recorded(recorder))[-5:] == [1] * 5


@virtual_time
async def test_another_run_has_a_history_of_its_own() -> None:
    queue = queue_of_two()
    recorder = Recorder(queue.service)
    recorder.start()
    await asyncio.sleep(3)
    assert recorder.history is None
    histories = []
    for _ in range(2):
        async with queue:
            await asyncio.sleep(1.5)
            first = recorder.history
            await queue.submit("count")
            await asyncio.sleep(2)
            assert recorder.history is first
            assert sum(values(recorded(recorder), "type", "count", SUBMITTED).values()) == 1
        histories.append(first)
    recorder.stop()
    assert histories[0] is not histories[1]


@virtual_time
async def test_without_memory_for_it_there_is_no_history() -> None:
    queue = queue_of_two(bytes_max=0)
    recorder = Recorder(queue.service)
    async with queue:
        recorder.start()
        await asyncio.sleep(3)
        recorder.stop()
    assert recorder.history is None


def test_every_series_has_few_columns() -> None:
    assert COLUMNS < 64
