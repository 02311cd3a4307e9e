"""The in-flight budget: what counts, which requests are rejected or cut, and service of honest clients."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.request.receiving import Received
from tests.http.serving import CLOSE, Answer, post, read_answer
from tests.http.transport.test_dead_requests import CHUNKED, FILE_PART, FORM, JOB_PART, raw, reset, sent, with_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

BUDGET = 2 * 2**20
LIMITS: dict[str, object] = {
    "in_flight_bytes": BUDGET,
    "body_bytes": 200_000,
    "body_timeout_s": 30.0,
    "idle_timeout_s": 30.0,
}
ECHO = b'{"type":"echo"}'


@pytest.fixture
async def tight(start: Callable[..., Awaitable[Serving]]) -> Serving:
    return await start(limits=LIMITS)


async def holding(serving: Serving, at_least_bytes: int) -> None:
    while serving.server.in_flight.used_bytes < at_least_bytes:
        await asyncio.sleep(0.01)


STALLED = {
    "json": with_body(b'{"type":"echo","args":{"value":"' + b"x" * 150_000, 200_000),
    "batch": with_body(b'{"jobs":[' + b" " * 150_000, 200_000, "/v1/jobs:batch"),
    "job part": with_body(JOB_PART[:60] + b"x" * 150_000, 200_000, media_type=FORM),
    "files": with_body(JOB_PART + FILE_PART + b"x" * 60_000, 200_000, media_type=FORM),
    "chunks": CHUNKED + b"%x\r\n" % 200_000 + b"x" * 150_000,
    "queued": b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nPrefer: wait=30\r\nContent-Type: application/json\r\n"
    b'Content-Length: 15\r\n\r\n{"type":"hold"}' + with_body(b" " * 150_000, 200_000),
    "unread": with_body(b" " * 150_000, 200_000, "/v1/jobs/x:cancel"),
    "queued heads": post(b'{"type":"hold"}', "Prefer: wait=30")
    + b"".join(b"GET /v1/queues HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 15_000) for _ in range(5)),
    "a long head": post(b'{"type":"hold"}', "Prefer: wait=30", *(f"X-{n}: {'x' * 15_000}" for n in range(4))),
}


@pytest.mark.parametrize("kind", STALLED)
async def test_stalled_requests_do_not_block_honest_ones(tight: Serving, kind: str) -> None:
    body = ECHO.ljust(180_000)
    async with contextlib.AsyncExitStack() as stalled:
        for _ in range(40):
            _, writer = await stalled.enter_async_context(tight.connect())
            writer.write(STALLED[kind])
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        for _ in range(3):
            async with tight.connect() as (reader, writer):
                writer.write(post(body)[:90_000])
                await asyncio.sleep(0.05)
                writer.write(post(body)[90_000:])
                assert (await read_answer(reader)).status == 202
        assert tight.server.in_flight.used_bytes <= BUDGET


async def test_a_rejected_request_frees_its_bytes_and_is_answered_while_the_client_still_sends(tight: Serving) -> None:
    async with contextlib.AsyncExitStack() as arriving:
        for _ in range(8):
            _, writer = await arriving.enter_async_context(tight.connect())
            writer.write(STALLED["json"])
        await holding(tight, 1_200_000)
        async with tight.connect() as (reader, writer):
            writer.write(with_body(b" " * 150_000, 200_000))
            refused = await read_answer(reader)
            assert (refused.status, refused.kind, refused.headers["retry-after"]) == (503, "overloaded", "1")
            assert refused.headers["connection"] == "close"
            assert tight.server.in_flight.used_bytes <= BUDGET * 5 // 8
            writer.write(b" " * 50_000)
            assert await asyncio.wait_for(reader.read(), 5) == b""
    while tight.server.in_flight.used_bytes:
        await asyncio.sleep(0.01)


async def test_a_body_that_is_cut_while_its_handler_takes_it_is_rejected(
    tight: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    # aiohttp: taking a body's last pieces resumes the parser within the read; what it finds may exceed the budget.
    monkeypatch.setattr(Received, "count", lambda received: received.awaited and received.cut())
    async with tight.connect() as (reader, _):
        while not tight.server.connections:
            await asyncio.sleep(0)
        connection = tight.server.connections[0]
        connection.data_received(with_body(b" " * 140_000, 200_000))
        connection.data_received(b" " * 30_000)
        refused = await read_answer(reader)
        assert (refused.status, refused.kind) == (503, "overloaded")
    assert tight.server.in_flight.used_bytes == 0


async def test_a_small_submission_is_accepted_beside_arriving_large_ones(tight: Serving) -> None:
    async with contextlib.AsyncExitStack() as arriving:
        for _ in range(8):
            _, writer = await arriving.enter_async_context(tight.connect())
            writer.write(STALLED["json"])
        await holding(tight, 1_200_000)
        async with tight.connect() as (reader, writer):
            writer.write(post(ECHO.ljust(50_000))[:40_000])
            await asyncio.sleep(0.05)
            writer.write(post(ECHO.ljust(50_000))[40_000:])
            assert (await read_answer(reader)).status == 202


async def test_an_upload_holds_little_of_the_budget(start: Callable[..., Awaitable[Serving]]) -> None:
    roomy = await start(limits={**LIMITS, "files_bytes": 2**24})
    size = 2**23
    body = JOB_PART + FILE_PART + b"x" * size + b"\r\n--xyz--\r\n"
    answer = Answer(await roomy.talk(post(body, CLOSE, media_type=FORM)))
    assert answer.status == 202
    assert roomy.server.in_flight.used_bytes == 0


async def test_bytes_waiting_to_be_written_to_a_file_are_counted(tight: Serving) -> None:
    async with tight.connect() as (_, writer):
        writer.write(with_body(JOB_PART + FILE_PART + b"x" * 40_000, 200_000, media_type=FORM))
        await holding(tight, 40_000)
        await asyncio.sleep(0.1)
        assert 40_000 <= tight.server.in_flight.used_bytes < 50_000


async def test_bytes_being_written_by_a_thread_count_after_the_connection_ends(
    tight: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = asyncio.Event()
    in_thread = tight.service.spool.in_thread

    async def slowly(work: Callable[[], object]) -> object:
        await may_write.wait()
        return await in_thread(work)

    monkeypatch.setattr(tight.service.spool, "in_thread", slowly)
    async with raw(tight) as wire:
        await sent(tight, wire, with_body(JOB_PART + FILE_PART + b"x" * 100_000, 200_000, media_type=FORM))
        await holding(tight, 100_000)
        reset(wire)
    while tight.server.open:
        await asyncio.sleep(0.01)
    assert tight.server.in_flight.used_bytes >= 100_000
    may_write.set()
    while tight.server.in_flight.used_bytes:
        await asyncio.sleep(0.01)


async def test_a_long_poll_holds_no_bytes_of_its_body(tight: Serving) -> None:
    async with contextlib.AsyncExitStack() as waiting:
        for _ in range(20):
            _, writer = await waiting.enter_async_context(tight.connect())
            writer.write(post(b'{"type":"hold"}'.ljust(190_000), "Prefer: wait=30"))
            await asyncio.sleep(0.05)
        while tight.waiting.count < 20:
            await asyncio.sleep(0.01)
        assert tight.server.in_flight.used_bytes == 0


async def test_unread_events_are_counted(start: Callable[..., Awaitable[Serving]]) -> None:
    noisy = await start(limits={**LIMITS, "write_timeout_s": 30.0})
    async with raw(noisy, 4096) as wire:
        await sent(noisy, wire, b"GET /v1/events HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(2000):
            for _ in range(10):
                await noisy.queue.submit("echo", group="g" * 200)
            await asyncio.sleep(0)
            if noisy.server.in_flight.used_bytes > 20_000:
                break
        assert noisy.server.in_flight.used_bytes > 20_000


async def test_unread_responses_are_counted_and_stalled_ones_cut(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    tight = await start(limits={**LIMITS, "write_timeout_s": 30.0})
    handle = await tight.queue.submit("big", {"size": 190_000})
    await handle.wait()
    looks = f"GET /v1/jobs/{handle.id} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 2
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as unread:
        for _ in range(60):
            wire = await unread.enter_async_context(raw(tight, 4096))
            await loop.sock_sendall(wire, looks)
            await asyncio.sleep(0.03)
            assert tight.server.in_flight.used_bytes <= BUDGET
        assert 0 < tight.server.open < 60
        body = ECHO.ljust(180_000)
        async with tight.connect() as (reader, writer):
            await asyncio.sleep(0.6)
            writer.write(post(body)[:90_000])
            await asyncio.sleep(0.05)
            writer.write(post(body)[90_000:])
            assert (await read_answer(reader)).status == 202
