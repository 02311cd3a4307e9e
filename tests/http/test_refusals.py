"""Rejections: early, cheap, with Retry-After; and quotas."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.errors import QueueFull
from jobqueue.http.request.json_body import decode_submission
from jobqueue.http.resources import submissions
from jobqueue.http.transport import fast_path
from tests.http.request.test_uploads import SIZES, form, posted, removed
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving

ECHO = b'{"type":"echo"}'
HOLD = b'{"type":"hold"}'
FULL = {"queues": {"default": {"capacity": 1, "workers": 1}}}


async def fill(serving: Serving) -> str:
    """Take the only slot; return the path of the job that holds it."""
    answer = Answer(await serving.talk(post(HOLD, CLOSE)))
    assert answer.status == 202
    return answer.headers["location"]


def without_body(*headers: str) -> bytes:
    """Return a submission without its body."""
    lines = ["Content-Type: application/json", "Content-Length: 15", *headers]
    return ("POST /v1/jobs HTTP/1.1\r\nHost: h\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


@pytest.mark.parametrize("kind", ["queue-full", "draining", "overloaded"])
async def test_a_rejection_of_all_submissions_is_sent_before_the_body(start: Any, kind: str) -> None:
    serving = await start(**FULL)
    match kind:
        case "queue-full":
            await fill(serving)
        case "draining":
            serving.service.stop_admitting()
        case "overloaded":
            serving.lag_s = 0.6
    for path in ("/v1/jobs", "/v1/jobs:batch"):
        async with serving.connect() as (reader, writer):
            writer.write(without_body().replace(b"/v1/jobs", path.encode()))
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (503, kind)
            assert 0 < answer.problem["retry_after_s"] <= int(answer.headers["retry-after"])
        async with serving.connect() as (reader, writer):
            writer.write(without_body("Expect: 100-continue").replace(b"/v1/jobs", path.encode()))
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (503, kind)


def rejections() -> list[QueueFull]:
    """Return those that the garbage collector knows."""
    return [each for each in gc.get_objects() if type(each) is QueueFull]


@pytest.mark.parametrize(
    "submission",
    [
        pytest.param(post(ECHO), id="fast path"),
        pytest.param(post(ECHO, "Idempotency-Key: k"), id="stock path"),
        pytest.param(post(b'{"jobs":[%b]}' % ECHO).replace(b"/jobs ", b"/jobs:batch "), id="batch"),
        pytest.param(posted(form(("job", SIZES), ("a", b"1"))), id="form"),
    ],
)
async def test_a_rejection_leaves_nothing_to_the_garbage_collector(start: Any, submission: bytes) -> None:
    serving = await start(**FULL)
    await fill(serving)
    gc.collect()
    before = {id(each) for each in rejections()}  # other tests hold some
    gc.disable()
    try:
        async with serving.connect() as (reader, writer):
            for _ in range(3):
                writer.write(submission)
                assert (await read_answer(reader)).status == 503
        assert [each for each in rejections() if id(each) not in before] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("split", [False, True])
async def test_a_rejection_of_a_small_body_keeps_the_connection(start: Any, split: bool) -> None:
    serving = await start(**FULL)
    await fill(serving)
    async with serving.connect() as (reader, writer):
        for _ in range(3):
            head, body = post(ECHO)[: -len(ECHO)], ECHO
            if split:
                writer.write(head)
                assert (await read_answer(reader)).status == 503
                writer.write(body)
            else:
                writer.write(head + body)
                answer = await read_answer(reader)
                assert answer.status == 503
                assert "connection" not in answer.headers
        writer.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader)).status == 200


async def test_a_rejection_before_a_large_body_closes_the_connection(start: Any) -> None:
    serving = await start(**FULL, limits={"body_bytes": 1_000_000})
    await fill(serving)
    async with serving.connect() as (reader, writer):
        writer.write(without_body().replace(b"Content-Length: 15", b"Content-Length: 100000"))
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (503, "close")


async def test_an_overloaded_loop_rejects_submissions_only(serving: Serving, http: aiohttp.ClientSession) -> None:
    serving.lag_s = 0.5
    async with http.post("/v1/jobs", data=HOLD, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 202, "the limit itself is accepted"
        path = response.headers["Location"]
    serving.lag_s = 0.51
    for headers in ({}, {"Idempotency-Key": "k"}):
        async with http.post(
            "/v1/jobs", data=ECHO, headers={"Content-Type": "application/json", **headers}
        ) as response:
            assert (response.status, (await response.json())["type"]) == (503, "/problems/overloaded")
    for method, target, status in (
        ("GET", path, 202),
        ("HEAD", path, 202),
        ("GET", "/v1/queues", 200),
        ("GET", "/readyz", 200),
        ("POST", f"{path}:cancel", 202),
    ):
        async with http.request(method, target) as response:
            assert response.status == status
    serving.lag_s = 0.0
    async with http.post("/v1/jobs", data=ECHO, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 202


async def test_retry_after_of_an_overloaded_loop_is_jittered(serving: Serving) -> None:
    serving.lag_s = 1.0
    times = set()
    async with serving.connect() as (reader, writer):
        for _ in range(400):
            writer.write(post(ECHO))
            times.add((await read_answer(reader)).problem["retry_after_s"])
    assert len(times) > 200
    assert max(times) > 3


async def test_a_known_idempotency_key_gets_its_job_even_while_submissions_are_rejected(start: Any) -> None:
    serving = await start(**FULL)
    first = Answer(await serving.talk(post(HOLD, "Idempotency-Key: k", CLOSE)))
    assert first.status == 202
    for refuse in (lambda: None, serving.service.stop_admitting):
        refuse()
        again = Answer(await serving.talk(post(HOLD, "Idempotency-Key: k", CLOSE)))
        assert (again.status, again.headers["job-deduplicated"]) == (202, "true")
        assert again.headers["location"] == first.headers["location"]
        other = Answer(await serving.talk(post(HOLD, "Idempotency-Key: other", CLOSE)))
        assert other.status == 503
        assert other.problem["retry_after_s"] > 0


async def test_an_unknown_idempotency_key_is_rejected_before_the_body_by_a_full_queue(start: Any) -> None:
    serving = await start(**FULL)
    await fill(serving)
    async with serving.connect() as (reader, writer):
        writer.write(without_body("Idempotency-Key: new"))
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (503, "queue-full"), "the body is not waited for"


async def test_only_bodies_that_may_have_a_live_unique_value_are_decoded_by_a_full_queue(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = await start(**FULL)
    answer = Answer(await serving.talk(post(b'{"type":"hold","unique":"u"}', CLOSE)))
    assert answer.status == 202
    decoded: list[bytes] = []

    def decode(body: bytes) -> Any:
        decoded.append(body)
        return decode_submission(body)

    for module, name in ((fast_path, "decode_one"), (submissions, "decode_submission")):
        monkeypatch.setattr(module, name, decode)
    for body in (ECHO, b'{"type":"no such type"}', b"no JSON"):
        answer = await submitted(serving, body)
        assert (answer.status, answer.kind) == (503, "queue-full")
    assert decoded == []
    for body in (b'{"type":"hold","unique":"u"}', b'{"type":"hold","\\u0075nique":"u"}'):
        for headers in ((), ("Prefer: wait=0",)):
            answer = await submitted(serving, body, *headers)
            assert (answer.status, answer.headers["job-deduplicated"]) == (202, "true")
    answer = await submitted(serving, b'{"type":"hold","unique":"another"}')
    assert (answer.status, answer.kind) == (503, "queue-full")


async def submitted(serving: Serving, body: bytes, *headers: str) -> Answer:
    """Send a submission over a connection that stays open: the fast path's, unless a header forbids it."""
    async with serving.connect() as (reader, writer):
        writer.write(post(body, *headers))
        return await read_answer(reader)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch"])
async def test_a_full_queue_does_not_read_a_large_body_for_a_unique_value(start: Any, path: str) -> None:
    serving = await start(**FULL)
    await serving.talk(post(b'{"type":"hold","unique":"u"}', CLOSE))
    for framing in ("Content-Length: 60000", "Transfer-Encoding: chunked"):
        async with serving.connect() as (reader, writer):
            head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
            writer.write(head.encode())
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (503, "queue-full"), "the body is not waited for"


async def test_a_full_queue_rejects_an_upload_with_a_new_unique_value_before_its_files(start: Any) -> None:
    serving = await start(**FULL)
    await serving.talk(post(b'{"type":"hold","unique":"u"}', CLOSE))
    for unique in (b"", b',"unique":"v"'):
        async with serving.connect() as (reader, writer):
            job = b'{"type":"sizes"%b}' % unique
            writer.write(posted(form(("job", job), ("file", b"x" * 100_000)))[:-90_000])
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (503, "queue-full")


async def test_an_upload_to_a_full_queue_among_several_is_rejected_before_its_files(start: Any) -> None:
    serving = await start(queues={"default": {"capacity": 1, "workers": 1}, "other": {"capacity": 1, "workers": 1}})
    await fill(serving)
    async with serving.connect() as (reader, writer):
        writer.write(posted(form(("job", SIZES), ("file", b"x" * 100_000)))[:-90_000])
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (503, "queue-full")


async def test_an_upload_to_a_queue_that_fills_meanwhile_is_rejected_before_its_files(start: Any) -> None:
    serving = await start(**FULL)
    body = form(("job", SIZES), end=b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n')
    request = posted(body + b"x" * 100_000)[:-100_000]
    async with serving.connect() as (reader, writer):
        begin = request.index(b"Content-Disposition")
        writer.write(request[:begin])
        await writer.drain()
        await asyncio.sleep(0.05)  # for the head to be accepted
        await fill(serving)
        writer.write(request[begin:])
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (503, "queue-full")
    await removed(serving)


async def test_rejections_are_counted_and_logged_as_samples(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    serving = await start(**FULL)
    await fill(serving)
    caplog.set_level(logging.INFO)
    async with serving.connect() as (reader, writer):
        for _ in range(200):
            writer.write(post(ECHO))
            assert (await read_answer(reader)).status == 503
    lines = [record for record in caplog.records if record.getMessage().startswith("http.refused")]
    assert len(lines) <= 2
    (queue,) = serving.service.backend.stats()[1]
    assert queue.refused_total == 200


async def test_rejected_submissions_are_not_stored(start: Any) -> None:
    serving = await start(**FULL)
    path = await fill(serving)
    for body in (ECHO, HOLD):
        assert Answer(await serving.talk(post(body, CLOSE))).status == 503
    serving.gate.set()
    await serving.service.backend.wait(path[-22:])
    page = Answer(await serving.talk(f"GET /v1/jobs HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()))
    assert [f"/v1/jobs/{job['id']}" for job in json.loads(page.rest)["jobs"]] == [path]


# -- quotas

RATE = {"caller_rate": {"count": 2, "period_s": 60.0}}
POLICY = '"submissions";q=2;w=60'


async def test_a_caller_over_its_rate_gets_429_with_retry_after(start: Any) -> None:
    serving = await start(limits=RATE)
    async with serving.connect() as (reader, writer):
        for left in (1, 0):
            writer.write(post(ECHO))
            answer = await read_answer(reader)
            assert answer.status == 202
            assert answer.headers["ratelimit-policy"] == POLICY
            assert answer.headers["ratelimit"] == f'"submissions";r={left};t=30'
        writer.write(without_body())
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (429, "quota-exceeded")
        assert 29 < answer.problem["retry_after_s"] <= 30
        assert answer.headers["retry-after"] == "30"
        assert answer.headers["ratelimit"] == '"submissions";r=0;t=30'


async def test_every_response_to_a_submission_has_the_quota(start: Any) -> None:
    serving = await start(limits={"caller_rate": {"count": 100, "period_s": 60.0}})
    requests = {
        202: post(ECHO, CLOSE),
        400: post(b"nonsense", CLOSE),
        422: post(b'{"type":"nope"}', CLOSE),
        415: post(ECHO, CLOSE, media_type="text/plain"),
        413: without_body(CLOSE).replace(b"Content-Length: 15", b"Content-Length: 99999999"),
        207: post(b'{"jobs":[]}', CLOSE).replace(b"/v1/jobs", b"/v1/jobs:batch"),
    }
    for status, request in requests.items():
        answer = Answer(await serving.talk(request))
        assert answer.status == status
        assert answer.headers["ratelimit-policy"] == '"submissions";q=100;w=60'
        assert answer.headers["ratelimit"].startswith('"submissions";r=')
    submitted = Answer(
        await serving.talk(
            without_body("Expect: 100-continue", CLOSE).replace(b"Content-Length: 15", b"Content-Length: 99999999")
        )
    )
    assert (submitted.status, "ratelimit" in submitted.headers) == (413, True)
    serving.service.stop_admitting()
    refused = Answer(await serving.talk(post(ECHO, CLOSE)))
    assert (refused.status, "ratelimit" in refused.headers) == (503, True)
    looked = Answer(await serving.talk(f"GET /v1/jobs HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()))
    assert "ratelimit" not in looked.headers


async def test_responses_have_no_quota_headers_without_a_quota(serving: Serving) -> None:
    answer = Answer(await serving.talk(post(ECHO, CLOSE)))
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_a_rejection_by_a_full_queue_does_not_count_against_the_quota(start: Any) -> None:
    serving = await start(**FULL, limits=RATE)
    path = await fill(serving)
    for _ in range(5):
        answer = Answer(await serving.talk(post(ECHO, CLOSE)))
        assert (answer.status, answer.headers["ratelimit"]) == (503, '"submissions";r=1;t=30')
    serving.gate.set()
    await serving.service.backend.wait(path[-22:])
    assert Answer(await serving.talk(post(ECHO, CLOSE))).status == 202


async def test_a_caller_over_its_live_jobs_gets_429(start: Any) -> None:
    serving = await start(limits={"caller_jobs_max": 2})
    for _ in range(2):
        answer = Answer(await serving.talk(post(HOLD, CLOSE)))
        assert (answer.status, answer.headers["ratelimit-policy"]) == (202, '"live-jobs";q=2;qu="concurrent-requests"')
    refused = Answer(await serving.talk(post(HOLD, CLOSE)))
    assert (refused.status, refused.kind) == (429, "quota-exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    serving.gate.set()
    await serving.service.backend.wait(answer.headers["location"][-22:])
    assert Answer(await serving.talk(post(HOLD, CLOSE))).status == 202
