"""`transport=` of the clients: the application in the same process, or a function in place of the network."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from jobqueue import JobContext, JobQueue, JobState, Retry, errors
from jobqueue.client import Answer, Client, ErrorAnswer, FateUnknown, NoAnswer, Request, SyncClient, Unreachable
from jobqueue.config import Settings, SpoolSettings
from jobqueue.http import application
from jobqueue.testing import VirtualLoop, virtual_time
from tests.client.calling import calling, document

if TYPE_CHECKING:
    from collections.abc import Callable

    Answering = Callable[[Request], Answer]


def echoing(folder: Path) -> JobQueue:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(folder))))

    @queue.handler
    async def echo(value: int = 0) -> int:
        return value

    @queue.handler(attempts_max=4)
    async def stubborn(ctx: JobContext) -> int:
        ctx.progress(ctx.attempt / 4)
        if ctx.attempt < 4:
            raise Retry(after_s=600)
        return ctx.attempt

    @queue.handler
    async def sizes(ctx: JobContext) -> dict[str, int]:
        return {name: file.size_bytes for name, file in ctx.files.items()}

    @queue.handler
    async def report(ctx: JobContext) -> None:
        ctx.result_file("text/plain").write_bytes(b"report")

    return queue


async def test_the_application_answers_in_the_same_process(tmp_path: Path) -> None:
    queue = echoing(tmp_path / "spool")
    async with Client(transport=application(queue)) as client:
        assert await client.run("echo", {"value": 5}) == 5
        assert await client.run("sizes", files={"a": b"12345"}) == {"a": 5}
        job = await client.submit("report", wait_s=10)
        assert (await client.result(job.id, to=tmp_path / "r")).read_bytes() == b"report"
        assert [event.state async for event in client.events(job.id)][-1] is JobState.SUCCEEDED
        with pytest.raises(errors.JobNotFound):
            await client.get("x" * 22)
        assert queue.running
    assert not queue.running


@virtual_time
async def test_half_an_hour_of_retries_passes_at_once_behind_a_client(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    began = loop.time()
    async with Client(transport=application(echoing(tmp_path))) as client:
        assert await client.run("stubborn") == 4
    assert loop.time() - began >= 1800


async def test_an_application_runs_on_one_loop_alone(tmp_path: Path) -> None:
    async with Client(transport=application(echoing(tmp_path))) as client:
        await client.queues()
        with pytest.raises(RuntimeError, match="runs on the loop of the first request alone"):
            await asyncio.to_thread(asyncio.run, client.queues())


async def test_an_application_that_fails_to_start_is_the_error_of_each_call() -> None:
    app = web.Application()

    async def fail(app: web.Application) -> None:
        raise LookupError("no database")

    app.on_startup.append(fail)
    client = Client(transport=app)
    for _ in range(2):
        with pytest.raises(LookupError, match="no database"):
            await client.queues()
    await client.close()
    gc.collect()


# -- a function


def standing_in(kind: str, function: Answering, **options: Any) -> Any:
    """Open a client with a function that answers its requests; it is a coroutine for the asynchronous one."""

    async def answering(request: Request) -> Answer:
        return function(request)

    return calling(kind, None, transport=function if kind == "sync" else answering, **options)  # type: ignore[arg-type]


async def test_a_function_answers_instead_of_the_network(kind: str) -> None:
    seen: list[Request] = []

    def answering(request: Request) -> Answer:
        seen.append(request)
        return Answer.of(document("succeeded", result=5), 202, {"Job-Deduplicated": "true"})

    async with standing_in(kind, answering, key="jq_7f3k_abc") as call:
        job = await call("submit", "t", {"a": 1})

    (request,) = seen
    assert (job.result, job.deduplicated) == (5, True)
    assert (request.method, request.target, request.body) == ("POST", "/v1/jobs", b'{"type":"t","args":{"a":1}}')
    assert request.headers["Authorization"] == "Bearer jq_7f3k_abc"
    assert "jq_7f3k" not in repr(request)


@pytest.mark.parametrize(
    ("raised", "name", "expected"),
    [
        (ConnectionRefusedError(), "submit", Unreachable),
        (ConnectionResetError(), "submit", FateUnknown),
        (TimeoutError(), "get", NoAnswer),
        (Unreachable("down"), "get", Unreachable),
        (ZeroDivisionError(), "get", ZeroDivisionError),
    ],
)
async def test_an_error_of_the_function_is_a_failure_of_the_network_or_its_own(
    kind: str, raised: Exception, name: str, expected: type[Exception]
) -> None:
    def failing(request: Request) -> Answer:
        raise raised

    async with standing_in(kind, failing, retry_reads_for_s=0.0) as call:
        with pytest.raises(expected) as failure:
            await call(name, "t")
    assert type(failure.value) is expected


async def test_a_lost_answer_is_sent_again_under_the_same_key(kind: str) -> None:
    keys: list[str] = []

    def flaky(request: Request) -> Answer:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise ConnectionResetError
        return Answer.of(document("queued"), 202)

    async with standing_in(kind, flaky) as call:
        assert (await call("submit", "t", retry_for_s=5)).id == "j"
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_a_function_streams_events_and_files(kind: str, tmp_path: Path) -> None:
    def answering(request: Request) -> Answer:
        if request.target.endswith("/events"):
            body = b'id: 1\nevent: succeeded\ndata: {"id": "j", "state": "succeeded"}\n\n'
            return Answer(200, {"Content-Type": "text/event-stream; charset=utf-8"}, body)
        return Answer(200, {"Content-Type": "image/png"}, b"pixels")

    async with standing_in(kind, answering) as call:
        assert [event.name for event in await call("events", "j")] == ["succeeded"]
        assert (await call("result", "j", to=tmp_path / "r")).read_bytes() == b"pixels"


@pytest.mark.parametrize("answer", [None, {"id": "j"}, b"{}", 200])
async def test_a_function_that_returns_no_answer_is_an_error(kind: str, answer: Any) -> None:
    async with standing_in(kind, lambda request: answer) as call:
        with pytest.raises(TypeError, match="transport must return an Answer"):
            await call("get", "j")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}, b""),
        Answer(200, {"content-type": "text/html"}, b"<html>"),
        Answer(200, {}, b"[" * 100_000),
        Answer(200, {}, b'{"id": 5}'),
        Answer(299, {}, b"\xff"),
        Answer(999, {}, b"?"),
        Answer(-1, {}, b""),
        Answer(302, {"location": "http://elsewhere"}, b""),
    ],
)
async def test_nonsense_is_an_error_answer(kind: str, answer: Answer) -> None:
    async with standing_in(kind, lambda request: answer, retry_reads_for_s=0.0) as call:
        for name in ("get", "status", "queues", "list"):
            if name == "status" and answer.status == 200:
                continue
            with pytest.raises((ErrorAnswer, NoAnswer)):
                await call(name, *(["j"] if name in ("get", "status") else []))


def test_a_blocking_client_rejects_a_coroutine_as_transport() -> None:
    async def answering(request: Request) -> Answer:
        return Answer.of({})

    with pytest.raises(TypeError, match="transport of a SyncClient must be a plain function"):
        SyncClient(transport=answering).queues()  # type: ignore[arg-type]
