"""Jobs that handlers submit while they run: on the loop, in threads and in processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobFailed, JobQueue, chain
from jobqueue.config import QueueSettings, RuntimeSettings, Settings, SpoolSettings
from jobqueue.core.events import Submitted
from jobqueue.errors import InvalidSubmission, KeyReused, QueueFull, Retry, StaleLease
from jobqueue.handlers import submission_of
from jobqueue.testing import EventRecorder
from tests.runtime.pools import blocking

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.handlers import RunIn

PLACES: tuple[RunIn, ...] = ("thread", "process")


def make_queue(tmp_path: Path, place: RunIn, *handlers: Any, capacity: int = 1000) -> JobQueue:
    settings = Settings(
        runtime=RuntimeSettings(processes=1, threads=2),
        spool=SpoolSettings(dir=str(tmp_path)),
        queues={"default": QueueSettings(), "small": QueueSettings(capacity=capacity)},
    )
    queue = JobQueue(settings)
    for handler in (blocking.echo, *handlers):
        queue.handler(run_in=place)(handler)
    return queue


async def test_a_handler_on_the_loop_awaits_the_id_of_its_child() -> None:
    queue = JobQueue()

    @queue.handler
    async def double(value: int) -> int:
        return 2 * value

    @queue.handler
    async def start(ctx: JobContext) -> str:
        return str(await ctx.submit("double", {"value": 4}, priority=3))

    async with queue:
        child = queue.job(await (await queue.submit("start")).result())
        assert await child.result() == 8
        assert (await child.status()).spec.priority == 3


@pytest.mark.parametrize("place", PLACES)
async def test_a_handler_elsewhere_blocks_until_its_child_is_accepted(tmp_path: Path, place: RunIn) -> None:
    async with make_queue(tmp_path, place, blocking.submit) as queue:
        job = await queue.submit("submit", {"type": "echo", "options": {}, "args": {"value": [1, "é"]}})
        assert await queue.job(await job.result()).result() == [1, "é"]


@pytest.mark.parametrize("place", PLACES)
async def test_the_threads_of_a_handler_submit_each_in_its_turn(tmp_path: Path, place: RunIn) -> None:
    async with make_queue(tmp_path, place, blocking.submit_many) as queue:
        ids = await (await queue.submit("submit_many", {"count": 20})).result()
        assert [await queue.job(each).result() for each in ids] == list(range(20))


@pytest.mark.parametrize("place", PLACES)
async def test_an_error_of_a_submission_is_raised_where_the_handler_runs(tmp_path: Path, place: RunIn) -> None:
    async with make_queue(tmp_path, place, blocking.caught, capacity=1) as queue:

        async def error_of(type: str, options: dict[str, Any]) -> dict[str, Any]:
            job = await queue.submit("caught", {"type": type, "options": options})
            told: dict[str, Any] = await job.result()
            return told

        unknown = await error_of("nothing", {})
        assert (unknown["kind"], unknown["pointers"]) == ("UnknownType", ["/type"])
        invalid = await error_of("echo", {"priority": 10})
        assert (invalid["kind"], invalid["pointers"]) == ("InvalidSubmission", ["/priority"])
        only = await queue.submit("echo", queue="small", delay_s=60)
        full = await error_of("echo", {"queue": "small"})
        assert full["kind"] == "QueueFull"
        assert full["retry_after_s"] > 0
        await only.cancel()
        held = await queue.submit("echo", unique="a", delay_s=60)
        twin = await error_of("echo", {"unique": {"value": "a", "mode": "reject"}})
        assert (twin["kind"], twin["job_id"]) == ("Duplicate", held.id)
        await held.cancel()


async def test_a_child_belongs_to_the_caller_and_owner_of_its_job_and_has_its_span() -> None:
    queue = JobQueue()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @queue.handler
    async def nothing() -> None: ...

    @queue.handler
    async def start(ctx: JobContext) -> str:
        return str(await ctx.submit("nothing"))

    async with queue:
        accepted = await queue.service.accept(
            submission_of({"type": "start"}), caller="key:a", owner="key:a", traceparent=traceparent
        )
        child = await queue.job(await queue.job(accepted.job.id).result()).wait()
        assert (child.caller, child.owner, child.spec.traceparent) == ("key:a", "key:a", traceparent)


async def test_a_repeated_attempt_gets_the_child_that_it_has_submitted_under_a_key() -> None:
    queue = JobQueue()

    @queue.handler
    async def nothing() -> None: ...

    @queue.handler(attempts_max=2)
    async def start(ctx: JobContext) -> list[str]:
        ids = [str(await ctx.submit("nothing", key=key)) for key in ("a", "b", "a")]
        if ctx.attempt == 1:
            raise Retry(after_s=0)
        return ids

    async with queue:
        recorder = EventRecorder(queue)
        first, second, again = await (await queue.submit("start")).result()
        assert first == again != second
        assert len(recorder.of(Submitted)) == 3
        other = await (await queue.submit("start")).result()
        assert set(other).isdisjoint({first, second})


async def test_a_key_is_for_one_child() -> None:
    queue = JobQueue()

    @queue.handler
    async def echo(value: int) -> int:
        return value

    @queue.handler
    async def start(ctx: JobContext) -> None:
        await ctx.submit("echo", {"value": 1}, key="a")
        with pytest.raises(KeyReused):
            await ctx.submit("echo", {"value": 2}, key="a")

    async with queue:
        await (await queue.submit("start")).result()


async def test_an_attempt_that_is_over_submits_nothing() -> None:
    queue, contexts = JobQueue(), []

    @queue.handler
    async def leave(ctx: JobContext) -> None:
        contexts.append(ctx)

    async with queue:
        await (await queue.submit("leave")).result()
        with pytest.raises(StaleLease, match=r"attempt 1 of job .* is over"):
            await contexts[0].submit("leave")


async def test_an_attempt_of_a_cancelled_flow_submits_and_publishes_nothing_more() -> None:
    queue, running, refused = JobQueue(), asyncio.Event(), []

    @queue.handler
    async def nothing() -> None: ...

    @queue.on("a")
    async def hear() -> None: ...

    @queue.handler
    async def start(ctx: JobContext) -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            for late in (ctx.submit("nothing"), ctx.publish("a")):
                try:
                    await late
                except StaleLease:
                    refused.append(late)

    async with queue:
        flow = await queue.submit_flow(chain("start"))
        await running.wait()
        await flow.cancel()
        ended = await flow.wait()
    assert len(refused) == 2
    assert (ended.state, len(ended.jobs)) == ("cancelled", 1)


async def test_a_thread_that_a_handler_leaves_in_its_process_submits_nothing(tmp_path: Path) -> None:
    async with make_queue(tmp_path, "process", blocking.leave_thread, blocking.hear_thread) as queue:
        await (await queue.submit("leave_thread")).result()
        assert await (await queue.submit("hear_thread")).result() == ["the attempt is over"]


async def test_wrong_options_of_a_child_are_refused_before_it_is_submitted() -> None:
    queue = JobQueue()

    @queue.handler
    async def start(ctx: JobContext) -> None:
        with pytest.raises(TypeError, match="has no option 'prioritty'; did you mean 'priority'"):
            await ctx.submit("start", prioritty=1)
        with pytest.raises(InvalidSubmission, match="/args"):
            await ctx.submit("start", {"x": object()})
        with pytest.raises(InvalidSubmission, match="/key"):
            await ctx.submit("start", key="ü")
        with pytest.raises(InvalidSubmission, match="a key or a unique value"):
            await ctx.submit("start", key="a", unique="b")

    async with queue:
        await (await queue.submit("start")).result()


async def test_a_full_queue_refuses_a_child_and_the_job_may_handle_it() -> None:
    queue = JobQueue(Settings(queues={"default": QueueSettings(capacity=1)}))

    @queue.handler
    async def start(ctx: JobContext) -> str:
        with pytest.raises(QueueFull):
            await ctx.submit("start")
        return "alone"

    async with queue:
        assert await (await queue.submit("start")).result() == "alone"


async def test_an_unhandled_error_of_a_child_fails_the_job() -> None:
    queue = JobQueue()

    @queue.handler
    async def start(ctx: JobContext) -> None:
        await ctx.submit("nothing")

    async with queue:
        with pytest.raises(JobFailed, match="no handler has the type 'nothing'"):
            await (await queue.submit("start")).result()


def test_a_context_without_a_queue_submits_nothing() -> None:
    context = JobContext(job_id="a", attempt=1, group=None, files={}, folder=lambda: None, on_progress=print)  # type: ignore[arg-type, return-value]  # a context as tests of handlers make it
    with pytest.raises(RuntimeError, match="belongs to no running queue"):
        context.submit("echo")
