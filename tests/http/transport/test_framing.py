"""Bounds of chunk framing, relative to the body, and of the heads of parts, for any split of the data."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.transport.framing import FREE_BYTES, PIECE_BYTES, may_be_chunked
from tests.http.serving import Answer, post, read_answer
from tests.http.transport.test_dead_requests import CHUNKED, FORM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

LAST = b"0\r\n\r\n"
ECHO = b'{"type":"echo"}'


def chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


REFUSED = {
    "one-byte chunks": chunks(ECHO.ljust(50_000), 1),
    "one-byte chunks, whole": chunks(ECHO.ljust(2_000), 1) + LAST,
    "one-byte chunks of a large body": b"1\r\n \r\n" * 1_000_000,
    "an extension of 10 kB": chunks(ECHO, 100, b";x=" + b"y" * 10_000) + LAST,
    "an extension without an end": b"f;x=" + b"y" * 100_000,
    "long extensions": chunks(ECHO.ljust(1000), 10, b";" + b"y" * 500) + LAST,
}


@pytest.mark.parametrize("body", REFUSED)
@pytest.mark.parametrize("size", [1000, 10_000, 10**7])
async def test_a_body_of_mostly_framing_is_rejected(serving: Serving, body: str, size: int) -> None:
    answer = Answer(await serving.talk(*pieces(CHUNKED + REFUSED[body], size)))
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert "framing" in answer.problem["detail"] or "chunk" in answer.problem["detail"]


TAKEN = {
    "one chunk": chunks(ECHO, 100),
    "a few one-byte chunks": chunks(ECHO, 1),
    "small chunks": chunks(ECHO.ljust(60_000), 7),
    "a short extension": chunks(ECHO, 100, b';x="y"'),
    "large chunks": chunks(ECHO.ljust(60_000), 20_000),
}


@pytest.mark.parametrize("body", TAKEN)
@pytest.mark.parametrize("size", [100, 10_000, 10**7])
async def test_chunks_with_moderate_framing_are_accepted(serving: Serving, body: str, size: int) -> None:
    async with serving.connect() as (reader, writer):
        for _ in range(2):
            for piece in pieces(CHUNKED + TAKEN[body] + LAST, size):
                writer.write(piece)
                await asyncio.sleep(0)
            assert (await read_answer(reader)).status == 202


async def test_requests_after_a_chunked_one_do_not_count_as_its_framing(serving: Serving) -> None:
    head = b"GET /v1/queues HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2 * FREE_BYTES
    async with serving.connect() as (reader, writer):
        writer.write(CHUNKED + chunks(ECHO, 1) + LAST + head)
        assert (await read_answer(reader)).status == 202
        writer.write(b"\r\n\r\n" + CHUNKED + chunks(ECHO, 1))
        assert (await read_answer(reader)).status == 200
        writer.write(LAST + head + b"\r\n\r\n")
        assert (await read_answer(reader)).status == 202
        assert (await read_answer(reader)).status == 200


async def test_many_chunks_in_one_large_piece_are_decoded_in_order(start: Callable[..., Awaitable[Serving]]) -> None:
    roomy = await start(limits={"body_bytes": 2**20})
    value = "".join(f"{number:07d}" for number in range(100_000))
    body = json.dumps({"type": "echo", "args": {"value": value}}).encode()
    request = CHUNKED + chunks(body, 9) + LAST
    assert len(request) > 20 * PIECE_BYTES
    async with roomy.connect() as (reader, writer):
        writer.write(request + post(ECHO) + request)
        for expected in (value, None, value):
            answer = await read_answer(reader)
            assert answer.status == 202
            job = await roomy.service.backend.wait(json.loads(answer.rest)["id"])
            assert json.loads(job.result or b"") == expected


async def test_other_clients_are_answered_while_many_small_chunks_arrive(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    roomy = await start(limits={"body_bytes": 2**22})
    request = CHUNKED + chunks(ECHO.ljust(2**21), 7) + LAST
    async with roomy.connect() as (reader, writer), roomy.connect() as (other, to_other):
        writer.write(request)
        taken = asyncio.ensure_future(read_answer(reader))
        looks = 0
        while not taken.done():
            to_other.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await read_answer(other)).status == 200
            looks += 1
        assert (await taken).status == 202
        assert looks > len(request) / 2**18


def form(head: bytes) -> bytes:
    job = b'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n'
    return post(job + b"--xyz\r\n" + head + b"\r\n\r\nx\r\n--xyz--\r\n", "Connection: close", media_type=FORM)


LONG_HEADS = {
    "a name of 60 kB": b'Content-Disposition: form-data; name="' + b"n" * 60_000 + b'"; filename="f"',
    "a name of 8 kB": b'Content-Disposition: form-data; name="' + b"n" * 8_192 + b'"; filename="f"',
    "headers of 100 kB": b'Content-Disposition: form-data; name="a"; filename="f"\r\n' + b"X: " + b"x" * 100_000,
}


@pytest.mark.parametrize("head", LONG_HEADS)
@pytest.mark.parametrize("size", [1000, 10_000, 10**7])
async def test_the_head_of_a_part_is_bounded_for_any_split(
    start: Callable[..., Awaitable[Serving]], head: str, size: int
) -> None:
    roomy = await start(limits={"body_bytes": 2**20})
    answer = Answer(await roomy.talk(*pieces(form(LONG_HEADS[head]), size)))
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert "headers of a part" in answer.problem["detail"]


@pytest.mark.parametrize("size", [b"-6", b"-5", b"-8", b"+0", b"0x-6", b"", b" ", b"_", b"f" * 5000, b"\xff"])
async def test_a_body_that_looks_like_a_head_and_chunks_does_not_block_the_loop(serving: Serving, size: bytes) -> None:
    # Parsed as a size, each of these would jump elsewhere, and -6 back to itself.
    body = b" HTTP/1.\r\n\r\n" + size + b"\r\nxxxxxxxx"
    next_one = b"GET /" + b"a" * 5000

    def stuck(*_: object) -> None:
        raise TimeoutError("the loop is blocked")

    before = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(20)
    try:
        answer = Answer(
            await serving.talk(
                CHUNKED + chunks(body, 10_000) + LAST + next_one, b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            )
        )
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert answer.status in (400, 422)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"POST / HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\n", True),
        (b"x" * 100_000 + b"\r\nTransfer-Encoding: cHunKed\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nchunked", False),
        (b"x" * 100_000, False),
    ],
)
def test_chunks_may_begin_only_after_a_head_that_names_them(data: bytes, found: bool) -> None:
    assert may_be_chunked(data) == found
