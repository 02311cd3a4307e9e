"""Clients behind proxies: gateway errors, interrupted waits, invalid headers and hostile responses."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import time
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import errors
from jobqueue.client import ErrorAnswer, FateUnknown, NoAnswer, transport
from jobqueue.core.job import JobState
from tests.client.calling import answer, calling, document, event, page, refusal, scripted, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pause after a response without Retry-After."""
    monkeypatch.setattr("jobqueue.client.protocol.PAUSE_S", 0.05)


# -- responses of a proxy


@pytest.mark.parametrize("status", [500, 502, 503, 504, 521, 408])
async def test_a_submission_with_a_proxys_error_is_resent_under_its_idempotency_key(kind: str, status: int) -> None:
    async with scripted(kind, page(status), None, answer(202, document("queued"))) as (call, script):
        job = await call("submit", "t", retry_for_s=10)

    assert job.id == "j"
    assert len(script.requests) == 3
    assert len(set(script.header("idempotency-key"))) == 1


async def test_a_proxys_response_to_a_submission_raises_fate_unknown(kind: str) -> None:
    async with scripted(kind, page(502), page(504), refusal("queue-full", 60)) as (call, script):
        with pytest.raises(FateUnknown, match=r"HTTP 502, not from the job server.*: Bad Gateway; ") as raised:
            await call("submit", "t")
        assert raised.value.status == 502
        assert script.header("idempotency-key") == [f'"{raised.value.idempotency_key}"']
        with pytest.raises(FateUnknown) as later:
            await call("submit", "t", retry_for_s=5)
        assert later.value.idempotency_key


async def test_a_foreign_200_response_to_a_submission_leaves_its_fate_unknown(kind: str) -> None:
    async with scripted(kind, page(200, "<html>Welcome"), answer(202, document("queued"))) as (call, script):
        await call("submit", "t", retry_for_s=10)
        assert len(set(script.header("idempotency-key"))) == 1
    async with scripted(kind, page(200, "<html>Welcome"), page(502)) as (call, _):
        for _ in range(2):
            (outcome,) = await call("submit_many", [{"type": "t"}], retry_for_s=5)
            assert isinstance(outcome, FateUnknown)


async def test_an_html_response_raises_error_answer_that_names_the_media_type(kind: str) -> None:
    async with scripted(kind, page(200, "<html>Welcome")) as (call, _):
        with pytest.raises(ErrorAnswer, match=r"HTTP 200: text/html instead of JSON; this URL is not .*: Welcome"):
            await call("get", "j")


async def test_a_proxys_client_error_raises_error_answer_without_a_retry(kind: str) -> None:
    async with scripted(kind, *[page(413, "<h1>413 Request Entity Too Large</h1>"), page(404), page(403)]) as (call, _):
        with pytest.raises(ErrorAnswer, match=r"HTTP 413: not from the job server.*: 413 Request Entity Too Large"):
            await call("submit", "t", retry_for_s=10)
        for status in (404, 403):
            with pytest.raises(ErrorAnswer) as raised:  # not a JobNotFound
                await call("get", "j")
            assert raised.value.status == status


async def test_a_proxys_429_is_retried_after_its_retry_after(kind: str) -> None:
    async with scripted(kind, page(429, Retry_After="1"), answer(202, document("queued"))) as (call, script):
        await call("submit", "t", retry_for_s=10)
    first, second = script.times
    assert second - first >= 1.0


async def test_a_redirect_raises_an_error_with_its_url_and_is_not_followed(kind: str) -> None:
    async with scripted(kind, page(301, Location="https://elsewhere.example/v1/jobs")) as (call, script):
        with pytest.raises(ErrorAnswer, match=r"redirected to https://elsewhere.example/v1/jobs; give the client"):
            await call("submit", "t", retry_for_s=10)
    assert len(script.requests) == 1


@pytest.mark.parametrize("method", ["get", "status", "result"])
async def test_reads_are_retried_after_gateway_errors_and_broken_connections(kind: str, method: str) -> None:
    found = answer(200, document("succeeded", result=5), Job_State="succeeded", Content_Type="application/json")
    lost = [None] * (2 if kind == "async" else 1)  # aiohttp repeats the request once by itself
    async with scripted(kind, page(502), *lost, page(504), found, retry_reads_for_s=10.0) as (call, script):
        await call(method, "j")
    assert len(script.requests) == 4 + (kind == "async")


async def test_a_read_with_only_gateway_errors_raises_no_answer_in_time(kind: str) -> None:
    async with scripted(kind, *[page(502)] * 100, retry_reads_for_s=0.3) as (call, script):
        with pytest.raises(NoAnswer, match=r"HTTP 502, not from the job server") as raised:
            await call("get", "j")
    assert not isinstance(raised.value, FateUnknown)
    assert raised.value.status == 502
    assert 2 <= len(script.requests) <= 8


async def test_a_wait_continues_after_gateway_errors_with_ever_shorter_long_polls(kind: str) -> None:
    answers = (page(504), page(503), page(502), answer(200, document("succeeded", result=5)))
    async with scripted(kind, *answers) as (call, script):
        job = await call("wait", "j")
    assert job.result == 5
    assert script.header("prefer") == ["wait=25", "wait=12", "wait=6", "wait=3"]


async def test_a_wait_with_only_gateway_errors_ends_at_its_time_limit(kind: str) -> None:
    async with scripted(kind, *[page(502)] * 100) as (call, _):
        with pytest.raises(NoAnswer):
            await call("wait", "j", retry_for_s=0.3)
        with pytest.raises((NoAnswer, TimeoutError)):
            await call("wait", "j", timeout_s=0.3)


async def test_run_continues_when_a_proxy_interrupts_its_wait(kind: str) -> None:
    waited = {"Preference_Applied": "wait=25"}
    answers = (
        page(504),
        answer(202, document("running", poll_after_ms=10)),
        answer(202, document("running", poll_after_ms=10), **waited),
        page(502),
        answer(200, document("succeeded", result=5)),
    )
    async with scripted(kind, *answers) as (call, script):
        assert await call("run", "t", retry_for_s=10) == 5
    assert script.header("prefer")[:3] == ["wait=25", None, "wait=25"]
    assert [request.partition(" ")[0] for request in script.requests] == ["POST", "POST", "GET", "GET", "GET"]


async def test_submit_returns_the_accepted_job_when_its_wait_fails(kind: str) -> None:
    answers = (answer(202, document("running", poll_after_ms=10)), answer(410, {"type": "/problems/gone"}))
    async with scripted(kind, *answers) as (call, _):
        job = await call("submit", "t", wait_s=60)
    assert (job.id, job.state) == ("j", JobState.RUNNING)


async def test_events_continue_after_gateway_errors(kind: str) -> None:
    answers = (
        page(502),
        page(503, Retry_After="0"),
        stream(event(1, "running")),
        page(504),
        stream(event(2, "failed")),
    )
    async with scripted(kind, *answers) as (call, script):
        received = await call("events", "j", retry_for_s=10)
    assert [event.name for event in received] == ["running", "failed"]
    assert script.header("last-event-id")[-1] == "x-1"


# -- Retry-After


@pytest.mark.parametrize("own", [True, False])
async def test_retry_after_may_be_a_date(kind: str, own: bool) -> None:
    now = time.time()
    dates = {"Retry_After": formatdate(now + 2, usegmt=True), "Date": formatdate(now, usegmt=True)}
    body = {"type": "/problems/queue-full", "detail": "full"} if own else None
    async with scripted(kind, answer(503, body, **dates), answer(202, document("queued"))) as (call, script):
        await call("submit", "t", retry_for_s=10)
    first, second = script.times
    assert second - first >= 1.9


async def test_a_retry_after_date_is_relative_to_the_servers_date(kind: str) -> None:
    dates = {"Retry_After": "Sun, 06 Nov 1994 08:49:38 GMT", "Date": LONG_AGO}
    async with scripted(kind, answer(503, {"type": "/problems/queue-full"}, **dates)) as (call, _):
        with pytest.raises(errors.QueueFull) as raised:
            await call("submit", "t")
    assert raised.value.retry_after_s == 1.0


HOSTILE = ["1e400", "-5", "9" * 5000, "٣", "nan", "inf", "", "soon", LONG_AGO, "Sun, 99 Nov 99999 99:99:99 GMT", "1.5"]


@pytest.mark.parametrize("value", HOSTILE)
async def test_an_invalid_retry_after_header_is_bounded(kind: str, value: str) -> None:
    header = {"Retry_After": value}
    async with scripted(kind, answer(503, {"type": "/problems/queue-full"}, **header), page(503, **header)) as (
        call,
        _,
    ):
        with pytest.raises(errors.QueueFull) as raised:
            await call("submit", "t", retry_for_s=0.01)
        assert 0 < raised.value.retry_after_s <= 86_400
        with pytest.raises(FateUnknown):
            await call("submit", "t", retry_for_s=0.01)


@pytest.mark.parametrize("value", ["1e400", "-5", "1e308", "-0.0"])
async def test_an_invalid_pause_in_a_document_is_bounded(kind: str, value: str) -> None:
    body = b'{"type":"/problems/queue-full","retry_after_s":%b}' % value.encode()
    raw = b"HTTP/1.1 503 -\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    polled = answer(202, document("queued", poll_after_ms=-(10**6))), answer(200, document("succeeded"))
    async with scripted(kind, raw, *polled) as (call, _):
        with pytest.raises((errors.Refused, FateUnknown)):
            await call("submit", "t", retry_for_s=0.01)
        assert (await call("wait", "j", timeout_s=10)).over


# -- hostile responses


@asynccontextmanager
async def pouring(kind: str, head: bytes, drop: bytes, **options: Any) -> AsyncIterator[Any]:
    """Yield the calls of a client of a server that sends a head and then the same bytes endlessly."""

    pouring: set[asyncio.Task[None] | None] = set()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pouring.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not writer.transport.is_closing():
                writer.write(drop)
                await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with calling(kind, url, timeout_s=5.0, retry_reads_for_s=0.0, **options) as call:
            yield call
    finally:
        server.close()
        await asyncio.gather(*filter(None, pouring))


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 502 -\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 65536),
        (b"HTTP/1.1 200 ", b"x" * 65536),
        (b"", b"\0" * 65536),
    ],
)
async def test_an_endless_response_raises_no_answer(
    kind: str, head: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ANSWER_BYTES_MAX", 1 << 20)
    async with pouring(kind, head, drop) as call:
        with pytest.raises(NoAnswer):
            await asyncio.wait_for(call("get", "j"), 20)
        with pytest.raises(FateUnknown):
            await asyncio.wait_for(call("submit", "t"), 20)


async def test_a_compressed_response_is_read_up_to_the_size_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def compressed(plain: bytes) -> bytes:
        body = gzip.compress(plain)
        head = (
            b"HTTP/1.1 200 -\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        )
        return head % len(body) + body

    monkeypatch.setattr(transport, "ANSWER_BYTES_MAX", 1 << 20)
    good = answer(200, document("succeeded", result=5)).partition(b"\r\n\r\n")[2]
    broken = compressed(good).replace(b"\x1f\x8b", b"\x1f\x00")
    async with scripted(kind, compressed(good), compressed(b" " * (1 << 24)), broken) as (call, _):
        assert (await call("get", "j")).result == 5
        for _ in range(2):
            with pytest.raises(NoAnswer):
                await call("get", "j")


@pytest.mark.parametrize("value", ["9" * 5000, "1", "0"])
async def test_the_retry_field_of_a_stream_is_limited_to_a_day(kind: str, value: str) -> None:
    from jobqueue.client import EventParser

    parser = EventParser()
    parser.feed(f"retry: {value}\n\n".encode())
    assert parser.retry_s is not None
    assert 0 <= parser.retry_s <= 86_400


def text(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body.encode()


TOO_DEEP = '{"id":"j","deep":' + "[" * 20_000 + "]" * 20_000 + "}"


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_a_too_deeply_nested_response_raises_an_error_of_the_client(kind: str, status: int) -> None:
    for name, args in {"get": ["j"], "get_many": [["j"]], "list": [], "queues": [], "cancel": ["j"]}.items():
        async with scripted(kind, text(status, TOO_DEEP)) as (call, _):
            with pytest.raises((ErrorAnswer, NoAnswer)):
                await call(name, *args)
    async with scripted(kind, text(status, TOO_DEEP)) as (call, _):
        with pytest.raises(ErrorAnswer if status == 404 else FateUnknown):
            await call("submit", "t")


@pytest.mark.parametrize("body", [TOO_DEEP, "", '{"id":', '"\\ud800"'])
async def test_a_result_that_is_not_json_raises_error_answer(kind: str, body: str) -> None:
    async with scripted(kind, text(200, body)) as (call, _):
        with pytest.raises(ErrorAnswer):
            await call("result", "j")


@pytest.mark.parametrize(
    "job", ['{"id":"j"}', "3", '{"id":3}', '{"id":"j","status":404,"problem":{"type":"/problems/x","errors":3}}']
)
async def test_an_invalid_document_in_a_list_raises_error_answer(kind: str, job: str) -> None:
    async with scripted(kind, text(200, f'{{"jobs":[{job}]}}')) as (call, _):
        with pytest.raises(ErrorAnswer):
            await call("get_many", ["j"])


async def test_a_retry_after_of_zero_is_raised_to_a_minimum_pause(kind: str) -> None:
    good = answer(200, document("succeeded"))
    unpaused = [page(502, Retry_After="0"), refusal("queue-full", 0, retry_after_s=1e-9)]
    for name, args in {"wait": ["j"], "submit": ["t"]}.items():
        async with scripted(kind, *unpaused, good) as (call, script):
            await call(name, *args, retry_for_s=10)
            assert min(later - earlier for earlier, later in itertools.pairwise(script.times)) > 0.09
    async with scripted(kind, page(502, Retry_After="0"), good, retry_reads_for_s=10) as (call, script):
        await call("get", "j")
        assert script.times[1] - script.times[0] > 0.09
    async with scripted(kind, stream("retry: 0", event(1, "started")), stream(event(2, "succeeded"))) as (call, script):
        await call("events", "j")
        assert script.times[1] - script.times[0] > 0.09


async def test_a_preference_applied_with_too_many_digits_is_ignored(kind: str) -> None:
    unchanged = answer(304, None, Preference_Applied=f"wait={'9' * 5000}", Retry_After="1")
    async with scripted(kind, unchanged, answer(200, document("succeeded"))) as (call, _):
        assert (await call("wait", "j", timeout_s=10)).over
