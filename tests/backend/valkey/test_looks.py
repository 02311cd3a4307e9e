"""Looks at jobs that this process is about to lease, or to end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from jobqueue.backend.valkey.expected import JOBS_MAX, ExpectedJobs
from jobqueue.core.job import JobId, JobState, StopReason, Uniqueness
from jobqueue.core.job_view import JobView
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import JobGone, JobNotFound, StoreUnavailable
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import TTL_S, Fleet, Server, pass_time


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
    server.calls.release()
    ends: list[bool] = []
    # The worker has its turn between the reply, which comes in this turn of the loop, and the answer in the next one.
    asyncio.get_running_loop().call_soon(lambda: ends.append(server.backend.end_now(job.id, 1, Success(b"17"))))
    await pass_time(0.01)
    assert (ends, looking.done()) == ([True], False)
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
async def test_a_look_that_waits_when_the_connection_is_lost_is_sent(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    hold(server, "ack")
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    looking = await begun(server, job.id)
    assert not looking.done()
    server.calls.cut()
    await pass_time(0.01)
    assert looking.done()
    assert (await looking).state is JobState.SUCCEEDED
    server.calls.release()
    server.calls.reconnect()


@virtual_time
async def test_a_look_asks_the_store_where_the_success_could_not_be_sent(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()

    def call(function: str, *args: Any, **options: Any) -> asyncio.Future[Any]:
        if function == "ack":
            raise ValueError("a fault")
        return calls(function, *args, **options)

    calls = server.calls.call
    monkeypatch.setattr(server.calls, "call", call)
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    looking = await begun(server, job.id)
    assert looking.done()
    assert (await looking).state is JobState.RUNNING
    assert "a fault" in str(fleet.take_raised())


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


async def run_at_once(server: Server) -> None:
    """Act as a worker with a handler that ends in its first step."""
    lease = await server.backend.lease()
    assert server.backend.end_now(lease.job_id, lease.attempt, Success(b"1"))


async def waiting(server: Server) -> asyncio.Task[None]:
    """Begin a worker that waits for a job."""
    working = asyncio.create_task(run_at_once(server))
    await pass_time(0.01)
    return working


@virtual_time
async def test_the_first_look_at_a_job_waits_for_the_lease_that_brings_it(fleet: Fleet) -> None:
    server = await fleet.server()
    working = await waiting(server)
    hold(server, "lease")
    job = await server.submit()
    looking = await begun(server, job.id)
    assert not looking.done()
    server.calls.release()
    assert (await looking).state is JobState.SUCCEEDED
    assert "look" not in server.calls.asked
    await working


@virtual_time
async def test_a_look_waits_for_a_second_lease_where_the_first_was_sent_before_the_submission(fleet: Fleet) -> None:
    server = await fleet.server()
    hold(server, "lease")
    working = await waiting(server)
    also = await waiting(server)
    job = await server.submit()
    looking = await begun(server, job.id)
    server.calls.release()
    await pass_time(0.01)
    assert not looking.done()
    hold(server)
    server.calls.release()
    assert (await looking).state is JobState.SUCCEEDED
    assert "look" not in server.calls.asked
    await working
    also.cancel()


@virtual_time
async def test_a_look_asks_the_store_once_two_leases_have_not_brought_its_job(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    working = await waiting(server)
    hold(server, "submit")
    submitting = asyncio.create_task(server.submit())
    await pass_time(0.01)
    leased = await other.leased()
    hold(server, "lease")
    server.calls.release()
    job = await submitting
    looking = await begun(server, job.id)
    for waits in (True, False):
        server.backend.on_settled()  # so that a further lease follows, and is on its way
        server.calls.release()
        await pass_time(0.01)
        assert looking.done() != waits
    found = await looking
    assert (found.state, found.id) == (JobState.RUNNING, leased)
    assert (await begun(server, job.id)).done(), "it is not expected any more"
    working.cancel()


@virtual_time
async def test_a_look_is_answered_where_the_lease_has_failed(fleet: Fleet) -> None:
    server = await fleet.server()
    working = await waiting(server)
    hold(server, "lease")
    job = await server.submit()
    looking = await begun(server, job.id)
    server.calls.fail_held(StoreUnavailable("the reply is lost", 1.0))
    await pass_time(0.01)
    assert (await looking).live
    hold(server)
    await working


@virtual_time
async def test_no_look_waits_for_a_lease_while_the_store_is_out(fleet: Fleet) -> None:
    server = await fleet.server()
    working = await waiting(server)
    hold(server, "lease")
    job = await server.submit()
    await pass_time(0.01)
    server.freeze()
    with pytest.raises(StoreUnavailable):
        await server.backend.get(job.id)
    hold(server)
    server.calls.release()
    await working
    server.thaw()


@virtual_time
async def test_no_look_waits_for_a_lease_that_is_not_on_its_way(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    looking = await begun(server, job.id)
    assert (await looking).state is JobState.QUEUED


@virtual_time
async def test_a_job_is_expected_until_it_begins_where_there_is_a_place_for_it(fleet: Fleet) -> None:
    server = await fleet.server()
    expected = server.backend._expected
    await server.submit()
    assert len(expected) == 0
    await server.leased()
    working = await waiting(server)
    hold(server, "lease")
    job = await server.submit()
    assert job.id in expected
    await pass_time(0.01)
    server.calls.release()
    await working
    assert len(expected) == 0


@virtual_time
async def test_the_latest_jobs_are_expected() -> None:
    expected = ExpectedJobs(asyncio.get_running_loop(), lambda then: then())
    for n in range(JOBS_MAX + 1):
        expected.add(JobId(str(n)))
    assert (len(expected), "0" in expected, "1" in expected) == (JOBS_MAX, False, True)


def _raise(found: JobView | Exception) -> None:
    raise ValueError("a fault")


@pytest.mark.parametrize("held", ["lease", "look", "ack"])
@virtual_time
async def test_a_look_that_can_not_be_answered_keeps_no_other_from_its_answer(fleet: Fleet, held: str) -> None:
    server = await fleet.server()
    working = await waiting(server)
    hold(server, held, "ack")
    job = await server.submit()
    await pass_time(0.01)
    states: list[object] = []
    for done in (_raise, partial(_note, states)):
        server.backend.look_soon(job.id, None, done)
    await pass_time(0.01)
    hold(server)
    server.calls.release()
    await working
    await pass_time(0.01)
    assert states == [JobState.SUCCEEDED]
    assert "a fault" in str(fleet.take_raised())


@pytest.mark.parametrize("found", ["queued", "deleted", "lost"])
@virtual_time
async def test_a_look_that_raises_keeps_no_other_of_its_call_from_one_answer(fleet: Fleet, found: str) -> None:
    server, other = await fleet.server(), await fleet.server()
    first, second = await server.submit(), await server.submit()
    hold(server, "look")
    if found == "deleted":
        for job in (first, second):
            await other.backend.cancel(job.id)
            await other.backend.delete(job.id)
    answers: list[object] = []
    for job_id, done in ((first.id, answers.append), (first.id, _raise), (second.id, answers.append)):
        server.backend.look_soon(job_id, None, done)
    await pass_time(0.01)
    if found == "lost":
        server.calls.fail_held(StoreUnavailable("the reply is lost", 1.0))
    server.calls.release()
    await pass_time(0.01)
    expected = {"queued": JobView, "deleted": JobGone, "lost": StoreUnavailable}[found]
    assert [type(answer) for answer in answers] == [expected] * 2
    assert "a fault" in str(fleet.take_raised())


def _note(states: list[object], found: JobView | Exception) -> None:
    states.append(found if isinstance(found, Exception) else found.state)
