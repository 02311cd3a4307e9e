"""Traces: the `traceparent` of a submission's request, in log lines and for the handler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.config import Settings, SpoolSettings
from jobqueue.handlers import Submission
from jobqueue.log import EventMessage
from jobqueue.testing import inline
from tests.http.serving import read_answer
from tests.runtime.pools import blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"fail"}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n--b--\r\n'
)
BODIES = {
    "one": ("/v1/jobs", "application/json", b'{"type":"fail"}'),
    "with options": ("/v1/jobs", "application/json", b'{"type":"fail","priority":2,"unique":"u"}'),
    "with a key": ("/v1/jobs", 'application/json\r\nIdempotency-Key: "k"', b'{"type":"fail"}'),
    "waited for": ("/v1/jobs", "application/json\r\nPrefer: wait=5", b'{"type":"fail"}'),
    "with a file": ("/v1/jobs", "multipart/form-data; boundary=b", FORM),
    "in a batch": ("/v1/jobs:batch", "application/json", b'{"jobs":[{"type":"fail"}]}'),
}


def failures(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    messages = [record.msg for record in caplog.records]
    return [dict(it.fields) for it in messages if isinstance(it, EventMessage) and it.event == "job.failed"]


def post(kind: str, *lines: str) -> bytes:
    path, media_type, body = BODIES[kind]
    head = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


async def fail(serving: Serving, request: bytes) -> None:
    """Submit a job that fails, and wait for its end."""
    async with serving.connect() as (reader, writer):
        writer.write(request)
        answer = await read_answer(reader)
    assert answer.status in (200, 202, 207)
    document = json.loads(answer.rest)
    job_id = document["jobs"][0]["id"] if "jobs" in document else document["id"]
    await serving.queue.job(job_id).wait()


@pytest.mark.parametrize("kind", list(BODIES))
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
async def test_the_line_of_a_failure_has_the_trace_of_the_submission(
    start: Start, caplog: pytest.LogCaptureFixture, kind: str, fast_path: bool
) -> None:
    serving = await start(server={"fast_path": fast_path, "hosts": ["h"]})

    await fail(serving, post(kind, f"Traceparent: {TRACE}"))

    assert [fields["traceparent"] for fields in failures(caplog)] == [TRACE]


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
async def test_requests_without_a_trace_after_one_with_it_have_none(
    start: Start, caplog: pytest.LogCaptureFixture, fast_path: bool
) -> None:
    serving = await start(server={"fast_path": fast_path, "hosts": ["h"]})

    for request in (post("one"), post("one", f"traceparent: {TRACE}"), post("one"), post("one")):
        await fail(serving, request)

    assert [fields.get("traceparent") for fields in failures(caplog)] == [None, TRACE, None, None]


async def test_handlers_and_their_log_records_have_the_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path))))
    seen: list[str | None] = []

    @queue.handler
    async def on_loop(ctx: JobContext) -> None:
        seen.append(ctx.traceparent)
        ctx.log.warning("from the loop")

    @queue.handler(run_in="thread")
    def in_thread(ctx: JobContext) -> None:
        seen.append(ctx.traceparent)
        ctx.log.warning("from the thread")

    queue.handler(run_in="process", name="in_process")(blocking.trace)

    async with inline(queue):
        for type in ("on_loop", "in_thread", "in_process"):
            result = await queue.service.accept(Submission(type=type), traceparent=TRACE)
            if type == "in_process":
                assert result.job.result is not None
                seen.append(json.loads(result.job.result))

    assert seen == [TRACE] * 3
    told = {record.getMessage(): getattr(record, "traceparent", None) for record in caplog.records}
    for place in ("loop", "thread", "process"):
        assert told[f"from the {place}"] == TRACE
