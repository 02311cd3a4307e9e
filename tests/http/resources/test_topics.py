"""Topics over HTTP: publishes, their rejections, and event streams of what is published."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue.core.rate import Rate
from tests.http.keyed import ANN, BOB, OPS, auth, bearer
from tests.http.resources.test_events import block, next_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

PAID = "/v1/topics/order.paid"
DATA: dict[str, Any] = {"data": {"id": 17}}


@dataclass
class Order:
    id: int


def subscribe(serving: Serving) -> None:
    """Register the subscribers: `bill` of `order.paid`, and `audit` of all orders."""

    @serving.queue.on("order.paid")
    async def bill(data: Order) -> int:
        return data.id

    @serving.queue.on("order.>", "order.*")
    async def audit(topic: str) -> str:
        return topic


@pytest.fixture
def shop(serving: Serving) -> Serving:
    subscribe(serving)
    return serving


async def publish(http: aiohttp.ClientSession, json: Any = DATA, path: str = PAID, **more: Any) -> tuple[int, Any, Any]:
    """Return the status, the document and the headers of the answer to a publish."""
    async with http.post(path, json=json, **more) as response:
        return response.status, await response.json(content_type=None), response.headers


async def test_a_publish_is_answered_with_the_jobs_of_all_subscribers(
    shop: Serving, http: aiohttp.ClientSession
) -> None:
    status, document, _ = await publish(http)
    assert (status, document["topic"], document["subscribers"]) == (202, "order.paid", 2)
    results = []
    for job in document["jobs"]:
        async with http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=5"}) as response:
            found = await response.json()
            results.append((job["type"], found["type"], found["result"]))
    assert results == [("bill", "bill", 17), ("audit", "audit", "order.paid")]


async def test_data_without_a_subscriber_is_accepted(shop: Serving, http: aiohttp.ClientSession) -> None:
    status, document, _ = await publish(http, {"data": None}, "/v1/topics/nothing.here")
    assert (status, document) == (202, {"topic": "nothing.here", "subscribers": 0, "jobs": []})


async def test_a_repeated_publish_has_the_same_jobs(shop: Serving, http: aiohttp.ClientSession) -> None:
    key = {"Idempotency-Key": '"k"'}
    status, first, headers = await publish(http, headers=key)
    assert (status, headers.get("Job-Deduplicated")) == (202, None)
    status, again, headers = await publish(http, headers=key)
    assert (status, headers.get("Job-Deduplicated")) == (202, "true")
    assert again == first
    status, problem, _ = await publish(http, {"data": {"id": 18}}, headers=key)
    assert (status, problem["type"]) == (422, "/problems/idempotency-key-reused")


async def test_a_key_of_a_submission_is_none_of_a_publish(shop: Serving, http: aiohttp.ClientSession) -> None:
    key = {"Idempotency-Key": "k"}
    async with http.post("/v1/jobs", json={"type": "echo"}, headers=key) as response:
        assert response.status == 202
    assert (await publish(http, headers=key))[0] == 422


@pytest.mark.parametrize(
    ("json", "pointer", "told"),
    [
        ({}, "/data", "missing; this field is required"),
        ([], "", 'at least the field "data"'),
        ({"data": {"id": "x"}}, "/data/id", "subscriber 'bill': Expected `int`, got `str`"),
        ({"data": 1}, "/data", "subscriber 'bill'"),
        ({"data": {}, "key": "k"}, "/key", "unknown field; known: data"),
    ],
)
async def test_faults_of_a_publish_have_their_places(
    shop: Serving, http: aiohttp.ClientSession, json: Any, pointer: str, told: str
) -> None:
    status, problem, _ = await publish(http, json)
    assert status == 422
    (fault,) = problem["errors"]
    assert fault["pointer"] == pointer
    assert told in fault["detail"]
    assert not any(shop.service.live_counts().values())


@pytest.mark.parametrize("topic", ["order..paid", "order.*", ">", "%3E", "a" * 201, "order%20paid", "ordér", "a%0A"])
async def test_an_invalid_topic_is_rejected_with_its_fault(
    shop: Serving, http: aiohttp.ClientSession, topic: str
) -> None:
    status, problem, _ = await publish(http, path=f"/v1/topics/{topic}")
    assert (status, problem["type"]) == (400, "/problems/malformed-request")
    assert "in the path" in problem["detail"]


async def test_a_publish_without_slots_for_all_makes_none_and_its_body_is_not_read(start: Start, http_to: Open) -> None:
    shop = await start(queues={"default": {"capacity": 2}})
    subscribe(shop)
    http = await http_to(shop)
    await shop.queue.pause("default")
    first = await publish(http, headers={"Idempotency-Key": "k"})
    assert first[0] == 202

    status, problem, headers = await publish(http)
    assert (status, problem["type"]) == (503, "/problems/queue-full")
    assert int(headers["Retry-After"]) >= 1
    head = f"POST {PAID} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    refused = await shop.talk(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
    assert refused.startswith(b"HTTP/1.1 503")
    again = await publish(http, headers={"Idempotency-Key": "k"})
    assert (again[0], again[1]) == first[:2]


async def test_a_repeated_publish_is_answered_while_any_of_its_jobs_is_held(start: Start, http_to: Open) -> None:
    shop = await start(queues={"default": {"capacity": 2}})
    subscribe(shop)
    http = await http_to(shop)
    await shop.queue.pause("default")
    _, document, _ = await publish(http, headers={"Idempotency-Key": "k"})
    bill, audit = (job["id"] for job in document["jobs"])
    await shop.service.backend.cancel(bill)
    await shop.service.backend.delete(bill)
    await shop.queue.submit("echo")
    assert (await publish(http))[0] == 503
    status, document, _ = await publish(http, headers={"Idempotency-Key": "k"})
    assert (status, [job["id"] for job in document["jobs"]]) == (202, [audit])


async def test_one_slot_for_two_subscribers_is_none(start: Start, http_to: Open) -> None:
    shop = await start(queues={"default": {"capacity": 3}})
    subscribe(shop)
    http = await http_to(shop)
    await shop.queue.pause("default")
    assert (await publish(http))[0] == 202
    assert (await publish(http))[0] == 503
    assert shop.service.live_counts()["queued"] == 2


async def test_the_jobs_of_a_publish_belong_to_its_key(start: Start, http_to: Open) -> None:
    shop = await start(auth=auth())
    subscribe(shop)
    http = await http_to(shop)
    _, document, _ = await publish(http, headers=bearer(ANN) | {"Idempotency-Key": "k"})
    path = f"/v1/jobs/{document['jobs'][0]['id']}"
    statuses = []
    for key in (ANN, BOB, OPS):
        async with http.get(path, headers=bearer(key)) as response:
            statuses.append(response.status == 404)
    assert statuses == [False, True, False]
    _, others, headers = await publish(http, headers=bearer(BOB) | {"Idempotency-Key": "k"})
    assert "Job-Deduplicated" not in headers
    assert others["jobs"] != document["jobs"]


async def test_a_publish_counts_as_one_submission(start: Start, http_to: Open) -> None:
    shop = await start(limits={"caller_rate": Rate(2, 3600.0)})
    subscribe(shop)
    http = await http_to(shop)
    answers = [await publish(http) for _ in range(3)]
    assert [status for status, _, _ in answers] == [202, 202, 429]
    assert answers[0][2]["RateLimit"].startswith('"submissions";r=1')


async def test_the_list_of_topics_has_subscribers_listeners_and_counts(
    shop: Serving, http: aiohttp.ClientSession
) -> None:
    await publish(http)
    await publish(http, path="/v1/topics/user.new")
    async with http.get("/v1/topics/order.*/events"), http.get("/v1/topics") as response:
        assert await response.json() == {
            "subscribers": [
                {
                    "name": "bill",
                    "type": "bill",
                    "queue": "default",
                    "patterns": ["order.paid"],
                    "delivered_total": 1,
                },
                {
                    "name": "audit",
                    "type": "audit",
                    "queue": "default",
                    "patterns": ["order.>", "order.*"],
                    "delivered_total": 1,
                },
            ],
            "listeners": [{"pattern": "order.*", "count": 1}],
            "published_total": 2,
            "delivered_total": 2,
            "unheard_total": 1,
        }


# -- listeners


async def test_a_listener_gets_data_of_the_topics_that_match(shop: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/topics/order.%3E/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        await publish(http, path="/v1/topics/user.new")
        await publish(http)
        event = await next_event(response)
        assert event is not None
        assert event["event"] == "published"
        assert event.data == {"topic": "order.paid", "at": event.data["at"], "data": {"id": 17}}


async def test_line_breaks_between_tokens_stay_out_of_the_stream(shop: Serving, http: aiohttp.ClientSession) -> None:
    body = b'{"data":{"id":\r\n17\n}\n}'
    async with http.get("/v1/topics/*.paid/events") as response:
        async with http.post(PAID, data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 202
        event = await next_event(response)
        assert event is not None
        assert event.data["data"] == {"id": 17}


async def test_a_listener_that_returns_gets_the_data_that_it_has_missed(
    shop: Serving, http: aiohttp.ClientSession
) -> None:
    path = "/v1/topics/order.paid/events"
    async with http.get(path) as response:
        opening = await block(response), await block(response)
        last_id = str(opening[1]).split("id: ")[1].rstrip("']")
    for number in (1, 2):
        await publish(http, {"data": {"id": number}})
    async with http.get(path, headers={"Last-Event-ID": last_id}) as response:
        missed = [await next_event(response), await next_event(response)]
        assert [event.data["data"]["id"] for event in missed if event is not None] == [1, 2]


@pytest.mark.parametrize("last_id", ["nonsense", "0123456789ab-3", "x" * 500])
async def test_a_listener_with_an_unknown_last_event_begins_with_a_reset(
    shop: Serving, http: aiohttp.ClientSession, last_id: str
) -> None:
    async with http.get("/v1/topics/a/events", headers={"Last-Event-ID": last_id}) as response:
        event = await next_event(response)
        assert event is not None
        assert event["event"] == "reset"


async def test_a_listener_gets_data_of_its_key_alone(start: Start, http_to: Open) -> None:
    shop = await start(auth=auth())
    http = await http_to(shop)
    async with (
        http.get("/v1/topics/>/events", headers=bearer(ANN)) as anns,
        http.get("/v1/topics/>/events", headers=bearer(OPS)) as all_of_them,
    ):
        for key in (BOB, ANN):
            await publish(http, {"data": key.id}, headers=bearer(key))
        event = await next_event(anns)
        assert event is not None
        assert event.data["data"] == ANN.id
        first = await next_event(all_of_them)
        assert first is not None
        assert first.data["data"] == BOB.id
        async with http.get("/v1/topics", headers=bearer(ANN)) as response:
            told = await response.json()
            assert told["listeners"] == [{"pattern": ">", "count": 1}]
            assert told["published_total"] is None


async def test_a_stream_has_the_size_of_data_that_is_too_large_for_it(start: Start, http_to: Open) -> None:
    shop = await start(limits={"body_bytes": 200_000})
    http = await http_to(shop)
    async with http.get("/v1/topics/a/events") as response:
        await publish(http, {"data": "x" * 70_000}, "/v1/topics/a")
        event = await next_event(response)
        assert event is not None
        assert (event.data["data"], event.data["omitted_bytes"]) == (None, 70_002)


@pytest.mark.parametrize("pattern", ["a..b", "a.>.b", "a**", "%3E%3E"])
async def test_an_invalid_pattern_is_rejected_with_its_fault(
    shop: Serving, http: aiohttp.ClientSession, pattern: str
) -> None:
    async with http.get(f"/v1/topics/{pattern}/events") as response:
        assert response.status == 400
        assert "in the path" in (await response.json())["detail"]


async def test_a_listener_stays_until_the_server_stops(shop: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/topics/a/events") as response:
        await block(response)
        shop.waiting.end()
        async with asyncio.timeout(5):
            assert await next_event(response) is None


@pytest.mark.parametrize("place", ["far"], indirect=True)
async def test_nothing_is_published_where_servers_share_the_jobs(start: Start, http_to: Open) -> None:
    http = await http_to(await start())
    status, problem, _ = await publish(http)
    assert (status, problem["type"]) == (501, "/problems/not-in-store")
    async with http.get("/v1/topics/a/events") as response:
        assert response.status == 501
    async with http.get("/v1/topics") as response:
        assert (await response.json())["subscribers"] == []
