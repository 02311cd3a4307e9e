"""The drain of one process among others."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.core.events import Requeued
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import Draining, StaleLease
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import Fleet, pass_time


@virtual_time
async def test_a_draining_process_starts_nothing_and_others_go_on(fleet: Fleet) -> None:
    draining, other = await fleet.server(places=2), await fleet.server()
    first, second = await draining.submit(), await draining.submit()
    assert await draining.leased() == first.id
    draining.places.count = 1
    await pass_time(0.5)
    drain = asyncio.create_task(draining.backend.drain(60.0, lambda: None))
    lease = await other.backend.lease()
    record = await other.backend.get(second.id)
    assert (lease.job_id, lease.attempt, record.attempts_before) == (second.id, 2, 1), "it went back without a charge"
    with pytest.raises(Draining):
        await draining.submit()
    third = await other.submit()
    await pass_time(5)
    assert draining.backend.lease_now() is None
    assert await other.leased() == third.id
    await draining.backend.ack(first.id, 1, Success(b"1"))
    assert await drain == 1


@virtual_time
async def test_a_lease_that_is_on_its_way_when_the_drain_begins_goes_back(fleet: Fleet) -> None:
    draining, other = await fleet.server(places=1), await fleet.server()
    await pass_time(0.1)
    draining.calls.holds = lambda function: function == "lease"
    job = await draining.submit()
    await pass_time(0.5)
    drain = asyncio.create_task(draining.backend.drain(60.0, lambda: None))
    await pass_time(0.5)
    draining.calls.release()
    await pass_time(0.5)
    assert draining.backend.lease_now() is None
    lease = await other.backend.lease()
    assert (lease.job_id, lease.attempt) == (job.id, 2)
    await drain


@virtual_time
async def test_events_of_returned_jobs_have_the_versions_of_the_store(fleet: Fleet) -> None:
    draining, other = await fleet.server(places=3), await fleet.server()
    told: dict[str, object] = {}
    draining.backend.subscribe(lambda event: told.setdefault(event.job.id, event.job.version), Requeued)
    jobs = [await other.submit() for _ in range(3)]
    await pass_time(0.5)
    drain = asyncio.create_task(draining.backend.drain(60.0, lambda: None))
    await pass_time(0.5)
    assert told == {job.id: (await other.backend.get(job.id)).version for job in jobs}
    assert set(told.values()) == {2}
    assert await drain == 3


@virtual_time
async def test_attempts_that_run_at_the_deadline_go_back_and_run_elsewhere(fleet: Fleet) -> None:
    draining, other = await fleet.server(), await fleet.server()
    job, stuck = await draining.submit(), await draining.submit()
    for _ in range(2):
        await draining.leased()
    told: list[int] = []
    drain = asyncio.create_task(draining.backend.drain(10.0, lambda: told.append(1)))
    await pass_time(9)
    assert (told, draining.places.stopped) == ([], [])
    await pass_time(1.1)
    assert (told, draining.places.stopped) == ([1], [(job.id, 1), (stuck.id, 1)])
    await draining.backend.stopped(job.id, 1)
    assert await other.leased() == job.id
    await pass_time(LEASE_GRACE_S + 0.1)
    assert draining.places.abandoned == [(stuck.id, 1)]
    assert await drain == 2
    again = await other.backend.lease()
    record = await other.backend.get(stuck.id)
    assert (again.job_id, again.attempt, record.attempts_before) == (stuck.id, 2, 1)
    with pytest.raises(StaleLease):
        await draining.backend.ack(stuck.id, 1, Success(b"late"))


@virtual_time
async def test_a_success_just_after_the_deadline_counts(fleet: Fleet) -> None:
    draining = await fleet.server()
    job = await draining.submit()
    await draining.leased()
    drain = asyncio.create_task(draining.backend.drain(1.0, lambda: None))
    await pass_time(1.1)
    await draining.backend.ack(job.id, 1, Success(b"1"))
    await drain
    assert (await draining.backend.get(job.id)).result == b"1"


@virtual_time
async def test_an_attempt_that_fails_as_it_is_stopped_goes_back_without_a_charge(fleet: Fleet) -> None:
    draining, other = await fleet.server(), await fleet.server()
    job = await draining.submit()
    await draining.leased()
    drain = asyncio.create_task(draining.backend.drain(1.0, lambda: None))
    await pass_time(1.1)
    await draining.backend.nack(job.id, 1, Failure(ErrorCode.HANDLER_ERROR, "cut off", final=True))
    assert await drain == 1
    assert (await other.backend.lease()).attempt == 2
    record = await other.backend.get(job.id)
    assert (record.attempts_before, record.history) == (1, None)


@virtual_time
async def test_a_drain_ends_in_time_though_the_store_is_out(fleet: Fleet) -> None:
    draining = await fleet.server()
    await draining.submit()
    await draining.leased()
    draining.freeze()
    began = draining.backend.now()
    await draining.backend.drain(5.0, lambda: None)
    assert draining.backend.now() - began < 5.0 + LEASE_GRACE_S + 3.0
    await draining.backend.stop()
