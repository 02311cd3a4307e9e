"""Flows in one process: graphs, their results, and what handlers read of the jobs before theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobContext, JobFailed, JobQueue, JobState, chain, flow, group
from jobqueue.config import QueueSettings, RuntimeSettings, Settings, SpoolSettings
from jobqueue.errors import InvalidSubmission, JobNotFound, QueueFull, WrongState
from tests.runtime.pools import blocking

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.handlers import RunIn


def make_queue(settings: Settings | None = None) -> JobQueue:
    queue = JobQueue(settings)

    @queue.handler
    async def echo(value: Any = None) -> Any:
        return value

    @queue.handler
    async def gather(ctx: JobContext) -> dict[str, Any]:
        return {name: parent.result for name, parent in ctx.parents.items()}

    @queue.handler
    async def fail(message: str = "no") -> None:
        raise ValueError(message)

    return queue


async def test_the_result_of_a_flow_is_that_of_its_last_job() -> None:
    graph = chain(group({"type": "echo", "args": {"value": 1}}, {"type": "echo", "args": {"value": 2}}), "gather")
    async with make_queue() as queue:
        assert await (await queue.submit_flow(graph)).result() == {"echo": 1, "echo-2": 2}


async def test_the_result_of_a_flow_with_several_last_jobs_is_theirs_by_name() -> None:
    async with make_queue() as queue:
        handle = await queue.submit_flow(group({"type": "echo", "args": {"value": 1}}, "gather"))
        assert await handle.result() == {"echo": 1, "gather": {}}


async def test_a_flow_that_failed_raises_the_error_of_the_job_that_failed() -> None:
    async with make_queue() as queue:
        handle = await queue.submit_flow(chain("echo", {"type": "fail", "args": {"message": "why"}}, "gather"))
        with pytest.raises(JobFailed, match=r"job fail: .*why") as raised:
            await handle.result()
        assert (raised.value.state, raised.value.code) == ("failed", "handler_error")
        status = await handle.status()
        assert (status.state, status.counts[JobState.CANCELLED]) == ("failed", 1)
        last = await (await handle.job("gather")).wait()
        assert last.error is not None
        assert last.error.code == "parent_failed"
        with pytest.raises(KeyError, match="has no job 'nothing'; the first ones: echo, fail, gather"):
            await handle.job("nothing")


async def test_a_retry_of_a_flow_runs_the_jobs_that_have_not_succeeded() -> None:
    queue, runs = make_queue(), []

    @queue.handler
    async def flaky() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("the first time")
        return "done"

    async with queue:
        handle = await queue.submit_flow(chain({"type": "echo", "args": {"value": 1}}, "flaky", "gather"))
        assert (await handle.wait()).state == "failed"
        assert (await handle.retry()).state == "running"
        assert await handle.result() == {"flaky": "done"}
        with pytest.raises(WrongState):
            await handle.retry()
        assert (await (await handle.job("echo")).status()).attempt == 1


async def test_a_flow_is_cancelled_as_a_whole() -> None:
    async with make_queue() as queue:
        handle = await queue.submit_flow(chain({"type": "echo", "delay_s": 3600}, "gather", "gather"))
        await handle.cancel()
        assert (await handle.wait()).counts == {JobState.CANCELLED: 3}
        with pytest.raises(JobFailed, match="cancelled"):
            await handle.result()


async def test_a_wait_for_a_flow_has_an_end() -> None:
    async with make_queue() as queue:
        handle = await queue.submit_flow(chain({"type": "echo", "delay_s": 3600}, "gather"))
        with pytest.raises(TimeoutError, match="still runs after 0 s"):
            await handle.wait(timeout_s=0)
        await handle.cancel()


async def test_a_job_comes_after_others_and_reads_their_results_by_id() -> None:
    async with make_queue() as queue:
        first, second = [await queue.submit("echo", {"value": number}) for number in (1, 2)]
        child = await queue.submit("gather", after=[first, second.id])
        assert await child.result() == {first.id: 1, second.id: 2}


async def test_a_child_of_a_failed_parent_runs_if_it_says_so_and_sees_the_state() -> None:
    queue = make_queue()

    @queue.handler
    async def look(ctx: JobContext) -> list[str | None]:
        (parent,) = ctx.parents.values()
        with pytest.raises(JobFailed, match=r"handler_error: .*no"):
            parent.result  # noqa: B018  # a property that raises
        return [parent.state, parent.type, parent.name]

    async with queue:
        failed = await queue.submit("fail")
        child = await queue.submit("look", after=[failed], on_failure="run")
        assert await child.result() == ["failed", "fail", failed.id]


@pytest.mark.parametrize("place", ["thread", "process"])
async def test_a_handler_elsewhere_reads_its_parents_results_and_files(tmp_path: Path, place: RunIn) -> None:
    settings = Settings(runtime=RuntimeSettings(processes=1), spool=SpoolSettings(dir=str(tmp_path)))
    queue = JobQueue(settings)
    for handler in (blocking.echo, blocking.write_result, blocking.read_parents):
        queue.handler(run_in=place)(handler)
    graph = chain(group({"type": "echo", "args": {"value": "é" * 200_000}}, "write_result"), "read_parents")
    async with queue:
        told = await (await queue.submit_flow(graph)).result()
    assert told == {"echo": ["é" * 200_000, None], "write_result": [None, "twelve bytes"]}


async def test_a_handler_fans_out_within_its_flow_and_joins() -> None:
    queue = make_queue()

    @queue.handler
    async def split(ctx: JobContext, parts: int) -> None:
        ids = [
            await ctx.submit("echo", {"value": part}, name=f"part-{part}", after=[ctx.job_id]) for part in range(parts)
        ]
        await ctx.submit("gather", name="joined", after=ids)

    async with queue:
        handle = await queue.submit_flow(chain({"type": "split", "args": {"parts": 3}}))
        assert await handle.result() == {"part-0": 0, "part-1": 1, "part-2": 2}
        assert [job.name for job in (await handle.status()).jobs] == ["split", "part-0", "part-1", "part-2", "joined"]


async def test_a_graph_with_a_fault_is_refused_whole() -> None:
    graph = flow()
    graph.job("echo", name="a", after=["b"])
    graph.job("echo", name="b", after=["a"])
    async with make_queue() as queue:
        with pytest.raises(InvalidSubmission, match="a cycle of 2 jobs"):
            await queue.submit_flow(graph)
        with pytest.raises(TypeError, match="has no option 'prioritty'"):
            await queue.submit_flow(chain({"type": "echo", "prioritty": 1}))
        with pytest.raises(InvalidSubmission, match="/jobs/1/args"):
            await queue.submit_flow(chain("echo", {"type": "echo", "args": {"value": object()}}))
        with pytest.raises(JobNotFound):
            await queue.submit("echo", after=["nothing"])
        assert queue.service.backend.stats()[0].accepted_total == 0


async def test_a_graph_without_slots_for_all_of_it_is_refused_whole() -> None:
    async with make_queue(Settings(queues={"default": QueueSettings(capacity=2)})) as queue:
        with pytest.raises(InvalidSubmission, match="/jobs: 3 of these jobs are for queue 'default'"):
            await queue.submit_flow(group("echo", "echo", "echo"))
        only = await queue.submit("echo", delay_s=3600)
        with pytest.raises(QueueFull):
            await queue.submit_flow(group("echo", "echo"))
        await only.cancel()
        assert queue.service.backend.stats()[0].accepted_total == 1


async def test_a_context_without_parents_has_none() -> None:
    async with make_queue() as queue:
        assert await (await queue.submit("gather")).result() == {}
