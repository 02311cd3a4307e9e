"""Looks at jobs that this process is about to end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jobqueue.core.job import JobState, StopReason, Uniqueness
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import JobNotFound, StoreUnavailable
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import TTL_S, Fleet, Server, pass_time

if TYPE_CHECKING:
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView


async def begun(server: Server, job_id: JobId) -> asyncio.Task[JobView]:
    """Begin a look."""
    looking = asyncio.create_task(server.backend.get(job_id))
    await pass_time(0.01)
    return looking


def hold(server: Server, *functions: str) -> None:
    """Keep the replies of these functions back."""
    server.calls.holds = lambda function: function in functions


@virtual_time
async def test_a_look_waits_for_the_success_that_is_on_its_way(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"17"))
    looking = await begun(server, job.id)
    assert not looking.done()
    server.calls.release()
    assert await looking == await other.backend.get(job.id)
    assert "look" not in server.calls.asked


@virtual_time
async def test_a_look_that_found_a_job_running_waits_for_its_success(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "look", "ack")
    looking = await begun(server, job.id)
    hold(server, "ack")
    server.calls.release()  # the worker has its turn between the reply and the answer
    assert server.backend.end_now(job.id, 1, Success(b"17"))
    await pass_time(0.01)
    assert not looking.done()
    server.calls.release()
    assert ((await looking).state, server.calls.asked.count("look")) == (JobState.SUCCEEDED, 1)


@virtual_time
async def test_a_look_that_found_a_job_running_tells_the_end_that_came_in_the_same_turn(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "look", "ack")
    looking = await begun(server, job.id)
    assert server.backend.end_now(job.id, 1, Success(b"17"))
    await pass_time(0.01)
    server.calls.release()
    assert (await looking).state is JobState.SUCCEEDED


@virtual_time
async def test_a_look_at_a_job_that_goes_on_running_is_answered_at_once(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    looking = await begun(server, job.id)
    assert looking.done()
    assert (await looking).state is JobState.RUNNING


@virtual_time
async def test_a_look_does_not_wait_for_a_failure(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "nack")
    assert server.backend.end_now(job.id, 1, Failure(ErrorCode.HANDLER_ERROR, "boom"))
    looking = await begun(server, job.id)
    assert looking.done()
    server.calls.release()


@virtual_time
async def test_a_look_asks_the_store_where_the_success_was_stale(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    await server.leased()
    server.freeze()
    await pass_time(TTL_S + 2)
    await other.leased()
    server.calls.out = False
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"late"))
    looking = await begun(server, job.id)
    assert not looking.done()
    server.calls.release()
    found = await looking
    assert (found.state, found.attempt) == (JobState.RUNNING, 2)


@virtual_time
async def test_a_look_asks_the_store_where_the_attempt_had_timed_out(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    await server.calls.call("stop", [server.backend._name(), job.id, 1, StopReason.TIMED_OUT.value])
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    looking = await begun(server, job.id)
    assert not looking.done()
    server.calls.release()
    assert (await looking).state is JobState.DELAYED


@virtual_time
async def test_no_look_begins_to_wait_while_the_store_is_out(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    await pass_time(0.01)
    server.freeze()
    with pytest.raises(StoreUnavailable):
        await server.backend.get(job.id)
    server.thaw()
    server.calls.release()


@virtual_time
async def test_a_look_that_waits_when_the_store_goes_out_is_answered(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    looking = await begun(server, job.id)
    server.freeze()
    server.calls.fail_held(StoreUnavailable("the store is out", 1.0))
    with pytest.raises(StoreUnavailable):
        await looking
    server.thaw()


@virtual_time
async def test_a_success_on_its_way_is_no_answer_to_others(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit(uniqueness=Uniqueness("ann", owner="ann"))
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    foreign = asyncio.create_task(server.backend.get(job.id, "bob"))
    await pass_time(0.01)
    with pytest.raises(JobNotFound):
        await foreign
    server.calls.release()


@virtual_time
async def test_all_looks_that_wait_for_one_success_are_answered(fleet: Fleet) -> None:
    server = await fleet.server(cache_s=0.0)
    job = await server.submit()
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    states: list[object] = []
    for _ in range(100):
        server.backend.look_soon(job.id, None, partial(_note, states))
    await pass_time(0.01)
    server.calls.release()
    await pass_time(0.01)
    assert states == [JobState.SUCCEEDED] * 100
    assert "look" not in server.calls.asked


def _note(states: list[object], found: JobView | Exception) -> None:
    states.append(found if isinstance(found, Exception) else found.state)
