"""Batches: one result per job, in order, independent of the others."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.serving import CLOSE, Answer, read_answer

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving

ON_EACH_BACKEND = True

ECHO = {"type": "echo"}


def batch(body: bytes, *headers: str) -> bytes:
    head = "".join(
        f"{line}\r\n" for line in ["Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    )
    return f"POST /v1/jobs:batch HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode() + body


async def send(http: aiohttp.ClientSession, *jobs: Any) -> list[dict[str, Any]]:
    async with http.post("/v1/jobs:batch", json={"jobs": jobs}) as response:
        assert response.status == 207, await response.text()
        assert response.content_type == "application/json"
        results: list[dict[str, Any]] = (await response.json())["jobs"]
        assert len(results) == len(jobs)
        return results


async def test_a_batch_has_a_result_for_each_job_in_order(serving: Serving, http: aiohttp.ClientSession) -> None:
    first, unknown, second, faulty, none = await send(
        http,
        {"type": "echo", "args": {"value": 1}},
        {"type": "nope"},
        {"type": "echo", "args": {"value": 2}},
        {"type": "big", "args": {"size": "x", "a/b": 1}, "priority": 3},
        7,
    )
    for result, value in ((first, b"1"), (second, b"2")):
        assert result["status"] == 202
        assert set(result) == {"status", "id"}
        assert (await serving.service.backend.wait(result["id"])).result == value
    assert (unknown["status"], unknown["problem"]["type"]) == (422, "/problems/unknown-type")
    assert [fault["pointer"] for fault in unknown["problem"]["errors"]] == ["/jobs/1/type"]
    assert {fault["pointer"] for fault in faulty["problem"]["errors"]} == {"/jobs/3/args/size", "/jobs/3/args/a~1b"}
    assert [fault["pointer"] for fault in none["problem"]["errors"]] == ["/jobs/4"]
    assert serving.service.backend.stats()[0].accepted_total == 2


ITEMS: list[Any] = [
    *(ECHO, {"type": "echo", "args": {"value": 1}}, {"type": "echo", "delay_s": 1000}, {"type": "nope"}, 7, {}),
    *({"type": "echo", "priority": 10}, {"type": "echo", "nope": 1}, {"type": "big", "args": {"size": "x", "a/b": 1}}),
    *({"type": "echo", "queue": "nope"}, {"type": "echo", "args": []}, {"type": "echo", "unique": ""}),
    *({"type": "echo", "run_at": "soon"}, {"type": "", "args": 1, "x" * 200: 1}),
]


async def test_each_item_of_a_batch_is_answered_as_if_alone(serving: Serving, http: aiohttp.ClientSession) -> None:
    alone = []
    for item in ITEMS:
        async with http.post("/v1/jobs", json=item) as response:
            alone.append((response.status, await response.json()))
    for chosen in (range(len(ITEMS)), [0, 1, 2], [*range(len(ITEMS))] * 3):
        results = await send(http, *(ITEMS[number] for number in chosen))
        for place, (number, result) in enumerate(zip(chosen, results, strict=True)):
            status, document = alone[number]
            assert result["status"] == status
            if status == 202:
                assert set(result) == {"status", "id"}
                continue
            expected = json.loads(json.dumps(document))
            for fault in expected["errors"]:
                fault["pointer"] = f"/jobs/{place}{fault['pointer']}"
            told = result["problem"]
            assert {**told, "detail": ""} == {**expected, "detail": ""}
            assert told["detail"].startswith(f"/jobs/{place}")


@pytest.mark.parametrize(
    ("job", "pointer"),
    [
        ({"type": "echo", "priority": 10}, "/priority"),
        ({"type": "echo", "delay_s": -1}, "/delay_s"),
        ({"type": "echo", "delay_s": 1, "run_at": "2030-01-01T00:00:00Z"}, "/run_at"),
        ({"type": "echo", "run_at": "soon"}, "/run_at"),
        ({"type": "echo", "queue": "nope"}, "/queue"),
        ({"type": "echo", "nope": 1}, "/nope"),
        ({}, "/type"),
    ],
)
async def test_errors_have_pointers_from_the_root_of_the_batch(
    http: aiohttp.ClientSession, job: dict[str, Any], pointer: str
) -> None:
    fine, faulty = await send(http, ECHO, job)
    assert fine["status"] == 202
    assert (faulty["status"], [fault["pointer"] for fault in faulty["problem"]["errors"]]) == (
        422,
        [f"/jobs/1{pointer}"],
    )


async def test_a_batch_has_at_most_1000_jobs(start: Any) -> None:
    serving = await start(limits={"body_bytes": 1_000_000})
    jobs = ",".join(['{"type":"echo"}'] * 1000)
    answer = Answer(await serving.talk(batch(f'{{"jobs":[{jobs}]}}'.encode(), CLOSE)))
    assert answer.status == 207
    assert {result["status"] for result in json.loads(answer.rest)["jobs"]} == {202}
    answer = Answer(await serving.talk(batch(f'{{"jobs":[{jobs},{{"type":"echo"}}]}}'.encode(), CLOSE)))
    assert (answer.status, answer.kind) == (422, "invalid-request")
    assert answer.problem["errors"][0]["pointer"] == "/jobs"
    assert serving.service.backend.stats()[0].accepted_total == 1000


async def test_a_batch_with_many_errors_has_a_bounded_response(start: Any) -> None:
    serving = await start(limits={"body_bytes": 2_000_000})
    args = {f"unknown{number}": 0 for number in range(110)}
    body = json.dumps({"jobs": [{"type": "big", "args": args}] * 999 + [ECHO]}).encode()
    answer = Answer(await serving.talk(batch(body, CLOSE)))
    assert answer.status == 207
    assert len(answer.rest) < 512 * 1024
    first, *_, last, fine = json.loads(answer.rest)["jobs"]
    assert fine["status"] == 202
    assert len(first["problem"]["errors"]) == 33
    assert first["problem"]["errors"][-1] == {"pointer": "", "detail": "and 79 more"}
    assert (last["status"], last["problem"]["type"]) == (422, "/problems/invalid-submission")
    assert last["problem"]["detail"].startswith("/jobs/998/args/size: missing")
    assert "errors" not in last["problem"]


async def test_an_empty_batch_is_valid(http: aiohttp.ClientSession) -> None:
    assert await send(http) == []


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "malformed-json"),
        (b"nonsense", 400, "malformed-json"),
        (b'{"jobs":[{"type":"echo"},]}', 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b'{"job":[]}', 422, "invalid-request"),
        (b'{"jobs":{}}', 422, "invalid-request"),
        (b'{"jobs":["' + b"x" * 66_000 + b'"]}', 413, "too-large"),
    ],
)
async def test_an_invalid_batch_is_rejected_as_a_whole(serving: Serving, body: bytes, status: int, kind: str) -> None:
    answer = Answer(await serving.talk(batch(body, CLOSE)))
    assert (answer.status, answer.kind) == (status, kind)


async def test_a_batch_as_a_form_gets_415(serving: Serving) -> None:
    head = "POST /v1/jobs:batch HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    answer = Answer(await serving.talk(f"{head}Content-Length: 0\r\n{CLOSE}\r\n\r\n".encode()))
    assert (answer.status, answer.headers["accept-post"]) == (415, "application/json")


async def test_a_batch_with_an_idempotency_key_is_rejected_with_a_hint(serving: Serving) -> None:
    answer = Answer(await serving.talk(batch(b'{"jobs":[]}', "Idempotency-Key: k", CLOSE)))
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert "unique" in answer.problem["detail"]


async def test_unique_values_apply_within_a_batch(http: aiohttp.ClientSession) -> None:
    unique = {"type": "hold", "unique": "u"}
    first, same, rejected, other = await send(
        http,
        unique,
        unique,
        {"type": "hold", "unique": {"value": "u", "mode": "reject"}},
        {"type": "echo", "unique": "u"},
    )
    assert first == {"status": 202, "id": first["id"]}
    assert same == {"status": 202, "id": first["id"], "deduplicated": True}
    assert (rejected["status"], rejected["problem"]["type"]) == (409, "/problems/duplicate")
    assert rejected["problem"]["id"] == first["id"]
    assert other["status"] == 202
    assert other["id"] != first["id"], "a unique value belongs to one type"


async def test_jobs_of_a_batch_without_a_slot_are_rejected_individually(start: Any, http_to: Any) -> None:
    serving = await start(queues={"default": {"capacity": 2, "workers": 1}})
    http = await http_to(serving)
    results = await send(http, *[{"type": "hold"}] * 4)
    assert [result["status"] for result in results] == [202, 202, 503, 503]
    problem = results[2]["problem"]
    assert problem["type"] == "/problems/queue-full"
    assert problem["retry_after_s"] > 0
    async with http.post("/v1/jobs:batch", json={"jobs": [ECHO]}) as response:
        assert response.status == 503, "a full queue rejects the batch before its body"


async def test_each_accepted_job_of_a_batch_counts_against_the_quota(start: Any, http_to: Any) -> None:
    serving = await start(limits={"caller_rate": {"count": 3, "period_s": 60.0}})
    http = await http_to(serving)
    async with http.post("/v1/jobs:batch", json={"jobs": [ECHO, {"type": "nope"}, ECHO, ECHO]}) as response:
        results = (await response.json())["jobs"]
        assert [result["status"] for result in results] == [202, 422, 202, 429]
        assert results[3]["problem"]["type"] == "/problems/quota-exceeded"
        assert response.headers["RateLimit"].startswith('"submissions";r=0;t=')
    async with http.post("/v1/jobs:batch", json={"jobs": [ECHO]}) as response:
        assert response.status == 429


async def test_other_requests_are_served_while_a_batch_is_processed(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.resources.submissions.BATCH_TURN_S", 0.0)
    serving = await start(limits={"body_bytes": 1_000_000})
    jobs = ",".join(['{"type":"echo","delay_s":60}'] * 1000)
    async with serving.connect() as (reader, writer), serving.connect() as (other, to_other):
        writer.write(batch(f'{{"jobs":[{jobs}]}}'.encode()))
        answered = asyncio.create_task(read_answer(reader))
        longest_s, others = 0.0, 0
        while not answered.done():
            began = time.monotonic()
            to_other.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await read_answer(other)).status == 200
            longest_s, others = max(longest_s, time.monotonic() - began), others + 1
        assert (await answered).status == 207
    print(f"beside a batch of 1,000: {others} answers, the slowest after {longest_s * 1000:.1f} ms")
    assert others >= 10
