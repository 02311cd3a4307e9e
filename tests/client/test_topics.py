"""Calls on topics, by both clients."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from jobqueue.client import ErrorAnswer, TopicEvent
from jobqueue.errors import InvalidSubmission, KeyReused, QueueFull
from tests.client.calling import calling
from tests.http.resources.test_topics import subscribe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.client.calling import Call
    from tests.http.serving import Serving


async def test_a_publish_returns_the_jobs_of_all_subscribers(call: Call, serving: Serving) -> None:
    subscribe(serving)
    publication = await call("publish", "order.paid", {"id": 17})
    assert (publication.topic, publication.subscribers, publication.deduplicated) == ("order.paid", 2, False)
    assert [job.type for job in publication.jobs] == ["bill", "audit"]
    assert (await call("wait", publication.jobs[0].id, 5)).result == 17
    assert (await call("publish", "nothing.here")).jobs == ()


async def test_a_publish_under_a_key_is_done_once(call: Call, serving: Serving) -> None:
    subscribe(serving)
    first = await call("publish", "order.paid", {"id": 1}, idempotency_key="k")
    again = await call("publish", "order.paid", {"id": 1}, idempotency_key="k")
    assert (again.jobs, again.deduplicated) == (first.jobs, True)
    with pytest.raises(KeyReused):
        await call("publish", "order.paid", {"id": 2}, idempotency_key="k")


async def test_faults_of_a_publish_raise_their_errors(call: Call, serving: Serving) -> None:
    subscribe(serving)
    with pytest.raises(InvalidSubmission, match="/data/id: subscriber 'bill'"):
        await call("publish", "order.paid", {"id": "x"})
    for topic in ("a..b", "a/b", "ä"):
        with pytest.raises(ErrorAnswer) as error:
            await call("publish", topic)
        assert error.value.status == 400
    with pytest.raises(ValueError, match="key"):
        await call("publish", "a", idempotency_key="\n")


async def test_a_rejected_publish_is_repeated_for_a_time(kind: str, start: Callable[..., Awaitable[Serving]]) -> None:
    serving = await start(queues={"default": {"capacity": 2}})
    subscribe(serving)
    async with calling(kind, serving.url) as call:
        held = await serving.queue.submit("hold")
        with pytest.raises(QueueFull):
            await call("publish", "order.paid", {"id": 1})
        publishing = asyncio.create_task(call("publish", "order.paid", {"id": 1}, retry_for_s=20))
        await asyncio.sleep(0)
        serving.gate.set()
        await held.wait()
        assert (await asyncio.wait_for(publishing, 20)).subscribers == 2


async def test_topics_returns_the_subscribers_and_counts(call: Call, serving: Serving) -> None:
    subscribe(serving)
    document = await call("topics")
    assert [subscriber["name"] for subscriber in document["subscribers"]] == ["bill", "audit"]


async def test_a_listener_yields_data_of_the_topics_that_match(call: Call, serving: Serving) -> None:
    hearing = asyncio.create_task(call("listen", "order.>", first=2))
    while not serving.service.topics.heard:
        await asyncio.sleep(0.01)
    for topic, data in (("user.new", 0), ("order.paid", {"id": 17}), ("order.sent.late", None)):
        await serving.service.topics.publish(topic, json.dumps(data).encode())
    first, second = await asyncio.wait_for(hearing, 10)
    assert (first.name, first.topic, first.data) == ("published", "order.paid", {"id": 17})
    assert (second.topic, second.data) == ("order.sent.late", None)
    assert isinstance(first.at, datetime)


async def test_a_listener_with_an_unknown_last_event_yields_a_reset_first(call: Call) -> None:
    (event,) = await call("listen", "a", first=1, last_event_id="0123456789ab-7")
    assert event == TopicEvent(id=event.id, name="reset")


async def test_a_malformed_pattern_raises_an_error(call: Call) -> None:
    with pytest.raises(ErrorAnswer) as error:
        await call("listen", ">.a", first=1)
    assert error.value.status == 400
