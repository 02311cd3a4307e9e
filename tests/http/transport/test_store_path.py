"""Requests for jobs in a store: answered by callbacks on the fast path, and never wrongly while the store is down.

The suites of both paths run on such a store, too (`ON_EACH_BACKEND`).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobqueue.runtime.no_files import NO_FILES
from tests.http.serving import CLOSE, Answer, Serving, post, read_answer
from tests.http.streams.test_waiters import until_waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.backend.far import FarBackend

    Start = Callable[..., Awaitable[Serving]]

HOLD = b'{"type":"hold"}'
ECHO = b'{"type":"echo","args":{"value":1}}'


@pytest.fixture
def place() -> str:
    return "far"


def far_of(serving: Serving) -> FarBackend:
    return cast("FarBackend", serving.service.backend)


def look(job_id: str, *lines: str, method: str = "GET") -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    return f"{method} /v1/jobs/{job_id} HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode()


async def submitted(serving: Serving, body: bytes = HOLD) -> str:
    answer = Answer(await serving.talk(post(body, CLOSE)))
    assert answer.status == 202
    job_id: str = json.loads(answer.rest)["id"]
    return job_id


async def test_looks_and_submissions_take_the_fast_path_also_from_the_head_cache(serving: Serving) -> None:
    job_id = await submitted(serving)
    before = serving.server.fast_answers
    async with serving.connect() as (reader, writer):
        for request in (look(job_id), look(job_id, method="HEAD"), post(ECHO)):
            for _ in range(3):  # parsed, and then cached
                writer.write(request)
                answer = Answer(await reader.readuntil(b"\r\n\r\n"))
                assert answer.status == 202
                if not request.startswith(b"HEAD"):
                    await reader.readexactly(int(answer.headers["content-length"]))
        (connection,) = [each for each in serving.server.connections if each is not None]
        assert cast("Any", connection)._task_handler is None, "no task was made"
    assert serving.server.fast_answers == before + 9


async def test_an_unknown_id_gets_a_404_without_asking_the_store(serving: Serving) -> None:
    far_of(serving).down = True
    async with serving.connect() as (reader, writer):
        for job_id in ("x" * 22, "0-" + "0" * 20):
            writer.write(look(job_id))
            assert (await read_answer(reader)).status == 404
            assert Answer(await serving.talk(look(job_id, CLOSE))).status == 404


async def test_pipelined_requests_are_answered_in_their_order(serving: Serving) -> None:
    held, unknown = await submitted(serving), "0-" + "0" * 20
    requests = [
        look(held),
        look(unknown),
        post(ECHO),
        look(held, method="HEAD"),
        b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
    ]
    received = await serving.talk(b"".join(requests * 5), look(held, CLOSE))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"202", b"404", b"202", b"202", b"200"] * 5 + [b"202"]


async def test_a_client_that_leaves_before_the_reply_has_submitted_its_job(serving: Serving) -> None:
    before = far_of(serving).stats()[0].live
    async with serving.connect() as (_, writer):
        writer.write(post(HOLD))
        await asyncio.sleep(0)
        writer.transport.abort()
    async with asyncio.timeout(5):
        while far_of(serving).stats()[0].live != before + 1:
            await asyncio.sleep(0.005)


async def test_a_form_gets_a_415_that_says_why(serving: Serving) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n--b--\r\n'
    answer = Answer(await serving.talk(post(body, CLOSE, media_type="multipart/form-data; boundary=b")))
    assert (answer.status, answer.headers["accept-post"]) == (415, "application/json")
    assert answer.problem["detail"] == f"send application/json: {NO_FILES}"


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_store_that_is_down_gets_a_503_in_place_of_any_answer_about_a_job(
    start: Start, fast_path: bool
) -> None:
    serving = await start(server={"fast_path": fast_path})
    job_id = await submitted(serving)
    far_of(serving).down = True
    requests = [
        look(job_id, CLOSE),
        look(job_id, CLOSE, "Prefer: wait=1"),
        post(ECHO, CLOSE),
        post(ECHO, CLOSE, "Prefer: wait=1"),
        post(ECHO, CLOSE, "Idempotency-Key: k"),
        f"GET /v1/jobs?ids={job_id} HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
        f"GET /v1/jobs/{job_id}/result HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
        f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
        f"DELETE /v1/jobs/{job_id} HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
        f"POST /v1/jobs/{job_id}:cancel HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
        f"GET /readyz HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode(),
    ]
    for request in requests:
        answer = Answer(await serving.talk(request))
        assert (answer.status, answer.kind) == (503, "store-unavailable"), request
        assert (answer.headers["retry-after"], answer.problem["retry_after_s"]) == ("2", 2.0)
        assert "it is down" in answer.problem["detail"]
    async with serving.connect() as (reader, writer):
        writer.write(look(job_id, method="HEAD") + look(job_id))
        head = Answer(await reader.readuntil(b"\r\n\r\n"))
        assert (head.status, head.headers["retry-after"]) == (503, "2")
        assert (await read_answer(reader)).kind == "store-unavailable", "the first has no body"
    assert Answer(await serving.talk(b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).status == 200


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_wait_gets_a_503_after_its_time_while_the_store_is_down(start: Start, fast_path: bool) -> None:
    serving = await start(server={"fast_path": fast_path}, limits={"long_poll_max_s": 0.3})
    job_id = await submitted(serving)
    async with serving.connect() as (reader, writer):
        writer.write(look(job_id, "Prefer: wait=9"))
        await until_waiting(serving, 1)
        far_of(serving).down = True
        assert (await read_answer(reader)).kind == "store-unavailable"


async def test_a_submission_that_waits_gets_its_job_though_the_store_is_down_at_the_end(start: Start) -> None:
    serving = await start(limits={"long_poll_max_s": 0.3})
    async with serving.connect() as (reader, writer):
        writer.write(post(HOLD, "Prefer: wait=9"))
        await until_waiting(serving, 1)
        far_of(serving).down = True
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["preference-applied"]) == (202, "wait=0")
        assert answer.headers["location"] == f"/v1/jobs/{json.loads(answer.rest)['id']}"


async def test_a_wait_that_is_over_leaves_nothing_behind(start: Start) -> None:
    serving = await start(limits={"long_poll_max_s": 0.2})
    job_id = await submitted(serving)
    async with serving.connect() as (reader, writer):
        writer.write(look(job_id, "Prefer: wait=9"))
        await until_waiting(serving, 1)
        assert far_of(serving)._ends.keys() == {job_id}
        assert (await read_answer(reader)).status == 202
    assert far_of(serving)._ends == {}


async def test_a_submission_has_the_span_of_its_request(serving: Serving) -> None:
    span = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving.connect() as (reader, writer):
        writer.write(post(HOLD, f"traceparent: {span}"))
        answer = await read_answer(reader)
    assert (await far_of(serving).get(json.loads(answer.rest)["id"])).spec.traceparent == span


async def test_metrics_of_jobs_in_a_store_have_no_examples(serving: Serving) -> None:
    await far_of(serving).wait(await submitted(serving, ECHO))
    accept = "Accept: application/openmetrics-text; version=1.0.0"
    received = await serving.talk(f"GET /metrics HTTP/1.1\r\nHost: h\r\n{accept}\r\n{CLOSE}\r\n\r\n".encode())
    assert b'jobqueue_job_run_seconds_count{type="echo",outcome="succeeded"} 1' in received
    assert b" # {" not in received
