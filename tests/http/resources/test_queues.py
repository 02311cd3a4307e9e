"""Queues over HTTP: documents, pause, resume and changes, without losing a job."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.http.keyed import OPS, READER, auth, bearer
from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    from tests.http.serving import Serving

FIELDS = [
    *(
        "name",
        "discipline",
        "weight",
        "workers",
        "capacity",
        "paused",
        "pause",
        "waiting",
        "delayed",
        "queued",
        "running",
    ),
    *("oldest_queued_at", "oldest_queued_s", "drain_rate_per_s", "drain_s", "quarantined"),
    *("submitted_total", "refused_total", "retried_total"),
    *("succeeded_total", "failed_total", "cancelled_total", "expired_total"),
]


async def queue_of(http: aiohttp.ClientSession, name: str = "default") -> dict[str, Any]:
    async with http.get(f"/v1/queues/{name}") as response:
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document


async def change(http: aiohttp.ClientSession, body: Any, name: str = "default") -> tuple[int, dict[str, Any]]:
    async with http.patch(f"/v1/queues/{name}", json=body) as response:
        return response.status, await response.json()


async def test_a_queue_document_has_settings_counts_and_drain_rate(start: Any, http_to: Any) -> None:
    serving = await start(queues={"default": {"workers": 2, "capacity": 7, "weight": 3, "discipline": "lifo"}})
    http = await http_to(serving)
    document = await queue_of(http)
    assert list(document) == FIELDS
    settings = {
        name: document[name] for name in ("workers", "capacity", "weight", "discipline", "paused", "quarantined")
    }
    assert settings == {
        "workers": 2,
        "capacity": 7,
        "weight": 3,
        "discipline": "lifo",
        "paused": False,
        "quarantined": [],
    }
    assert (document["drain_rate_per_s"], document["drain_s"]) == (0, None)
    for _ in range(3):
        await ended(serving, await submit(http, type="echo"))
    await submit(http, type="hold")
    document = await queue_of(http)
    assert document["drain_rate_per_s"] > 0
    assert document["drain_s"] > 0


async def test_the_limiters_at_which_jobs_wait_are_reported(start: Any, http_to: Any) -> None:
    serving = await start()

    @serving.queue.handler(concurrency=2, rate="600/m", group_concurrency=1)
    async def narrow() -> None:
        await serving.gate.wait()

    http = await http_to(serving)
    for group in ("a", "a", "b", "c"):
        await serving.queue.submit("narrow", group=group)
    await asyncio.sleep(0.05)
    async with http.get("/v1/queues") as response:
        limiters = {(each["kind"], each["name"]): each for each in (await response.json())["limiters"]}
    assert {kind for kind, _ in limiters} == {"pool", "type", "groups"}
    narrow_limiter = limiters["type", "narrow"]
    assert narrow_limiter == {
        "kind": "type",
        "name": "narrow",
        "held": 2,
        "waiting": 1,
        "permits": 2,
        "rate": "600/m",
        "quarantined_until": None,
    }
    assert (limiters["groups", "narrow"]["held"], limiters["groups", "narrow"]["waiting"]) == (2, 1)


async def test_a_paused_queue_accepts_jobs_and_starts_none_until_resumed(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.post("/v1/queues/default:pause") as response:
        assert (response.status, (await response.json())["paused"]) == (200, True)
    job = await submit(http, type="echo")
    await asyncio.sleep(0.05)
    document = await queue_of(http)
    assert (document["paused"], document["queued"], document["running"]) == (True, 1, 0)
    async with http.post("/v1/queues/default:resume") as response:
        assert (response.status, (await response.json())["paused"]) == (200, False)
    await asyncio.wait_for(ended(serving, job), 5)


async def test_a_pause_has_a_reason_and_an_end(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/events") as stream:
        async with http.post(
            "/v1/queues/default:pause", json={"reason": " a\tdeploy\u202e ", "for_s": 600}
        ) as response:
            assert response.status == 200
        pause = (await queue_of(http))["pause"]
        begin, end = (datetime.fromisoformat(pause[name]) for name in ("since", "until"))
        assert (end - begin).total_seconds() == pytest.approx(600, abs=0.002)
        assert (pause["reason"], pause["by"]) == ("a deploy", "127.0.0.1")
        assert (await change(http, {"weight": 2}))[1]["pause"] == pause, "a change leaves the pause"
        async with http.post("/v1/queues/default:resume") as response:
            assert (await response.json())["pause"] is None
        found = [await next_event(stream) for _ in range(2)]
    assert [name for name, _ in found] == ["paused", "resumed"]
    assert {**found[0][1], "at": ""} == {
        **{"queue": "default", "at": "", "by": "127.0.0.1"},
        **{"until": pause["until"], "reason": "a deploy"},
    }
    assert {**found[1][1], "at": ""} == {"queue": "default", "at": "", "by": "127.0.0.1"}


async def next_event(stream: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """Return the name and the data of the next event of a stream."""
    name = ""
    while True:
        line = (await asyncio.wait_for(stream.content.readline(), 5)).decode()
        if line.startswith("event: "):
            name = line.removeprefix("event: ").strip()
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))


async def test_a_queue_resumes_by_itself(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/queues/default:pause", json={"for_s": 0.2}) as response:
        assert (await response.json())["paused"]
    job = await submit(http, type="echo")
    await asyncio.wait_for(ended(serving, job), 5)
    assert (await queue_of(http))["pause"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"for_s": 0}, "/for_s"),
        ({"for_s": -1}, "/for_s"),
        ({"for_s": "10m"}, "/for_s"),
        ({"for_s": 1e9}, "/for_s"),
        ({"reason": "x" * 201}, "/reason"),
        ({"reason": 7}, "/reason"),
        ({"until": "2030-01-01T00:00:00Z"}, "/until"),
        ([], ""),
    ],
)
async def test_a_pause_that_says_nonsense_pauses_nothing(http: aiohttp.ClientSession, body: Any, pointer: str) -> None:
    async with http.post("/v1/queues/default:pause", json=body) as response:
        assert response.status == 422
        assert [fault["pointer"] for fault in (await response.json())["errors"]] == [pointer]
    assert (await queue_of(http))["pause"] is None


@pytest.mark.parametrize("body", [None, {}, {"reason": None, "for_s": None}, {"reason": " \n"}])
async def test_a_pause_needs_neither_reason_nor_end(http: aiohttp.ClientSession, body: Any) -> None:
    async with http.post("/v1/queues/default:pause", **({} if body is None else {"json": body})) as response:
        assert response.status == 200
    pause = (await queue_of(http))["pause"]
    assert (pause["reason"], pause["until"]) == (None, None)


async def test_only_keys_that_see_all_see_the_caller_of_a_pause(start: Any) -> None:
    serving = await start(auth=auth())
    async with aiohttp.ClientSession(serving.url) as http:
        async with http.post("/v1/queues/default:pause", json={"reason": "deploy"}, headers=bearer(OPS)) as response:
            assert (await response.json())["pause"]["by"] == "key:ops"
        async with http.get("/v1/queues/default", headers=bearer(READER)) as response:
            pause = (await response.json())["pause"]
            assert (pause["reason"], pause["by"]) == ("deploy", None)


async def test_a_change_of_a_busy_queue_loses_no_job(start: Any, http_to: Any) -> None:
    serving = await start(queues={"default": {"workers": 1, "capacity": 3}})
    http = await http_to(serving)
    jobs = [await submit(http, type="hold") for _ in range(3)]
    async with http.post("/v1/jobs", json={"type": "hold"}) as response:
        assert response.status == 503
    status, document = await change(http, {"workers": 3, "capacity": 4, "discipline": "lifo", "weight": 2})
    assert status == 200
    assert [document[name] for name in ("workers", "capacity", "discipline", "weight")] == [3, 4, "lifo", 2]
    jobs.append(await submit(http, type="hold"))
    async with asyncio.timeout(5):
        while (await queue_of(http))["running"] != 3:
            await asyncio.sleep(0.01)
    status, document = await change(http, {"capacity": 1})
    assert (status, document["capacity"], document["running"], document["queued"]) == (200, 1, 3, 1)
    serving.gate.set()
    for job in jobs:
        await asyncio.wait_for(ended(serving, job), 5)
    assert (await queue_of(http))["succeeded_total"] == 4


async def test_an_empty_change_changes_nothing(http: aiohttp.ClientSession) -> None:
    before = await queue_of(http)
    assert await change(http, {}) == (200, before)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"discipline": "random"}, "/discipline"),
        ({"discipline": None}, "/discipline"),
        ({"workers": 0}, "/workers"),
        ({"workers": None}, "/workers"),
        ({"workers": 1.5}, "/workers"),
        ({"workers": 100_001}, "/workers"),
        ({"capacity": -1}, "/capacity"),
        ({"capacity": "10"}, "/capacity"),
        ({"weight": 0}, "/weight"),
        ({"patience_s": 5}, "/patience_s"),
        ({"weight": 2, "nope": 1}, "/nope"),
        ([], ""),
        (7, ""),
    ],
)
async def test_an_invalid_change_gets_422_with_a_pointer_and_changes_nothing(
    http: aiohttp.ClientSession, body: Any, pointer: str
) -> None:
    before = await queue_of(http)
    status, problem = await change(http, body)
    assert (status, problem["type"]) == (422, "/problems/invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert await queue_of(http) == before


async def test_an_order_that_the_backend_has_not_gets_422_with_the_reason(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(queue: str, changes: dict[str, Any]) -> None:
        raise ValueError(f"{changes['discipline']} does not fit")

    monkeypatch.setattr(serving.service, "change", refuse)
    async with http.patch("/v1/queues/default", json={"discipline": "fair"}) as response:
        problem = await response.json()
    assert (response.status, problem["errors"]) == (422, [{"pointer": "/discipline", "detail": "fair does not fit"}])


async def test_a_change_must_be_json(http: aiohttp.ClientSession) -> None:
    async with http.patch("/v1/queues/default", data=b"workers: 1") as response:
        assert (response.status, response.headers["Accept-Patch"]) == (415, "application/json")
    async with http.patch(
        "/v1/queues/default", data=b"nonsense", headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("PATCH", "/nope"),
        ("POST", "/nope:pause"),
        ("POST", "/nope:resume"),
        ("PATCH", "/nope%3Apause"),
    ],
)
async def test_an_unknown_queue_gets_404(http: aiohttp.ClientSession, method: str, path: str) -> None:
    async with http.request(method, f"/v1/queues{path}", json={}) as response:
        assert response.status in (404, 405)
        if response.status == 404:
            assert (await response.json())["type"] == "/problems/queue-not-found"


async def test_a_change_applies_to_one_queue(start: Any, http_to: Any) -> None:
    serving = await start(queues={"default": {}, "mail": {"workers": 5}})
    http = await http_to(serving)
    assert (await change(http, {"workers": 9}, "mail"))[0] == 200
    async with http.get("/v1/queues") as response:
        queues = {queue["name"]: queue["workers"] for queue in (await response.json())["queues"]}
    assert queues == {"default": 1000, "mail": 9}
