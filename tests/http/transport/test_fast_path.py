"""The fast path against the stock path: the same streams give the same bytes and the same state.

Two servers run side by side, one with the fast path, one without. A stream names jobs by placeholders, which stand
for the same jobs on both, since both issue the same ids. Dates, ports, and what is measured (estimates, and the times
made from them), are taken out before the bytes are compared.

No answer depends on the machine's speed: time is held while the servers still have something to do, and goes on, for
both at once, when all is quiet. Connections are socket pairs, over which bytes arrive when they are sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.request.head import UNIQUE_BYTES_MAX
from jobqueue.http.request.origins import OriginPolicy
from jobqueue.http.response.reply import RESULT_BYTES_MAX
from jobqueue.http.transport import aiohttp_compat
from jobqueue.http.transport import fast_path as fast_path_module
from jobqueue.http.transport.fast_path import FastPath
from jobqueue.http.transport.head_cache import HeadCache
from jobqueue.surroundings import Surroundings
from jobqueue.wiring import system
from tests.http.held_time import HeldTime
from tests.http.serving import Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from jobqueue.config import Settings
    from tests.http.serving import Serving

ON_EACH_BACKEND = True

SETTINGS: dict[str, dict[str, object]] = {
    "limits": {
        "body_bytes": 2048,
        "header_bytes": 1024,
        "idle_timeout_s": 0.3,
        "body_timeout_s": 0.3,
        "long_poll_max_s": 0.06,
    },
    "queues": {"default": {"capacity": 100_000, "workers": 4}},
    "statuses": {"ttl_s": 10 * 86_400.0, "failed_ttl_s": 10 * 86_400.0},
}
"""Waits and idle times are short, all else long: no job becomes due, and no record goes, in thousands of streams."""
LATER = b'{"type":"echo","delay_s":864000}'
CUT = b"{CUT}"
QUIET_TURNS = 60
"""Loop iterations without a byte after which both servers wait for time only: more than any job and answer take."""
CLOSED_S = 60.0
"""Time within which a server closes every connection."""

END = b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

_MEASURED = re.compile(
    rb'(?m)^(?:Date|Retry-After|Content-Length): [^\r]*\r\n|^ETag: (?:W/)?"[^"\r]{6,}"\r\n'
    rb'|"(?:position|eta_s|poll_after_ms|retry_after_s)":[^,}]*|"\w+_at":"[^"]*"'
    rb"|(?<=127\.0\.0\.1):\d+|(?<=localhost):\d+"
)


class Pair:
    """Both servers, and the ids of their jobs by placeholder, which are equal.

    Attributes:
        first: The first difference: later ones, of a search for a shorter stream, may follow from it.
    """

    def __init__(self, fast: Serving, stock: Serving, time: HeldTime) -> None:
        self.both = (fast, stock)
        self.time = time
        self.jobs: dict[bytes, bytes] = {}
        self.first = ""

    async def prepare(self) -> None:
        for serving in self.both:
            done = await serving.queue.submit("echo", {"value": "x"})
            await done.wait()
            failed = await serving.queue.submit("fail")
            await failed.wait()
            deleted = await serving.queue.submit("echo")
            await deleted.wait()
            await serving.service.backend.delete(deleted.id)
            live = await serving.queue.submit("echo", delay_s=864000)
            held = await serving.queue.submit("hold", {"note": "n"})
            named = {b"{DONE}": done, b"{FAILED}": failed, b"{GONE}": deleted, b"{LIVE}": live, b"{HELD}": held}
            jobs = {name: handle.id.encode() for name, handle in named.items()}
            assert self.jobs in ({}, jobs), "both issue the same ids"
            self.jobs = jobs

    async def same(self, stream: bytes, splits: tuple[int, ...] = (), *, turns: int = 3) -> bytes:
        """Send a stream to both, split at the same positions; return the response of both.

        Args:
            splits: Positions of splits, beside each CUT.
            turns: Loop iterations after each piece; from about thirty on, it is answered before the next piece.
        """
        for name, job_id in self.jobs.items():
            stream = stream.replace(name, job_id)
        *pieces, _ = stream.split(CUT)
        splits = (*splits, *accumulate(len(piece) for piece in pieces))
        stream = stream.replace(CUT, b"")
        before = [self.counts(serving) for serving in self.both]
        clients = [await connect(serving) for serving in self.both]
        await asyncio.gather(*(send(client, stream, splits, turns) for client in clients))
        sent = f"sent {stream!r} cut at {splits}"
        try:
            await self._end(clients, sent + self.first)
            changed = [
                {name: count - earlier[name] for name, count in self.counts(serving).items()}
                for serving, earlier in zip(self.both, before, strict=True)
            ]
            fast, stock = (_MEASURED.sub(b"", client.received) for client in clients)
            assert fast == stock, sent + self.first
            assert changed[0] == changed[1], sent + self.first
            assert clients[0].ended_at == clients[1].ended_at, sent + self.first
        except AssertionError:
            received = [bytes(client.received) for client in clients]
            self.first = self.first or f"; the first difference: {sent}, received {received}"
            self._level()
            raise
        finally:
            for client in clients:
                client.transport.abort()
        return bytes(clients[0].received)

    async def _end(self, clients: list[Client], sent: str) -> None:
        """Let time go on until the connections of both are closed."""
        closed_by = self.time.now + CLOSED_S
        while not all(client.ended.is_set() for client in clients):
            received = [len(client.received) for client in clients]
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)
                if all(client.ended.is_set() for client in clients):
                    return
            if received == [len(client.received) for client in clients]:
                assert self.time.advance(closed_by), f"not closed: {sent}"

    def _level(self) -> None:
        """Let both issue the same ids again, after one has accepted more."""
        issuers = [cast("Any", serving.service.backend)._engine._ids for serving in self.both]
        for one, other in (issuers, issuers[::-1]):
            while (one._block, -len(one._to_come)) < (other._block, -len(other._to_come)):
                one.issue()

    def counts(self, serving: Serving) -> dict[str, int]:
        statuses, (queue,) = serving.service.backend.stats()
        counts = ("submitted_total", "refused_total", "cancelled_total", "retried_total", "delayed")
        return {name: getattr(queue, name) for name in counts} | {
            "accepted": statuses.accepted_total,
            "evicted": statuses.evicted_total,
        }


def forget(fast: Serving) -> None:
    """Clear the head cache of the server with the fast path."""
    assert fast.server.fast_path is not None
    fast.server.fast_path._head_cache = HeadCache()


class Client(asyncio.Protocol):
    """Collects all received data until the connection ends.

    Attributes:
        transport: Its side of the connection.
        far: The server's side, of a socket pair.
    """

    transport: asyncio.Transport
    far: asyncio.BaseTransport

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = asyncio.Event()
        self.ended_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.ended_at = asyncio.get_running_loop().time()


async def connect(serving: Serving) -> Client:
    """Connect by a socket pair: what is written has arrived, whereas TCP has its own delays, even on loopback."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    far_transport, _ = await loop.connect_accepted_socket(serving.server, far)
    _, client = await loop.create_unix_connection(Client, sock=near)
    client.far = far_transport
    return client


async def send(client: Client, stream: bytes, splits: tuple[int, ...], turns: int) -> None:
    """Send a stream in separate pieces."""
    start = 0
    for end in (*sorted(set(splits)), len(stream)):
        if not client.transport.is_closing():
            client.transport.write(stream[start:end])
        start = end
        for _ in range(turns):
            await asyncio.sleep(0)


def same_ids(settings: Settings) -> Surroundings:
    return replace(system(settings), ids=IdIssuer(secret=b"x" * 32, run=RUNS[1]))


@pytest.fixture
async def held(start: Callable[..., Awaitable[Serving]], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HeldTime]:
    """Hold the loop's time until the end of the test, before the servers stop."""
    with monkeypatch.context() as patch:
        yield HeldTime(patch)


@pytest.fixture
async def pair(start: Callable[..., Awaitable[Serving]], held: HeldTime) -> Pair:
    origins = ["http://listed"]
    pair = Pair(
        await start(same_ids, **SETTINGS, server={"origins": origins}),
        await start(same_ids, **SETTINGS, server={"origins": origins, "fast_path": False}, spool={"dir": None}),
        held,
    )
    await pair.prepare()
    return pair


def head(method: str, target: str, *lines: str, version: str = "1.1") -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {target} HTTP/{version}\r\nHost: h\r\n{more}\r\n".encode("utf-8", "surrogateescape")


def under(host: str, request: bytes) -> bytes:
    return request.replace(b"Host: h\r\n", f"Host: {host}\r\n".encode())


FOREIGN = (
    *("Origin: http://evil", "Origin: null", "Origin: http://h", "Origin: http://listed", "Origin:", "Origin: \udcff"),
    *(f"Sec-Fetch-Site: {site}" for site in ("cross-site", "same-site", "same-origin", "none", "nonsense")),
)
FOLLOWED_LINK = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
HOSTS = (
    "evil",
    "H",
    "h.",
    "h:1",
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.2",
    "[::1]",
    "",
    "h@evil",
    "[",
    "h,h",
)

JOBS = ("{DONE}", "{FAILED}", "{GONE}", "{LIVE}", "{HELD}", "0" * 22, "nope")
WAITS = [
    head(method, f"/v1/jobs/{job}", "Prefer: wait=1", *more)
    for method in ("HEAD", "GET")
    for job in JOBS
    for more in ((), ('If-None-Match: W/"1"',))
]
LISTS = [
    head(method, f"/v1/jobs?ids={ids}", "Prefer: wait=1", *more)
    for method in ("HEAD", "GET")
    for ids in ("{LIVE}", "{HELD},{DONE},{HELD},{GONE},nope", "{DONE},{FAILED}")
    for more in ((), ('If-None-Match: W/"1"',), ("If-None-Match: x",))
]
SHORT = b'{"type":"echo","args":{"value":"v"}}'
LOOKS = [head(method, f"/v1/jobs/{job}") for method in ("HEAD", "GET") for job in JOBS]
BODIES = [
    LATER,
    b'{"type":"nope"}',
    b'{"type":"echo","priority":10}',
    b'{"type":"echo","delay_s":864000,"unique":"u"}',
    b'{"type":"echo","delay_s":864000,"unique":{"value":"u","mode":"reject"}}',
    b'{"type":"echo","delay_s":-1}',
    b'{"type":"echo","delay_s":5,"run_at":"2030-01-01T00:00:00Z"}',
    b'{"type":"echo","queue":"nowhere"}',
    b"{",
    b"",
    b"[]",
    b'{"type":"echo","args":{"value":"\xff"}}',
    b'{"type":"echo","type":"echo","delay_s":864000}',
    b" " * 3000,
    b'{"type":"echo","delay_s":864000,"args":{"value":"' + b"x" * 1900 + b'"}}',
]
MALFORMED_KEYS = (("",), ('"',), ("k", "k"), ("k" * 256,), ("\udcff",), ("k\x7f",), ('"k" x',))
KEYS = ('"a"', "a", "b", r'"\\"', '"', "c" * 255, "c" * 256)
CORPUS = [
    *LOOKS,
    *WAITS,
    *LISTS,
    *(
        head("GET", f"/v1/jobs?{query}", "Prefer: wait=1")
        for query in ("ids=", "ids=,", "ids={LIVE}&x=1", "ids=%30", "ids=a+b", "ids=a, b", "ids={LIVE}#x", "limit=1")
    ),
    head("GET", "/v1/jobs?ids=" + ",".join(f"x{number}" for number in range(101)), "Prefer: wait=1"),
    head("GET", "/v1/jobs?ids={LIVE}", "Prefer: wait=0"),
    head("GET", "/v1/jobs?ids={LIVE}", "Prefer: wait"),
    head("GET", "/v1/jobs?ids={LIVE}"),
    *(head("GET", "/v1/jobs?ids={LIVE}", "Prefer: wait=1", line) for line in (*FOREIGN, "Expect: x", "A: b")),
    *(post(body) for body in BODIES),
    *(post(body, "Prefer: wait=1") for body in (*BODIES, SHORT, b'{"type":"fail"}')),
    post(SHORT, "Prefer: wait=1", 'If-None-Match: W/"2"'),
    post(SHORT, "Prefer: wait=1", "Idempotency-Key: k2"),
    post(SHORT, "Prefer: wait=1", "Connection: close"),
    *(post(SHORT, f"Prefer: {value}") for value in ("wait=0", "wait", "wait=x", "respond-async, WAIT=1;x")),
    *(head("GET", "/v1/jobs/{LIVE}", f"Prefer: {value}") for value in ("wait=0", "wait", "wait=x", "wait=1 , wait=0")),
    head("GET", "/v1/jobs/{LIVE}", "Prefer: wait=1", "User-Agent: " + "x" * 600),
    *(post(LATER, line) for line in ("Prefer: wait=0", "Idempotency-Key: k", "Expect: 100-continue")),
    *(post(body, 'Idempotency-Key: "k3"') for body in (*BODIES, SHORT)),
    *(post(body, 'idempotency-key:"k4"', "Prefer: wait=1") for body in (SHORT, LATER, b'{"type":"fail"}', b"{")),
    *(post(LATER, *(f"Idempotency-Key: {key}" for key in keys)) for keys in MALFORMED_KEYS),
    post(LATER, "IDEMPOTENCY-KEY: k5"),
    post(LATER, "Idempotency-Key: k6", "User-Agent: " + "x" * 600),
    head("GET", "/v1/jobs/{DONE}", "Idempotency-Key: k"),
    *(post(LATER, line) for line in ("Content-Encoding: gzip", "Transfer-Encoding: identity", "Expect: nonsense")),
    *(post(LATER, line) for line in ("Content-Type: text/plain", "Upgrade: h2c")),
    post(LATER, media_type="application/json; charset=utf-8"),
    post(LATER, media_type="text/plain"),
    b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(LATER), LATER),
    b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\r\n",
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: W/"2"'),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: "nope"'),
    head("HEAD", "/v1/jobs/{DONE}", 'If-None-Match: W/"2"'),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: "2"', "User-Agent: x"),
    head("GET", "/v1/jobs/{LIVE}", 'If-None-Match: W/"0"'),
    head("HEAD", "/v1/jobs/{LIVE}", 'If-None-Match: W/"00"'),
    head("GET", "/v1/jobs/{GONE}", 'If-None-Match: W/"2"'),
    head("GET", "/v1/jobs/{DONE}", "If-None-Match: *"),
    head("GET", "/v1/jobs/{DONE}", "If-None-Match:"),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: ""'),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: w/"2"'),
    head("GET", "/v1/jobs/{DONE}", "If-None-Match: 2"),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: "x", W/"2"'),
    head("GET", "/v1/jobs/{DONE}", 'If-None-Match: "x"', 'If-None-Match: "2"'),
    head("GET", "/v1/jobs/{DONE}", "Authorization: Bearer x"),
    head("GET", "/v1/jobs/{LIVE}", "Prefer: wait=0"),
    head("GET", "/v1/jobs/{DONE}", "Expect: 100-continue"),
    head("GET", "/v1/jobs/{DONE}", "Content-Length: 2") + b"{}",
    head("GET", "/v1/jobs/{DONE}", "Content-Length: 0"),
    head("GET", "/v1/jobs/{DONE}", "Upgrade: websocket", "Connection: Upgrade"),
    head("GET", "/v1/jobs/{DONE}?x=1"),
    head("GET", "/v1/jobs/{DONE}#x"),
    head("GET", "http://h/v1/jobs/{DONE}"),
    head("GET", "//v1/jobs/{DONE}"),
    head("GET", "/v1/jobs/{DONE}/"),
    head("GET", "/v1/jobs/%30%30%30%30%30%30%300"),
    head("GET", "/v1/jobs/" + "\u00e4" * 11),
    head("GET", "/v1/jobs/" + "." * 22),
    head("GET", "/v1/jobs/{DONE}", version="1.0"),
    head("GET", "/v1/jobs/{DONE}", "Connection: keep-alive", version="1.0"),
    head("GET", "/v1/jobs/{DONE}", "Connection: close"),
    head("DELETE", "/v1/jobs/{GONE}"),
    head("POST", "/v1/jobs/{DONE}:cancel"),
    head("OPTIONS", "/v1/jobs"),
    head("PUT", "/v1/jobs/{DONE}"),
    head("GET", "/v1/jobs/{DONE}", "X: " + "x" * 2000),
    head("GET", "/v1/jobs/{DONE}", "Bad Header: x"),
    *(head("GET", "/v1/jobs/{DONE}", line) for line in FOREIGN),
    *(head("HEAD", "/v1/jobs/{LIVE}", line) for line in FOREIGN),
    *(post(LATER, line) for line in FOREIGN),
    *(under(host, request) for host in HOSTS for request in (head("GET", "/v1/jobs/{DONE}"), post(LATER))),
    head("GET", "/v1/jobs/{DONE}", *FOLLOWED_LINK),
    head("OPTIONS", "/v1/jobs", "Origin: http://listed", "Access-Control-Request-Method: POST"),
    head("OPTIONS", "/v1/jobs", "Origin: http://evil", "Access-Control-Request-Method: POST"),
    head("GET", "http://evil/v1/jobs/{DONE}"),
    b"GET /v1/jobs/{DONE} HTTP/1.1\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\r\n\r\n",
]  # fmt: skip
CORPUS_PARTS = 25
"""Neighbours, whose heads may be the same, are in different ones: each has servers of its own, with empty caches."""


@pytest.mark.parametrize("first", range(CORPUS_PARTS))
async def test_both_paths_answer_a_request_alike_before_and_after_its_head_is_cached(pair: Pair, first: int) -> None:
    for request in CORPUS[first::CORPUS_PARTS]:
        for _ in range(3):
            raw = await pair.same(request + CUT + END, turns=30)
            assert raw.startswith(b"HTTP/1.")


async def test_both_paths_answer_alike_without_listed_origins(
    start: Callable[..., Awaitable[Serving]], held: HeldTime
) -> None:
    pair = Pair(
        await start(same_ids, **SETTINGS),
        await start(same_ids, **SETTINGS, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    await pair.prepare()
    for request in (*LOOKS, post(LATER), post(b"{"), *(post(LATER, line) for line in FOREIGN)):
        for _ in range(2):
            raw = await pair.same(request + CUT + END, turns=30)
            assert b"Vary" not in raw


async def test_both_paths_answer_a_stream_alike_for_any_split(pair: Pair) -> None:
    stream = head("HEAD", "/v1/jobs/{DONE}") + post(LATER) + head("GET", "/v1/jobs/{FAILED}") + END
    for cut in range(1, len(stream), 3):
        await pair.same(stream, (cut,))


async def test_both_paths_answer_a_cached_request_alike_after_any_data(pair: Pair) -> None:
    cached = (head("HEAD", "/v1/jobs/{DONE}"), head("GET", "/v1/jobs/{LIVE}", 'If-None-Match: W/"0"'), post(LATER))
    for request in cached:
        await pair.same(request + CUT + END)
    for before in (
        b"",
        b"\r\n",
        b"\r",
        b"GET /x HTTP/1.1\r\nHost: h\r\nX-Y: ",
        b"GET /v1/jobs/{DONE} HTTP/1.1\r\nHost: h\r\n",
        b"GET /v1/jobs/{DONE} HTTP/1.1\r\nHost: h\r\n\r",
        head("GET", "/v1/jobs/{DONE}", "Content-Length: 60"),
        head("GET", "/v1/queues/nope"),
        head("GET", "/v1/queues/nope") + b"GET /x HTTP/1.1\r\nHost: h\r\nX-Y: ",
        head("GET", "/v1/queues/nope", "Content-Length: 9") + b"GET /v1/j",
        post(LATER, media_type="text/plain") + b"POST /v1/jobs HTTP/1.1\r\nX-Y: ",
        head("GET", "/v1/jobs/{HELD}", "Prefer: wait=1"),
        head("HEAD", "/v1/jobs/{FAILED}") + b"HEAD /v1",
        post(b"x" * 10)[:-1],
        # The end of the head is split, and the body looks like one, so no request begins after it.
        post(b"\r\n\r\n{}").replace(b"\r\n\r\n\r\n\r\n{}", b"\r\n\r" + CUT + b"\n\r\n\r\n{}") + b"GET ",
    ):
        for request in cached:
            await pair.same(before + CUT + request + CUT + END, turns=30)
            await pair.same(before + CUT + request + END, turns=30)


async def test_pipelined_requests_are_answered_in_order(pair: Pair) -> None:
    slow = head("GET", "/v1/jobs/{HELD}", "Prefer: wait=1")
    stream = head("GET", "/v1/jobs/{DONE}") + slow + head("HEAD", "/v1/jobs/{FAILED}") + post(LATER) + END
    raw = await pair.same(stream)
    codes = re.findall(rb"HTTP/1.1 (\d{3})", raw)
    assert codes == [b"200", b"202", b"200", b"202", b"200"]


async def test_more_pipelined_requests_than_the_limit_of_the_parser_are_answered_in_order(pair: Pair) -> None:
    stream = b"".join(head("HEAD", f"/v1/jobs/{job}") for job in ("{DONE}", "{LIVE}", "{GONE}")) * 200 + END
    raw = await pair.same(stream)
    codes = re.findall(rb"HTTP/1.1 (\d{3})", raw)
    assert codes == [b"200", b"202", b"410"] * 200 + [b"200"]


@pytest.mark.parametrize("cut", [0, 30])
async def test_a_connection_carries_any_number_of_plain_requests(serving: Serving, cut: int) -> None:
    request = head("HEAD", "/v1/jobs/" + "0" * 22)
    async with serving.connect() as (reader, writer):
        for _ in range(5 * 16 * 1024 * 4 // len(request)):  # five times the maximum size of a head
            writer.write(request[:cut])
            if cut:
                await asyncio.sleep(0)  # separates the pieces
            writer.write(request[cut:])
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")


PIECES = st.one_of(
    st.sampled_from(CORPUS),
    st.sampled_from([*WAITS, *LISTS, *[post(SHORT, "Prefer: wait=1")] * 4, *[post(LATER, "Prefer: wait=1")] * 2]),
    st.builds(
        head,
        st.sampled_from(["GET", "HEAD", "POST", "get", "DELETE"]),
        st.sampled_from([f"/v1/jobs/{job}" for job in JOBS] + ["/v1/jobs", "/v1/queues/nope", "/", "*"]),
        st.sampled_from(["Accept: */*", "Prefer: wait=0", "Connection: close", "Content-Length: 0"]),
        st.sampled_from(
            ["User-Agent: x", "Expect: 100-continue", "If-None-Match: *", 'If-None-Match: W/"2"', *FOREIGN[:4]]
        ),
        version=st.sampled_from(["1.1", "1.1", "1.1", "1.0", "2.0"]),
    ),
    st.builds(post, st.sampled_from(BODIES), st.sampled_from(["A: b", "Idempotency-Key: q", "Prefer: wait=0, x"])),
    st.binary(max_size=30),
)  # fmt: skip

# Few keys, so that most are repeated, with the same body or another one.
REPEATED = st.builds(
    lambda body, key, lines: post(body, f"Idempotency-Key: {key}", *lines),
    st.sampled_from([*BODIES, SHORT, SHORT, b'{"type":"fail"}', b'{"type":"echo","args":{"value":"w"}}']),
    st.sampled_from(KEYS),
    st.sampled_from([(), (), ("Prefer: wait=1",), ("Prefer: wait=0",), ("A: b",), ('If-None-Match: W/"2"',)]),
)


SUBMISSIONS = st.one_of(
    st.sampled_from([*BODIES, *(body.replace(b"unique", b"\\u0075nique") for body in BODIES)]).map(post),
    st.builds(
        post,
        st.sampled_from(BODIES),
        st.sampled_from(["A: b", "Idempotency-Key: k", "Idempotency-Key: new", "Prefer: wait=0", *FOREIGN[:4]]),
        media_type=st.sampled_from(["application/json", "application/json; charset=utf-8", "text/plain"]),
    ),
)


@st.composite
def streams(draw: st.DrawFn, pieces: st.SearchStrategy[bytes]) -> tuple[bytes, tuple[int, ...]]:
    # Split between requests or not: only a request that arrives alone is taken from the head cache.
    stream = draw(st.sampled_from([b"", CUT])).join(draw(st.lists(pieces, min_size=1, max_size=4)))
    if draw(st.integers(0, 4)) == 0 and stream:  # corrupt it
        at = draw(st.integers(0, len(stream) - 1))
        stream = stream[:at] + draw(st.binary(max_size=3)) + stream[at + draw(st.integers(0, 2)) :]
    stream += draw(st.sampled_from([b"", CUT])) + END
    return stream, tuple(draw(st.lists(st.integers(1, len(stream)), max_size=3)))


async def agree_on(pair: Pair, examples: int, pieces: st.SearchStrategy[bytes] = PIECES) -> None:
    """Send generated streams to both, twice; hypothesis needs a plain function, so it runs in a thread."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(streams(pieces))
    @example((post(LATER) + END, ()))
    def run(drawn: tuple[bytes, tuple[int, ...]]) -> None:
        asyncio.run_coroutine_threadsafe(cold_and_warm(*drawn), loop).result(300)

    async def cold_and_warm(stream: bytes, splits: tuple[int, ...]) -> None:
        forget(pair.both[0])
        await pair.same(stream, splits, turns=30)
        await pair.same(stream, splits, turns=30)

    with ThreadPoolExecutor(1) as executor:
        await loop.run_in_executor(executor, run)


async def test_both_paths_answer_generated_streams_alike(pair: Pair) -> None:
    await agree_on(pair, 500)


async def test_both_paths_answer_generated_streams_of_repeated_keys_alike(pair: Pair) -> None:
    await agree_on(pair, 150, st.one_of(REPEATED, REPEATED, st.sampled_from(LOOKS)))


async def test_both_paths_answer_a_repeated_key_alike(pair: Pair) -> None:
    """As the same job: while it is live, when it has ended, and with another body."""
    for _ in range(2):
        stream = [
            post(LATER, "Idempotency-Key: a"),
            post(LATER, 'Idempotency-Key: "a"'),
            post(SHORT, "Idempotency-Key: a"),
        ]
        ended = [post(SHORT, "Idempotency-Key: e", "Prefer: wait=1"), post(SHORT, "Idempotency-Key: e")]
        raw = await pair.same(CUT.join([*stream, *ended, END]), turns=30)
        assert re.findall(rb"HTTP/1.1 (\d{3})", raw)[1:] == [b"202", b"422", b"200", b"200", b"200"]
        assert raw.count(b"Job-Deduplicated: true") in (2, 4)  # in the second round, the first submissions repeat, too


@pytest.mark.parametrize(
    "limits", [{}, {"caller_rate": {"count": 7, "period_s": 3600.0}}], ids=["unlimited", "limited"]
)
async def test_both_paths_answer_a_repeated_key_with_a_long_result_alike(
    start: Callable[..., Awaitable[Serving]], held: HeldTime, limits: dict[str, object]
) -> None:
    settings: dict[str, dict[str, object]] = {"limits": {"result_bytes": 2**20, **limits}}
    pair = Pair(
        await start(same_ids, **settings),
        await start(same_ids, **settings, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    for size in (SMALL_BYTES // 2, SMALL_BYTES + 1000, RESULT_BYTES_MAX + 1000):
        long = post(b'{"type":"big","args":{"size":%d}}' % size, f"Idempotency-Key: {size}")
        await pair.same(long + CUT + END, turns=QUIET_TURNS)
        raw = await pair.same(long + CUT + END, turns=QUIET_TURNS)
        assert raw.count(b"Job-Deduplicated: true") == 1
        assert b"x" * size in raw
    raw = await pair.same((long + CUT) * 2 + END, turns=QUIET_TURNS)
    assert re.findall(rb"HTTP/1.1 (\d{3})", raw) == [b"200", b"429" if limits else b"200", b"200"]


async def test_both_paths_answer_generated_submissions_alike_while_no_job_is_admitted(pair: Pair) -> None:
    assert b" 202 " in await pair.same(post(LATER, "Idempotency-Key: k") + END)
    for serving in pair.both:
        await serving.queue.submit("echo", delay_s=864000, unique="u")
        await serving.queue.change("default", capacity=1)
    unique = post(b'{"type":"echo","delay_s":864000,"unique":"u"}')
    raw = await pair.same(post(LATER) + unique + post(LATER, "Idempotency-Key: k") + END)
    assert re.findall(rb"HTTP/1.1 (\d{3})", raw) == [b"503", b"202", b"202", b"200"], "jobs that are held are told"
    await agree_on(pair, 200, SUBMISSIONS)
    for serving in pair.both:
        serving.service.stop_admitting()
    await agree_on(pair, 50, SUBMISSIONS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_both_paths_answer_ten_thousand_generated_streams_alike(pair: Pair) -> None:
    await agree_on(pair, 10_000)


# -- requests of the fast path, and when it is off


async def test_the_fast_path_parses_plain_requests_once_and_then_uses_the_head_cache(
    start: Callable[..., Awaitable[Serving]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    recall, answer = FastPath.recall, FastPath.answer

    def recalling(self: FastPath, data: bytes, client: Any, now: float) -> bytes | None:
        raw = recall(self, data, client, now)
        if raw is not None:
            asked.append("matched")
        return raw

    def answering(self: FastPath, message: Any, payload: Any, client: Any, now: float) -> bytes | None:
        raw = answer(self, message, payload, client, now)
        asked.append("stock" if raw is None else "parsed")
        return raw

    monkeypatch.setattr(FastPath, "recall", recalling)
    monkeypatch.setattr(FastPath, "answer", answering)
    serving = await start()
    first, second = [(await serving.queue.submit("echo")).id for _ in range(2)]
    async with serving.connect() as (reader, writer):
        for request in (
            head("HEAD", f"/v1/jobs/{first}"),
            head("HEAD", f"/v1/jobs/{second}"),
            head("GET", f"/v1/jobs/{first}"),
            head("GET", f"/v1/jobs/{first}", "X: y"),
            head("GET", "/v1/jobs/" + "0" * 22),
            head("GET", "/v1/jobs/" + "%30" * 7 + "0"),
            head("GET", f"/v1/jobs/{first}"),
            head("GET", f"/v1/jobs/{second}"),
            post(LATER),
            post(LATER),
            post(b" " + LATER),
            post(LATER, media_type="application/json; charset=utf-8"),
            post(LATER),
            post(LATER, "Idempotency-Key: k"),
            post(LATER, "Idempotency-Key: l"),
        ):
            writer.write(request)
            if request.startswith(b"HEAD"):
                await reader.readuntil(b"\r\n\r\n")
            else:
                await read_answer(reader)
    assert asked == [
        *("parsed", "matched", "matched", "parsed", "matched"),
        *("stock", "matched", "matched"),  # one of the stock path that came whole leaves the parser at rest
        *("parsed", "matched", "parsed"),
        *("stock", "matched"),
        *("parsed", "matched"),
    ]


async def test_the_head_cache_is_not_used_after_a_request_of_the_stock_path_that_came_in_pieces(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the parser is at rest can't be told, until a request without a body ends with the data."""
    recalled: list[bool] = []
    recall = FastPath.recall

    def recalling(self: FastPath, data: bytes, client: Any, now: float) -> bytes | None:
        raw = recall(self, data, client, now)
        recalled.append(raw is not None)
        return raw

    monkeypatch.setattr(FastPath, "recall", recalling)
    stock = post(LATER, media_type="application/json; charset=utf-8")
    look = head("GET", "/v1/jobs/" + "0" * 22)
    client = await connect(serving)
    for pieces in ([post(LATER)], [post(LATER)], [stock[:-1], stock[-1:]], [post(LATER)], [look], [look]):
        for piece in pieces:
            client.transport.write(piece)
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)
    assert recalled == [False, True, False, False]
    client.transport.abort()


async def test_a_connection_idle_after_a_cached_request_is_closed(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start(limits={"idle_timeout_s": 0.3})
    request = head("HEAD", "/v1/jobs/" + "0" * 22)
    async with serving.connect() as (reader, writer):
        for _ in range(6):  # an active connection stays open
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.1)
        writer.write(request[:10])  # a part of a head does not keep it open
        began = asyncio.get_running_loop().time()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert asyncio.get_running_loop().time() - began > 0.1


async def test_changed_limits_and_quotas_apply_to_cached_submissions(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    queue = serving.queue
    async with serving.connect() as (reader, writer):

        async def submit() -> Answer:
            writer.write(post(LATER))
            return await read_answer(reader)

        for _ in range(2):
            assert (await submit()).status == 202
        limits = msgspec.structs.replace(queue.settings.limits, caller_jobs_max=100)
        await queue.reload(msgspec.structs.replace(queue.settings, limits=limits))
        assert "ratelimit-policy" in (await submit()).headers
        limits = msgspec.structs.replace(limits, caller_jobs_max=None, body_bytes=len(LATER) - 1)
        await queue.reload(msgspec.structs.replace(queue.settings, limits=limits))
        assert (await submit()).status == 413


@pytest.mark.parametrize("began_at", [0.0, 0.25, 0.999])
def test_the_date_of_a_response_is_less_than_a_second_old(
    monkeypatch: pytest.MonkeyPatch, began_at: float, serving: Serving
) -> None:
    assert serving.server.fast_path is not None
    fast_path = FastPath(
        serving.service,
        serving.server.fast_path._early,
        OriginPolicy(),
        serving.server.fast_path._access,
        serving.waiting,
        serving.server.fast_path._rate_limits,
    )
    elapsed = 0.0
    monkeypatch.setattr(fast_path_module.time, "time", lambda: began_at + elapsed)
    monkeypatch.setattr(fast_path_module, "rfc822_formatted_time", lambda: str(int(began_at + elapsed)))
    for step in range(1, 400):
        elapsed = step * 0.013
        assert fast_path._date(100.0 + elapsed) == b"Date: %d\r\n\r\n" % int(began_at + elapsed)


async def test_both_paths_close_an_idle_connection(pair: Pair) -> None:
    raw = await pair.same(head("HEAD", "/v1/jobs/{DONE}"))
    assert raw.startswith(b"HTTP/1.1 200")


async def test_both_paths_reject_alike_when_full_and_draining(
    start: Callable[..., Awaitable[Serving]], held: HeldTime
) -> None:
    full = {"queues": {"default": {"capacity": 1, "workers": 1}}}
    pair = Pair(
        await start(same_ids, **full),
        await start(same_ids, **full, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    for serving in pair.both:
        await serving.queue.submit("hold")
    for kind in ("queue-full", "draining"):
        raw = await pair.same(post(LATER) + END)
        assert Answer(raw).kind == kind
        for serving in pair.both:
            serving.service.stop_admitting()


async def test_both_paths_refuse_a_long_body_while_full_even_with_a_live_unique_value(
    start: Callable[..., Awaitable[Serving]], held: HeldTime
) -> None:
    full = {"queues": {"default": {"capacity": 1, "workers": 1}}}
    pair = Pair(
        await start(same_ids, **full),
        await start(same_ids, **full, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    for serving in pair.both:
        await serving.queue.submit("hold", unique="u")
    body = b'{"type":"hold","unique":"u"}'
    for length, status in ((UNIQUE_BYTES_MAX, b"202"), (UNIQUE_BYTES_MAX + 1, b"503")):
        raw = await pair.same(post(body.ljust(length)) + END)
        assert re.findall(rb"HTTP/1.1 (\d{3})", raw) == [status, b"200"]


async def test_both_paths_answer_with_the_same_quotas(start: Callable[..., Awaitable[Serving]], held: HeldTime) -> None:
    settings: dict[str, dict[str, object]] = {"limits": {"caller_rate": {"count": 2, "period_s": 3600.0}}}
    pair = Pair(
        await start(same_ids, **settings),
        await start(same_ids, **settings, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    raw = await pair.same(post(LATER) * 3 + END)
    assert re.findall(rb"HTTP/1.1 (\d{3})", raw) == [b"202", b"202", b"429", b"200"]


async def test_both_paths_count_repeated_keys_against_a_quota_alike(
    start: Callable[..., Awaitable[Serving]], held: HeldTime
) -> None:
    settings: dict[str, dict[str, object]] = {
        "limits": {"caller_rate": {"count": 5, "period_s": 3600.0}},
        "queues": {"default": {"capacity": 2, "workers": 1}},
    }
    pair = Pair(
        await start(same_ids, **settings),
        await start(same_ids, **settings, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    keys = [post(LATER, f"Idempotency-Key: {key}") for key in ("a", "b", "a", "c", "a", "b", "b")]
    raw = await pair.same(CUT.join([*keys, END]), turns=30)
    codes = re.findall(rb"HTTP/1.1 (\d{3})", raw)
    assert codes == [b"202", b"202", b"202", b"503", b"202", b"202", b"429", b"200"]


@pytest.mark.parametrize(
    "limits",
    [
        {"caller_rate": {"count": 1000, "period_s": 3600.0}, "caller_jobs_max": 9},
        {"caller_rate": {"count": 7, "period_s": 3600.0}, "caller_records_max": 8},
        {"caller_requests": {"count": 100_000, "period_s": 3600.0}, "caller_bytes_max": 2048},
        {"caller_requests": {"count": 30, "period_s": 3600.0}, "caller_waits_max": 1, "caller_connections_max": 100},
    ],
    ids=lambda limits: " ".join(limits),
)
async def test_both_paths_answer_generated_streams_alike_under_limits_of_callers(
    start: Callable[..., Awaitable[Serving]], held: HeldTime, limits: dict[str, object]
) -> None:
    settings = {**SETTINGS, "limits": {**SETTINGS.get("limits", {}), **limits}}
    pair = Pair(
        await start(same_ids, **settings),
        await start(same_ids, **settings, server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    await pair.prepare()
    await agree_on(pair, examples=30)
    await agree_on(pair, 30, REPEATED)


@pytest.mark.parametrize("proxies", [[], ["unix"], ["127.0.0.1"]], ids=["none", "listed", "another"])
async def test_both_paths_tell_the_callers_behind_a_proxy_alike(
    start: Callable[..., Awaitable[Serving]], held: HeldTime, tmp_path: Path, proxies: list[str]
) -> None:
    server: dict[str, object] = {"proxies": proxies, "socket": str(tmp_path / "s")}
    pair = Pair(
        await start(same_ids, **SETTINGS, server=server),
        await start(same_ids, **SETTINGS, server={**server, "fast_path": False}, spool={"dir": None}),
        held,
    )
    told = (
        "X-Forwarded-For: 203.0.113.9, 198.51.100.7",
        "Forwarded: for=198.51.100.8",
        "X-Forwarded-For: 198.51.100.9\r\nForwarded: for=203.0.113.9",
        "X-Forwarded-For: junk",
    )
    plain = post(LATER)
    forwarded = [post(LATER, *rest) for line in told for rest in ((line,), (line, "Prefer: wait=0"))]
    stream = b"".join(plain + plain + each for each in forwarded) + plain
    for turns in (3, QUIET_TURNS):  # pipelined, and one after the other, so that heads are cached
        splits = tuple(accumulate(len(each) for each in [plain, plain, *forwarded]))
        raw = await pair.same(stream + END, splits if turns > 3 else (), turns=turns)
        ids = [found.decode() for found in re.findall(rb"Location: /v1/jobs/(\S+)", raw)]
        assert len(ids) == 3 * len(forwarded) + 1
        fast, stock = [[(await serving.service.backend.get(id)).caller for id in ids] for serving in pair.both]
        assert fast == stock
        own = f"uid:{os.getuid()}"
        callers = {own, "198.51.100.7", "198.51.100.8"} if proxies == ["unix"] else {own}
        assert set(fast) == callers
        assert set(fast[::3]) == {own}


@pytest.mark.parametrize("missing", ["_waiter", "_process_keepalive", "_pause_transport_reading"])
async def test_a_missing_field_of_aiohttp_turns_the_fast_path_off_with_a_warning(
    start: Callable[..., Awaitable[Serving]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    missing: str,
) -> None:
    names = aiohttp_compat.FAST_PATH_FIELDS[web.RequestHandler]
    older = type("RequestHandler", (), {name: None for name in names if name != missing})
    monkeypatch.setattr(aiohttp_compat, "FAST_PATH_FIELDS", {older: names})
    serving = await start()
    assert serving.server.fast_path is None
    assert any("http.fast_path_off" in record.getMessage() for record in caplog.records)
    ready = Answer(await serving.talk(head("GET", "/readyz", "Connection: close")))
    assert json.loads(ready.rest)["fast_path"] is False
