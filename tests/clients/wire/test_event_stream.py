"""The event stream of a simulated client, against scripted bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from clients.wire.connection import NoAnswer, Unreachable
from clients.wire.event_stream import Chunks, EventStream
from clients.wire.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def streaming(*pieces: bytes, keep_open: bool = False) -> AsyncIterator[EventStream]:
    """Yield a stream from a server that sends these pieces and closes the connection."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.005)
        if keep_open:
            await over.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    stream = EventStream(Place(host, port))
    try:
        yield stream
    finally:
        over.set()
        stream.close()
        server.close()
        await asyncio.sleep(0.02)  # for its connections to notice


async def collect(stream: EventStream) -> list[tuple[str, str, str]]:
    answer = await stream.open(b"GET / HTTP/1.1\r\n\r\n")
    assert answer.status == 200
    events = []
    while event := await stream.next():
        events.append((event.id, event.name, event.data))
    return events


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def test_a_chunked_stream_ends_with_its_last_chunk() -> None:
    body = chunk(b"retry: 250\n\nid: 1\nevent: a\n") + chunk(b"data: x\n\n:\n\ndata: y\n\n") + b"0\r\n\r\n"
    async with streaming(CHUNKED + body, keep_open=True) as stream:
        assert await collect(stream) == [("1", "a", "x"), ("1", "message", "y")]
        assert stream.retry_s == 0.25


async def test_a_stream_may_arrive_byte_by_byte() -> None:
    whole = CHUNKED + chunk(b"data: x\n\n") + chunk("data: ü\n\n".encode()) + b"0\r\n\r\n"
    async with streaming(*(whole[n : n + 1] for n in range(len(whole)))) as stream:
        assert [data for _, _, data in await collect(stream)] == ["x", "ü"]


async def test_a_stream_that_is_not_chunked_ends_with_its_connection() -> None:
    async with streaming(HEAD + b"\r\ndata: x\n\n", b"data: cut off") as stream:
        assert [data for _, _, data in await collect(stream)] == ["x"]


async def test_a_response_that_is_not_a_stream_is_returned_whole() -> None:
    problem = b'HTTP/1.1 503 -\r\nContent-Length: 22\r\n\r\n{"retry_after_s": 0.25}'[:-1]
    async with streaming(problem[:60], problem[60:]) as stream:
        answer = await stream.open(b"GET / HTTP/1.1\r\n\r\n")
        assert (answer.status, answer.body) == (503, b'{"retry_after_s": 0.25')


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "connection dropped"),
        (b"SSH-2.0\r\n\r\n", "not an HTTP answer: not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "not an HTTP answer: no Content-Length"),
        (b"x" * 100_000, "not an HTTP answer: an endless head"),
    ],
)
async def test_an_invalid_response_raises_no_answer_with_the_reason(answer: bytes, why: str) -> None:
    async with streaming(answer) as stream:
        with pytest.raises(NoAnswer, match=why):
            await stream.open(b"GET / HTTP/1.1\r\n\r\n")


async def test_invalid_chunk_framing_ends_the_stream() -> None:
    async with streaming(CHUNKED + chunk(b"data: x\n\n"), b"zz\r\n", keep_open=True) as stream:
        assert [data for _, _, data in await collect(stream)] == ["x"]


async def test_a_refused_connection_raises_unreachable() -> None:
    async with streaming() as stream:
        pass
    with pytest.raises(Unreachable, match="connection refused"):
        await stream.open(b"")


def test_chunks_may_have_extensions_and_trailers() -> None:
    chunks = Chunks()
    assert chunks.feed(b'3;name="v"\r\nabc\r\n0\r\nServer-Timing: x\r\n\r\n') == b"abc"
    assert chunks.ended


@pytest.mark.parametrize("size", [b"-1", b"-9", b"fffffffff", b"-5\r\n0"])
def test_a_negative_or_too_large_chunk_size_raises_value_error(size: bytes) -> None:
    with pytest.raises(ValueError, match="below 0 or over 64 MiB"):
        Chunks().feed(size + b"\r\nabc\r\n")


def test_an_endless_chunk_size_raises_value_error() -> None:
    chunks = Chunks()
    with pytest.raises(ValueError, match="without a size"):
        chunks.feed(b"0" * 100_000)


def test_an_empty_chunk_size_raises_value_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Chunks().feed(b"\r\n")
