"""Waiting for a job by the Python client: by one request if the server waits, by polls if it does not."""

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


async def test_a_wait_ends_when_the_job_does(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold")
    asyncio.get_running_loop().call_later(0.2, serving.gate.set)

    began = time.monotonic()
    job = await call("wait", job.id)

    assert job.result == "held"
    assert time.monotonic() - began < 0.9  # the server would have a poll come after a second


async def test_a_wait_that_takes_too_long_is_a_timeout(call: Call) -> None:
    job = await call("submit", "hold")
    for timeout_s in (0.2, 1.3):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"is still \w+ after {timeout_s} s"):
            await call("wait", job.id, timeout_s=timeout_s)
        assert timeout_s <= time.monotonic() - began < timeout_s + 5


async def test_a_server_that_waits_for_less_is_asked_again_at_once(
    kind: str, start: Callable[..., Awaitable[Serving]]
) -> None:
    serving = await start(limits={"long_poll_max_s": 1.0})
    async with calling(kind, serving.url, timeout_s=0.5) as call:
        job = await call("submit", "hold")
        asyncio.get_running_loop().call_later(1.3, serving.gate.set)
        began = time.monotonic()
        await call("wait", job.id)
        assert time.monotonic() - began < 1.9  # a poll would have come after 2 s


async def test_the_answer_after_a_wait_is_a_new_one_only_if_something_changed(kind: str) -> None:
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
    assert script.header("if-none-match") == [None, 'w/"1"', 'w/"1"']


async def test_a_wait_that_was_cut_short_is_not_repeated_at_full_speed(kind: str) -> None:
    cut = answer(202, document("running", poll_after_ms=300), Preference_Applied="wait=20")
    async with scripted(kind, cut, cut, answer(200, document("succeeded"))) as (call, script):
        await call("wait", "j", timeout_s=20)

    first, second, third = script.times
    assert second - first >= 0.29
    assert third - second >= 0.29


async def test_a_server_that_does_not_wait_is_polled_by_etag_and_as_often_as_it_suggests(
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
