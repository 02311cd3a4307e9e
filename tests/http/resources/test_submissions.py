"""Bodies of submissions: media types, limits, framing and errors, before the body where the head suffices."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue.http.response.timestamps import timestamp
from tests.http.serving import CLOSE, Answer, Serving, post, read_answer

ON_EACH_BACKEND = True

ECHO = b'{"type":"echo"}'


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()


def head(*headers: str) -> bytes:
    return "\r\n".join(["POST /v1/jobs HTTP/1.1", "Host: h", *headers, "", ""]).encode()


@pytest.mark.in_process  # where forms are taken, too
async def test_a_415_names_the_supported_media_types(serving: Serving) -> None:
    answer = Answer(await serving.talk(post(ECHO, CLOSE, media_type="text/plain")))
    assert (answer.status, answer.kind) == (415, "unsupported-media-type")
    assert answer.headers["accept-post"] == "application/json, multipart/form-data"


async def test_a_rejection_of_a_complete_body_keeps_the_connection(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        for body, status in ((b"nonsense", 400), (b'{"type":"nope"}', 422), (ECHO, 202)):
            writer.write(post(body))
            assert (await read_answer(reader)).status == status


async def test_an_invalid_submission_gets_all_its_errors_with_pointers(serving: Serving) -> None:
    answer = Answer(await serving.talk(post(b'{"type":"big","priority":99,"nope":1}', CLOSE)))
    assert (answer.status, answer.kind) == (422, "invalid-submission")
    assert {fault["pointer"] for fault in answer.problem["errors"]} == {"/priority", "/nope"}
    answer = Answer(await serving.talk(post(b'{"type":"big","args":{"size":"x","nope":1}}', CLOSE)))
    assert {fault["pointer"] for fault in answer.problem["errors"]} == {"/args/size", "/args/nope"}


async def test_the_first_of_many_errors_are_listed_and_the_rest_counted(start: Any) -> None:
    serving = await start(limits={"body_bytes": 2_000_000})
    args = {str(number): 0 for number in range(110_000)}
    body = json.dumps({"type": "big", "args": args}).encode()
    answer = Answer(await serving.talk(post(body, CLOSE)))
    assert (answer.status, answer.kind) == (422, "invalid-submission")
    assert len(answer.rest) < 4096
    missing, first, *_, rest = answer.problem["errors"]
    assert (missing["pointer"], first["pointer"]) == ("/args/size", "/args/0")
    assert "'big' takes: size" in first["detail"]
    assert rest == {"pointer": "", "detail": "and 109,969 more"}
    assert answer.problem["detail"] == "/args/size: missing; this argument is required; and 110,000 more"


@pytest.mark.parametrize(
    "request_of",
    [
        lambda text: post(json.dumps({"type": "big", "args": {text: 1}}).encode(), CLOSE),
        lambda text: post(json.dumps({"type": text}).encode(), CLOSE),
        lambda text: post(ECHO, CLOSE, media_type=text),
        lambda text: post(ECHO, CLOSE, media_type=f"application/json; charset={text}"),
        lambda text: get(f"/v1/jobs?{text}=1"),
        lambda text: get(f"/v1/jobs?state={text}"),
        lambda text: get(f"/v1/jobs?cursor={text}"),
        lambda text: get(f"/v1/jobs?limit={text}"),
        lambda text: get(f"/v1/jobs?ids={text}"),
        lambda text: get(f"/v1/jobs/{text}"),
        lambda text: get(f"/v1/queues/{text}"),
        lambda text: get(f"/{text}"),
    ],
)
@pytest.mark.parametrize("fast_path", [True, False])
async def test_problems_quote_long_input_in_part(start: Any, request_of: Any, fast_path: bool) -> None:
    serving = await start(server={"fast_path": fast_path})
    answer = Answer(await serving.talk(request_of("n" * 3000)))
    assert b"/problems/" in answer.rest
    assert b"n" * 120 not in answer.rest


async def test_an_unknown_type_gets_its_own_problem_type(serving: Serving) -> None:
    answer = Answer(await serving.talk(post(b'{"type":"nope"}', CLOSE)))
    assert (answer.status, answer.kind) == (422, "unknown-type")
    (fault,) = answer.problem["errors"]
    assert fault["pointer"] == "/type"
    assert "echo" in fault["detail"], "lists the known types"


async def test_an_unknown_queue_gets_422_with_its_pointer(serving: Serving) -> None:
    answer = Answer(await serving.talk(post(b'{"type":"echo","queue":"nope"}', CLOSE)))
    assert (answer.status, [fault["pointer"] for fault in answer.problem["errors"]]) == (422, ["/queue"])


async def test_a_content_length_over_the_limit_gets_413_before_the_body(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(head("Content-Type: application/json", "Content-Length: 65537"))
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (413, "too-large")
        assert answer.headers["connection"] == "close"


@pytest.mark.in_process  # where forms are taken, too
async def test_an_expectation_is_rejected_when_the_body_would_be(serving: Serving) -> None:
    for headers, status in (
        (["Content-Type: application/json", "Content-Length: 65537"], 413),
        (["Content-Type: text/plain", "Content-Length: 10"], 415),
        (["Content-Type: multipart/form-data; boundary=x", "Content-Length: 99999999"], 413),
    ):
        async with serving.connect() as (reader, writer):
            writer.write(head(*headers, "Expect: 100-continue"))
            answer = await read_answer(reader)
            assert answer.status == status
            assert answer.headers["connection"] == "close"
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_valid_head_gets_100_continue(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(head("Content-Type: application/json", "Content-Length: 15", "Expect: 100-Continue"))
        assert (await read_answer(reader)).status == 100
        writer.write(ECHO)
        assert (await read_answer(reader)).status == 202


async def test_an_invalid_body_after_100_continue_gets_422(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(head("Content-Type: application/json", "Content-Length: 15", "Expect: 100-continue"))
        assert (await read_answer(reader)).status == 100
        writer.write(b'{"type":"nope"}')
        assert (await read_answer(reader)).status == 422
        writer.write(post(ECHO))
        assert (await read_answer(reader)).status == 202


async def test_a_draining_server_sends_no_100_continue(serving: Serving) -> None:
    serving.service.stop_admitting()
    answer = Answer(
        await serving.talk(head("Content-Type: application/json", "Content-Length: 15", "Expect: 100-continue"))
    )
    assert (answer.status, answer.kind) == (503, "draining")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/x", "/nope", "/readyz"])
async def test_an_unknown_expectation_gets_417_on_every_path(serving: Serving, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\nExpect: the-unexpected\r\n{CLOSE}\r\n\r\n"
    answer = Answer(await serving.talk(request.encode()))
    assert (answer.status, answer.kind) == (417, "unknown-expectation")


async def test_a_chunked_body_is_accepted_up_to_the_limit(serving: Serving) -> None:
    start = head("Content-Type: application/json", "Transfer-Encoding: chunked")
    async with serving.connect() as (reader, writer):
        for piece in (start, b"5\r\n" + ECHO[:5] + b"\r\n", b"a;ext=1\r\n" + ECHO[5:] + b"\r\n", b"0\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
        assert (await read_answer(reader)).status == 202
        writer.write(start + b"10001\r\n" + b" " * 65537 + b"\r\n")
        assert (await read_answer(reader)).status == 413


async def test_an_unknown_transfer_coding_gets_501(serving: Serving) -> None:
    answer = Answer(
        await serving.talk(
            head("Content-Type: application/json", "Transfer-Encoding: gzip, chunked", CLOSE) + b"0\r\n\r\n"
        )
    )
    assert (answer.status, answer.kind) == (501, "unknown-transfer-coding")


async def test_a_body_is_accepted_up_to_the_limit(serving: Serving) -> None:
    body = ECHO.ljust(65536)
    async with serving.connect() as (reader, writer):
        writer.write(post(body))
        assert (await read_answer(reader)).status == 202
        writer.write(post(body + b" "))
        assert (await read_answer(reader)).status == 413


async def test_a_slow_body_gets_408_and_delays_no_other_client(start: Any) -> None:
    serving = await start(limits={"body_timeout_s": 0.3})
    async with serving.connect() as (reader, writer):
        writer.write(head("Content-Type: application/json", "Content-Length: 15") + ECHO[:5])
        assert Answer(await serving.talk(post(ECHO, CLOSE))).status == 202
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (408, "body-too-slow")
        assert answer.headers["connection"] == "close"


async def test_an_invalid_chunk_gets_400_immediately(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(head("Content-Type: application/json", "Transfer-Encoding: chunked"))
        await writer.drain()
        await asyncio.sleep(0.05)  # for the handler to wait for the body
        writer.write(b"nonsense\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (400, "malformed-request")
        assert await asyncio.wait_for(reader.read(), 5) == b"", "exactly one response"


async def test_a_disconnect_within_a_body_leaves_no_job_and_no_error(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving.connect() as (_, writer):
        writer.write(head("Content-Type: application/json", "Content-Length: 15") + ECHO[:5])
        await writer.drain()
        await asyncio.sleep(0.02)
    while serving.server.open:
        await asyncio.sleep(0.01)
    assert serving.service.backend.stats()[0].accepted_total == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_arguments_reach_the_handler_unchanged(serving: Serving) -> None:
    args = '{"value":{"big":18446744073709551615,"float":1.0,"text":"\\u00e9é"}}'
    answer = Answer(await serving.talk(post(b'{"type":"echo","args":' + args.encode() + b"}", CLOSE)))
    job = await serving.service.backend.wait(json.loads(answer.rest)["id"])
    assert job.result is not None
    assert json.loads(job.result) == json.loads(args)["value"]


async def test_run_at_is_returned_as_it_was_sent(serving: Serving) -> None:
    fractions = [f"{milliseconds:03d}" for milliseconds in range(1, 1000, 7)]
    fractions += [f"{microseconds:06d}" for microseconds in range(1, 1_000_000, 17_321)]
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    async with serving.connect() as (reader, writer):
        for fraction in fractions:
            run_at = f"{day}T12:34:56.{fraction}Z"
            writer.write(post(json.dumps({"type": "echo", "run_at": run_at}).encode()))
            answer = await read_answer(reader)
            assert (answer.status, json.loads(answer.rest)["run_at"]) == (202, run_at)


def test_a_timestamp_is_rounded_down_to_milliseconds() -> None:
    for milliseconds in range(1000):
        assert timestamp(1.7e9 + milliseconds / 1000) == f"2023-11-14T22:13:20.{milliseconds:03d}Z"
    assert timestamp(1.7e9 + 0.9994) == "2023-11-14T22:13:20.999Z"
    assert timestamp(1.7e9 + 0.9999996) == "2023-11-14T22:13:20.999Z"
