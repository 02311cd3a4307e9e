"""Waits of the Python clients: by long polls, or by polls of a server without long polling."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.client.calling import answer, calling, document, refusal, scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.client.calling import Call
    from tests.http.serving import Serving


async def test_wait_returns_as_soon_as_the_job_is_terminal(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold")
    asyncio.get_running_loop().call_later(0.2, serving.gate.set)

    began = time.monotonic()
    job = await call("wait", job.id)

    assert job.result == "held"
    assert time.monotonic() - began < 0.9  # a poll would come after a second


async def test_wait_raises_timeout_error_after_timeout_s(call: Call) -> None:
    job = await call("submit", "hold")
    for timeout_s in (0.2, 1.3):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"is still \w+ after {timeout_s} s"):
            await call("wait", job.id, timeout_s=timeout_s)
        assert timeout_s <= time.monotonic() - began < timeout_s + 5


async def test_wait_repeats_a_long_poll_that_the_server_shortened(
    kind: str, start: Callable[..., Awaitable[Serving]]
) -> None:
    serving = await start(limits={"long_poll_max_s": 1.0})
    async with calling(kind, serving.url, timeout_s=0.5) as call:
        job = await call("submit", "hold")
        asyncio.get_running_loop().call_later(1.3, serving.gate.set)
        began = time.monotonic()
        await call("wait", job.id)
        assert time.monotonic() - began < 1.9  # a poll would have come after 2 s


async def test_long_polls_are_conditional_and_ask_for_the_remaining_time(kind: str) -> None:
    applied = {"Preference_Applied": "wait=1"}
    answers = (
        answer(202, document("queued"), ETag='W/"1"', **applied),
        answer(304, ETag='W/"1"', Retry_After="1", **applied),
        answer(200, document("succeeded", result=5), **applied),
    )
    async with scripted(kind, *answers) as (call, script):
        job = await call("wait", "j", timeout_s=20)

    assert job.result == 5
    assert script.header("prefer") == ["wait=20", "wait=19", "wait=18"]
    assert script.header("if-none-match") == [None, 'W/"1"', 'W/"1"']


async def test_wait_pauses_after_a_long_poll_that_ended_early(kind: str) -> None:
    cut = answer(202, document("running", poll_after_ms=300), Preference_Applied="wait=20")
    async with scripted(kind, cut, cut, answer(200, document("succeeded"))) as (call, script):
        await call("wait", "j", timeout_s=20)

    first, second, third = script.times
    assert second - first >= 0.29
    assert third - second >= 0.29


async def test_wait_polls_by_etag_at_the_suggested_interval_without_long_polling(
    kind: str,
) -> None:
    answers = (
        answer(202, document("queued", poll_after_ms=100), ETag='W/"1"', Retry_After="1"),
        answer(304, ETag='W/"1"'),
        refusal("overloaded", 1),
        answer(200, document("succeeded", result=5), ETag='W/"3"'),
    )
    async with scripted(kind, *answers) as (call, script):
        job = await call("wait", "j", timeout_s=30)

    assert job.result == 5
    assert ["If-None-Match" in head for head in script.heads] == [False, True, True, True]
    pauses = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert 0.09 <= pauses[0] < 0.9  # a timer may round by a millisecond
    assert 0.1 <= pauses[1] < 0.9
    assert pauses[2] >= 1.0
