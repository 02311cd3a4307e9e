"""Outcomes of attempts: sent again, late, while the store is out, many at once; timeouts and cancellations."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.backend.valkey.verdicts import AGAIN_S
from jobqueue.core.events import (
    AttemptFailed,
    BackedOff,
    Ended,
    Progressed,
    Quarantined,
    Released,
    Started,
    StopRequested,
)
from jobqueue.core.job import JobSpec, JobState, StopReason
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Progress, Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import StaleLease, WrongState
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import TTL_S, Fleet, pass_time

BOOM = Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=10.0)


@virtual_time
async def test_an_outcome_without_an_answer_is_sent_again_and_counts_once(fleet: Fleet) -> None:
    server = await fleet.server()
    ends: list[str] = []
    server.backend.subscribe(lambda event: ends.append(event.job.id), Ended)
    job = await server.submit()
    await server.leased()
    lost = iter((True,))
    server.calls.lose = lambda function: function == "ack" and next(lost, False)
    await server.backend.ack(job.id, 1, Success(b"1"))
    assert server.calls.asked.count("ack") == 2
    record = await server.backend.get(job.id)
    assert (record.state, record.result, ends) == (JobState.SUCCEEDED, b"1", [job.id])


@virtual_time
async def test_a_failure_that_is_sent_again_waits_once_and_is_charged_once(fleet: Fleet) -> None:
    server = await fleet.server()
    backoffs: list[float] = []
    server.backend.subscribe(lambda event: backoffs.append(event.job.run_at), BackedOff)
    job = await server.submit()
    await server.leased()
    lost = iter((True,))
    server.calls.lose = lambda function: function == "nack" and next(lost, False)
    began = server.backend.now()
    await server.backend.nack(job.id, 1, BOOM)
    record = await server.backend.get(job.id)
    assert (record.state, record.attempt, len(record.history or ())) == (JobState.DELAYED, 1, 1)
    assert record.run_at == began + 10.0
    assert len(backoffs) == 1
    await pass_time(10.5)
    assert (await server.backend.lease()).attempt == 2


@virtual_time
async def test_an_outcome_waits_while_the_store_is_out(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    server.freeze()
    acking = asyncio.create_task(server.backend.ack(job.id, 1, Success(b"1")))
    await pass_time(TTL_S / 2)
    assert not acking.done()
    server.thaw()
    await acking
    assert (await server.backend.get(job.id)).state is JobState.SUCCEEDED


@virtual_time
async def test_an_outcome_on_its_way_keeps_its_lease_through_a_new_connection(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    server.freeze()
    acking = asyncio.create_task(server.backend.ack(job.id, 1, Success(b"1")))
    await pass_time(0.1)
    server.thaw()  # reconciles before the outcome is sent again
    await acking
    record = await server.backend.get(job.id)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 1)


@virtual_time
async def test_an_outcome_that_comes_after_the_process_was_given_up_is_stale(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    await server.leased()
    server.freeze()
    acking = asyncio.create_task(server.backend.ack(job.id, 1, Success(b"late")))
    await pass_time(TTL_S + 2)
    assert await other.leased() == job.id
    server.thaw()
    with pytest.raises(StaleLease):
        await acking
    assert (await other.backend.get(job.id)).state is JobState.RUNNING


@virtual_time
async def test_outcomes_of_one_turn_go_in_one_call_of_each_kind(fleet: Fleet) -> None:
    server = await fleet.server()
    jobs = [await server.submit() for _ in range(9)]
    for _ in jobs:
        await server.leased()
    await asyncio.gather(
        *(server.backend.ack(job.id, 1, Success(b"%d" % n)) for n, job in enumerate(jobs[:5])),
        *(server.backend.nack(job.id, 1, BOOM) for job in jobs[5:]),
    )
    assert [server.calls.asked.count(kind) for kind in ("ack", "nack")] == [1, 1]
    records = await server.backend.get_many([job.id for job in jobs])
    assert [job.result for job in records if not isinstance(job, Exception)][:5] == [b"0", b"1", b"2", b"3", b"4"]


@virtual_time
async def test_a_cancellation_by_another_process_stops_the_attempt(fleet: Fleet) -> None:
    running, other = await fleet.server(), await fleet.server()
    asked: list[StopReason | None] = []
    running.backend.subscribe(lambda event: asked.append(event.job.stopping), StopRequested)
    job = await other.submit()
    await running.leased()
    cancelled = await other.backend.cancel(job.id)
    assert (cancelled.state, cancelled.stopping) == (JobState.RUNNING, StopReason.CANCELLED)
    await pass_time(0.1)
    assert (running.places.stopped, asked) == ([(job.id, 1)], [StopReason.CANCELLED])
    await running.backend.stopped(job.id, 1)
    assert (await other.backend.get(job.id)).state is JobState.CANCELLED


@virtual_time
async def test_a_cancellation_that_a_success_outruns_is_refused(fleet: Fleet) -> None:
    running, other = await fleet.server(), await fleet.server()
    job = await other.submit()
    await running.leased()
    other.calls.holds = lambda function: function == "cancel"
    cancelling = asyncio.create_task(other.backend.cancel(job.id))
    await pass_time(0.1)
    assert running.places.stopped == [(job.id, 1)]
    await running.backend.ack(job.id, 1, Success(b"1"))
    other.calls.release()
    with pytest.raises(WrongState, match="succeeded already") as refusal:
        await cancelling
    assert refusal.value.state == "succeeded"
    assert (await other.backend.get(job.id)).result == b"1"


@virtual_time
async def test_a_cancellation_is_learnt_with_the_next_beat_where_the_hint_is_lost(fleet: Fleet) -> None:
    running, other = await fleet.server(), await fleet.server()
    job = await other.submit()
    await running.leased()
    running.calls.deaf = True
    await other.backend.cancel(job.id)
    await pass_time(TTL_S / 5 + 0.1)
    assert running.places.stopped == [(job.id, 1)]
    await pass_time(LEASE_GRACE_S + 0.1)
    assert running.places.abandoned == [(job.id, 1)], "it reported nothing in time"
    assert (await other.backend.get(job.id)).state is JobState.CANCELLED


@virtual_time
async def test_a_success_after_the_timeout_is_the_timeout(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit(JobSpec(type="t", timeout_s=2.0))
    await server.leased()
    await pass_time(2.5)
    assert server.places.stopped == [(job.id, 1)]
    assert (await other.backend.get(job.id)).stopping is StopReason.TIMED_OUT, "every process sees it"
    await server.backend.ack(job.id, 1, Success(b"late"))
    record = await other.backend.get(job.id)
    assert (record.state, record.error and record.error.code) == (JobState.FAILED, ErrorCode.TIMED_OUT)
    assert "ack" not in server.calls.asked


@virtual_time
async def test_a_result_without_room_in_the_store_fails_its_job(fleet: Fleet) -> None:
    server = await fleet.server(bounds=StoreBounds(bytes_max=10_000))
    job = await server.submit()
    await server.leased()
    await server.backend.ack(job.id, 1, Success(b"1" * 20_000))
    record = await server.backend.get(job.id)
    assert (record.state, record.error and record.error.code) == (JobState.FAILED, ErrorCode.RESULT_TOO_LARGE)
    assert "20000 bytes" in (record.error.message if record.error else "")


@virtual_time
async def test_a_cancellation_before_the_timeout_holds_though_its_hint_was_lost(fleet: Fleet) -> None:
    running, other = await fleet.server(), await fleet.server()
    job = await other.submit(JobSpec(type="t", timeout_s=1.0))
    await running.leased()
    running.calls.deaf = True
    await other.backend.cancel(job.id)
    await pass_time(1.1)
    assert running.places.stopped == [(job.id, 1)]
    await running.backend.stopped(job.id, 1)
    record = await other.backend.get(job.id)
    assert (record.state, record.error) == (JobState.CANCELLED, None)
    assert running.calls.asked.count("nack") == 0


@virtual_time
async def test_a_timeout_begins_when_a_worker_begins(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    job = await server.submit(JobSpec(type="t", timeout_s=2.0))
    await pass_time(5)
    assert server.places.stopped == []
    assert await server.leased() == job.id
    await pass_time(1.9)
    server.backend.excuse(3.0)
    await pass_time(2.9)
    assert server.places.stopped == []
    await pass_time(0.3)
    assert server.places.stopped == [(job.id, 1)]


@virtual_time
async def test_progress_is_seen_by_others_and_dropped_while_the_store_is_out(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    job = await server.submit()
    await server.leased()
    await server.backend.report(job.id, 1, Progress(0.5, "half"))
    assert (await other.backend.get(job.id)).progress == Progress(0.5, "half")
    server.calls.out = True
    await server.backend.report(job.id, 1, Progress(0.6))
    server.calls.out = False
    assert (await other.backend.get(job.id)).progress == Progress(0.5, "half")


@virtual_time
async def test_a_quarantine_and_its_end_are_events_of_the_process_with_the_outcomes(fleet: Fleet) -> None:
    queues = {"default": QueuePolicy(retry_budget=2)}
    server, other = await fleet.server(queues=queues), await fleet.server(queues=queues)
    told: dict[str, list[str]] = {"server": [], "other": []}
    for name, backend in (("server", server.backend), ("other", other.backend)):
        backend.subscribe(lambda event, name=name: told[name].append(type(event).__name__), Quarantined, Released)  # type: ignore[misc]  # the default is bound
    spec = JobSpec(type="bad")
    for _ in range(2):
        job = await other.submit(spec)
        await server.leased()
        await server.backend.nack(job.id, 1, BOOM)
    await pass_time(2)
    assert told == {"server": ["Quarantined"], "other": []}
    (quarantined,) = other.backend.quarantined()
    await pass_time(quarantined.until - other.backend.now() + 2)
    job = await other.submit(spec)
    await server.leased()
    await server.backend.ack(job.id, 1, Success(b"1"))
    await pass_time(2)
    assert told == {"server": ["Quarantined", "Released"], "other": []}


@virtual_time
async def test_events_come_in_order_with_the_versions_of_the_store(fleet: Fleet) -> None:
    server, other = await fleet.server(), await fleet.server()
    told: list[tuple[str, int]] = []
    kinds = (Started, Progressed, AttemptFailed, BackedOff, Ended)
    server.backend.subscribe(lambda event: told.append((type(event).__name__, event.job.version)), *kinds)
    job = await other.submit(JobSpec(type="t", attempts_max=2))
    await server.leased()
    await server.backend.report(job.id, 1, Progress(0.5))
    await server.backend.nack(job.id, 1, BOOM)
    await server.backend.run_now(job.id)
    await server.leased()
    await server.backend.nack(job.id, 2, BOOM)
    versions = [1, 2, 3, 3, 5, 6, 6]
    names = ["Started", "Progressed", "AttemptFailed", "BackedOff", "Started", "AttemptFailed", "Ended"]
    assert told == list(zip(names, versions, strict=True))
    assert (await other.backend.get(job.id)).version == versions[-1]


# Outcomes that nothing waits for


@virtual_time
async def test_a_success_that_nothing_waits_for_is_sent_until_the_store_takes_it(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    ends: list[str] = []
    server.backend.subscribe(lambda event: ends.append(event.job.id), Ended)
    job = await server.submit()
    await server.leased()
    server.freeze()
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    with pytest.raises(StaleLease):
        server.backend.end_now(job.id, 1, Success(b"2"))
    await pass_time(1.2)
    assert ends == []
    server.thaw()
    await pass_time(AGAIN_S)
    assert ((await server.backend.get(job.id)).result, ends) == (b"1", [job.id])


@virtual_time
async def test_a_success_that_nothing_waits_for_and_that_comes_too_late_is_logged(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    server, other = await fleet.server(), await fleet.server(places=1)
    job = await server.submit(JobSpec(type="t", attempts_max=2))
    await server.leased()
    server.freeze()
    await pass_time(TTL_S + 1.1)
    again = await other.backend.lease()
    server.calls.out = False
    assert server.backend.end_now(job.id, 1, Success(b"late"))
    await pass_time(0.1)
    assert "attempt.stale_result" in caplog.text
    assert (await other.backend.get(job.id)).attempt == again.attempt == 2


@virtual_time
async def test_a_failure_that_nothing_waits_for_is_sent_until_the_store_takes_it(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    job = await server.submit(JobSpec(type="t", attempts_max=1))
    await server.leased()
    server.freeze()
    assert server.backend.end_now(job.id, 1, BOOM)
    with pytest.raises(StaleLease):
        server.backend.end_now(job.id, 1, BOOM)
    await pass_time(1.2)
    server.thaw()
    await pass_time(AGAIN_S)
    record = await server.backend.get(job.id)
    assert record.error is not None
    assert (record.state, record.error.message) == (JobState.FAILED, BOOM.message)


@virtual_time
async def test_a_failure_that_nothing_waits_for_and_that_comes_too_late_is_logged_with_its_message(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    server, other = await fleet.server(), await fleet.server(places=1)
    job = await server.submit(JobSpec(type="t", attempts_max=2))
    await server.leased()
    server.freeze()
    await pass_time(TTL_S + 1.1)
    await other.backend.lease()
    server.calls.out = False
    assert server.backend.end_now(job.id, 1, BOOM)
    await pass_time(0.1)
    (logged,) = [line for line in caplog.messages if line.startswith("attempt.stale_result")]
    assert BOOM.message in logged
    assert (await other.backend.get(job.id)).state is JobState.RUNNING


@virtual_time
async def test_an_attempt_that_was_asked_to_stop_is_not_reported_without_waiting(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    job = await server.submit()
    await server.leased()
    await server.backend.cancel(job.id)
    await pass_time(0.1)
    assert not server.backend.end_now(job.id, 1, Success(b"1"))
    assert not server.backend.end_now(job.id, 1, BOOM)
    await server.backend.stopped(job.id, 1)
    assert (await server.backend.get(job.id)).state is JobState.CANCELLED


@virtual_time
async def test_a_fault_is_logged_where_nothing_waits_for_a_success(fleet: Fleet) -> None:
    server = await fleet.server()
    job = await server.submit()
    await server.leased()
    server.calls.fails = lambda function: function == "ack"
    assert server.backend.end_now(job.id, 1, Success(b"1"))
    await pass_time(0.1)
    server.calls.fails = lambda function: False
    assert "was not worked off" in str(fleet.take_raised())
    server.calls.reconnect()
    await pass_time(0.1)
    assert (await server.backend.get(job.id)).state is JobState.QUEUED
