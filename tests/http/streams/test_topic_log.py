"""The topic log: its ring, and listeners that read it at their own pace."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core.topics import Pattern
from jobqueue.http.streams import topic_log
from jobqueue.http.streams.subscriber import HEARTBEAT, PIECE_BYTES
from jobqueue.http.streams.topic_log import TopicListener, TopicLog
from jobqueue.http.streams.watched_jobs import RECORD_S
from jobqueue.publishing import Published
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable


class Topics:
    """What is published, as far as the log needs it."""

    def __init__(self) -> None:
        self.told: Callable[[Published], None] | None = None

    def listen(self, listener: Callable[[Published], None]) -> Callable[[], None]:
        self.told = listener

        def leave() -> None:
            self.told = None

        return leave

    def publish(self, topic: str, data: Any = None, owner: str | None = None) -> None:
        if self.told is not None:
            self.told(Published(topic, json.dumps(data).encode(), 0.0, owner))


def made() -> tuple[Topics, TopicLog]:
    topics: Any = Topics()
    return topics, TopicLog(topics)


def joined(log: TopicLog, pattern: str = ">", sees: str | None = None) -> TopicListener:
    listener = TopicListener(Pattern(pattern), sees)
    log.join(listener)
    return listener


async def data_of(log: TopicLog, listener: TopicListener) -> list[Any] | None:
    """Return the data of the next frames of a listener; None: they are no longer held."""
    frames = await log.replay(listener)
    if frames is None:
        return None
    lines = [line for line in frames.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: "))["data"] for line in lines]


@virtual_time
async def test_a_listener_reads_the_data_of_its_pattern_and_owner() -> None:
    topics, log = made()
    anns, orders = joined(log, sees="ann"), joined(log, "order.*")
    for topic, data, owner in (("order.paid", 1, "bob"), ("user.new", 2, "ann"), ("order.sent", 3, "ann")):
        topics.publish(topic, data, owner)
    assert await data_of(log, anns) == [2, 3]
    assert await data_of(log, orders) == [1, 3]
    assert await data_of(log, orders) == []
    log.stop()


@virtual_time
async def test_nothing_is_recorded_before_the_first_listener_and_a_while_after_the_last_one() -> None:
    topics, log = made()
    topics.publish("a", 0)
    first = joined(log)
    last_id = log.last_id(first)
    log.leave(first)
    topics.publish("a", 1)
    again = joined(log)
    assert log.resume(again, last_id)
    assert await data_of(log, again) == [1]
    log.leave(again)
    await asyncio.sleep(RECORD_S + 1)
    assert topics.told is None
    late = joined(log)
    assert not log.resume(late, last_id)
    log.stop()


@virtual_time
@pytest.mark.parametrize(("bound", "value", "held"), [("RING_MAX", 3, 3), ("RING_BYTES_MAX", 250, 2)])
async def test_the_ring_is_bounded_by_number_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int, held: int
) -> None:
    monkeypatch.setattr(topic_log, bound, value)
    topics, log = made()
    behind = joined(log)
    for number in range(3):
        topics.publish("a", number)
    beginning = log.last_id(behind)
    topics.publish("a", 3)
    assert await data_of(log, behind) is None
    fresh = joined(log)
    assert not log.resume(fresh, beginning)
    tag = beginning.partition("-")[0]
    assert log.resume(fresh, f"{tag}-{4 - held}")
    assert await data_of(log, fresh) == [*range(4 - held, 4)]
    assert not log.resume(fresh, f"{tag}-5")
    log.stop()


@virtual_time
async def test_data_that_does_not_match_puts_no_listener_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_log, "RING_MAX", 3)
    topics, log = made()
    rare = joined(log, "rare")
    for number in range(10):
        topics.publish("often", number)
    topics.publish("rare", "news")
    assert await data_of(log, rare) == ["news"]
    log.stop()


@virtual_time
async def test_frames_come_in_pieces() -> None:
    topics, log = made()
    listener = joined(log)
    for _ in range(5):
        topics.publish("a", "x" * 30_000)
    sizes = []
    while frames := await log.replay(listener):
        sizes.append(len(frames))
    assert len(sizes) == 3
    assert max(sizes) <= PIECE_BYTES
    log.stop()


@virtual_time
async def test_a_listener_waits_for_news_a_heartbeat_or_its_end() -> None:
    topics, log = made()
    listener = joined(log, "a")
    loop = asyncio.get_running_loop()
    loop.call_later(5, topics.publish, "b")
    loop.call_later(10, topics.publish, "a")
    begun = loop.time()
    assert await listener.take(60) == b""
    assert loop.time() - begun == pytest.approx(10, abs=0.1)
    assert await data_of(log, listener) == [None]
    assert await listener.take(15) == HEARTBEAT
    loop.call_later(5, listener.end)
    assert await listener.take(60) == b""
    assert await listener.take(60) is None
    log.stop()


@virtual_time
async def test_an_event_is_written_once_for_all_listeners() -> None:
    topics, log = made()
    first, second = joined(log), joined(log)
    topics.publish("a", "x")
    assert await log.replay(first) is await log.replay(second)
    log.stop()
