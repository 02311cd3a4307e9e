"""Processes that share a store: liveness, death, lost replies, an emptied store, ids."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.core.events import Ended, LeaseLost
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.policy import Limits
from jobqueue.core.report import ErrorCode, Success
from jobqueue.errors import JobGone, JobNotFound, StaleLease, StoreUnavailable
from jobqueue.log import EventMessage
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import SPEC, TTL_S, Fleet, pass_time


@virtual_time
async def test_jobs_of_a_dead_process_run_again_elsewhere_and_its_late_outcome_bounces(fleet: Fleet) -> None:
    dead, other = await fleet.server(), await fleet.server()
    job = await dead.submit()
    lease = await dead.backend.lease()
    dead.freeze()
    waiting = asyncio.create_task(other.backend.lease())
    await pass_time(TTL_S - 1)
    assert not waiting.done()
    await pass_time(2.5)
    again = waiting.result()
    assert (again.job_id, again.attempt, again.recovered) == (job.id, 2, True)
    dead.calls.out = False
    with pytest.raises(StaleLease):
        await dead.backend.ack(job.id, lease.attempt, Success(b"late"))
    await other.backend.ack(job.id, 2, Success(b"1"))
    record = await other.backend.get(job.id)
    assert (record.result, record.history and record.history[0].code) == (b"1", ErrorCode.WORKER_CRASHED)


@virtual_time
async def test_the_loss_of_a_server_is_logged_with_its_host_and_pid(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    dead, _ = await fleet.server(info="box-7:4711"), await fleet.server(info="box-8:1")
    job = await dead.submit()
    await dead.leased()
    name = dead.backend._process.name
    dead.freeze()
    await pass_time(TTL_S + 3)
    lost = [record.msg for record in caplog.records if isinstance(record.msg, EventMessage)]
    fields = {message.event: message.fields for message in lost}
    assert fields["server.lost"] == {"server": "box-7:4711", "name": name}
    assert fields["attempt.lost"] == {"job_id": job.id, "attempt": 1, "server": "box-7:4711"}


@virtual_time
async def test_a_job_without_attempts_left_fails_with_its_process_and_one_other_process_tells_it(fleet: Fleet) -> None:
    dead, *others = [await fleet.server() for _ in range(3)]
    job = await dead.submit(JobSpec(type="t", attempts_max=1))
    await dead.leased()
    ends: list[str] = []
    for other in others:
        other.backend.subscribe(lambda event: ends.append(event.job.id), Ended)
    waiting = asyncio.create_task(others[0].backend.wait(job.id))
    dead.freeze()
    await pass_time(TTL_S + 3)
    assert waiting.result().state is JobState.FAILED
    assert ends == [job.id]


@virtual_time
async def test_a_process_that_beats_keeps_its_jobs_however_long_they_run(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server(places=1)
    job = await first.submit()
    second.places.count = 0
    await first.leased()
    await pass_time(20 * TTL_S)
    assert second.places.called == []
    await first.backend.ack(job.id, 1, Success(b"1"))


@virtual_time
async def test_a_suspended_process_stops_its_lost_attempts_and_joins_under_another_name(fleet: Fleet) -> None:
    frozen, other = await fleet.server(), await fleet.server()
    lost: list[str] = []
    frozen.backend.subscribe(lambda event: lost.append(event.job.id), LeaseLost)
    job = await frozen.submit()
    await frozen.leased()
    name, run = frozen.backend._process.name, frozen.backend.run
    frozen.freeze()
    await pass_time(TTL_S + 2)
    assert await other.leased() == job.id
    frozen.thaw()
    await pass_time(0.1)
    assert (frozen.places.stopped, lost) == ([(job.id, 1)], [job.id])
    assert frozen.backend._process.name != name
    assert frozen.backend.run != run
    with pytest.raises(StaleLease):
        await frozen.backend.stopped(job.id, 1)
    await other.backend.ack(job.id, 2, Success(b"1"))
    assert (await frozen.submit()).id == await frozen.leased(), "it works again"


@virtual_time
async def test_the_permit_of_a_lost_attempt_is_free_after_its_end_though_the_job_runs_again_here(fleet: Fleet) -> None:
    server, _ = await fleet.server(pools={"thread": 2}), await fleet.server()
    spec = JobSpec(type="t", attempts_max=3, pool="thread")
    job = await server.submit(spec)
    await server.leased()
    server.freeze()
    await pass_time(TTL_S + 2)
    server.thaw()
    lease = await asyncio.wait_for(server.backend.lease(), 5)
    assert (lease.job_id, lease.attempt) == (job.id, 2)
    for _ in range(2):  # its thread ends only now
        with pytest.raises(StaleLease):
            await server.backend.ack(job.id, 1, Success(b"1"))
    await server.backend.ack(job.id, 2, Success(b"2"))
    both = {(await server.submit(spec)).id for _ in range(2)}
    assert {(await asyncio.wait_for(server.backend.lease(), 5)).job_id for _ in range(2)} == both


@virtual_time
async def test_jobs_that_were_leased_under_an_earlier_name_never_begin(fleet: Fleet) -> None:
    frozen = await fleet.server(places=1)
    await pass_time(0.1)
    frozen.calls.holds = lambda function: function == "lease"
    job = await frozen.submit()
    await pass_time(0.5)
    other = await fleet.server()  # a look of its own would wait for the lease
    assert (await other.backend.get(job.id)).state is JobState.RUNNING
    frozen.freeze()
    await pass_time(TTL_S + 1)
    await pass_time(1.5)
    assert (await other.backend.get(job.id)).state is JobState.QUEUED
    frozen.calls.holds = lambda function: False
    frozen.calls.out = False  # its connection has outlasted it
    frozen.places.count = 0
    await pass_time(TTL_S / 2)
    frozen.calls.release()
    await pass_time(0.1)
    assert frozen.backend.lease_now() is None


@virtual_time
async def test_a_stuck_attempt_with_a_lost_lease_has_its_worker_replaced(fleet: Fleet) -> None:
    frozen = await fleet.server()
    await frozen.submit()
    job_id = await frozen.leased()
    frozen.freeze()
    await pass_time(TTL_S + 2)
    await fleet.server()
    await pass_time(2)
    frozen.thaw()
    await pass_time(2)
    assert frozen.places.abandoned == [(job_id, 1)]


@virtual_time
async def test_a_lease_without_an_answer_is_given_back_by_reconcile(fleet: Fleet) -> None:
    server = await fleet.server()
    held = await server.submit()
    assert await server.leased() == held.id
    lost = iter((True,))
    server.calls.lose = lambda function: function == "lease" and next(lost, False)
    job = await server.submit()
    lease = await server.backend.lease()
    assert (lease.job_id, lease.attempt) == (job.id, 2)
    record = await server.backend.get(job.id)
    assert record.attempts_before == 1, "the attempt without an answer is not charged"
    order = [function for function in server.calls.asked if function in ("lease", "reconcile")]
    assert order == ["lease", "lease", "reconcile", "lease"]
    await server.backend.ack(held.id, 1, Success(b"1"))


@virtual_time
async def test_a_new_connection_changes_nothing_for_held_attempts(fleet: Fleet) -> None:
    server = await fleet.server(places=2)
    begun, unstarted = await server.submit(), await server.submit()
    assert await server.leased() == begun.id
    await pass_time(0.1)
    server.calls.reconnect()
    await pass_time(0.1)
    assert server.calls.asked.count("reconcile") == 1
    assert await server.leased() == unstarted.id
    for job in (begun, unstarted):
        await server.backend.ack(job.id, 1, Success(b"1"))


@virtual_time
async def test_a_process_learns_from_reconcile_of_an_attempt_that_is_not_its_own(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    await server.leased()
    name = server.backend._process.name
    await other.calls.call("reconcile", [name, round(TTL_S * 1000), "one", 0])  # as if it held nothing
    assert server.places.stopped == []
    server.calls.reconnect()
    await pass_time(0.1)
    assert server.places.stopped == [(job.id, 1)]
    with pytest.raises(StaleLease):
        await server.backend.stopped(job.id, 1)
    assert (await other.backend.lease()).attempt == 2


@virtual_time
async def test_nothing_is_leased_between_a_lost_connection_and_its_reconcile(fleet: Fleet) -> None:
    server = await fleet.server()
    server.backend._process.disconnected("cut")
    job = await server.submit()
    waiting = asyncio.create_task(server.backend.lease())
    await pass_time(0.5)
    assert not waiting.done()
    server.calls.reconnect()
    await pass_time(0.1)
    assert waiting.result().job_id == job.id


@virtual_time
async def test_a_process_that_leaves_gives_back_all_at_once(fleet: Fleet) -> None:
    leaving, other = await fleet.server(), await fleet.server()
    job = await leaving.submit()
    await leaving.leased()
    waiting = asyncio.create_task(other.backend.lease())
    await leaving.backend.stop()
    await pass_time(1.5)
    lease = waiting.result()
    assert (lease.job_id, lease.attempt) == (job.id, 2)
    record = await other.backend.get(job.id)
    assert record.attempts_before == 1


@virtual_time
async def test_an_emptied_store_learns_all_again_and_earlier_ids_are_gone(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    assert (await server.backend.get(job.id)).live
    server.calls.empty()
    await pass_time(TTL_S)
    with pytest.raises(JobGone) as gone:
        await server.backend.get(job.id)
    assert gone.value.reason == "earlier-run"
    again = await server.submit()
    assert await server.leased() == again.id


@virtual_time
async def test_a_process_joins_again_though_it_fails_in_an_unforeseen_way(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await fleet.server()
    name = server.backend._process.name

    async def fails() -> None:
        raise ValueError("a reply that can't be read")

    monkeypatch.setattr(server.backend._process, "join", fails)
    server.calls.empty()
    await pass_time(TTL_S)
    assert "a reply that can't be read" in caplog.text
    monkeypatch.undo()
    await pass_time(1)
    assert server.backend._process.name != name
    job = await server.submit()
    assert await server.leased() == job.id


@virtual_time
async def test_limits_of_a_type_that_did_not_reach_the_store_are_sent_with_its_next_submission(fleet: Fleet) -> None:
    server = await fleet.server()
    spec = JobSpec(type="lim", limits=Limits(concurrency=1))
    server.calls.fails = lambda function: function == "set_types"
    await server.submit(spec)
    server.calls.fails = lambda function: False
    await server.submit(spec)
    assert server.calls.asked.count("set_types") == 2
    await server.leased()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.backend.lease(), 5)


@virtual_time
async def test_a_submission_to_an_emptied_store_is_refused_for_a_moment(fleet: Fleet) -> None:
    server = await fleet.server()
    server.calls.empty()
    with pytest.raises(StoreUnavailable, match="emptied") as refusal:
        await server.submit()
    await pass_time(refusal.value.retry_after_s)
    job = await server.submit()
    assert await server.leased() == job.id


@virtual_time
async def test_a_pause_in_an_emptied_store_is_refused_for_a_moment(fleet: Fleet) -> None:
    server = await fleet.server()
    server.calls.empty()
    with pytest.raises(StoreUnavailable, match="emptied"):
        await server.backend.pause("default")
    await pass_time(1.5)
    await server.backend.pause("default")


@virtual_time
async def test_ids_without_a_job_are_answered_without_a_call(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    job = await first.submit()
    before = len(second.calls.asked)
    for text in ("x", "z" * 22, job.id[:-3] + ("00a" if job.id[-3:] != "00a" else "00b")):
        with pytest.raises((JobNotFound, JobGone)):
            await second.backend.get(text)
        with pytest.raises((JobNotFound, JobGone)):
            second.backend.ending(text)
    assert len(second.calls.asked) == before
    await first.backend.cancel(job.id)
    await first.backend.delete(job.id)
    with pytest.raises(JobGone) as gone:
        await second.backend.get(job.id)
    assert gone.value.reason == "evicted"


@virtual_time
async def test_an_attempt_is_charged_once_for_each_process_that_dies_of_it(fleet: Fleet) -> None:
    submitter = await fleet.server()
    job = await submitter.submit(SPEC)
    for attempt in range(1, SPEC.attempts_max + 1):
        victim = await fleet.server()
        lease = await victim.backend.lease()
        assert (lease.job_id, lease.attempt) == (job.id, attempt)
        victim.freeze()
        await pass_time(TTL_S + 2)
    record = await submitter.backend.get(job.id)
    assert (record.state, record.error and record.error.code) == (JobState.FAILED, ErrorCode.WORKER_CRASHED)
