"""Submissions of several processes to one store: rejections, claims across processes, events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue.backend.valkey.calls import StoreFull
from jobqueue.core.events import Ended, Ready, Submitted
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import ErrorCode, Failure
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.submit import SubmitResult
from jobqueue.errors import (
    Duplicate,
    JobQueueError,
    KeyReused,
    QueueFull,
    RateLimited,
    Refused,
    StatusesFull,
    StoreUnavailable,
    TypeQuarantined,
)
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import SPEC, Fleet, pass_time

ANN = Uniqueness("ann", plain=True)


@pytest.mark.parametrize(
    ("parts", "error", "detail"),
    [
        ({"queues": {"default": QueuePolicy(capacity=2)}}, QueueFull, "holds 2 live jobs, and its capacity is 2"),
        ({"bounds": StoreBounds(jobs_max=2)}, StatusesFull, "full of live jobs"),
        ({"quotas": Quotas(Quota(jobs_max=2))}, RateLimited, "has 2 live jobs, and the limit is 2"),
        ({"quotas": Quotas(Quota(records_max=2))}, RateLimited, "has 2 live jobs, which take all its 2 records"),
        ({"quotas": Quotas(Quota(bytes_max=25))}, RateLimited, "they hold 20 bytes of 25"),
    ],
)
@virtual_time
async def test_a_bound_that_holds_over_all_processes_rejects_the_third_job(
    fleet: Fleet, parts: dict[str, Any], error: type[JobQueueError], detail: str
) -> None:
    servers = [await fleet.server(**parts) for _ in range(2)]
    for server in servers:
        await server.submit(args=b'"12345678"', uniqueness=ANN)
    with pytest.raises(error, match=detail) as refusal:
        await servers[0].submit(args=b'"12345678"', uniqueness=ANN)
    assert isinstance(refusal.value, Refused)
    assert refusal.value.retry_after_s >= 1.0
    refused = sum(queue.refused_total for queue in servers[0].backend.stats()[1])
    assert refused == 1


@virtual_time
async def test_a_type_in_quarantine_rejects_jobs_once_enough_wait(fleet: Fleet) -> None:
    server = await fleet.server(queues={"default": QueuePolicy(retry_budget=1, capacity=20)})
    bad = JobSpec(type="bad")
    job = await server.submit(bad)
    await server.leased()
    await server.backend.nack(job.id, 1, Failure(ErrorCode.HANDLER_ERROR, "boom"))
    receipts = await server.backend.submit_many([(bad, b"{}", None, None)] * 20)
    refused = [receipt for receipt in receipts if isinstance(receipt, TypeQuarantined)]
    assert 0 < len(refused) < 20
    assert "'bad' is in quarantine (handler_error: boom)" in str(refused[0])
    assert refused[0].retry_after_s >= 1.0
    await server.submit(SPEC)


@virtual_time
async def test_a_store_without_memory_rejects_submissions_as_full(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await fleet.server()
    full: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    full.set_exception(StoreFull("OOM command not allowed"))
    monkeypatch.setattr(server.calls, "call", lambda *args, **options: full)
    with pytest.raises(StatusesFull, match="no memory left"):
        await server.submit()
    monkeypatch.undo()
    assert (await server.submit()).state is JobState.QUEUED


@virtual_time
async def test_each_submission_of_a_failed_call_has_an_error_of_its_own(fleet: Fleet) -> None:
    server = await fleet.server()
    server.calls.out = True
    errors = await asyncio.gather(*(server.submit() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [StoreUnavailable] * 3
    assert len({id(error) for error in errors}) == 3
    receipts = await server.backend.submit_many([(SPEC, b"{}", None, None)] * 2)
    assert [type(receipt) for receipt in receipts] == [StoreUnavailable] * 2


@virtual_time
async def test_a_job_is_leased_at_once_though_a_listener_raises(fleet: Fleet) -> None:
    server = await fleet.server()
    leasing = asyncio.create_task(server.backend.lease())
    await pass_time(0.01)

    def hear(event: Submitted) -> None:
        raise ValueError("a fault")

    server.backend.subscribe(hear, Submitted)
    with pytest.raises(ValueError, match="a fault"):
        await server.submit()
    await pass_time(0.01)
    assert leasing.done()
    assert "a fault" in str(fleet.take_raised())


@pytest.mark.parametrize("out", [False, True])
@virtual_time
async def test_a_submission_with_an_answer_that_raises_keeps_no_other_from_its_one_answer(
    fleet: Fleet, out: bool
) -> None:
    server = await fleet.server()
    server.calls.out = out
    answers: list[object] = []

    def fail(answer: object) -> None:
        answers.append(answer)
        raise ValueError("a fault")

    for done in (answers.append, fail, answers.append):
        server.backend.submit_soon(SPEC, b"{}", None, None, done)
    await pass_time(0.01)
    assert [type(answer) for answer in answers] == [StoreUnavailable if out else SubmitResult] * 3
    assert "a fault" in str(fleet.take_raised())


@virtual_time
async def test_a_key_leads_to_one_job_from_every_process(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    keyed = Uniqueness("ann", None, IdempotencyKey("k", b"\x01\xff"))
    submitted = await asyncio.gather(*(each.backend.submit(SPEC, b"{}", None, keyed) for each in (first, second)))
    assert [result.duplicate for result in submitted] == [False, True]
    assert submitted[0].job.id == submitted[1].job.id
    assert submitted[1].job.uniqueness == keyed
    with pytest.raises(KeyReused):
        await second.submit(uniqueness=Uniqueness("ann", None, IdempotencyKey("k", b"\x02")))


@virtual_time
async def test_a_unique_value_is_taken_in_every_process_and_replaced_from_any(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    ends: list[str] = []
    second.backend.subscribe(lambda event: ends.append(event.job.id), Ended)
    held = await first.submit(uniqueness=Uniqueness(unique=Unique("u")))
    with pytest.raises(Duplicate) as duplicate:
        await second.submit(uniqueness=Uniqueness(unique=Unique("u", "reject")))
    assert duplicate.value.job_id == held.id
    waiting = asyncio.create_task(first.backend.wait(held.id))
    new = await second.submit(uniqueness=Uniqueness(unique=Unique("u", "replace")))
    await pass_time(1.1)
    assert waiting.result().state is JobState.CANCELLED
    assert ends == [held.id], "the process that has replaced it tells of its end"
    assert await first.leased() == new.id


@virtual_time
async def test_a_running_job_that_is_replaced_elsewhere_is_stopped(fleet: Fleet) -> None:
    running, other = await fleet.server(), await fleet.server()
    held = await running.submit(uniqueness=Uniqueness(unique=Unique("u")))
    await running.leased()
    await other.submit(uniqueness=Uniqueness(unique=Unique("u", "replace")))
    await pass_time(0.1)
    assert running.places.stopped == [(held.id, 1)]


@virtual_time
async def test_debounced_jobs_start_after_the_last_of_them(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    debounced = Uniqueness(unique=Unique("u", "debounce"))
    spec = JobSpec(type="t", delay_s=5.0)
    waiting = asyncio.create_task(first.backend.lease())
    job = await first.submit(spec, args=b"1", uniqueness=debounced)
    await pass_time(3)
    assert (await second.submit(spec, args=b"2", uniqueness=debounced)).id == job.id
    await pass_time(4.8)
    assert not waiting.done()
    await pass_time(0.3)
    assert (waiting.result().job_id, waiting.result().args) == (job.id, b"2")


@virtual_time
async def test_a_new_job_is_an_event_of_the_process_that_has_submitted_it(fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    told: list[tuple[str, str, str]] = []
    for name, server in (("first", first), ("second", second)):
        server.backend.subscribe(
            lambda event, name=name: told.append((name, type(event).__name__, event.job.state)),  # type: ignore[misc]  # the default is bound
            Submitted,
            Ready,
        )
    await first.submit()
    await second.submit(JobSpec(type="t", delay_s=5.0))
    assert told == [
        ("first", "Submitted", "queued"),
        ("first", "Ready", "queued"),
        ("second", "Submitted", "delayed"),
    ]
