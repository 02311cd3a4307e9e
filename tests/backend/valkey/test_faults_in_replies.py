"""What is raised while a call is made, or its reply worked off, reaches each operation that waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue.backend.valkey.records import Records
from jobqueue.core.events import Ended, Progressed, Resumed, Submitted
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.report import Progress, Success
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import SPEC, Fleet, pass_time

BAD = JobSpec(type="bad", attempts_max=3)


class Fault(Exception):
    """What a test has a part raise."""


def of_bad(event: Any) -> None:
    """A listener that fails for jobs of one type."""
    if event.job.spec.type == "bad":
        raise Fault("a listener")


@virtual_time
async def test_a_fault_in_the_answer_to_one_submission_is_its_own_error(fleet: Fleet) -> None:
    server = await fleet.server()
    server.backend.subscribe(of_bad, Submitted)
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(server.submit(each) for each in (SPEC, BAD, SPEC)), return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["JobView", "Fault", "JobView"]
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_submissions_of_a_call_that_cannot_be_made_fail_and_later_ones_go_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await fleet.server()

    def raises(*args: Any) -> bytes:
        raise Fault("no blob")

    monkeypatch.setattr(Records, "claims_blob", raises)
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(server.submit() for _ in range(2)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Fault] * 2
        monkeypatch.undo()
        assert (await server.submit()).state is JobState.QUEUED
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_an_unreadable_record_fails_its_own_looks_only(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await fleet.server()
    jobs = [await server.submit(each) for each in (SPEC, BAD, SPEC)]
    view = Records.view

    def reads(self: Records, job_id: str, told: Any) -> Any:
        if job_id == jobs[1].id:
            raise Fault("a record of another version")
        return view(self, job_id, told)

    monkeypatch.setattr(Records, "view", reads)
    async with asyncio.timeout(10):
        seen = await asyncio.gather(*(server.backend.get(job.id) for job in jobs), return_exceptions=True)
    assert [type(each).__name__ for each in seen] == ["JobView", "Fault", "JobView"]
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_a_fault_in_the_answer_to_one_outcome_leaves_the_others_alone(fleet: Fleet) -> None:
    server = await fleet.server()
    for spec in (SPEC, BAD, SPEC):
        await server.submit(spec)
    leases = [await server.backend.lease() for _ in range(3)]
    server.backend.subscribe(of_bad, Ended)
    async with asyncio.timeout(10):
        acks = (server.backend.ack(lease.job_id, lease.attempt, Success(b"1")) for lease in leases)
        told = await asyncio.gather(*acks, return_exceptions=True)
    assert [type(each).__name__ for each in told] == ["NoneType", "Fault", "NoneType"]
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_a_fault_in_the_answer_to_progress_keeps_no_report_waiting(fleet: Fleet) -> None:
    server = await fleet.server()
    for spec in (BAD, SPEC):
        await server.submit(spec)
    leases = [await server.backend.lease() for _ in range(2)]
    server.backend.subscribe(of_bad, Progressed)
    async with asyncio.timeout(10):
        await asyncio.gather(*(server.backend.report(lease.job_id, lease.attempt, Progress(0.5)) for lease in leases))
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_a_leased_job_that_cannot_be_read_goes_back_and_the_others_run(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, producer = await fleet.server(), await fleet.server()
    for each in (SPEC, BAD, SPEC):
        await producer.submit(each)
    spec = Records.spec

    def reads(self: Records, blob: bytes) -> JobSpec:
        found = spec(self, blob)
        if found.type == "bad":
            raise Fault("a spec of another version")
        return found

    monkeypatch.setattr(Records, "spec", reads)
    server.places.count = 3
    async with asyncio.timeout(10):
        leases = [await server.backend.lease() for _ in range(2)]
    assert [lease.spec.type for lease in leases] == ["t", "t"]
    await pass_time(10)
    assert 0 < server.calls.asked.count("lease") < 60, "it rests between leases"
    assert fleet.take_raised()
    monkeypatch.undo()
    async with asyncio.timeout(10):
        lease = await server.backend.lease()
    assert lease.spec.type == "bad"
    for each in leases:
        await server.backend.ack(each.job_id, each.attempt, Success(b"1"))


@virtual_time
async def test_a_fault_of_one_wait_keeps_no_other_waiting(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()

    class Bad:
        def ended(self, job: Any) -> None:
            raise Fault("a wait")

        gone = ended

    server.backend.when_ended(job.id, Bad())
    waiting = asyncio.create_task(server.backend.wait(job.id))
    lease = await other.backend.lease()
    await other.backend.ack(job.id, lease.attempt, Success(b"1"))
    async with asyncio.timeout(10):
        assert (await waiting).state is JobState.SUCCEEDED
    assert len(fleet.take_raised()) == 1


@virtual_time
async def test_ticks_go_on_after_a_fault_in_the_answer_to_one(fleet: Fleet) -> None:
    server = await fleet.server()
    await server.backend.pause("default", for_s=2.0)

    def raises(event: Resumed) -> None:
        raise Fault("a listener")

    server.backend.subscribe(raises, Resumed)
    server.calls.holds = lambda function: function == "tick"
    for _ in range(4):
        await pass_time(1)
        server.calls.release()
    assert len(fleet.take_raised()) == 1
    server.calls.holds = lambda function: False
    server.calls.asked.clear()
    await pass_time(5)
    assert server.calls.asked.count("tick") >= 3
