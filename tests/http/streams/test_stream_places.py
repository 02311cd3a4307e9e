"""Streams of all jobs, and of topics: how callers share them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.http.keyed import ANN, BOB, OPS, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobqueue.keys import Key
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

STREAMS = {"/v1/events": "events.ALL_MAX", "/v1/topics/a/events": "topics.LISTENERS_MAX"}


async def opened(http: aiohttp.ClientSession, path: str, key: Key, streams: AsyncExitStack) -> tuple[int, str]:
    """Open a stream; return the status, and the detail of a rejection."""
    response = await streams.enter_async_context(http.get(path, headers=bearer(key)))
    return response.status, "" if response.status == 200 else (await response.json())["detail"]


@pytest.mark.parametrize("path", STREAMS)
async def test_no_key_gets_all_streams_and_each_gets_one_that_is_free(
    start: Start, http_to: Open, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(f"jobqueue.http.resources.{STREAMS[path]}", 4)
    http = await http_to(await start(auth=auth()))
    async with AsyncExitStack() as others:
        async with AsyncExitStack() as streams:
            answers = [(await opened(http, path, ANN, streams))[0] for _ in range(2)]
            status, detail = await opened(http, path, ANN, streams)
            assert ([*answers, status], "2 of 4" in detail) == ([200, 200, 429], True)
            assert [(await opened(http, path, BOB, others))[0] for _ in range(2)] == [200, 429]
            assert (await opened(http, path, OPS, others))[0] == 200
            status, detail = await opened(http, path, BOB, others)
            assert (status, "at most 4" in detail) == (503, True)
        async with asyncio.timeout(10):
            while (await opened(http, path, BOB, others))[0] != 200:  # the server hears of the ends
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", STREAMS)
async def test_a_rejected_stream_tells_the_limits_of_its_caller(
    start: Start, http_to: Open, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(f"jobqueue.http.resources.{STREAMS[path]}", 2)
    keys = auth()
    keys["keys"]["ann"]["limits"] = {"waits_max": 10}
    http = await http_to(await start(auth=keys))
    async with AsyncExitStack() as streams:
        assert (await opened(http, path, ANN, streams))[0] == 200
        async with http.get(path, headers=bearer(ANN)) as response:
            assert (response.status, response.headers["RateLimit-Policy"]) == (
                429,
                '"waits";q=10;qu="concurrent-requests"',
            )
