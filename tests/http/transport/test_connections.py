"""Limits of connections: number, idle time, transfer rate. A fault affects only its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web, web_protocol

from jobqueue.errors import ConfigError
from jobqueue.http.transport.aiohttp_compat import require_c_parser
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.rejected import LINGER_S, REJECTED_MAX
from tests.http.serving import Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.http.serving import Serving

GET = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
PLAIN = post(b'{"type":"echo"}')
"""A request for the fast path; GET takes the stock path."""


async def closed_after_s(reader: asyncio.StreamReader) -> float:
    """Wait until the server closes the connection; return the duration."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    return time.monotonic() - began


async def test_an_idle_connection_is_closed(start: Any) -> None:
    serving = await start(limits={"idle_timeout_s": 0.2})
    async with serving.connect() as (reader, _):
        assert 0.15 < await closed_after_s(reader) < 1


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("requests", [[GET], [PLAIN], [PLAIN, GET], [GET, PLAIN]])
async def test_a_connection_idle_after_a_response_is_closed(start: Any, requests: list[bytes], fast_path: bool) -> None:
    serving = await start(limits={"idle_timeout_s": 0.2}, server={"fast_path": fast_path})
    async with serving.connect() as (reader, writer):
        for request in requests:
            writer.write(request)
            assert (await read_answer(reader)).status in (200, 202)
        assert 0.15 < await closed_after_s(reader) < 1


async def test_the_timeout_of_a_head_counts_from_the_previous_response(start: Any) -> None:
    serving = await start(limits={"idle_timeout_s": 0.3})
    async with serving.connect() as (reader, writer):
        await asyncio.sleep(0.2)
        writer.write(PLAIN)
        assert (await read_answer(reader)).status == 202
        writer.write(PLAIN[:20])
        assert 0.25 < await closed_after_s(reader) < 1


async def test_a_slowly_sent_head_does_not_extend_the_timeout(start: Any) -> None:
    serving = await start(limits={"idle_timeout_s": 0.3})

    async def drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for byte in GET * 10:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)

    async with serving.connect() as (reader, writer):
        writer.write(GET[:-4])
        dripping = asyncio.create_task(drip(writer))
        async with serving.connect() as (other, other_writer):
            other_writer.write(GET)
            assert (await read_answer(other)).status == 200
        assert await closed_after_s(reader) < 1
        await dripping


async def test_a_connection_in_use_stays_open(start: Any) -> None:
    serving = await start(limits={"idle_timeout_s": 0.3})
    async with serving.connect() as (reader, writer):
        for _ in range(6):
            writer.write(GET)
            assert (await read_answer(reader)).status == 200
            await asyncio.sleep(0.1)


async def test_plain_requests_create_no_task(start: Any) -> None:
    serving = await start()
    async with serving.connect() as (reader, writer):
        tasks = asyncio.all_tasks()
        for request in (PLAIN, PLAIN, b"HEAD /v1/jobs/%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"0" * 22)):
            writer.write(request)
            assert b"HTTP/1.1" in await reader.readuntil(b"\r\n\r\n")
        [connection] = serving.server.connections
        assert connection._task_handler is None
        assert not {task for task in asyncio.all_tasks() - tasks if "RequestHandler" in repr(task)}


async def test_the_first_request_of_a_connection_is_answered_from_the_head_cache(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = await start()
    async with serving.connect() as (reader, writer):
        writer.write(PLAIN)
        assert (await read_answer(reader)).status == 202
    monkeypatch.delattr(Connection, "_parse")
    monkeypatch.delattr(web.RequestHandler, "data_received")
    with socket.create_connection(("127.0.0.1", serving.port)) as client:
        client.sendall(PLAIN)  # before the connection is accepted
        client.setblocking(False)
        raw = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), 5)
        assert Answer(raw).status == 202


async def test_a_stop_closes_idle_connections_immediately(start: Any) -> None:
    serving = await start()
    async with serving.connect() as (silent, _), serving.connect() as (plain, to_plain), serving.connect() as (_, to):
        to_plain.write(PLAIN)
        assert (await read_answer(plain)).status == 202
        to.write(PLAIN[:-5])
        while not any(connection._task_handler for connection in serving.server.connections):
            await asyncio.sleep(0)
        closing = asyncio.create_task(serving.server.close(2.0))
        assert await closed_after_s(silent) < 0.5
        assert await closed_after_s(plain) < 0.5
        assert not closing.done()
        await closing
        assert serving.server.open == 0


async def test_clients_that_send_continuously_are_paused_and_answered(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.transport.read_budget.PORTION", 2)
    held: list[Connection] = []
    hold = Connection.hold

    def noted(connection: Connection) -> None:
        held.append(connection)
        hold(connection)

    monkeypatch.setattr(Connection, "hold", noted)
    serving = await start()
    rounds = 20
    look = b"GET /v1/jobs/%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"0" * 22)

    async def ask(request: bytes) -> None:
        async with serving.connect() as (reader, writer):
            for _ in range(rounds):
                writer.write(request * 3)  # even one client exceeds the budget of an iteration
                for _ in range(3):
                    await read_answer(reader)

    await asyncio.wait_for(asyncio.gather(*(ask(request) for request in (look, GET) * 10)), 20)
    assert held


async def test_an_inline_answer_counts_and_sets_the_timer_as_send_does(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = Connection._send

    def noted(connection: Connection, answers: bytes, count: int, now: float) -> None:
        sent.append(count)
        send(connection, answers, count, now)

    monkeypatch.setattr(Connection, "_send", noted)
    look = b"HEAD /v1/jobs/%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"0" * 22)
    loop, server = asyncio.get_running_loop(), serving.server
    async with serving.connect() as (reader, writer):
        writer.write(look)  # which the head cache learns
        head = await reader.readuntil(b"\r\n\r\n")
        (connection,) = server.connections

        async def changes(answers: Callable[[], None], *, with_timer: bool) -> list[object]:
            timer = connection._keepalive_handle
            assert timer is not None
            if not with_timer:
                timer.cancel()
                connection._keepalive_handle = None
            connection._next_keepalive_close_time = 0.0
            sent.clear()
            answered, left, began = server.fast_answers, server.read_budget.left, loop.time()
            answers()
            assert await reader.readuntil(b"\r\n\r\n") == head
            is_set = began <= connection._next_keepalive_close_time - connection._keepalive_timeout <= loop.time()
            assert connection._keepalive_handle is not None
            return [server.fast_answers - answered, server.read_budget.left - left, is_set]

        def finishes() -> None:
            connection.finish(head, loop.time())

        for answers in (lambda: writer.write(look), finishes):
            assert await changes(answers, with_timer=True) == [1, -1, True]
            assert sent == [], "it is sent inline"
            assert await changes(answers, with_timer=False) == [1, -1, True]
            assert sent == [1]


async def test_a_paused_connection_is_not_read_until_it_is_resumed(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        while not serving.server.connections:
            await asyncio.sleep(0)
        [connection] = cast("list[Connection]", serving.server.connections)
        connection.hold()
        writer.write(GET)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.1)
        connection.release()
        assert (await read_answer(reader)).status == 200


async def test_releasing_a_held_connection_keeps_another_pause(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        while not serving.server.connections:
            await asyncio.sleep(0)
        [connection] = cast("list[Connection]", serving.server.connections)
        connection._pause_reading_for_buffer()
        connection.hold()
        connection.release()
        writer.write(GET)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.1)
        connection._resume_reading_for_buffer()
        assert (await read_answer(reader)).status == 200


async def test_a_connection_over_the_limit_gets_503_and_the_others_are_served(start: Any) -> None:
    serving = await start(server={"connections_max": 2})
    async with serving.connect() as (one, to_one), serving.connect() as (_, to_two):
        to_one.write(GET)
        assert (await read_answer(one)).status == 200
        to_two.write(GET)
        async with serving.connect() as (third, to_third):
            to_third.write(GET)
            raw = await asyncio.wait_for(third.read(), 5)
            answer = Answer(raw)
            assert (answer.status, answer.kind) == (503, "too-many-connections")
            assert answer.headers["connection"] == "close"
            assert int(answer.headers["retry-after"]) >= 1
            assert serving.server.open == 2
        to_one.write(GET)
        assert (await read_answer(one)).status == 200
    while serving.server.open or serving.server.rejected:
        await asyncio.sleep(0.01)
    async with serving.connect() as (again, to_again):
        to_again.write(GET)
        assert (await read_answer(again)).status == 200


async def test_a_flood_of_connections_never_exceeds_the_limit(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.http.transport.rejected.LINGER_S", 5.0)
    serving = await start(server={"connections_max": 20})
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as closing:
        flood = [closing.enter_context(socket.socket()) for _ in range(REJECTED_MAX + 100)]
        for each in flood:
            each.setblocking(False)
        await asyncio.gather(*(loop.sock_connect(each, ("127.0.0.1", serving.port)) for each in flood))
        await asyncio.sleep(0.2)
        assert serving.server.open == 20
        assert len(serving.server.rejected) == REJECTED_MAX
        refused = 0
        for each in flood:
            with contextlib.suppress(BlockingIOError):
                refused += each.recv(100).startswith(b"HTTP/1.1 503 ")
        assert refused == len(flood) - 20, "each rejected connection gets a 503"
    while serving.server.open or serving.server.rejected:
        await asyncio.sleep(0.01)


async def test_a_client_that_does_not_read_is_cut_and_affects_no_other(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.3, "result_bytes": 32 * 2**20})
    handle = await serving.queue.submit("big", {"size": 32 * 2**20 - 100})
    await handle.wait()
    async with serving.connect() as (_, writer):
        writer.transport.pause_reading()
        writer.write(f"GET /v1/jobs/{handle.id} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        began = time.monotonic()
        async with serving.connect() as (other, to_other):
            while serving.server.open > 1:
                to_other.write(GET)
                assert (await read_answer(other)).status == 200
                await asyncio.sleep(0.02)
                assert time.monotonic() - began < 3


async def test_a_client_that_does_not_read_a_file_is_cut_and_the_file_is_closed(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.3})
    handle = await serving.queue.submit("report", {"size": 64 * 2**20})
    await handle.wait()
    async with serving.connect() as (_, writer):
        writer.transport.pause_reading()
        writer.write(f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await asyncio.sleep(0.05)
        while serving.server.open:
            await asyncio.sleep(0.02)


async def test_a_client_that_pipelines_and_never_reads_is_cut(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.3, "idle_timeout_s": 0.3, "result_bytes": 4 * 2**20})
    handle = await serving.queue.submit("big", {"size": 4 * 2**20 - 100})
    await handle.wait()
    async with serving.connect() as (_, writer):
        writer.transport.pause_reading()
        writer.write(f"GET /v1/jobs/{handle.id} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 30)
        await asyncio.sleep(0.05)
        while serving.server.open:
            await asyncio.sleep(0.02)


async def test_responses_are_not_made_beyond_the_write_buffer_of_a_slow_client(start: Any) -> None:
    serving = await start()
    handle = await serving.queue.submit("big", {"size": 900_000})
    await handle.wait()
    async with serving.connect() as (_, writer):
        writer.transport.pause_reading()
        writer.write(f"GET /v1/jobs/{handle.id} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 30)
        await asyncio.sleep(0.1)
        (connection,) = serving.server.connections
        assert 0 < connection.transport.get_write_buffer_size() < 2_000_000


async def test_a_client_that_leaves_small_responses_unread_is_cut(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.3})
    handle = await serving.queue.submit("big", {"size": 8000})
    await handle.wait()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_connect(client, ("127.0.0.1", serving.port))
        request = f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        while not serving.server.connections:
            await asyncio.sleep(0.01)
        (connection,) = serving.server.connections
        # Until the buffers of the kernel are full, and the first bytes wait in the transport.
        while connection.transport is not None and not connection.transport.get_write_buffer_size():
            await loop.sock_sendall(client, request)
            await asyncio.sleep(0.001)
        while serving.server.open:
            await asyncio.sleep(0.02)


async def test_a_slow_reader_above_the_minimum_rate_gets_the_whole_response(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.5, "result_bytes": 16 * 2**20})
    handle = await serving.queue.submit("big", {"size": 16 * 2**20 - 100})
    await handle.wait()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_connect(client, ("127.0.0.1", serving.port))
        await loop.sock_sendall(client, f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        got = 0
        for _ in range(60):  # 25 times the lowest rate, for much longer than write_timeout_s
            got += len(await loop.sock_recv(client, 8192))
            await asyncio.sleep(0.02)
        while got < 16 * 2**20 - 100:
            data = await asyncio.wait_for(loop.sock_recv(client, 2**20), 5)
            assert data, "cut off above the minimum rate"
            got += len(data)


@pytest.mark.parametrize(
    ("request_bytes", "kind"),
    [
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", "head-too-large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 3000 + b"\r\n\r\n", "head-too-large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"x" * 3000 + b": x\r\n\r\n", "head-too-large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 65 + b"\r\n", "head-too-large"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: %b\r\n" % (n, b"x" * 900) for n in range(20)),
            "head-too-large",
        ),
        (b"GARBAGE\r\n\r\n", "malformed-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "malformed-request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\nHost: h\n\n", "malformed-request"),
        (b"GET / HTTP/9.9\r\nHost: h\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "malformed-request"),
        (b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", "malformed-request"),
        (post(b"", "Content-Length: 5"), "malformed-request"),
        (post(b"", "Transfer-Encoding: chunked"), "malformed-request"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "malformed-request"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\n", "malformed-request"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", "malformed-request"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "malformed-request"),
    ],
)
async def test_a_request_rejected_by_the_parser_gets_a_problem(start: Any, request_bytes: bytes, kind: str) -> None:
    serving = await start(limits={"header_bytes": 2048})
    answer = Answer(await serving.talk(request_bytes))
    assert answer.version == "HTTP/1.1"
    assert (answer.status, answer.kind) == (431 if kind == "head-too-large" else 400, kind)
    assert answer.headers["connection"] == "close"
    assert answer.headers["server"] == "jobqueue"
    assert len(answer.problem["detail"]) < 400


async def test_a_rejection_arrives_while_the_client_still_sends(start: Any) -> None:
    serving = await start(limits={"header_bytes": 2048})
    async with serving.connect() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8 * 2**20)
        await writer.drain()
        assert (await read_answer(reader)).status == 431
        assert await closed_after_s(reader) < LINGER_S + 1


async def test_requests_before_a_broken_one_are_answered_first(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(GET + GET)
        await writer.drain()
        await asyncio.sleep(0.02)  # in one piece with them, aiohttp's parser forgets them, and closes unanswered
        writer.write(b"GARBAGE\r\n\r\n")
        assert [(await read_answer(reader)).status for _ in range(3)] == [200, 200, 400]
        await closed_after_s(reader)


async def test_pipelined_requests_are_answered_in_order(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(GET + b"GET /nope HTTP/1.1\r\nHost: h\r\n\r\n" + post(b'{"type":"echo"}') + GET)
        assert [(await read_answer(reader)).status for _ in range(4)] == [200, 404, 202, 200]


async def test_an_upgrade_request_is_answered_as_a_plain_request(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + GET)
        assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]


async def test_http_1_0_is_served_and_closed(serving: Serving) -> None:
    answer = Answer(await serving.talk(b"GET /livez HTTP/1.0\r\n\r\n"))
    assert answer.status == 200


def test_a_server_without_the_c_parser_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    require_c_parser()
    from aiohttp.http_parser import HttpRequestParserPy

    monkeypatch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)
    with pytest.raises(ConfigError, match="C parser"):
        require_c_parser()


async def begun(serving: Serving) -> None:
    """Wait until a request is under way."""
    async with asyncio.timeout(5):
        while not any(connection._request_in_progress for connection in serving.server.connections):
            await asyncio.sleep(0)


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("earlier", [0, 35])
@pytest.mark.parametrize("together", [True, False], ids=["with the body", "after it"])
async def test_any_number_of_requests_is_pipelined_behind_bodies_that_come_after_their_heads(
    start: Any, fast_path: bool, earlier: int, together: bool
) -> None:
    serving = await start(server={"fast_path": fast_path})
    at = PLAIN.index(b"\r\n\r\n") + 4
    looks = b"HEAD /v1/jobs HTTP/1.1\r\nHost: h\r\n\r\n" * 80
    async with serving.connect() as (reader, writer):
        for number in range(earlier + 1):
            writer.write(PLAIN[:at])
            await begun(serving)
            writer.write(PLAIN[at:] + looks * (together and number == earlier))
            assert (await read_answer(reader)).status == 202
        for _ in range(2 if together else 1):
            if not together:
                writer.write(looks)
            for _ in range(80):
                assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200")
            together = False
