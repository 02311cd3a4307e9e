"""A broken or rejected request leaves no reference cycle: its buffers are freed at once, not by the collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader

from jobqueue.http.transport.connection import Connection
from tests.http.serving import CLOSE, Serving, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

TIMES = 3
OF_REQUESTS = (StreamReader, Connection, web.Request, web.Response)
LARGE = 20_000

FORM = "multipart/form-data; boundary=xyz"
JOB_PART = b'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"sizes"}\r\n'
FILE_PART = b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
CHUNKED = b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
async def victim(start: Callable[..., Awaitable[Serving]]) -> Serving:
    return await start(limits={"body_timeout_s": 0.1, "idle_timeout_s": 0.3, "write_timeout_s": 0.3})


def of_requests() -> Counter[str]:
    found = [each for each in gc.get_objects() if isinstance(each, OF_REQUESTS)]
    # aiohttp's router keeps its exceptions in a reference cycle of a few hundred bytes.
    return Counter(type(each).__name__ for each in found if not isinstance(each, web.HTTPException))


def with_body(body: bytes, length: int, path: str = "/v1/jobs", media_type: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + body


DEATHS = {
    "json broken off": with_body(b'{"type":"echo","args":{"value":"' + b"x" * LARGE, 60_000),
    "batch broken off": with_body(b'{"jobs":[' + b" " * LARGE, 60_000, "/v1/jobs:batch"),
    "bulk filter broken off": with_body(b'{"state":' + b" " * LARGE, 60_000, "/v1/jobs:delete"),
    "job part broken off": with_body(JOB_PART[:60] + b"x" * LARGE, 60_000, media_type=FORM),
    "file broken off": with_body(JOB_PART + FILE_PART + b"x" * LARGE, 60_000, media_type=FORM),
    "part head broken off": with_body(
        JOB_PART + b"--xyz\r\nContent-Disposition: form-data; na", 60_000, media_type=FORM
    ),
    "body of no resource": with_body(b"x" * LARGE, 60_000, "/nowhere"),
    "body of a cancel": with_body(b"x" * LARGE, 60_000, "/v1/jobs/x:cancel"),
    "chunked broken off": CHUNKED + b"%x\r\n" % 60_000 + b"x" * LARGE,
    "head broken off": b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8000,
}


@contextlib.asynccontextmanager
async def raw(serving: Serving, receive_bytes: int = 0) -> AsyncIterator[socket.socket]:
    """A raw connection that the test resets or closes."""
    loop = asyncio.get_running_loop()
    with socket.socket() as wire:
        if receive_bytes:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        wire.setblocking(False)
        await loop.sock_connect(wire, ("127.0.0.1", serving.port))
        yield wire


async def sent(serving: Serving, wire: socket.socket, data: bytes) -> None:
    """Send data, and wait until the server has read it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(wire, data)
    for _ in range(5):
        await asyncio.sleep(0.005)


async def all_gone(serving: Serving) -> None:
    while serving.server.open or serving.server.connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


async def left_by(serving: Serving, die: Callable[[], Awaitable[None]]) -> Counter[str]:
    """Count the objects that several requests leave."""
    await die()
    await all_gone(serving)
    before = of_requests()
    await asyncio.gather(*(die() for _ in range(TIMES)))
    await all_gone(serving)
    return of_requests() - before


def reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("way", ["reset", "closed", "too slow"])
@pytest.mark.usefixtures("no_collector")
async def test_a_broken_off_request_leaves_no_objects(victim: Serving, death: str, way: str) -> None:
    async def die() -> None:
        async with raw(victim) as wire:
            await sent(victim, wire, DEATHS[death])
            if way == "reset":
                reset(wire)
            elif way == "too slow":
                while await asyncio.get_running_loop().sock_recv(wire, 4096):
                    pass

    assert await left_by(victim, die) == Counter()
    assert victim.server.in_flight.used_bytes == 0


REFUSED = {
    "framing that the parser refuses": CHUNKED + b"5\r\nhello\r\nZZ\r\n" + b"x" * LARGE,
    "a body larger than allowed": with_body(b"x" * LARGE, 2**30),
    "chunks larger than allowed": CHUNKED + b"%x\r\n" % 100_000 + b"x" * 100_000,
    "broken JSON": post(b"{" * LARGE, CLOSE),
    "no resource": with_body(b"x" * LARGE, LARGE, "/nowhere").replace(b"Host: h", b"Host: h\r\nConnection: close"),
    "an unknown field": post(b'{"type":"echo","x":"' + b"x" * LARGE + b'"}', CLOSE, "Prefer: wait=0"),
    "no HTTP": b"\x16\x03" + b"\0" * 8000 + b"\r\n\r\n",
    "a bad header": b"GET / HTTP/1.1\r\nHost: h\r\n" + b": x\r\n\r\n" + b"x" * LARGE,
    "an endless head": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: %b\r\n" % (n, b"x" * 9000) for n in range(8)),
    "a form without its first part": with_body(FILE_PART + b"x" * LARGE, 60_000, media_type=FORM),
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.usefixtures("no_collector")
async def test_a_rejected_request_leaves_no_objects(victim: Serving, refused: str) -> None:
    async def be_rejected() -> None:
        async with raw(victim) as wire:
            await sent(victim, wire, REFUSED[refused])
            with contextlib.suppress(ConnectionError):
                while await asyncio.get_running_loop().sock_recv(wire, 65536):
                    pass

    assert await left_by(victim, be_rejected) == Counter()
    assert victim.server.in_flight.used_bytes == 0


@pytest.mark.parametrize("way", ["reset", "closed", "too slow"])
@pytest.mark.usefixtures("no_collector")
async def test_an_unread_response_leaves_no_objects(start: Callable[..., Awaitable[Serving]], way: str) -> None:
    victim = await start(limits={"write_timeout_s": 0.2, "result_bytes": 2**23})
    handle = await victim.queue.submit("big", {"size": 6_000_000})
    await handle.wait()
    look = f"GET /v1/jobs?ids={handle.id} HTTP/1.1\r\nHost: h\r\n\r\n".encode()

    async def die() -> None:
        async with raw(victim, 4096) as wire:
            await sent(victim, wire, look)
            if way == "reset":
                reset(wire)
            elif way == "too slow":
                await all_gone(victim)

    assert await left_by(victim, die) == Counter()
    assert victim.server.in_flight.used_bytes == 0


@pytest.mark.usefixtures("no_collector")
async def test_a_cancelled_request_leaves_no_objects(start: Callable[..., Awaitable[Serving]]) -> None:
    victim = await start()

    async def die() -> None:
        async with raw(victim) as wire:
            await sent(victim, wire, DEATHS["json broken off"])
            for connection in victim.server.connections:
                task = connection._task_handler
                assert task is not None
                task.cancel()

    assert await left_by(victim, die) == Counter()
