"""The access log: the same lines on both paths, bounded, and nothing of it where it is off."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.http.transport.access_log import NAME, LoggedConnection, LoggedFastPath
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.fast_path import FastPath
from jobqueue.log import EventMessage
from tests.http.keyed import ANN, STRANGER, auth
from tests.http.serving import Answer, post, read_answer
from tests.http.transport.test_deferred import connected, turns
from tests.http.transport.test_fast_path import END, LATER
from tests.http.transport.test_kept import held, until_held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
pytestmark = pytest.mark.usefixtures("lines")


class Lines(logging.Handler):
    """Collects the events of the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.msg, EventMessage)
        self.events.append((record.msg.event, dict(record.msg.fields)))

    def answered(self) -> list[dict[str, Any]]:
        """Return the fields of the lines of answers."""
        return [fields for event, fields in self.events if event == "http.answered"]

    def told(self, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(fields.get(name) for name in names) for fields in self.answered()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger(NAME)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(params=["fast", "stock"])
def path(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"fast_path": request.param == "fast", "hosts": ["h"]}


def head(method: str, target: str, *lines: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *lines, *length, "", ""]).encode() + body


async def ask(serving: Serving, *requests: bytes) -> list[tuple[Answer, int]]:
    """Send the requests one after the other over one connection; return the answers with their sizes in bytes."""
    answers = []
    async with serving.connect() as (reader, writer):
        for request in requests:
            writer.write(request)
            raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            answer = Answer(raw)
            length = 0 if request.startswith(b"HEAD") else int(answer.headers.get("content-length", 0))
            answer.rest = await reader.readexactly(length)
            answers.append((answer, len(raw) + length))
    return answers


def submission(type: str = "echo") -> bytes:
    return head("POST", "/v1/jobs", f"traceparent: {TRACE}", body=b'{"type":"%b"}' % type.encode())


async def test_each_answer_has_a_line_on_both_paths(start: Start, path: dict[str, object], lines: Lines) -> None:
    serving = await start(server=path, log={"access": "all"})

    ((accepted, size),) = await ask(serving, submission())
    target = accepted.headers["location"]
    job_id = target.rpartition("/")[2]
    get = head("GET", target)
    await ask(serving, get, get, head("HEAD", target), head("GET", target, "Prefer: wait=1"), head("GET", "/nowhere?a"))

    assert lines.told("method", "target", "status", "job_id", "traceparent", "caller") == [
        ("POST", "/v1/jobs", 202, job_id, TRACE, "127.0.0.1"),
        ("GET", target, 200, job_id, None, "127.0.0.1"),
        ("GET", target, 200, job_id, None, "127.0.0.1"),
        ("HEAD", target, 200, job_id, None, "127.0.0.1"),
        ("GET", target, 200, job_id, None, "127.0.0.1"),
        ("GET", "/nowhere?a", 404, None, None, "127.0.0.1"),
    ]
    sizes = [fields["sent_bytes"] for fields in lines.answered()]
    assert sizes[0] == size
    assert sizes[3] < sizes[2]
    assert all(0 <= fields["took_s"] < 30 for fields in lines.answered())


async def test_errors_alone_have_lines_if_so_set(start: Start, path: dict[str, object], lines: Lines) -> None:
    serving = await start(server=path, log={"access": "errors"})
    unknown = head("HEAD", f"/v1/jobs/{'x' * 22}")
    ((accepted, _),) = await ask(serving, submission())
    look = head("GET", accepted.headers["location"])

    await ask(serving, look, look, look, unknown, unknown, unknown, submission("nonesuch"), head("GET", "/nowhere"))
    await serving.talk(b"nonsense\r\n\r\n")
    while len(lines.events) < 6:  # after the answer
        await asyncio.sleep(0)

    assert lines.told("method", "status") == [
        *[("HEAD", 404)] * 3,
        ("POST", 422),
        ("GET", 404),
        ("UNKNOWN", 400),
    ]


async def test_an_answer_that_comes_later_has_its_line_when_it_comes(
    start: Start, path: dict[str, object], lines: Lines
) -> None:
    serving = await start(server=path, log={"access": "all"})
    ((accepted, _),) = await ask(serving, submission("hold"))
    target = accepted.headers["location"]
    async with serving.connect() as (reader, writer):
        writer.write(head("GET", target, "Prefer: wait=20"))
        while not serving.waiting.count:
            await asyncio.sleep(0)
        assert lines.told("method") == [("POST",)]
        serving.gate.set()
        assert (await read_answer(reader)).status == 200

    (_, line) = lines.answered()
    assert (line["status"], line["target"]) == (200, target)
    assert line["took_s"] >= 0


async def test_deferred_answers_without_an_error_have_no_line_among_errors(start: Start, lines: Lines) -> None:
    serving = await start(log={"access": "errors"})
    ((accepted, _),) = await ask(serving, submission("hold"))
    target = accepted.headers["location"]
    serving.gate.set()
    await ask(serving, *[head("GET", target, "Prefer: wait=20")] * 3)

    assert lines.events == []


async def test_the_caller_of_a_key_is_its_name_and_no_line_has_the_key(
    start: Start, path: dict[str, object], lines: Lines
) -> None:
    serving = await start(server=path, log={"access": "all"}, auth=auth())
    mine = f"Authorization: Bearer {ANN.text}"
    post = head("POST", "/v1/jobs", mine, body=b'{"type":"echo"}')
    wrong = f"Authorization: Bearer {STRANGER.text}"

    await ask(
        serving, post, post, head("GET", f"/nowhere?key={ANN.text}", mine), head("GET", f"/v1/jobs/{ANN.text}", wrong)
    )

    name = lines.answered()[0]["caller"]
    assert name.endswith("ann")
    assert lines.told("status", "caller", "address") == [
        (202, name, "127.0.0.1"),
        (202, name, "127.0.0.1"),
        (404, name, "127.0.0.1"),
        (401, "127.0.0.1", None),
    ]
    assert ANN.secret not in repr(lines.events)


async def test_a_long_target_is_cut_and_a_malformed_trace_left_out(
    start: Start, path: dict[str, object], lines: Lines
) -> None:
    serving = await start(server=path, log={"access": "all"})

    await ask(serving, head("GET", "/" + "a" * 5000, "traceparent: 00-nonsense"))

    (line,) = lines.answered()
    assert len(line["target"]) <= 200
    assert "traceparent" not in line


async def test_lines_beyond_the_rate_are_counted_instead(start: Start, path: dict[str, object], lines: Lines) -> None:
    serving = await start(server=path, log={"access": "all", "lines_per_s_max": 3})

    await ask(serving, *[head("GET", "/livez")] * 40)

    counted = sum(fields["count"] for event, fields in lines.events if event == "http.unlogged")
    assert counted >= 1
    assert 3 <= len(lines.answered()) < 40


async def test_off_leaves_no_code_of_it_on_any_path(start: Start) -> None:
    off, on = await start(), await start(log={"access": "errors"})

    assert type(off.server.fast_path) is FastPath
    assert type(off.server()) is Connection
    assert off.server._kwargs["access_log"] is None
    assert isinstance(on.server.fast_path, LoggedFastPath)
    assert type(on.server()) is LoggedConnection
    assert on.server.fast_path is not None


async def test_the_access_log_has_no_line_of_an_answer_to_a_lost_client(start: Start, lines: Lines) -> None:
    serving = await start(held, log={"access": "all"})
    wires = [await connected(serving) for _ in range(2)]
    for wire in wires:
        await wire.send(post(LATER))
    keeper = await until_held(serving, 2)
    await wires[0].cut()
    await turns()
    keeper.release()
    await wires[1].send(END)
    await wires[1].received()
    assert len([fields for fields in lines.answered() if fields["method"] == "POST"]) == 1
