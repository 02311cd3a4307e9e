"""The head cache: a head is cached only if the parser reads it alike for any id or body.

Connections are fed by hand, so that the pieces of a client arrive unchanged.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web_protocol
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jobqueue.core.ids import ALPHABET, ID_LENGTH
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.grant import Grant
from jobqueue.http.request.idempotency import key_in, key_of
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.transport import head_cache
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.head_cache import (
    GET_ID,
    GET_REST,
    HEAD_BYTES_MAX,
    HEAD_ID,
    HEAD_REST,
    HeadCache,
    WaitHead,
    known_tags,
)
from jobqueue.keys import SCOPES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from tests.http.serving import Serving

ID = "0" * ID_LENGTH
BODY = b'{"type":"echo","delay_s":1000}'
HOST = "Host: h"
WELL_FORMED = re.compile(rf"[{ALPHABET}]{{{ID_LENGTH}}}")


class Sink(asyncio.Transport):
    """A client that accepts all data."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def look(method: str, job_id: str, *lines: str, version: str = "1.1") -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    return f"{method} /v1/jobs/{job_id} HTTP/{version}\r\n{head}\r\n".encode("utf-8", "surrogateescape")


def submission(body: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    return f"POST /v1/jobs HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


ALL = Grant(None, SCOPES, shared=True)
JSON_LINES = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")


class Learner:
    """A server and its head cache."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        fast_path = serving.server.fast_path
        assert fast_path is not None
        self._fast_path = fast_path

    @property
    def heads(self) -> HeadCache:
        return self._fast_path._head_cache

    def connection(self) -> Connection:
        return cast("Connection", self._serving.server())

    async def offer(self, *pieces: bytes) -> None:
        """Send pieces over a new connection."""
        connection = self.connection()
        connection.connection_made(Sink())
        await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(None)
        await asyncio.sleep(0)

    async def learns(self, *pieces: bytes) -> HeadCache:
        """Return the head cache after a connection that started with an empty one."""
        self._fast_path._head_cache = HeadCache()
        await self.offer(*pieces)
        return self.heads


@pytest.fixture
async def learner(start: Callable[..., Awaitable[Serving]]) -> Learner:
    return Learner(await start(limits={"body_bytes": 2048, "header_bytes": 1024}))


class Protocol:
    """The methods that a parser calls on its connection."""

    connected = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass

    def pause_reading(self) -> None:
        pass


def parsed(data: bytes) -> list[tuple[Any, Any]]:
    """Return the messages parsed from a piece, after which the parser must be ready for a next request."""
    parser = cast("Any", web_protocol).HttpRequestParser(
        Protocol(),
        object(),  # the loop, which is not used here
        2**16,
        max_line_size=1024,
        max_field_size=1024,
        max_headers=64,
        auto_decompress=False,
        max_msg_queue_size=32,
    )
    messages, upgraded, _ = parser.feed_data(data)
    assert not upgraded
    (probe, _), *more = parser.feed_data(b"GET /probe HTTP/1.1\r\nHost: h\r\n\r\n")[0]
    assert (probe.method, probe.path, more) == ("GET", "/probe", [])
    return list(messages)


def id_in(data: bytes) -> str:
    return (data[HEAD_ID:HEAD_REST] if data.startswith(b"H") else data[GET_ID:GET_REST]).decode("latin-1")


def check_recalled(heads: HeadCache, data: bytes) -> bool:
    """Check that the parser reads a cached request alike; return whether it is cached."""
    found, submitted, waiting = heads.look(data), heads.submission(data), heads.wait(data)
    assert [found, submitted, waiting].count(None) >= 2
    if waiting is not None:
        return check_wait(*waiting, data)
    if submitted is not None:
        return check_submission(*submitted, data)
    if found is None:
        return False
    job_id = id_in(data)
    if not WELL_FORMED.fullmatch(job_id):
        return False  # left to the parser, as another test shows
    ((message, payload),) = parsed(data)
    check_plain(message, "Prefer", "Idempotency-Key")
    tags, sees = found
    assert sees is None
    assert (message.method, message.path) == ("HEAD" if data.startswith(b"H") else "GET", f"/v1/jobs/{job_id}")
    assert tags == known_tags(message)
    assert payload is EMPTY_PAYLOAD
    return True


def check_plain(message: Any, *without: str) -> None:
    assert (message.version, message.should_close, message.upgrade, message.chunked) == ((1, 1), False, False, False)
    for name in ("Expect", "Content-Encoding", *without):
        assert name not in message.headers


def check_submission(body: bytes, uniqueness: Any, wait: WaitHead | None, given: bytes | None, data: bytes) -> bool:
    """As `check_recalled`, for a submission."""
    if given is not None:
        try:
            key = key_in(given.decode("latin-1"))
        except MalformedRequest:
            return False  # left to the parser, too
    ((message, payload),) = parsed(data)
    check_plain(message, *(["Idempotency-Key"] if given is None else []))
    assert (message.method, message.path) == ("POST", "/v1/jobs")
    assert message.headers["Content-Type"] == "application/json"
    assert (payload.is_eof(), b"".join(payload._buffer), uniqueness) == (True, body, None)
    assert given is None or message.headers.getall("Idempotency-Key") == [given.decode().strip()]
    assert given is None or key_of(message.headers) == key
    assert ("Prefer" in message.headers) == (wait is not None)
    if wait is not None:
        assert (preferred_wait_s(message.headers), wait.tags) == (wait.wait_s, ())
        assert b"idempotency-key" not in wait.lines.lower()
    return True


def check_wait(head: WaitHead, text: bytes, data: bytes) -> bool:
    """As `check_recalled`, for a read that prefers to wait."""
    if not WELL_FORMED.fullmatch(text.decode("latin-1")):
        return False
    ((message, payload),) = parsed(data)
    check_plain(message, "Idempotency-Key")
    assert preferred_wait_s(message.headers) == head.wait_s
    assert (message.path, payload) == (f"/v1/jobs/{text.decode()}", EMPTY_PAYLOAD)
    assert head.tags == known_tags(message)
    return True


# -- cached heads


@pytest.mark.parametrize(
    "lines",
    [
        (HOST,),
        (HOST, "User-Agent: curl/8", "Accept: */*"),
        ("host: h:80", "ACCEPT-ENCODING: gzip, deflate", "Accept-Language:  de", "Connection: keep-alive"),
        (HOST, 'If-None-Match: W/"2"'),
        (HOST, "Cache-Control: no-cache"),
        (HOST, "Authorization: Bearer of a server that asks for none"),
    ],
)
async def test_plain_reads_are_cached_for_any_id_and_both_methods(learner: Learner, lines: tuple[str, ...]) -> None:
    for learned_from in ("HEAD", "GET"):
        heads = await learner.learns(look(learned_from, ID, *lines))
        for method in ("HEAD", "GET"):
            assert check_recalled(heads, look(method, ALPHABET[-ID_LENGTH:], *lines))


async def test_a_submission_is_cached_for_any_body_of_its_length(learner: Learner) -> None:
    heads = await learner.learns(submission(BODY, HOST, *JSON_LINES))
    for body in (BODY, b"\r\n\r\n" * 7 + b"{}", b"\0" * len(BODY)):
        assert check_recalled(heads, submission(body, HOST, *JSON_LINES))
        assert heads.submission(submission(body, HOST, *JSON_LINES)) == (body, None, None, None)
    for body in (BODY + b" ", BODY[:-1], b""):
        assert not check_recalled(heads, submission(body, HOST, *JSON_LINES))


@pytest.mark.parametrize("line", ["Prefer: wait=5", "prefer:  respond-async, wait=5;x", "PREFER: WAIT = 5"])
async def test_requests_that_prefer_to_wait_are_cached_apart(learner: Learner, line: str) -> None:
    heads = await learner.learns(look("GET", ID, HOST, line, 'If-None-Match: "1"'))
    for method in ("HEAD", "GET"):
        request = look(method, ALPHABET[-ID_LENGTH:], HOST, line, 'If-None-Match: "1"')
        assert heads.look(request) is None
        assert check_recalled(heads, request)
        assert not check_recalled(heads, request.replace(b"5", b"6"))
    heads = await learner.learns(submission(BODY, HOST, *JSON_LINES, line))
    assert check_recalled(heads, submission(b"x" * len(BODY), HOST, *JSON_LINES, line))
    for body in (BODY + b" ", BODY[:-1], b""):
        assert not check_recalled(heads, submission(body, HOST, *JSON_LINES, line))


@pytest.mark.parametrize(
    "pieces",
    [
        [look("GET", ID, HOST, "Cookie: a=b")],
        [look("GET", ID, HOST, "X-Request-Id: 1")],
        [look("GET", ID, HOST, "Prefer: respond-async")],
        [look("GET", ID, HOST, "Prefer: wait=x")],
        [look("GET", ID, HOST, "Expect: 100-continue")],
        [look("GET", ID, HOST, "Connection: close")],
        [look("GET", ID, HOST, "Content-Length: 0")],
        [look("GET", ID, HOST, "Content-Length: 2") + b"{}"],
        [look("GET", ID, HOST, "Transfer-Encoding: chunked") + b"0\r\n\r\n"],
        [look("GET", ID, HOST, "Upgrade: websocket", "Connection: upgrade")],
        [look("GET", ID, HOST, 'If-None-Match: "1", "2"')],
        [look("GET", ID, HOST, "If-None-Match: *")],
        [look("GET", ID, HOST, 'If-None-Match: "1"', 'If-None-Match: "2"')],
        [look("GET", ID, HOST, version="1.0")],
        [look("GET", ID)],
        [look("GET", ID + "?x", HOST)],
        [look("GET", "." * ID_LENGTH, HOST)],
        [look("GET", ID[:-3] + "%30", HOST)],
        [look("GET", f"{ID}/result", HOST)],
        [look("DELETE", ID, HOST)],
        [look("GET", ID, HOST, "User-Agent: " + "x" * HEAD_BYTES_MAX)],
        [b"\r\n" + look("GET", ID, HOST)],
        [look("GET", ID, HOST) * 2],
        [look("GET", ID, HOST)[:20], look("GET", ID, HOST)[20:]],
        [b"GET /x HTTP/1.1\r\nHost: h\r\nX-Y: ", look("GET", ID, HOST)],
        [look("GET", ID, HOST) + b"GET", look("GET", ID, HOST)],
        [submission(BODY, HOST, *JSON_LINES, "Prefer: wait")],
        [submission(BODY, HOST, *JSON_LINES, "Idempotency-Key: k", "Idempotency-Key: k")],
        [submission(BODY, HOST, *JSON_LINES, "Idempotency-Key:")],
        [submission(BODY, HOST, *JSON_LINES, "IDEMPOTENCY-KEY: k")],
        [submission(BODY, HOST, *JSON_LINES, "Idempotency-Key: " + "k" * 256)],
        [submission(BODY, HOST, "User-Agent: idempotency-key: x", *JSON_LINES, "Idempotency-Key: k")],
        [look("GET", ID, HOST, "Idempotency-Key: k")],
        [submission(BODY, HOST, *JSON_LINES, 'If-None-Match: "1"')],
        [submission(BODY, HOST, "Content-Type: text/json", JSON_LINES[1])],
        [submission(BODY, HOST, *JSON_LINES)[:-1], BODY[-1:]],
        [submission(BODY, HOST, *JSON_LINES) + b"GET"],
        [submission(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), HOST, JSON_LINES[0], "Transfer-Encoding: chunked")],
    ],
)
async def test_an_ambiguous_or_unusual_head_is_not_cached(learner: Learner, pieces: list[bytes]) -> None:
    assert len(await learner.learns(*pieces)) == 0


@pytest.mark.parametrize("iterations", [0, 1])
async def test_a_cached_request_is_not_used_within_an_unfinished_one(learner: Learner, iterations: int) -> None:
    """Also if the other began before aiohttp's task did, so that the stock path handled it."""
    request = look("GET", ID, HOST)
    await learner.learns(request)
    connection = cast("Connection", learner._serving.server())
    client = Sink()
    connection.connection_made(client)
    for _ in range(iterations):
        await asyncio.sleep(0)
    connection.data_received(b"GET /livez HTTP/1.1\r\nX-Y: ")
    await asyncio.sleep(0)
    connection.data_received(request)
    for _ in range(10):
        await asyncio.sleep(0)
    assert re.findall(rb"HTTP/1.1 (\d{3})", client.sent) == [b"200"]
    connection.connection_lost(None)


# -- keys


@pytest.mark.parametrize("name", ["Idempotency-Key: ", "idempotency-key: ", "Idempotency-Key:"])
@pytest.mark.parametrize("last", [False, True])
async def test_a_submission_is_cached_for_any_idempotency_key(learner: Learner, name: str, last: bool) -> None:
    def under(key: str, body: bytes = BODY) -> bytes:
        lines = [name + key, *JSON_LINES]
        return submission(body, HOST, *(reversed(lines) if last else lines))

    heads = await learner.learns(under('"a-1"'))
    for key in ('"b"', "b", "x" * 200, r'"a\"b"', " b ", "\tb", "idempotency-key: b", "b: Idempotency-Key", "1\t"):
        assert check_recalled(heads, under(key)), key
    for key in ("", '"', '"b', "b\x01", "b\rX: y", "b\nX: y", "b\x7f", "\udcff", "x" * 256, '"b"; p=1'):
        assert not check_recalled(heads, under(key)), key
    for body in (BODY + b" ", BODY[:-1]):
        assert not check_recalled(heads, under("b").removesuffix(BODY) + body)
    assert not check_recalled(heads, submission(BODY, HOST, *JSON_LINES))


async def test_no_cached_head_has_the_value_of_a_key(learner: Learner) -> None:
    for more in ((), ("Prefer: wait=0",)):
        heads = await learner.learns(submission(BODY, HOST, *JSON_LINES, 'Idempotency-Key: "secret-1"', *more))
        assert len(heads) == 1
        ((head, (_, _, wait)),) = heads._repeatable.items()
        assert b"secret" not in head
        assert wait is None or b"secret" not in wait.lines


async def test_a_malformed_key_is_left_to_the_parser(learner: Learner) -> None:
    request = submission(BODY, HOST, *JSON_LINES, "Idempotency-Key: kk")
    await learner.learns(request)
    for byte in set(range(256)) - set(b"\t") - set(range(32, 127)):
        smuggled = request.replace(b"kk", b"k%ck" % byte)
        assert learner.heads.submission(smuggled) is not None or byte in b"\r\n"
        assert learner._fast_path.recall(smuggled, learner.connection(), 0.0) is None


async def test_a_head_grown_by_its_key_beyond_the_bound_does_not_match(learner: Learner) -> None:
    filler = f"User-Agent: {'x' * (HEAD_BYTES_MAX - 200)}"
    heads = await learner.learns(submission(BODY, HOST, *JSON_LINES, filler, "Idempotency-Key: k"))
    assert check_recalled(heads, submission(BODY, HOST, *JSON_LINES, filler, "Idempotency-Key: kk"))
    assert not check_recalled(heads, submission(BODY, HOST, *JSON_LINES, filler, "Idempotency-Key: " + "k" * 200))


# -- bounds


async def test_a_full_head_cache_is_cleared_and_caches_again(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_cache, "HEADS_MAX", 8)
    await learner.learns()
    for number in range(100):
        await learner.offer(look("GET", ID, HOST, f"User-Agent: {number}"))
        await learner.offer(submission(BODY, HOST, *JSON_LINES, f"User-Agent: {number}"))
        await learner.offer(look("GET", ID, HOST, f"Prefer: wait={number}"))
        await learner.offer(submission(BODY, HOST, *JSON_LINES, "Idempotency-Key: k", f"User-Agent: {number}"))
        assert len(learner.heads) <= 8
    client = look("GET", ID, HOST)
    await learner.offer(client)
    assert (id_in(client), learner.heads.look(client)) == (ID, ((), None))


def test_the_head_cache_takes_at_most_a_mebibyte() -> None:
    assert head_cache.HEADS_MAX * head_cache.HEAD_BYTES_MAX <= 2**20


# -- generated heads

NAMES = st.sampled_from(
    [
        *("User-Agent", "Accept", "accept-encoding", "Connection", "Host", "If-None-Match", "Content-Length", "Prefer"),
        *("X", "Idempotency-Key", "idempotency-key"),
    ]
)
VALUES = st.sampled_from(
    ["", "x", "*/*", "keep-alive", "close", 'W/"2"', '"a", "b"', "0", "30", "wait=3", "h\t", "\x7f", "\udcff"]
)
LINES = st.lists(
    st.one_of(
        st.builds("{}: {}".format, NAMES, VALUES),
        st.sampled_from(["Content-Type: application/json", "Content-Length: 30", " folded", "No-Colon", "A : b", ":"]),
    ),
    max_size=4,
)
IDS = st.text(ALPHABET, min_size=ID_LENGTH, max_size=ID_LENGTH)
WHOLE = st.one_of(
    st.builds(lambda method, id, lines: look(method, id, HOST, *lines), st.sampled_from(["HEAD", "GET"]), IDS, LINES),
    st.builds(lambda lines: submission(BODY, HOST, *JSON_LINES, *lines), LINES),
    st.builds(lambda lines: submission(BODY, HOST, "Idempotency-Key: k", *JSON_LINES, *lines), LINES),
)  # fmt: skip
PIECES = st.sampled_from(
    [b"", b" ", b"\r", b"\n", b"\r\n", b":", b"%", b"?", b"\0", b"X", b"0", b"\r\n\r\n", b"HTTP/1.1"]
)


@st.composite
def near_misses(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a request, and a slightly changed one."""
    first = draw(WHOLE)
    second = draw(st.sampled_from([first, first.replace(b"GET", b"HEAD", 1), first.replace(b"HEAD", b"GET", 1)]))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(second)))
        second = second[:at] + draw(PIECES) + second[at + draw(st.integers(0, 2)) :]
    return first, second


async def in_examples(run: Callable[[], None]) -> None:
    """Run a test of hypothesis, a plain function, in a thread, so the loop is not blocked."""
    with ThreadPoolExecutor(1) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, run)


async def test_the_parser_reads_every_cached_request_alike(learner: Learner) -> None:
    loop = asyncio.get_running_loop()
    recalled = 0

    def wait_for(act: Coroutine[Any, Any, HeadCache]) -> HeadCache:
        return asyncio.run_coroutine_threadsafe(act, loop).result(30)

    @settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(near_misses())
    def run(drawn: tuple[bytes, bytes]) -> None:
        nonlocal recalled
        first, second = drawn
        recalled += check_recalled(wait_for(learner.learns(first)), second)

    await in_examples(run)
    assert recalled > 50, "too few requests were cached"


@pytest.mark.parametrize(
    "request_bytes", [look("HEAD", ID, HOST, 'If-None-Match: "2"'), look("GET", ID, HOST, "Accept: */*")]
)
async def test_a_read_with_any_byte_changed_outside_its_id_does_not_match(
    learner: Learner, request_bytes: bytes
) -> None:
    heads = await learner.learns(request_bytes)
    ids = range(request_bytes.index(b"0"), request_bytes.index(b"0") + ID_LENGTH)
    for at in range(len(request_bytes)):
        for byte in range(256):
            changed = request_bytes[:at] + bytes([byte]) + request_bytes[at + 1 :]
            found = heads.look(changed)
            assert (found is not None) == (changed == request_bytes or at in ids)
            assert found is None or id_in(changed) == changed[ids.start : ids.stop].decode("latin-1")
        assert heads.look(request_bytes[:at]) is None
        assert heads.look(request_bytes[:at] + request_bytes[at + 1 :]) is None


async def test_an_invalid_id_is_left_to_the_parser(learner: Learner) -> None:
    request = look("GET", ID, HOST)
    await learner.learns(request)
    for byte in set(range(256)) - set(ALPHABET.encode()):
        smuggled = request.replace(b"0" * ID_LENGTH, b"0" * (ID_LENGTH - 1) + bytes([byte]))
        assert learner.heads.look(smuggled) is not None
        assert learner._fast_path.recall(smuggled, learner.connection(), 0.0) is None


@given(st.data())
def test_a_submission_with_a_changed_byte_in_its_head_does_not_match(data: st.DataObject) -> None:
    request = submission(BODY, HOST, *JSON_LINES)
    heads = HeadCache()
    heads.learn(request, parsed(request)[0][0], request.index(b"\r\n\r\n") + 4, ALL)
    assert heads.submission(request) == (BODY, None, None, None)
    at = data.draw(st.integers(0, len(request) - len(BODY) - 1))
    changed = request[:at] + bytes([data.draw(st.integers(0, 255))]) + request[at + 1 :]
    assume(changed != request)
    assert heads.submission(changed) is None
