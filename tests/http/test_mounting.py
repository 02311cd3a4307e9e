"""The API mounted in another aiohttp application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from aiohttp import web, web_protocol
from aiohttp.http_parser import HttpRequestParserPy

import jobqueue.http
from jobqueue.app import JobQueue
from jobqueue.config import AuthSettings, LimitsSettings, ServerSettings, Settings, SpoolSettings
from jobqueue.http.assembly import Api
from tests.http.keyed import ANN, BOB, OPS, STRANGER, SUB, auth, bearer
from tests.http.serving import CLOSE, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jobqueue.keys import Key


@contextlib.asynccontextmanager
async def mounted(queue: JobQueue) -> AsyncIterator[str]:
    """Serve an application with one page of its own and the API below /background; yield its URL."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="the host's own")

    app = web.Application()
    app.router.add_get("/", page)
    app.add_subapp("/background", jobqueue.http.application(queue))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an application with one page of its own and the API below /background."""
    queue = JobQueue(
        Settings(
            limits=LimitsSettings(body_bytes=1000, body_timeout_s=0.2),
            spool=SpoolSettings(dir=str(tmp_path)),
        ),
        drain_s=1.0,
    )

    @queue.handler
    async def echo(value: int) -> int:
        return value

    async with mounted(queue) as url:
        yield url
    assert not queue.running


async def test_a_job_can_be_submitted_and_read_below_the_prefix(host: str) -> None:
    async with aiohttp.ClientSession(host) as http:
        async with http.post("/background/v1/jobs", json={"type": "echo", "args": {"value": 7}}) as response:
            assert response.status == 202
            location = response.headers["Location"]
            assert location.startswith("/background/v1/jobs/")
        while True:
            async with http.get(location) as response:
                if response.status == 200:
                    assert (await response.json())["result"] == 7
                    break
            await asyncio.sleep(0.01)


async def test_errors_are_problems_below_the_prefix_only(host: str) -> None:
    async with aiohttp.ClientSession(host) as http:
        for method, path, status in (
            ("GET", "/background/nope", 404),
            ("PUT", "/background/v1/jobs", 405),
            ("POST", "/background/v1/jobs", 415),
        ):
            async with http.request(method, path) as response:
                assert response.status == status
                assert response.content_type == "application/problem+json"
        async with http.post("/background/v1/jobs", json={"type": "echo", "args": {"value": "x" * 2000}}) as response:
            assert response.status == 413
        async with http.get("/") as response:
            assert await response.text() == "the host's own"
        async with http.get("/nope") as response:
            assert response.content_type == "text/plain"


async def test_a_host_application_stops_without_waiting_for_long_polls(tmp_path: Path) -> None:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path))), drain_s=0.0)

    @queue.handler
    async def sleep() -> None:
        await asyncio.sleep(3600)

    app = web.Application()
    app.add_subapp("/background", jobqueue.http.application(queue))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as http:

        async def wait() -> tuple[int, str]:
            async with http.post(
                "/background/v1/jobs", json={"type": "sleep"}, headers={"Prefer": "wait=60"}
            ) as response:
                return response.status, response.headers["Job-State"]

        async with http.get("/background/v1/events") as stream:
            waiting = asyncio.create_task(wait())
            while b"event: started" not in await asyncio.wait_for(stream.content.readline(), 5):
                pass
            await asyncio.wait_for(runner.cleanup(), 5)
            assert await waiting == (202, "running")
            assert (await stream.content.read()).endswith(b"\n\n")


async def test_a_disconnected_stream_of_a_host_application_frees_its_waiter(tmp_path: Path) -> None:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path))), drain_s=0.0)
    api = Api(queue.service)
    app = web.Application()
    api.add_to(app)
    async with queue:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(5):
            while api.waiters.count != 1:
                await asyncio.sleep(0.005)
            writer.close()
            while api.waiters.count:
                await asyncio.sleep(0.005)
        await writer.wait_closed()
        await runner.cleanup()


@pytest.mark.parametrize(("tracebacks", "sent"), [(None, False), (False, False), (True, True)])
async def test_a_host_application_sends_tracebacks_only_when_configured(
    tmp_path: Path, tracebacks: bool | None, sent: bool
) -> None:
    server = ServerSettings(tracebacks=tracebacks)
    queue = JobQueue(Settings(server=server, spool=SpoolSettings(dir=str(tmp_path))), drain_s=0.0)

    @queue.handler
    async def fail() -> None:
        raise ValueError("it can't be done")

    app = web.Application()
    app.add_subapp("/background", jobqueue.http.application(queue))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        job = await queue.submit("fail")
        await job.wait()
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as http,
            http.get(f"/background/v1/jobs/{job.id}") as response,
        ):
            (attempt,) = (await response.json())["history"]
            assert ("Traceback" in (attempt["traceback"] or "")) == sent
    finally:
        await runner.cleanup()


@pytest.fixture
def without_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the host with the Python parser of aiohttp, which reports malformed bodies differently."""
    monkeypatch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)


@pytest.mark.usefixtures("without_c_parser")
async def test_a_malformed_body_is_rejected_with_the_python_parser_too(host: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    try:
        head = "POST /background/v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        await asyncio.sleep(0.05)  # earlier, aiohttp responds before the handler runs
        writer.write(b"nonsense\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"/problems/malformed-request" in answer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_submission_over_a_connection_that_is_reset_is_of_no_other_caller_in_a_host(host: str) -> None:
    port = int(host.rpartition(":")[2])
    submission = post(b'{"type":"echo","args":{"value":7}}', CLOSE, "Idempotency-Key: k")
    submission = submission.replace(b" /v1/", b" /background/v1/", 1)
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.sendall(submission)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(submission)
    assert b" 202 " in await reader.read()
    writer.close()
    async with aiohttp.ClientSession(host) as http, http.get("/background/v1/queues") as response:
        (queue,) = (await response.json())["queues"]
    assert queue["submitted_total"] == 1


async def test_keys_are_checked_below_the_prefix_only_and_change_with_a_reload(tmp_path: Path) -> None:
    keys = msgspec.convert(auth(), AuthSettings)
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path)), auth=keys), drain_s=0.0)

    @queue.handler
    async def echo() -> None: ...

    async with mounted(queue) as url, aiohttp.ClientSession(url) as http:

        async def status(path: str, key: Key | None) -> int:
            async with http.get(path, headers=bearer(key)) as response:
                return response.status

        assert await status("/", None) == 200
        assert await status("/background/readyz", None) == 200
        assert [await status("/background/v1/jobs", key) for key in (None, STRANGER, ANN, SUB)] == [
            401,
            401,
            200,
            403,
        ]
        assert await status("/background/nope", None) == 401
        async with http.post("/background/v1/jobs", json={"type": "echo"}, headers=bearer(ANN)) as response:
            location = response.headers["Location"]
        assert [await status(location, key) in (200, 202) for key in (ANN, BOB, OPS)] == [True, False, True]
        await queue.reload(msgspec.structs.replace(queue.settings, auth=AuthSettings()))
        assert await status("/background/v1/jobs", None) == 200
