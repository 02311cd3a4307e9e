"""Responses under a shortage of memory or of file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from jobqueue.http.request import json_body
from jobqueue.http.response.problems import problem_of
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

SHORT = """
import resource, sys
from jobqueue.http.request.json_body import decode_batch, decode_submission
body = b'{"type":"echo","args":{"v":[' + b",".join([b"[1,2,3]"] * 200_000) + b"]}}"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**20, -1))
try:
    decode_submission(body)
except MemoryError:
    sys.exit(3)
"""


def test_decoding_without_memory_raises_memory_error() -> None:
    assert subprocess.run([sys.executable, "-c", SHORT], check=False).returncode == 3


@pytest.mark.parametrize("headers", [(), ("Prefer: wait=0",)])
async def test_a_valid_submission_without_memory_gets_503(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, headers: tuple[str, ...]
) -> None:
    def parse(body: bytes) -> object:
        raise orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0)

    monkeypatch.setattr(json_body, "_parse", parse)
    answer = Answer(await serving.talk(post(b'{"type":"echo"}', CLOSE, *headers)))
    assert (answer.status, answer.kind, answer.headers["retry-after"]) == (503, "overloaded", "2")
    assert "memory" in answer.problem["detail"]


def test_a_memory_error_becomes_a_503_problem() -> None:
    problem = problem_of(MemoryError())
    assert (problem.row.status, problem.members["retry_after_s"]) == (503, 2.0)


async def test_downloads_beyond_the_descriptors_get_503_and_connections_continue(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    serving.descriptors.files_max = 3
    handle = await serving.queue.submit("report", {"size": 32 * 2**20})
    await handle.wait()
    get = f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    async with contextlib.AsyncExitStack() as slow:
        for _ in range(3):
            _, writer = await slow.enter_async_context(serving.connect())
            writer.transport.pause_reading()
            writer.write(get)
        while serving.descriptors.open < 3:
            await asyncio.sleep(0.01)
        async with serving.connect() as (reader, writer):
            writer.write(get)
            refused = await read_answer(reader)
            assert (refused.status, refused.kind, refused.headers["retry-after"]) == (503, "overloaded", "2")
            writer.write(post(b'{"type":"echo"}'))
            assert (await read_answer(reader)).status == 202
    while serving.descriptors.open:
        await asyncio.sleep(0.01)
