"""Turns: large bodies are decoded one at a time, and timers run between them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobqueue.http.request.turns import LARGE_BYTES, Turns
from jobqueue.http.resources import submissions
from tests.http.serving import Serving, post, read_answer


async def test_a_timer_runs_between_two_turns() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str) -> None:
        await turns.next()
        order.append(name)

    async def beat() -> None:
        while True:
            await asyncio.sleep(0)
            order.append("-")

    beating = asyncio.create_task(beat())
    await asyncio.gather(*(work(name) for name in "abc"))
    beating.cancel()
    assert "".join(each for each in order if each != "-") == "abc", "in the order of their requests"
    for sooner, later in ("ab", "bc"):
        assert order[order.index(sooner) : order.index(later)].count("-") >= 2


async def test_a_turn_is_free_again_after_a_pause() -> None:
    turns = Turns()
    await turns.next()
    for _ in range(4):
        await asyncio.sleep(0)
    next_turn = turns.next()
    try:
        next_turn.send(None)
    except StopIteration:
        return
    raise AssertionError("it had to wait although no turn was given of late")


async def test_a_cancelled_turn_is_passed_over() -> None:
    turns = Turns()
    await turns.next()
    cancelled, last = (asyncio.create_task(turns.next()) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await last
    assert cancelled.cancelled()


async def test_large_bodies_of_many_connections_are_decoded_in_different_iterations(
    start: Callable[..., Awaitable[Serving]], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = await start(limits={"body_bytes": 2**20})
    decode, iterations, iteration = submissions.decode_submission, list[int](), 0

    def noted(body: bytes) -> Any:
        iterations.append(iteration)
        return decode(body)

    monkeypatch.setattr(submissions, "decode_submission", noted)

    async def count() -> None:
        nonlocal iteration
        while True:
            await asyncio.sleep(0)
            iteration += 1

    async def one() -> int:
        body = b'{"type":"echo","args":{"value":"' + b"x" * (2 * LARGE_BYTES) + b'"}}'
        async with serving.connect() as (reader, writer):
            writer.write(post(body))
            return (await read_answer(reader)).status

    counting = asyncio.create_task(count())
    statuses = await asyncio.gather(*(one() for _ in range(8)))
    counting.cancel()
    assert statuses == [202] * 8
    assert all(later - sooner >= 2 for sooner, later in itertools.pairwise(iterations)), iterations
