"""Data that handlers publish while they run: on the loop, in threads and in processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.core.events import Submitted
from jobqueue.errors import QueueFull, Retry, StaleLease
from jobqueue.handlers import submission_of
from jobqueue.testing import EventRecorder
from tests.runtime.pools import blocking
from tests.runtime.test_children import PLACES, make_queue

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.handlers import RunIn


def subscribe(queue: JobQueue, *, first_in: str = "default") -> None:
    """Register the subscribers `first` and `second` of the topic `a`."""

    @queue.on("a", queue=first_in)
    async def first(data: Any) -> Any:
        return data

    @queue.on("a", ">")
    async def second(topic: str) -> str:
        return topic


async def test_a_handler_on_the_loop_awaits_the_ids_of_the_jobs() -> None:
    queue = JobQueue()
    subscribe(queue)

    @queue.handler
    async def start(ctx: JobContext) -> list[str]:
        ids: list[str] = await ctx.publish("a", {"n": 1})
        return ids

    async with queue:
        ids = await (await queue.submit("start")).result()
        assert [await queue.job(each).result() for each in ids] == [{"n": 1}, "a"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_handler_elsewhere_blocks_until_the_jobs_are_accepted(tmp_path: Path, place: RunIn) -> None:
    queue = make_queue(tmp_path, place, blocking.publish)
    subscribe(queue)
    async with queue:
        ids = await (await queue.submit("publish", {"topic": "a", "data": [1, "é"]})).result()
        assert [await queue.job(each).result() for each in ids] == [[1, "é"], "a"]
        none = await (await queue.submit("publish", {"topic": "a.b", "data": None})).result()
        assert [await queue.job(each).result() for each in none] == ["a.b"]


@pytest.mark.parametrize("place", PLACES)
async def test_faults_of_a_publish_are_raised_where_the_handler_runs(tmp_path: Path, place: RunIn) -> None:
    async with make_queue(tmp_path, place, blocking.publish_wrongly) as queue:
        pointers = await (await queue.submit("publish_wrongly")).result()
        assert pointers == ["/topic", "/topic", "/data", "/key"]


async def test_the_jobs_belong_to_the_caller_and_owner_of_the_publishing_job() -> None:
    queue = JobQueue()
    subscribe(queue)

    @queue.handler
    async def start(ctx: JobContext) -> list[str]:
        ids: list[str] = await ctx.publish("a")
        return ids

    async with queue:
        accepted = await queue.service.accept(submission_of({"type": "start"}), caller="key:a", owner="key:a")
        for each in await queue.job(accepted.job.id).result():
            job = await queue.job(each).wait()
            assert (job.caller, job.owner) == ("key:a", "key:a")


async def test_a_repeated_attempt_gets_the_jobs_that_it_has_published_under_a_key() -> None:
    queue = JobQueue()
    subscribe(queue)
    seen = []

    @queue.handler(attempts_max=2)
    async def start(ctx: JobContext) -> None:
        seen.append(await ctx.publish("a", 1, key="k" * 255))
        if ctx.attempt == 1:
            raise Retry(after_s=0)

    async with queue:
        recorder = EventRecorder(queue)
        await (await queue.submit("start")).result()
        await (await queue.submit("start")).result()
        assert seen[0] == seen[1]
        assert set(seen[2]).isdisjoint(seen[0])
        assert len(recorder.of(Submitted)) == 2 + 2 * 2


async def test_an_attempt_that_is_over_publishes_nothing() -> None:
    queue, contexts = JobQueue(), []

    @queue.handler
    async def leave(ctx: JobContext) -> None:
        contexts.append(ctx)

    async with queue:
        await (await queue.submit("leave")).result()
        with pytest.raises(StaleLease):
            await contexts[0].publish("a")


@pytest.mark.parametrize("place", PLACES)
async def test_a_full_queue_rejects_data_that_a_handler_publishes(tmp_path: Path, place: RunIn) -> None:
    queue = make_queue(tmp_path, place, blocking.publish, capacity=2)
    subscribe(queue, first_in="small")
    async with queue:
        await queue.pause("small")
        for _ in range(2):
            await queue.submit("echo", {"value": 1}, queue="small")
        job = await (await queue.submit("publish", {"topic": "a", "data": 1})).wait()
        assert job.error is not None
        assert QueueFull.__name__ in job.error.message
        await queue.resume("small")
