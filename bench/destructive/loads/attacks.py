"""Hostile clients, each bounded in time and connections, against loopback only.

`python -m bench.destructive.loads.attacks PORT SECONDS IDS NAME...` runs attacks side by side and prints a tally, with
how many requests each sent among its notes. IDS are those of jobs with large results (large_results.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import uvloop

from bench.destructive.loads.large_results import HOSTILE
from bench.destructive.tally import Tally

HOST = "127.0.0.1"
IP_BIND_ADDRESS_NO_PORT = 24
"""ip(7): the port is chosen with the connection, so that one in TIME_WAIT takes none. Python 3.11 lacks the name."""

FORM = "multipart/form-data; boundary=xyz"
JOB = b'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
CHUNKED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"\r\n--xyz--\r\n"


class Target(NamedTuple):
    """The server, the end of the attack, jobs with large results, and the figures so far."""

    port: int
    until: float
    large: tuple[str, ...]
    tally: Tally

    @property
    def going_on(self) -> bool:
        return time.monotonic() < self.until


def post(path: str, body: bytes, *, length: int | None = None, media_type: str = "application/json") -> bytes:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {media_type}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


class Cut(Exception):
    """A connection ended, by the server or at the end of the attack."""


@contextlib.asynccontextmanager
async def connected(target: Target, receive_bytes: int = 0) -> AsyncIterator[socket.socket]:
    """Connect a socket for the time of the block. Raises Cut when the connection breaks."""
    loop = asyncio.get_running_loop()
    with socket.socket() as wire:
        if receive_bytes:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        wire.setblocking(False)
        wire.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        wire.bind((HOSTILE, 0))
        try:
            async with asyncio.timeout(max(0.1, target.until - time.monotonic())):
                await loop.sock_connect(wire, (HOST, target.port))
                yield wire
        except (OSError, TimeoutError) as error:
            raise Cut from error


async def send(wire: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(wire, data)


async def take(target: Target, wire: socket.socket) -> None:
    """Read and count the start of a response, so that the next request follows it."""
    answer = await asyncio.get_running_loop().sock_recv(wire, 65536)
    if answer.startswith(b"HTTP/1.1 "):
        target.tally.note_answer(answer[9:12], answer)


def reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def repeated(target: Target, each: Callable[[], Awaitable[None]], *, at_once: int) -> int:
    """Run an action repeatedly in concurrent loops; return the number of runs."""
    count = 0

    async def one() -> None:
        nonlocal count
        while target.going_on:
            with contextlib.suppress(Cut):
                await each()
            count += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return count


async def answered(target: Target, request: bytes, *, at_once: int) -> int:
    """Repeatedly send a whole request and wait for its response."""

    async def each() -> None:
        async with connected(target) as wire:
            await send(wire, request)
            await take(target, wire)

    return await repeated(target, each, at_once=at_once)


async def broken(target: Target, request: bytes, *, at_once: int) -> int:
    """Send a part of a request and reset the connection."""

    async def each() -> None:
        async with connected(target) as wire:
            await send(wire, request)
            await asyncio.sleep(0.01)
            reset(wire)

    return await repeated(target, each, at_once=at_once)


async def stalled(target: Target, request: bytes, *, connections: int, receive_bytes: int = 0) -> int:
    """Send something over each of many connections, then neither send nor read."""
    count = 0

    async def each() -> None:
        nonlocal count
        while target.going_on:
            count += 1
            with contextlib.suppress(Cut):
                async with connected(target, receive_bytes) as wire:
                    await send(wire, request)
                    # Nothing reads this socket, so no event tells of its reset.
                    while not wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # noqa: ASYNC110
                        await asyncio.sleep(0.25)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(each() for _ in range(connections)))
    return count


async def poisoned_batches(target: Target) -> int:
    item = {"type": "sleep", "args": {"min_s": 30}, "timeout_s": 0.001}
    return await answered(target, post("/v1/jobs:batch", json.dumps({"jobs": [item] * 560}).encode()), at_once=1)


async def uploads_reset(target: Target) -> int:
    part = post("/v1/jobs", JOB + FILE + b"x" * 250_000, length=10**6, media_type=FORM)
    return await broken(target, part, at_once=32)


async def bodies_reset(target: Target) -> int:
    return await broken(target, post("/v1/jobs", b'{"type":"' + b"x" * 900_000, length=10**6), at_once=32)


async def many_faults(target: Target) -> int:
    body = b'{"type":"sleep","args":{' + b",".join(b'"%d":0' % number for number in range(110_000)) + b"}}"
    return await answered(target, post("/v1/jobs", body[:1_000_000].rpartition(b",")[0] + b"}}"), at_once=8)


async def many_faults_in_batches(target: Target) -> int:
    args = {f"a{number}": 0 for number in range(110)}
    body = json.dumps({"jobs": [{"type": "sleep", "args": args}] * 1000}, separators=(",", ":")).encode()
    return await answered(target, post("/v1/jobs:batch", body), at_once=8)


async def a_long_name(target: Target) -> int:
    return await answered(target, post("/v1/jobs", b'{"type":"sleep","%b":0}' % (b"n" * 1_000_000)), at_once=8)


async def many_brackets(target: Target) -> int:
    job = b'{"type":"echo","args":{"a":[' + b",".join([b"[]"] * 300) + b"]}}"
    return await answered(target, post("/v1/jobs:batch", b'{"jobs":[' + b",".join([job] * 900) + b"]}"), at_once=16)


async def results_unread(target: Target) -> int:
    return await stalled(target, get("/v1/jobs?ids=" + ",".join(target.large)), connections=200, receive_bytes=4096)


async def result_unread(target: Target) -> int:
    return await stalled(target, get(f"/v1/jobs/{target.large[0]}"), connections=200, receive_bytes=4096)


async def lists_unread(target: Target) -> int:
    return await stalled(target, get("/v1/jobs?limit=100"), connections=200, receive_bytes=4096)


async def one_id_often(target: Target) -> int:
    return await answered(target, get("/v1/jobs?ids=" + ",".join([target.large[0]] * 100)), at_once=8)


async def long_part_names(target: Target) -> int:
    parts = b"".join(FILE.replace(b'"f"', b'"%d%b"' % (number, b"n" * 60_000), 1) + b"x\r\n" for number in range(16))
    return await answered(target, post("/v1/jobs", JOB + parts + END[2:], media_type=FORM), at_once=8)


async def names_within_the_limit(target: Target) -> int:
    parts = b"".join(FILE.replace(b'"f"', b'"%d%b"' % (number, b"n" * 8000), 1) + b"x\r\n" for number in range(16))
    return await answered(target, post("/v1/jobs", JOB + parts + END[2:], media_type=FORM), at_once=8)


async def kept_long(target: Target) -> int:
    job = json.dumps({"type": "echo", "ttl_s": 86_400, "args": {"a": "x" * 9_000}}).encode()
    return await answered(target, post("/v1/jobs:batch", b'{"jobs":[' + b",".join([job] * 100) + b"]}"), at_once=4)


async def uploads_stalled(target: Target) -> int:
    part = post("/v1/jobs", JOB + FILE + b"x" * 255_000, length=10**6, media_type=FORM)
    return await stalled(target, part, connections=1200)


async def bodies_stalled(target: Target) -> int:
    return await stalled(target, post("/v1/jobs", b" " * 255_000, length=10**6), connections=1200)


async def one_byte_chunks(target: Target) -> int:
    return await answered(target, CHUNKED + b"1\r\n \r\n" * 2_500_000, at_once=8)


async def small_chunks(target: Target) -> int:
    return await answered(target, CHUNKED + b"7\r\n       \r\n" * 140_000, at_once=8)


async def heads_queued(target: Target) -> int:
    wait = post("/v1/jobs", b'{"type":"sleep","args":{"min_s":20}}').replace(
        b"\r\n\r\n", b"\r\nPrefer: wait=20\r\n\r\n"
    )
    heads = b"".join(b"GET /v1/queues HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 15_000) for _ in range(30))
    return await stalled(target, wait + heads, connections=300)


async def heads_unfinished(target: Target) -> int:
    head = get("/livez")[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 15_000) for number in range(4))
    return await stalled(target, head, connections=1200)


async def streams_unread(target: Target) -> int:
    return await stalled(target, get("/v1/events"), connections=250, receive_bytes=4096)


Attack = Callable[[Target], Awaitable[int]]

ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (
        *(poisoned_batches, uploads_reset, bodies_reset, many_faults, many_faults_in_batches, a_long_name),
        *(many_brackets, results_unread, result_unread, lists_unread, one_id_often, long_part_names),
        *(names_within_the_limit, kept_long, uploads_stalled, bodies_stalled, one_byte_chunks, small_chunks),
        *(heads_queued, heads_unfinished, streams_unread),
    )
}


KINDS: dict[str, tuple[str, ...]] = {
    "requests broken off": ("uploads_reset", "bodies_reset"),
    "faults without end": ("many_faults", "many_faults_in_batches", "a_long_name", "many_brackets"),
    "answers not read": ("results_unread", "result_unread", "lists_unread"),
    "one id many times": ("one_id_often",),
    "long names of parts": ("long_part_names", "names_within_the_limit"),
    "records kept for a day": ("kept_long",),
    "requests that stall": ("uploads_stalled", "bodies_stalled", "heads_unfinished"),
    "tiny chunks": ("one_byte_chunks", "small_chunks"),
    "jobs that fail a type": ("poisoned_batches",),
    "heads queued": ("heads_queued",),
    "event streams not read": ("streams_unread",),
}
"""The attacks by kind, each kind to be tried alone."""


async def main(port: int, seconds: float, large: tuple[str, ...], names: list[str]) -> None:
    target = Target(port, time.monotonic() + seconds, large, Tally())
    counts = await asyncio.gather(*(ATTACKS[name](target) for name in names))
    target.tally.requests = sum(counts)
    target.tally.notes = {name: float(count) for name, count in zip(names, counts, strict=True)}
    target.tally.print()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), tuple(sys.argv[3].split(",")), sys.argv[4:]))
