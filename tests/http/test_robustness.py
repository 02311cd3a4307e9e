"""No input produces a 500: hostile and random requests against one server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.serving import CLOSE, Answer, FailingBackend, Serving, in_a_loop_of_its_own, post

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


class Victim:
    """A server in its own loop, with short timeouts, and the errors that it logged."""

    def __init__(self, runner: asyncio.Runner, serving: Serving, errors: list[logging.LogRecord]) -> None:
        self.runner = runner
        self.serving = serving
        self.errors = errors
        self.over = runner.run(self._run_one()).encode()

    async def _run_one(self) -> str:
        handle = await self.serving.queue.submit("echo", ttl_s=3600)
        await handle.wait()
        return handle.id

    def survives(self, *streams: bytes) -> list[bytes]:
        """Send every stream over its own connection; return the responses."""

        async def send() -> list[bytes]:
            few = asyncio.Semaphore(100)
            return await asyncio.gather(*(self._talk(stream, few) for stream in streams))

        answers = self.runner.run(send())
        for stream, answer in zip(streams, answers, strict=True):
            assert b"500" not in STATUS.findall(answer), (stream, answer)
            assert b'"status":500' not in answer, (stream, answer)  # an item of a batch
        assert not self.errors, (streams, self.errors)
        alive = self.runner.run(self.serving.talk(f"GET /readyz HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()))
        assert STATUS.findall(alive) == [b"200"]
        return answers

    async def _talk(self, stream: bytes, few: asyncio.Semaphore) -> bytes:
        async with few:
            try:
                return await self.serving.talk(stream)
            except ConnectionError:
                return b""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    limits: dict[str, object] = {
        "idle_timeout_s": 0.1,
        "body_timeout_s": 0.1,
        "header_bytes": 4096,
        "long_poll_max_s": 0.05,
    }
    serving = Serving(tmp_path_factory.mktemp("spool"), {"limits": limits, "queues": {"other": {}}})
    with in_a_loop_of_its_own(serving) as (runner, errors):
        yield Victim(runner, serving, errors)


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: h", b"Connection: close", *headers, b"", b""])


NASTY_TARGETS = [
    *(b"/" + bytes([byte]) for byte in range(33, 256)),
    *(b"/v1/jobs/%" + f"{byte:02X}".encode() for byte in range(256)),
    *(b"/v1/jobs?ids=%" + f"{byte:02x}".encode() for byte in range(256)),
    *(b"/v1/jobs?ids=" + bytes([byte]) for byte in range(128, 256)),
    b"*",
    b"//",
    b"///v1/jobs",
    b"/v1/../v1/jobs",
    b"/v1/jobs/..%2f..%2fetc%2fpasswd",
    b"/v1/jobs/%ED%A0%80",
    b"/v1/jobs/\xed\xa0\x80:cancel",
    b"/v1/jobs?%",
    b"/v1/jobs?%zz=%f",
    b"/v1/jobs?cursor=" + b"%00" * 22,
    b"/v1/jobs?cursor=zzzzzzzzzzzzzzzzzzzzzz",
    b"/v1/jobs?cursor=----------------------",
    b"/v1/jobs?limit=1e3&limit",
    b"/v1/jobs?state=%FF",
    b"/v1/jobs?group=%ED%A0%80&type=%00",
    b"/v1/jobs?" + b"&" * 1000,
    b"/v1/jobs?" + b"a=b&" * 900,
    b"/v1/jobs;x=y",
    b"/v1/jobs#fragment",
    b"/v1/queues/%2e%2e",
    b"/v1/queues/\xff",
    b"/v1/queues/\xff:pause",
    b"/v1/queues/%ED%A0%80:resume",
    b"/v1/queues/default:",
    b"/v1/queues/:pause",
    b"/v1/jobs/\xff:retry",
    b"/v1/jobs/%ED%A0%80:run",
    b"/v1/jobs/\xff/events",
    b"/v1/jobs/%00/events",
    b"/v1/jobs:",
    b"/v1/jobs:batch:batch",
    b"/v1/jobs:%62atch",
    b"http://h/v1/jobs",
    b"http://[::1/v1/jobs",
    b"http://h:99999/v1/jobs",
    b"http://\xff/v1/jobs",
    b"https://user:pw@h/v1/jobs",
    b"ftp://h/",
    b"h:80",
]
METHODS = [b"GET", b"HEAD", b"POST", b"DELETE", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"MKCOL", b"QUERY"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"POST"])
def test_no_target_breaks_the_server(victim: Victim, method: bytes) -> None:
    victim.survives(*(get(target, method=method) for target in NASTY_TARGETS))


def test_no_method_breaks_the_server(victim: Victim) -> None:
    targets = [b"/", b"*", b"h:80", b"/v1/jobs", b"/v1/jobs/x", b"/v1/jobs/x:cancel", b"/v1/jobs/x/result", b"/readyz"]
    targets += [
        b"/v1/jobs:batch",
        b"/v1/jobs:retry",
        b"/v1/jobs:cancel",
        b"/v1/jobs:delete",
        b"/v1/jobs:run",
        b"/v1/jobs/x/events",
    ]
    targets += [b"/v1/jobs/x:retry", b"/v1/jobs/x:run", b"/v1/queues/other", b"/v1/queues/other:resume", b"/v1/queues"]
    victim.survives(*(get(target, method=method) for target in targets for method in METHODS))


HEADER_NAMES = [
    *(b"If-None-Match", b"Content-Type", b"Content-Encoding", b"Content-Length", b"Transfer-Encoding", b"Expect"),
    *(b"Upgrade", b"Connection", b"Range", b"Accept", b"Cookie", b"Host", b"Prefer", b"X-Forwarded-For"),
    *(b"If-Modified-Since", b"Authorization", b"TE", b"Trailer", b"Sec-WebSocket-Key1", b"Max-Forwards"),
    *(b"Idempotency-Key", b"Last-Event-ID"),
]
HEADER_VALUES = [
    *(
        b"",
        b"*",
        b'"',
        b'W/"',
        b'W/"0',
        b'""""',
        b",,,,",
        b"\xff",
        b"\xed\xa0\x80",
        b"%00",
        b"0",
        b"-1",
        b"1e9",
        b"1, 1",
    ),
    *(b"application/json;", b"application/json; charset", b"application/json; charset=\xff", b"a/b/c", b"/", b";"),
    *(b"multipart/form-data", b"multipart/form-data; boundary=\xff", b'multipart/form-data; boundary="'),
    *(b"chunked", b"gzip", b"chunked, chunked", b"identity", b"websocket", b"h2c", b"100-continue", b"close, upgrade"),
    *(b"wait=1", b"wait=" + b"9" * 3000, b"wait=-1", b'wait="1', b"wait=\xd9\xa3", b"000000000000-1", b'"k"', b'"k'),
    *(b"x" * 3000, b"(" * 1000, b"\t" * 1000, b'"' * 1000, b"=;" * 1000),
]


def test_no_header_breaks_the_server(victim: Victim) -> None:
    lines = [name + b": " + value for name in HEADER_NAMES for value in HEADER_VALUES]
    for start in range(0, len(lines), 200):
        some = lines[start : start + 200]
        victim.survives(*(get(b"/v1/jobs/x", line) for line in some))
        victim.survives(*(get(b"/v1/jobs", line, method=b"POST") + b'{"type":"echo"}' for line in some))
        json_of = b"Content-Type: application/json\r\nContent-Length: 15"
        taken = [line for line in some if not line.startswith(b"Content-")]
        victim.survives(*(get(b"/v1/jobs", json_of, line, method=b"POST") + b'{"type":"echo"}' for line in taken))
        victim.survives(*(get(b"/v1/jobs/%b/events" % victim.over, line) for line in some))
        victim.survives(*(get(b"/v1/jobs?ids=%b" % victim.over, line) for line in some))


# -- random requests

FRAGMENTS = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"HEAD ", b"/v1/jobs", b"/livez", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n"),
        *(b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
        *(b"Content-Type: application/json\r\n", b"Content-Type: multipart/form-data; boundary=x\r\n"),
        *(b"Connection: upgrade\r\nUpgrade: websocket\r\n", b'If-None-Match: W/"0"\r\n', b"0\r\n\r\n", b"5\r\n", b"{}"),
        *(b'{"type":"echo"}', b"--x\r\n", b"--x--\r\n", b'Content-Disposition: form-data; name="job"\r\n\r\n', b"\x00"),
    ]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=10), max_size=14).map(b"".join)
few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(st.lists(STREAMS, min_size=20, max_size=20))
def test_no_stream_of_bytes_breaks_the_server(victim: Victim, streams: list[bytes]) -> None:
    victim.survives(*streams)


@few
@given(st.lists(st.binary(max_size=200), min_size=20, max_size=20))
def test_no_body_breaks_the_server(victim: Victim, bodies: list[bytes]) -> None:
    form = "multipart/form-data; boundary=x"
    start = b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n--x'
    victim.survives(
        *(post(body, CLOSE) for body in bodies),
        *(post(body, CLOSE, media_type=form) for body in bodies),
        *(post(start + body, CLOSE, media_type=form) for body in bodies),
    )


BODY_RESOURCES = [
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs:batch"),
    ("POST", "/v1/jobs:retry"),
    ("POST", "/v1/jobs:cancel"),
    ("POST", "/v1/jobs:delete"),
    ("POST", "/v1/jobs:run"),
    ("PATCH", "/v1/queues/other"),
]
TEXTS = st.text(max_size=10) | st.sampled_from(["echo", "fail", "default", "other", "queued", "failed", "fifo", "fair"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
NAMES = ["type", "args", "queue", "priority", "delay_s", "run_at", "start_by_s", "timeout_s", "attempts_max", "group"]
NAMES += ["unique", "ttl_s", "state", "older_than_s", "workers", "capacity", "discipline", "weight", "value", "mode"]
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
DOCUMENTS = OBJECTS | st.fixed_dictionaries({"jobs": st.lists(OBJECTS, max_size=5) | VALUES}) | VALUES


def sent(method: str, path: str, body: bytes, *headers: str) -> bytes:
    return post(body, CLOSE, *headers).replace(b"POST /v1/jobs ", f"{method} {path} ".encode(), 1)


@few
@given(st.lists(DOCUMENTS, min_size=5, max_size=5))
def test_no_document_breaks_a_resource_with_a_body(victim: Victim, documents: list[Any]) -> None:
    bodies = [json.dumps(document).encode("utf-8", "surrogatepass") for document in documents]
    victim.survives(*(sent(*resource, body) for resource in BODY_RESOURCES for body in bodies))
    victim.survives(*(sent("POST", "/v1/jobs", body, "Idempotency-Key: k", "Prefer: wait=1") for body in bodies))


@few
@given(st.lists(st.binary(max_size=100), min_size=5, max_size=5))
def test_no_bytes_break_a_resource_with_a_body(victim: Victim, bodies: list[bytes]) -> None:
    victim.survives(*(sent(*resource, body) for resource in BODY_RESOURCES for body in bodies))
    victim.survives(*(sent("POST", "/v1/jobs:batch", b'{"jobs":[' + body + b"]}") for body in bodies))


@few
@given(st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=30)), min_size=20, max_size=20))
def test_no_random_header_breaks_the_server(victim: Victim, headers: list[tuple[bytes, bytes]]) -> None:
    victim.survives(*(get(b"/v1/jobs/x", name + b": " + value) for name, value in headers))


# -- internal errors


async def test_an_unexpected_error_is_a_500_without_details_and_is_logged_in_full(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = FailingBackend(serving.service.backend, RuntimeError("a secret"), "get")
    monkeypatch.setattr(type(serving.service), "backend", broken)
    answer = Answer(await serving.talk(get(b"/v1/jobs/x")))
    assert (answer.status, answer.kind) == (500, "internal")
    assert "secret" not in str(answer.problem)
    (failed,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert failed.getMessage().startswith("http.internal_error")
    assert failed.exc_info is not None
    assert "a secret" in str(failed.exc_info[1])


async def test_an_error_during_a_response_closes_only_its_connection(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await serving.queue.submit("report", {"size": 1_000_000})
    await handle.wait()
    pread = os.pread

    def fail(fd: int, size: int, at: int) -> bytes:
        if at:
            raise OSError(errno.EIO, "the disk is broken")
        return pread(fd, size, at)

    monkeypatch.setattr("os.pread", fail)
    async with serving.connect() as (reader, writer):
        writer.write(f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            raw = await asyncio.wait_for(reader.read(), 5)
            assert STATUS.findall(raw) == [b"200"]
            assert len(raw) < 1_000_000, "the client can detect the truncation"
    assert Answer(await serving.talk(get(b"/livez"))).status == 200
