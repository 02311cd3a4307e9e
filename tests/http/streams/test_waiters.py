"""Long polling: prompt responses, the limits of waits, and the limit of waiters."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.http.response import list_reply
from tests.http.resources.test_jobs import ended, submit
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    import aiohttp

    from tests.http.serving import Serving

WAIT = {"Prefer": "wait=10"}


def waiting(serving: Serving) -> int:
    return serving.waiting.count


async def until_waiting(serving: Serving, count: int) -> None:
    async with asyncio.timeout(5):
        while waiting(serving) != count:
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def underway(coroutine: Any) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _all(coroutines: Iterable[Any]) -> list[Any]:
    return await asyncio.gather(*coroutines)


async def look(http: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, Mapping[str, str], Any]:
    async with http.get(path, headers=headers) as response:
        text = await response.read()
        return response.status, response.headers, json.loads(text) if text else None


# -- long polls of a job


async def test_a_long_poll_returns_when_the_job_becomes_terminal(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    async with underway(look(http, f"/v1/jobs/{job['id']}", **WAIT)) as looking:
        await until_waiting(serving, 1)
        serving.gate.set()
        status, headers, document = await asyncio.wait_for(looking, 5)
    assert (status, document["state"], headers["Preference-Applied"]) == (200, "succeeded", "wait=10")
    assert waiting(serving) == 0


async def test_a_long_poll_returns_the_live_job_at_the_limit(start: Any, http_to: Any) -> None:
    serving = await start(limits={"long_poll_max_s": 0.1})
    http = await http_to(serving)
    job = await submit(http, type="hold")
    began = time.monotonic()
    status, headers, document = await look(http, f"/v1/jobs/{job['id']}", **WAIT)
    assert 0.09 < time.monotonic() - began < 8
    assert (status, document["state"], headers["Preference-Applied"]) == (202, "running", "wait=0")
    assert "Retry-After" in headers


async def test_a_long_poll_of_a_terminal_job_returns_immediately(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    began = time.monotonic()
    status, headers, _ = await look(http, f"/v1/jobs/{job['id']}", **WAIT)
    assert (status, headers["Preference-Applied"]) == (200, "wait=10")
    assert time.monotonic() - began < 8


async def test_an_invalid_wait_preference_is_ignored(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    for nonsense in ("wait=-1", "wait=abc", "wait=1.5", "wait", "respond-async"):
        status, headers, _ = await look(http, f"/v1/jobs/{job['id']}", Prefer=nonsense)
        assert status == 202
        assert "Preference-Applied" not in headers


async def test_a_wait_of_zero_returns_immediately(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    status, headers, _ = await look(http, f"/v1/jobs/{job['id']}", Prefer="wait=0")
    assert (status, headers["Preference-Applied"]) == (202, "wait=0")


async def test_a_waiting_post_returns_the_outcome_or_the_live_job_at_its_limit(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.post("/v1/jobs", json={"type": "echo", "args": {"value": 7}}, headers=WAIT) as response:
        document = await response.json()
        assert (response.status, document["state"], document["result"]) == (200, "succeeded", 7)
        assert response.headers["Preference-Applied"] == "wait=10"
        assert response.headers["Location"] == f"/v1/jobs/{document['id']}"
    async with http.post("/v1/jobs", json={"type": "hold"}, headers={"Prefer": "wait=1"}) as response:
        document = await response.json()
        assert (response.status, document["state"]) == (202, "running")
        assert response.headers["Preference-Applied"] == "wait=1"


async def test_head_supports_long_polling(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")

    async def head() -> tuple[int, str]:
        async with http.head(f"/v1/jobs/{job['id']}", headers=WAIT) as response:
            return response.status, response.headers["Job-State"]

    async with underway(head()) as looking:
        await until_waiting(serving, 1)
        serving.gate.set()
        assert await asyncio.wait_for(looking, 5) == (200, "succeeded")


async def test_a_long_poll_of_an_unknown_job_gets_404(http: aiohttp.ClientSession) -> None:
    status, _, _ = await look(http, "/v1/jobs/nope", **WAIT)
    assert status == 404


async def test_a_long_poll_returns_when_the_job_is_cancelled(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo", delay_s=60)
    async with underway(look(http, f"/v1/jobs/{job['id']}", **WAIT)) as looking:
        await until_waiting(serving, 1)
        async with http.post(f"/v1/jobs/{job['id']}:cancel"):
            pass
        status, _, document = await asyncio.wait_for(looking, 5)
    assert (status, document["state"]) == (200, "cancelled")


# -- long polls of a list


async def test_a_long_poll_of_a_list_returns_at_the_first_change(serving: Serving, http: aiohttp.ClientSession) -> None:
    held, delayed = await submit(http, type="hold"), await submit(http, type="echo", delay_s=60)
    path = f"/v1/jobs?ids={held['id']},{delayed['id']},nope"
    async with underway(look(http, path, **WAIT)) as looking:
        await until_waiting(serving, 1)
        async with http.post(f"/v1/jobs/{delayed['id']}:run"):
            pass
        status, headers, page = await asyncio.wait_for(looking, 5)
    assert (status, headers["Preference-Applied"]) == (200, "wait=10")
    assert page["jobs"][1]["state"] != "delayed"


async def test_a_conditional_long_poll_misses_no_change_between_two_requests(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    held, delayed = await submit(http, type="hold"), await submit(http, type="echo", delay_s=60)
    path = f"/v1/jobs?ids={held['id']},{delayed['id']}"
    await asyncio.sleep(0.02)
    _, headers, _ = await look(http, path)
    async with http.post(f"/v1/jobs/{delayed['id']}:cancel"):
        pass
    status, later, page = await asyncio.wait_for(look(http, path, **WAIT, **{"If-None-Match": headers["ETag"]}), 5)
    assert (status, page["jobs"][1]["state"]) == (200, "cancelled")
    assert later["ETag"] != headers["ETag"]
    async with underway(look(http, path, **WAIT, **{"If-None-Match": later["ETag"]})) as looking:
        await until_waiting(serving, 1)
        serving.gate.set()
        status, _, page = await asyncio.wait_for(looking, 5)
    assert (status, page["jobs"][0]["state"]) == (200, "succeeded")


async def test_an_unchanged_list_gets_304_at_the_limit(start: Any, http_to: Any) -> None:
    serving = await start(limits={"long_poll_max_s": 0.1})
    http = await http_to(serving)
    job = await submit(http, type="hold")
    await asyncio.sleep(0.02)
    for path in (f"/v1/jobs?ids={job['id']}", f"/v1/jobs?ids={job['id']},nope", "/v1/jobs", "/v1/jobs?state=queued"):
        _, headers, _ = await look(http, path)
        status, _, page = await look(http, path, **WAIT, **{"If-None-Match": headers["ETag"]})
        assert (status, page) == (304, None), path
    assert waiting(serving) == 0


async def test_a_long_poll_of_a_list_without_live_jobs_returns_immediately(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    for ids in (job["id"], "nope", f"nope,{job['id']}"):
        began = time.monotonic()
        status, headers, _ = await look(http, f"/v1/jobs?ids={ids}", **WAIT)
        assert (status, headers["Preference-Applied"]) == (200, "wait=10")
        assert time.monotonic() - began < 8


async def test_a_long_poll_of_a_list_reports_jobs_deleted_meanwhile(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="echo", delay_s=60)
    async with underway(look(http, f"/v1/jobs?ids={job['id']}", **WAIT)) as looking:
        await until_waiting(serving, 1)
        await serving.service.backend.cancel(job["id"])
        await serving.service.backend.delete(job["id"])
        _, _, page = await asyncio.wait_for(looking, 5)
    assert page["jobs"][0]["status"] == 410


async def test_a_filtered_list_ignores_the_wait_preference(http: aiohttp.ClientSession) -> None:
    status, headers, _ = await look(http, "/v1/jobs?state=queued", **WAIT)
    assert status == 200
    assert "Preference-Applied" not in headers


# -- limits


async def test_a_long_poll_over_the_limit_returns_immediately_and_a_stream_gets_503(start: Any, http_to: Any) -> None:
    serving = await start(limits={"long_polls_max": 1})
    http = await http_to(serving)
    job = await submit(http, type="hold")
    path = f"/v1/jobs/{job['id']}"
    async with underway(look(http, path, **WAIT)) as looking:
        await until_waiting(serving, 1)
        for request in (path, f"/v1/jobs?ids={job['id']}"):
            began = time.monotonic()
            _, headers, _ = await look(http, request, **WAIT)
            assert "Preference-Applied" not in headers
            assert time.monotonic() - began < 8
        async with http.get("/v1/events") as refused:
            assert (refused.status, (await refused.json())["type"]) == (503, "/problems/too-many-long-polls")
            assert int(refused.headers["Retry-After"]) >= 1
        serving.gate.set()
        status, _, _ = await asyncio.wait_for(looking, 5)
        assert status == 200
    assert waiting(serving) == 0


async def test_a_disconnected_client_frees_its_waiter_immediately(start: Any) -> None:
    serving = await start()
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    path = held.headers["location"]
    requests = (
        f"GET {path} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode(),
        f"GET /v1/jobs?ids={path[-22:]} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode(),
        f"GET {path}/events HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
        b"GET /v1/events HTTP/1.1\r\nHost: h\r\n\r\n",
        post(b'{"type":"hold"}', "Prefer: wait=60"),
    )
    for request in requests:
        async with serving.connect() as (_, writer):
            writer.write(request)
            await until_waiting(serving, 1)
        await until_waiting(serving, 0)
    async with asyncio.timeout(5):
        while serving.server.open:
            await asyncio.sleep(0.01)


async def test_long_polls_get_responses_when_the_server_closes(start: Any) -> None:
    serving = await start()
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    path = held.headers["location"]
    async with serving.connect() as (one, to_one), serving.connect() as (two, to_two):
        to_one.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
        to_two.write(f"GET /v1/jobs?ids={path[-22:]} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
        await until_waiting(serving, 2)
        closing = asyncio.create_task(serving.server.close(0.5))
        assert (await read_answer(one)).status == 202
        assert (await read_answer(two)).status == 200
        await closing
        assert serving.server.open == 0


async def test_no_long_poll_or_stream_starts_while_the_server_stops(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    serving.waiting.end()
    status, headers, _ = await asyncio.wait_for(look(http, f"/v1/jobs/{job['id']}", **WAIT), 2)
    assert (status, "Preference-Applied" in headers) == (202, False)
    async with http.get("/v1/events") as refused:
        assert refused.status == 503


async def test_long_polls_continue_during_a_drain_and_end_with_it(start: Any) -> None:
    serving = await start()
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    async with serving.connect() as (reader, writer):
        writer.write(f"GET {held.headers['location']} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
        await until_waiting(serving, 1)
        await serving.queue.drain(0.05)
        answer = await read_answer(reader)
    assert (answer.status, answer.headers["job-state"]) == (200, "cancelled")


@pytest.mark.parametrize("count", [200])
async def test_all_long_polls_of_one_job_get_responses(
    serving: Serving, http: aiohttp.ClientSession, count: int
) -> None:
    job = await submit(http, type="hold")
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(count):
            reader, writer = await stack.enter_async_context(serving.connect())
            writer.write(f"GET /v1/jobs/{job['id']} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
            readers.append(reader)
        await until_waiting(serving, count)
        serving.gate.set()
        for reader in readers:
            assert (await read_answer(reader)).status == 200
    assert waiting(serving) == 0


async def test_a_change_in_a_list_with_many_waiters_yields_to_the_loop(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await submit(http, type="hold"))["id"] for _ in range(20)]
    turn, written = 0, Counter[int]()
    document = list_reply.list_document

    def noted(*args: Any) -> bytes:
        written[turn] += 1
        return document(*args)

    async def count_iterations() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(list_reply, "list_document", noted)
    path = f"/v1/jobs?ids={','.join(ids)}"
    async with underway(_all(look(http, path, **WAIT) for _ in range(30))) as looking:
        await until_waiting(serving, 30)
        async with underway(count_iterations()):
            await serving.service.backend.cancel(ids[0])
            answers = await looking
    assert all(len(page["jobs"]) == 20 for _, _, page in answers)
    assert written.total() == 600
    assert max(written.values()) <= 40, "at most two lists per loop iteration"


async def test_long_polls_and_streams_may_exceed_the_idle_timeout(start: Any) -> None:
    serving = await start(limits={"idle_timeout_s": 0.1, "heartbeat_s": 10.0})
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    path = held.headers["location"]
    async with serving.connect() as (reader, writer), serving.connect() as (stream, to_stream):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
        to_stream.write(f"GET {path}/events HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await until_waiting(serving, 2)
        await asyncio.sleep(0.4)
        assert waiting(serving) == 2
        serving.gate.set()
        assert (await read_answer(reader)).status == 200
        assert b"event: succeeded" in await asyncio.wait_for(stream.readuntil(b"0\r\n\r\n"), 5)


async def test_requests_pipelined_behind_a_long_poll_get_responses_after_it(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    async with serving.connect() as (reader, writer):
        writer.write(f"GET /v1/jobs/{job['id']} HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n".encode())
        writer.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        await until_waiting(serving, 1)
        serving.gate.set()
        assert (await read_answer(reader)).headers["job-state"] == "succeeded"
        assert (await read_answer(reader)).rest == b'{"status":"alive"}\n'
