"""The event log of a server with a store, which tells the events of all servers."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobqueue.backend.store import JobNews, SharedEvent
from jobqueue.core.events import Resumed
from jobqueue.core.job import TERMINAL, Job, JobId, JobSpec, JobState
from jobqueue.errors import StoreUnavailable
from jobqueue.http.streams import shared_log
from jobqueue.http.streams.shared_log import SharedLog
from jobqueue.http.streams.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SPEC = JobSpec(type="t")


class Source:
    """A store's events, which a test tells.

    Attributes:
        held: Those that the store holds.
        first: The number that the first of them follows.
        before_reply: Called while a read is on its way back.
    """

    def __init__(self) -> None:
        self.held: list[SharedEvent] = []
        self.first = 0
        self.begun = self.reads = 0
        self.down = False
        self.before_reply: Callable[[], None] = lambda: None
        self._hear: Callable[[Sequence[SharedEvent]], None] | None = None
        self.on_gap: Callable[[str], None] = lambda _: None

    async def begin(self, hear: Callable[[Sequence[SharedEvent]], None], on_gap: Callable[[str], None]) -> str:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("it is down", 1.0)
        self.begun += 1
        self._hear, self.on_gap = hear, on_gap
        return f"7-{self.first + len(self.held)}"

    def end(self) -> None:
        self._hear = None

    async def after(self, event_id: str, most: int) -> Sequence[SharedEvent] | None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("it is down", 1.0)
        time, number = event_id.split("-")
        if time != "7" or int(number) < self.first:
            return None
        found = self.held[int(number) - self.first :][:most]
        self.before_reply()
        return found

    @property
    def is_read(self) -> bool:
        return self._hear is not None

    def tell(self, *news: JobNews | Resumed) -> None:
        events = [SharedEvent(f"7-{self.first + len(self.held) + n}", 1.0, each) for n, each in enumerate(news, 1)]
        self.held += events
        if self._hear is not None:
            self._hear(events)


def news(name: str = "progress", job_id: str = "a", version: int = 1, owner: str | None = None) -> JobNews:
    state = JobState(name) if name in TERMINAL else JobState.RUNNING
    return JobNews(name, JobId(job_id), SPEC, state, 1, version, None, None, owner)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def log(source: Source) -> SharedLog:
    store = SimpleNamespace(events=source, now=lambda: 5.0)
    return SharedLog(cast("Any", SimpleNamespace(store=store, wall=lambda instant: instant)))


async def listen(log: SharedLog, job_id: str | None = None, sees: str | None = None) -> Subscriber:
    subscriber = Subscriber(job_id, lambda: None, sees)
    await log.join(subscriber)
    return subscriber


def told(frames: bytes | None) -> list[tuple[str, str]]:
    """Return the id and the name of each event in these frames."""
    assert frames is not None
    found = []
    for text in frames.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        if "event" in lines:
            json.loads(lines["data"])
            found.append((lines["id"], lines["event"]))
    return found


async def test_a_stream_has_the_events_of_all_servers_from_its_begin_on_under_the_ids_of_the_store(
    log: SharedLog, source: Source
) -> None:
    source.tell(news())
    subscriber = await listen(log)
    assert log.last_id(subscriber) == "7-1"
    source.tell(news("submitted"), news("succeeded"), Resumed("default"))
    assert told(await subscriber.take(1)) == [("7-2", "submitted"), ("7-3", "succeeded"), ("7-4", "resumed")]
    assert log.last_id(subscriber) == "7-4"


async def test_a_stream_that_comes_back_gets_each_event_once_and_in_order_while_more_happen(
    log: SharedLog, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "READ_AT_ONCE", 3)
    source.tell(*(news(version=version) for version in range(1, 9)))
    subscriber = await listen(log)
    more = iter(range(9, 12))

    def happen() -> None:
        if (version := next(more, None)) is not None:
            source.tell(news(version=version))

    source.before_reply = happen
    assert await log.resume(subscriber, "7-2")
    got = told(await log.replay(subscriber))
    source.tell(news(version=12))
    got += told(await subscriber.take(1))
    assert [event_id for event_id, _ in got] == [f"7-{number}" for number in range(3, 13)]
    assert await log.replay(subscriber) == b""


@pytest.mark.parametrize("event_id", ["7-1", "6-9", "x", "0123456789ab-3", "7-"])
async def test_a_stream_can_not_go_on_after_an_id_that_the_store_has_dropped_or_never_gave(
    log: SharedLog, source: Source, event_id: str
) -> None:
    source.first = 4
    source.tell(news())
    subscriber = await listen(log)
    assert not await log.resume(subscriber, event_id)
    source.tell(news())
    assert told(await subscriber.take(1)) == [("7-6", "progress")]


async def test_a_stream_of_one_job_skips_events_before_its_first_state_and_ends_with_the_job(
    log: SharedLog, source: Source
) -> None:
    subscriber = await listen(log, "a")
    job = Job(
        id=JobId("a"), spec=SPEC, args=b"", upload=None, state=JobState.RUNNING, created_at=1.0, run_at=1.0, version=2
    )
    assert told(log.state_frame(subscriber, job)) == [("7-0", "started")]
    source.tell(news("started", version=2), news(version=9, job_id="b"), news(version=3), news("failed", version=4))
    assert told(await subscriber.take(1)) == [("7-3", "progress"), ("7-4", "failed")]
    assert await subscriber.take(1) is None


async def test_a_stream_of_one_job_that_comes_back_after_its_end_gets_the_end(log: SharedLog, source: Source) -> None:
    source.tell(news(), news(job_id="b"), news("succeeded", version=5))
    subscriber = await listen(log, "a")
    assert await log.resume(subscriber, "7-1")
    assert told(await log.replay(subscriber)) == [("7-3", "succeeded")]
    assert await subscriber.take(1) is None


async def test_a_key_that_sees_its_own_jobs_gets_their_events_alone(log: SharedLog, source: Source) -> None:
    subscriber = await listen(log, sees="ann")
    source.tell(news(owner="bob"), news(owner="ann"), Resumed("default"), news())
    assert told(await subscriber.take(1)) == [("7-2", "progress")]
    assert await log.resume(subscriber, "7-0")
    assert told(await log.replay(subscriber)) == [("7-2", "progress")]


async def test_streams_hear_of_missing_events(log: SharedLog, source: Source) -> None:
    every, one = await listen(log), await listen(log, "a")
    source.on_gap("7-0")
    assert told(await every.take(1)) == [("7-0", "reset")]
    assert await one.take(1) is None


async def test_streams_go_on_after_a_store_with_lower_ids_has_taken_over(log: SharedLog, source: Source) -> None:
    source.first = 50
    every = await listen(log)
    source.tell(news())
    assert told(await every.take(1)) == [("7-51", "progress")]
    source.held, source.first = [], 3
    source.on_gap("7-3")
    source.tell(news("retrying"))
    assert told(await every.take(1)) == [("7-3", "reset"), ("7-4", "retrying")]
    assert log.last_id(every) == "7-4"
    assert log.last_id(await listen(log)) == "7-4"


async def test_a_store_that_fails_while_a_stream_reads_ends_it(log: SharedLog, source: Source) -> None:
    source.tell(news())
    subscriber = await listen(log)
    assert await log.resume(subscriber, "7-0")
    source.down = True
    assert await log.replay(subscriber) is None


async def test_a_stream_is_refused_while_the_store_does_not_answer(log: SharedLog, source: Source) -> None:
    source.down = True
    with pytest.raises(StoreUnavailable):
        await listen(log)
    source.down = False
    await listen(log)
    assert (log.count, source.begun) == (1, 1)


async def test_the_store_is_read_once_for_all_streams_and_until_a_minute_after_the_last(
    log: SharedLog, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "RECORD_S", 0.02)
    streams = await asyncio.gather(*(listen(log) for _ in range(3)), listen(log, "a"))
    assert (source.begun, log.count) == (1, 4)
    for subscriber in streams:
        log.leave(subscriber)
    assert source.is_read
    again = await listen(log)
    await asyncio.sleep(0.04)
    assert source.is_read
    log.leave(again)
    async with asyncio.timeout(5):
        while source.is_read:
            await asyncio.sleep(0.005)
    await listen(log)
    assert source.begun == 2
