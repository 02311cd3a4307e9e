"""The connection of a simulated client, against scripted bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from clients.wire import connection
from clients.wire.connection import Connection, NoAnswer, Unreachable
from clients.wire.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\n\r\n"


class Bytes:
    """Sends the next pieces for each request and counts connections; without pieces it closes the connection."""

    def __init__(self, *answers: list[bytes]) -> None:
        self._answers = list(answers)
        self.connections = 0
        self.requests = 0
        self.closed = asyncio.Event()  # by the client

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.reopened = 0
        connection = Connection(Place(host, port), self._count)
        try:
            yield connection
        finally:
            connection.close()
            server.close()
            await asyncio.sleep(0.01)  # for its connections to notice

    def _count(self) -> None:
        self.reopened += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                pieces = self._answers.pop(0) if self._answers else []
                if not pieces:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.01)
        self.closed.set()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_consecutive_requests_reuse_one_connection() -> None:
    server = Bytes([OK], [OK], [OK])
    async with server.connect() as connection:
        for _ in range(3):
            answer = await connection.exchange(GET, safe=True)
            assert (answer.status, answer.body) == (200, b"ok")
    assert server.connections == 1


async def test_a_response_may_arrive_byte_by_byte() -> None:
    whole = b"HTTP/1.1 202 Accepted\r\nJob-State: queued\r\ncontent-length: 3\r\nLocation: /v1/Jobs/Ab\r\n\r\nabc"
    server = Bytes([whole[n : n + 1] for n in range(len(whole))])
    async with server.connect() as connection:
        answer = await connection.exchange(GET, safe=True)
    assert (answer.status, answer.body) == (202, b"abc")
    assert (answer.header(b"job-state"), answer.header(b"location")) == ("queued", "/v1/Jobs/Ab")
    assert answer.header(b"retry-after") is None


async def test_a_response_to_head_has_no_body_despite_its_content_length() -> None:
    server = Bytes([b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\nRetry-After: 7\r\n\r\n"])
    async with server.connect() as connection:
        answer = await connection.exchange(GET, safe=True, bodiless=True)
    assert (answer.body, answer.retry_after_s) == (b"", 7.0)


@pytest.mark.parametrize("last", [b"Connection: close\r\n", b"connection: Close\r\n"])
async def test_a_connection_is_not_reused_after_connection_close(last: bytes) -> None:
    server = Bytes([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + last + b"\r\n"], [OK])
    async with server.connect() as connection:
        await connection.exchange(GET, safe=False)
        await connection.exchange(GET, safe=False)
    assert server.connections == 2
    assert server.reopened == 0


async def test_a_safe_request_on_a_closing_connection_is_resent_on_a_new_one() -> None:
    server = Bytes([OK], [], [OK])
    async with server.connect() as connection:
        await connection.exchange(GET, safe=True)
        assert (await connection.exchange(GET, safe=True)).status == 200
    assert (server.connections, server.requests, server.reopened) == (2, 3, 1)


async def test_a_post_on_a_closing_connection_is_not_resent() -> None:
    server = Bytes([OK], [], [OK])
    async with server.connect() as connection:
        await connection.exchange(GET, safe=False)
        with pytest.raises(NoAnswer, match="connection dropped"):
            await connection.exchange(GET, safe=False)
    assert server.requests == 2


async def test_a_request_is_not_resent_after_an_incomplete_response() -> None:
    server = Bytes([OK], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"], [])
    async with server.connect() as connection:
        await connection.exchange(GET, safe=True)
        asking = asyncio.create_task(connection.exchange(GET, safe=True))
        await asyncio.sleep(0.05)
        connection.close()  # for the client, the connection breaks
        with pytest.raises(NoAnswer):
            await asking
    assert server.requests == 2


async def test_a_post_reuses_only_a_recently_used_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FRESH_S", 0.0)
    server = Bytes([OK], [OK], [OK])
    async with server.connect() as client:
        await client.exchange(GET, safe=False)
        await client.exchange(GET, safe=False)
        await client.exchange(GET, safe=True)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 abc\r\n\r\n", "invalid literal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no Content-Length"),
        (OK + OK, "more bytes than it announces"),
        (b"x" * 100_000, "an endless head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n", "a Content-Length below 0 or over 64 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "a Content-Length below 0 or over 64 MiB"),
    ],
)
async def test_an_invalid_response_raises_no_answer_with_the_reason(answer: bytes, why: str) -> None:
    async with Bytes([answer]).connect() as connection:
        with pytest.raises(NoAnswer, match=f"not an HTTP answer: {why}"):
            await connection.exchange(GET, safe=True)


async def test_unsolicited_bytes_close_the_connection() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    server = Bytes([OK, late], [OK])
    async with server.connect() as connection:
        await connection.exchange(GET, safe=False)
        await server.closed.wait()
        assert (await connection.exchange(GET, safe=False)).status == 200
    assert server.connections == 2


async def test_a_refused_connection_raises_unreachable() -> None:
    server = Bytes()
    async with server.connect() as connection:
        pass
    with pytest.raises(Unreachable, match="connection refused"):
        await connection.exchange(GET, safe=True)
