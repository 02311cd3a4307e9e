"""The last request of a connection: answered after a half-close, and marked as the last."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

ECHO = b'{"type":"echo"}'
GET = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
H2C = (
    b"GET /readyz HTTP/1.1\r\nHost: h\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
async def serving(start: Callable[..., Awaitable[Serving]], request: pytest.FixtureRequest) -> Serving:
    # The stock path keeps a connection that is closed without a request until it was idle for too long.
    return await start(server={"fast_path": request.param}, limits={"idle_timeout_s": 3.0})


async def half_closed(serving: Serving, request: bytes) -> bytes:
    """Send and shut down the sending side before the server reads; read until the server closes the connection."""
    wire = socket.create_connection(("127.0.0.1", serving.port))
    wire.sendall(request)
    wire.shutdown(socket.SHUT_WR)
    reader, writer = await asyncio.open_connection(sock=wire)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(ECHO, CLOSE), 202),
        (post(ECHO), 202),
        (post(ECHO, "Idempotency-Key: k"), 202),
        (CHUNKED + b"f\r\n" + ECHO + b"\r\n0\r\n\r\n", 202),
        (post(b'{"type":"nope"}', CLOSE), 422),
        (b"GET /v1/queues HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"G@T / HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_a_client_that_half_closes_gets_its_response(serving: Serving, request_bytes: bytes, status: int) -> None:
    answer = Answer(await half_closed(serving, request_bytes))
    assert answer.status == status
    assert len(answer.rest) == int(answer.headers["content-length"])


async def test_all_requests_before_a_half_close_are_answered(serving: Serving) -> None:
    slow = b"GET /v1/queues HTTP/1.1\r\nHost: h\r\n\r\n"
    raw = await half_closed(serving, slow + GET + slow + GET)
    assert raw.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("body", [post(ECHO)[:-1], CHUNKED + b"f\r\n" + ECHO, CHUNKED + b"f\r\n" + ECHO + b"\r\n"])
async def test_a_body_cut_off_by_a_half_close_is_rejected(serving: Serving, body: bytes) -> None:
    answer = Answer(await half_closed(serving, body))
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert serving.service.backend.stats()[0].accepted_total == 0


async def test_a_half_close_without_a_request_closes_the_connection(serving: Serving) -> None:
    assert await half_closed(serving, b"") == b""
    assert await half_closed(serving, b"GET / HT") == b""


async def test_a_half_close_ends_long_polls_and_event_streams(serving: Serving) -> None:
    waits = Answer(await half_closed(serving, post(b'{"type":"hold"}', "Prefer: wait=60")))
    assert waits.status == 202
    assert (json.loads(waits.rest)["state"], serving.waiting.count) == ("running", 0)
    look = f"GET {waits.headers['location']}%s HTTP/1.1\r\nHost: h\r\nPrefer: wait=60\r\n\r\n"
    assert Answer(await half_closed(serving, (look % "").encode())).status == 202
    events = await half_closed(serving, (look % "/events").encode())
    assert b"event: started" in events
    assert events.endswith(b"0\r\n\r\n"), "the stream has an end"
    # Also long polls that begin after the half-close.
    raw = await half_closed(serving, (look % "").encode() * 3)
    assert raw.count(b"HTTP/1.1 202 Accepted") == 3


async def test_a_connection_closes_if_data_follows_an_ignored_upgrade(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(H2C + GET)
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_an_ignored_upgrade_without_further_data_keeps_the_connection(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        for data in (H2C, GET, H2C, post(ECHO)):
            writer.write(data)
            answer = await read_answer(reader)
            assert answer.status in (200, 202)
            assert "connection" not in answer.headers


async def test_the_body_of_an_ignored_upgrade_is_read(serving: Serving) -> None:
    answer: Any = Answer(await serving.talk(post(ECHO, "Connection: Upgrade", "Upgrade: h2c") + GET))
    assert (answer.status, answer.headers["connection"]) == (202, "close")


@pytest.mark.parametrize("iterations", range(5))
@pytest.mark.parametrize("broken", [False, True])
async def test_a_body_that_ends_early_is_rejected_at_any_loop_iteration(
    start: Callable[..., Awaitable[Serving]], broken: bool, iterations: int
) -> None:
    serving = await start(limits={"body_timeout_s": 60})
    async with serving.connect() as (reader, _):
        while not serving.server.connections:
            await asyncio.sleep(0)
        connection = serving.server.connections[0]
        connection.data_received(CHUNKED + b"f\r\n" + ECHO[:5])
        for _ in range(iterations):
            await asyncio.sleep(0)
        if broken:
            connection.data_received(ECHO[5:] + b"\r\nno length\r\n")
        else:
            connection.eof_received()
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (400, "malformed-request")


UNREAD = b"POST /livez HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n"


@pytest.mark.parametrize("iterations", range(12))
@pytest.mark.parametrize("end", ["half-close", "no length\r\n", "1;" + "x" * 9000 + "\r\nx\r\n"])
async def test_the_unread_rest_of_an_answered_body_can_end_early(
    start: Callable[..., Awaitable[Serving]], caplog: pytest.LogCaptureFixture, end: str, iterations: int
) -> None:
    serving = await start(limits={"body_timeout_s": 60})
    async with serving.connect() as (reader, _):
        while not serving.server.connections:
            await asyncio.sleep(0)
        connection = serving.server.connections[0]
        connection.data_received(UNREAD)
        for _ in range(iterations):
            await asyncio.sleep(0)
        if end == "half-close":
            connection.eof_received()
        else:
            connection.data_received(end.encode())
        assert (await read_answer(reader)).status in (400, 405)
        async with asyncio.timeout(5):
            await reader.read()
    assert "Unhandled" not in caplog.text
