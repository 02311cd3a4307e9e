"""Each rejection has a problem document, rejections by the parser included."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.response import problems
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

REST = b" HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
BODY = b'f\r\n{"type":"echo"}\r\n0\r\n\r\n'
REFUSED = {
    "a line that is no request": (b"nonsense\r\n\r\n", "Invalid method encountered: 'nonsense'"),
    "a method with an @": (b"G@T /" + REST, "Invalid method encountered: 'G@T / HTTP/1.1'"),
    "an unknown method": (b"FOO /" + REST, "Invalid method encountered: 'FOO / HTTP/1.1'"),
    "a NUL in the target": (b"GET /\0" + REST, "Invalid char in url path: 'GET /\\x00 HTTP/1.1'"),
    "a space in the target": (b"GET /a b" + REST, "Expected HTTP/, RTSP/ or ICE/: 'GET /a b HTTP/1.1'"),
    "a version with two dots": (b"GET / HTTP/1.2.3\r\nHost: h\r\n\r\n", "Invalid HTTP version: 'GET / HTTP/1.2.3'"),
    "line feeds alone": (b"GET / HTTP/1.1\nHost: h\n\n", "Expected CRLF after version: "),
    "an id in raw UTF-8": (b"GET /v1/jobs/\xc3\xa4" + REST, "Invalid char in url path: 'GET /v1/jobs/\\xc3\\xa4"),
    "a number in raw UTF-8": (b"GET /v1/jobs?limit=\xd9\xa3" + REST, "Invalid char in url query: "),
    "a target without a slash": (b"GET foo" + REST, "Invalid characters in url: 'GET foo HTTP/1.1'"),
    "a target that is a star": (b"GET *" + REST, "the request's target '*' is neither a path that begins with a slash"),
    "a target without a host": (b"GET http:///livez" + REST, "the request's target 'http:///livez' is neither a path"),
    "a target with a bad port": (
        b"GET http://h:99999/" + REST,
        "the request's target 'http://h:99999/' is neither a path",
    ),
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", "Missing 'Host' header in request."),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP/2 preface was received, and this server speaks HTTP/1.1"),
    "TLS": (bytes.fromhex("1603010200010001fc0303") + b"x" * 40, "Received HTTPS traffic on an HTTP port"),
}


@pytest.fixture(params=[True, False], ids=["fast path", "stock path"])
async def either(start: Callable[..., Awaitable[Serving]], request: pytest.FixtureRequest) -> Serving:
    return await start(server={"fast_path": request.param})


@pytest.mark.parametrize("name", REFUSED)
async def test_a_malformed_request_gets_a_problem_with_the_detail(either: Serving, name: str) -> None:
    request, detail = REFUSED[name]
    answer = Answer(await either.talk(request))
    assert (answer.version, answer.status, answer.kind) == ("HTTP/1.1", 400, "malformed-request")
    assert answer.problem["detail"].startswith(detail)
    assert "^" not in answer.problem["detail"]
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", REFUSED)
async def test_a_malformed_request_gets_a_problem_in_any_pieces_and_after_any_request(
    either: Serving, name: str
) -> None:
    request, _ = REFUSED[name]
    before = (b"GET /livez" + REST, f"HEAD /v1/jobs/{'0' * 22}".encode() + REST, post(b'{"type":"echo"}'))
    for first, size in itertools.product((None, *before), (1, 7)):
        async with either.connect() as (reader, writer):
            if first is not None:
                writer.write(first)
                if first.startswith(b"HEAD"):
                    await reader.readuntil(b"\r\n\r\n")
                else:
                    await read_answer(reader)
            for start in range(0, len(request), size):
                writer.write(request[start : start + size])
                await asyncio.sleep(0)
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (400, "malformed-request")


@pytest.mark.parametrize(
    ("request_bytes", "status", "kind"),
    [
        (b"GET /v1/jobs?limit=%D9%A3", 400, "malformed-request"),
        (b"GET /v1/jobs/%ff", 404, "job-not-found"),
        (b"GET //livez", 404, "not-found"),
        (b"OPTIONS *", 404, "not-found"),
        (b"CONNECT h:80", 404, "not-found"),
        (b"TRACE /livez", 405, "method-not-allowed"),
        (b"PROPFIND /v1/jobs", 405, "method-not-allowed"),
    ],
)
async def test_a_valid_request_without_a_resource_gets_a_problem(
    either: Serving, request_bytes: bytes, status: int, kind: str
) -> None:
    answer = Answer(await either.talk(request_bytes + REST.replace(b"h\r\n", b"h\r\nConnection: close\r\n", 1)))
    assert (answer.status, answer.kind) == (status, kind)


# -- HTTP/1.0


@pytest.mark.parametrize("target", ["POST /v1/jobs", "POST /v1/jobs:batch", "GET /livez", "POST /nope", "PUT /v1/jobs"])
@pytest.mark.parametrize("version", ["1.0", "0.9"])
async def test_a_transfer_encoding_in_http_1_0_is_rejected_and_the_connection_closed(
    either: Serving, target: str, version: str
) -> None:
    head = f"{target} HTTP/{version}\r\nHost: h\r\nConnection: keep-alive\r\n".encode() + CHUNKED
    raw = await either.talk(head + b"\r\n" + BODY + b"GET /v1/queues" + REST)
    answer = Answer(raw)
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert "Transfer-Encoding" in answer.problem["detail"]
    assert answer.headers.get("connection") != "keep-alive"
    assert raw.count(b"HTTP/") - raw.count(b'"detail":"HTTP/') == 1, "the body was parsed as a request"
    assert either.service.backend.stats()[0].accepted_total == 0


async def test_http_1_0_with_a_length_is_served(either: Serving) -> None:
    answer = Answer(await either.talk(post(b'{"type":"echo"}').replace(b"HTTP/1.1", b"HTTP/1.0")))
    assert answer.status == 202


# -- Expect


@pytest.mark.parametrize("path", ["/livez", "/v1/jobs", "/nope", "/v1/jobs/x:cancel", "/v1/queues/default"])
@pytest.mark.parametrize(
    "expectation", ["\udcff", "caf\u00e9", "\udcff-continue", "100-continu\udcff", "nonsense", "200-ok"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
async def test_an_unknown_expectation_is_rejected_on_any_path(
    either: Serving, path: str, expectation: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nExpect: {expectation}\r\nContent-Length: 2\r\n\r\n"
    answer = Answer(await either.talk(head.encode("utf-8", "surrogateescape") + b"{}"))
    assert (answer.status, answer.kind) == (417, "unknown-expectation")
    assert answer.headers["connection"] == "close"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- failures in the log


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the clock of the failure log, which starts empty."""
    now = 1000.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(problems, "_failures", {})
    monkeypatch.setattr(problems.time, "monotonic", lambda: now)
    return passes


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith("http.internal_error")]


async def test_failures_of_one_kind_are_sampled_in_the_log_with_one_traceback(
    start: Callable[..., Awaitable[Serving]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: Callable[[float], None],
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    serving = await start(limits={"long_polls_max": 0})
    monkeypatch.setattr(serving.service.local, "find", fail)
    monkeypatch.setattr(serving.service.backend, "get", fail)
    look, stock = f"GET /v1/jobs/{'0' * 22}".encode() + REST, b"GET /v1/jobs/x" + REST
    async with serving.connect() as (reader, writer):
        for request in (look, stock):
            for _ in range(100):
                writer.write(request)
                assert (await read_answer(reader)).status == 500
    records = failures(caplog)
    assert [record.levelname for record in records].count("ERROR") == 1, "one traceback for both paths"
    assert len(records) == 2
    assert "count=1" in records[1].getMessage()
    assert "RuntimeError" in records[1].getMessage()
    assert records[1].exc_info is None
    clock(60.0)
    Answer(await serving.talk(stock.replace(b"h\r\n", f"h\r\n{CLOSE}\r\n".encode(), 1)))
    assert [record.levelname for record in failures(caplog)].count("ERROR") == 2


def test_each_kind_of_failure_is_logged_and_the_table_of_kinds_is_bounded(
    caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    for error in (ValueError("a"), TypeError("b"), ValueError("c")):
        problems.refuse(error)
    assert [record.levelname for record in failures(caplog)] == ["ERROR", "ERROR", "WARNING"]
    for number in range(3 * problems.FAILURES_MAX):
        problems.refuse(type(f"Error{number}", (Exception,), {})())
    assert len(problems._failures) <= problems.FAILURES_MAX + 1
