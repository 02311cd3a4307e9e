"""Waits for jobs that another process runs, and the cache of records that have ended."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.backend.valkey.watches import LOOK_S_MAX
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.report import ErrorCode, Failure, Progress, Success
from jobqueue.errors import JobGone, JobNotFound, StoreUnavailable
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import Fleet, Server, pass_time


async def run_elsewhere(server: Server, after_s: float) -> None:
    lease = await server.backend.lease()
    await pass_time(after_s)
    await server.backend.ack(lease.job_id, lease.attempt, Success(b"1"))


@pytest.mark.parametrize("run_s", [0.0, 3.0, 60.0])
@virtual_time
async def test_an_end_elsewhere_is_seen_soon(fleet: Fleet, run_s: float) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    waiting = asyncio.create_task(server.backend.wait(job.id))
    await run_elsewhere(other, run_s)
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.result().result == b"1"


@virtual_time
async def test_a_short_job_elsewhere_is_seen_within_a_tenth_of_a_second(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    waiting = asyncio.create_task(server.backend.wait(job.id))
    await run_elsewhere(other, 0.02)
    await pass_time(0.1)
    assert waiting.done()


@virtual_time
async def test_a_change_elsewhere_is_seen_and_a_removal_is_one(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    seen = {job.id: (await server.backend.get(job.id)).version}
    waiting = asyncio.create_task(server.backend.wait_for_change(seen))
    await pass_time(5)
    assert not waiting.done()
    await other.leased()
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.done()
    seen = {job.id: (await server.backend.get(job.id)).version}
    waiting = asyncio.create_task(server.backend.wait_for_change(seen))
    await other.backend.report(job.id, 1, Progress(0.5))
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.done()
    await other.backend.ack(job.id, 1, Success(b"1"))
    seen = {job.id: (await other.backend.get(job.id)).version}
    waiting = asyncio.create_task(server.backend.wait_for_change(seen))
    await other.backend.delete(job.id)
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.done()


@virtual_time
async def test_a_wait_for_a_job_that_is_removed_elsewhere_ends_as_gone(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit(JobSpec(type="t"))
    waiting = asyncio.create_task(server.backend.wait(job.id))
    await pass_time(5)
    await other.backend.cancel(job.id)
    await other.backend.delete(job.id)
    await pass_time(LOOK_S_MAX + 0.1)
    with pytest.raises(JobGone):
        waiting.result()


@virtual_time
async def test_many_waits_are_looked_at_in_few_calls(fleet: Fleet) -> None:
    server = await fleet.server()
    jobs = [await server.submit() for _ in range(50)]
    waits = [asyncio.create_task(server.backend.wait(job.id)) for job in jobs]
    await pass_time(10)
    before = server.calls.asked.count("look")
    await pass_time(10)
    assert server.calls.asked.count("look") - before <= 12
    for wait in waits:
        wait.cancel()
    await pass_time(2)
    before = server.calls.asked.count("look")
    await pass_time(10)
    assert server.calls.asked.count("look") == before, "nothing is waited for any more"


@virtual_time
async def test_a_wait_outlasts_a_store_that_is_out(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    waiting = asyncio.create_task(server.backend.wait(job.id))
    await pass_time(1)
    server.freeze()
    await run_elsewhere(other, 1.0)
    await pass_time(3)
    assert not waiting.done()
    with pytest.raises(StoreUnavailable):
        await server.backend.get(job.id)
    server.thaw()
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.result().state is JobState.SUCCEEDED


@virtual_time
async def test_a_wait_that_begins_while_the_store_is_out_ends_with_its_job(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    server.freeze()
    waiting = asyncio.create_task(server.backend.wait(job.id))
    await run_elsewhere(other, 1.0)
    assert not waiting.done()
    server.thaw()
    await pass_time(LOOK_S_MAX + 0.1)
    assert waiting.result().state is JobState.SUCCEEDED


@virtual_time
async def test_a_record_that_has_ended_is_read_once_in_a_second(fleet: Fleet) -> None:
    server, other = await fleet.server(cache_s=1.0), await fleet.server()
    job = await server.submit()
    await run_elsewhere(other, 0.0)
    await server.backend.get(job.id)
    before = server.calls.asked.count("look")
    for _ in range(5):
        assert (await server.backend.get(job.id)).result == b"1"
    assert server.calls.asked.count("look") == before
    await other.backend.delete(job.id)
    await pass_time(1.1)
    with pytest.raises(JobGone):
        await server.backend.get(job.id)


@virtual_time
async def test_a_process_reads_its_own_changes_at_once(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.backend.cancel(job.id)
    assert (await server.backend.get(job.id)).state is JobState.CANCELLED
    await server.backend.delete(job.id)
    with pytest.raises(JobGone):
        await server.backend.get(job.id)


@virtual_time
async def test_a_look_on_its_way_does_not_bring_back_a_record_that_was_changed_meanwhile(fleet: Fleet) -> None:
    server, other = await fleet.server(cache_s=60.0), await fleet.server()
    job = await server.submit(JobSpec(type="t"))
    await other.leased()
    await other.backend.nack(job.id, 1, Failure(ErrorCode.HANDLER_ERROR, "boom"))
    server.calls.holds = lambda function: function == "look"
    looking = asyncio.create_task(server.backend.get(job.id))
    await pass_time(0.1)
    server.calls.holds = lambda function: False
    retrying = asyncio.create_task(server.backend.retry(job.id))
    await pass_time(0.1)
    server.calls.release()
    assert (await looking).state is JobState.FAILED, "as it was then"
    await retrying
    assert (await server.backend.get(job.id)).state is JobState.QUEUED


@virtual_time
async def test_a_job_that_succeeded_here_is_read_without_a_call_as_the_store_has_it(fleet: Fleet) -> None:
    server, other = await fleet.server(cache_s=1.0), await fleet.server()
    identity = Uniqueness("ann", Unique("u"), IdempotencyKey("k", b"f"), owner="ann")
    job = await server.submit(JobSpec(type="t", priority=3), args=b'{"n":1}', uniqueness=identity)
    await server.leased()
    await pass_time(0.25)
    await server.backend.ack(job.id, 1, Success(b"17"))
    asked = server.calls.asked.count("look")
    kept = await server.backend.get(job.id, "ann")
    assert server.calls.asked.count("look") == asked
    assert kept == await other.backend.get(job.id, "ann")
    assert (kept.state, kept.result, kept.args) == (JobState.SUCCEEDED, b"17", b"")
    with pytest.raises(JobNotFound):
        await server.backend.get(job.id, "bob")


@virtual_time
async def test_a_job_with_a_history_that_succeeded_here_is_read_from_the_store(fleet: Fleet) -> None:
    """The store may hold less of its history than this process knows."""
    server = await fleet.server(cache_s=1.0)
    job = await server.submit(JobSpec(type="t", attempts_max=2))
    await server.leased()
    await server.backend.nack(job.id, 1, Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=0.0))
    await server.leased()
    await server.backend.ack(job.id, 2, Success(b"1"))
    asked = server.calls.asked.count("look")
    assert len((await server.backend.get(job.id)).history or ()) == 1
    assert server.calls.asked.count("look") == asked + 1


@virtual_time
async def test_an_outcome_that_is_sent_again_leaves_nothing_in_the_cache(fleet: Fleet) -> None:
    """Its reply does not tell when the job ended."""
    server, other = await fleet.server(cache_s=1.0), await fleet.server()
    job = await server.submit()
    await server.leased()
    lost = iter((True,))
    server.calls.lose = lambda function: function == "ack" and next(lost, False)
    await server.backend.ack(job.id, 1, Success(b"1"))
    assert await server.backend.get(job.id) == await other.backend.get(job.id)
