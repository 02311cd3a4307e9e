"""The open loop: a rate independent of responses, and latencies from the due time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from clients.behaviours.base import Slot
from tests.clients.fleet_run import run_fleet

if TYPE_CHECKING:
    from clients.report import Report
    from tests.clients.stub import Stub


async def offer(stub: Stub, rate: float, duration_s: float = 1.0, **changes: Any) -> Report:
    return await run_fleet(stub, **{"rate": rate, "clients": 20, "duration_s": duration_s, "poll_s": 0.1, **changes})


async def test_the_open_loop_submits_at_the_given_rate(stub: Stub) -> None:
    report = await offer(stub, 200.0)

    assert 150 <= report.offered <= 250  # 3.5 standard deviations of a Poisson process
    # On a slow machine the last due submissions may stay unsent; they are counted.
    assert report.offered == report.created + report.unsent
    assert report.created == report.accepted == report.ended == len(stub.submitted_at)
    assert report.unsent <= 25
    assert (report.errors, report.unseen) == (0, 0)


async def test_the_open_loop_keeps_its_rate_when_all_submissions_are_rejected(stub: Stub) -> None:
    stub.submissions.extend(["refuse"] * 1000)
    stub.retry_after_s = 30

    report = await offer(stub, 200.0)

    assert 150 <= report.offered <= 250
    assert report.offered == report.created + report.unsent
    assert report.created == report.refused == report.given_up
    assert report.unsent <= 25
    assert report.goodput_per_s == 0.0
    assert report.latency_ms["refusal"].count == report.refused
    assert report.latency_ms["refusal"].p99 >= report.latency_ms["refusal"].p50 > 0


async def test_equal_seeds_give_equal_submission_times(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[float] = []

    def noted(at: float) -> Slot:
        due.append(at)
        return Slot(at)

    async def first_times(seed: int) -> list[float]:
        due.clear()
        await offer(stub, 100.0, 0.5, seed=seed)
        return [round(at - due[0], 6) for at in due[:20]]

    monkeypatch.setattr("clients.behaviours.open_loop.Slot", noted)
    one, same, other = [await first_times(seed) for seed in (1, 1, 2)]
    assert len(one) == 20
    assert one == same != other


async def test_goodput_counts_successes_during_the_offered_load_only(stub: Stub) -> None:
    report = await offer(stub, 100.0)
    assert 0.5 * report.ended <= report.goodput_per_s <= report.ended

    stub.ends_as = "failed"
    report = await offer(stub, 100.0)
    assert report.ended > 50
    assert report.goodput_per_s == 0.0

    stub.ends_as, stub.polls_to_end = "succeeded", 8  # after the last submission
    report = await offer(stub, 100.0, 0.5)
    assert report.ended > 20
    assert report.goodput_per_s == 0.0


async def test_latency_of_a_late_submission_counts_from_its_due_time(stub: Stub) -> None:
    stub.submissions.extend(["hang"])  # on the only connection
    running = asyncio.create_task(offer(stub, 50.0, 2.0, clients=1, grace_s=0.1))
    await stub.submitted(1)
    await asyncio.sleep(0.5)
    stub.release()

    report = await running

    assert report.latency_ms["submit 202"].max >= 400
    assert report.latency_ms["late"].max >= 400


async def test_submissions_without_a_free_connection_count_as_offered_and_unsent(stub: Stub) -> None:
    stub.submissions.extend(["hang"])

    report = await offer(stub, 50.0, clients=1, grace_s=0.1)

    assert report.created == report.unknown_fate == 1
    assert report.unsent == report.offered - 1 > 20


async def test_the_open_loop_uses_all_connections(stub: Stub) -> None:
    await offer(stub, 200.0, clients=20, via="head")

    assert len(stub.connections) == 20


async def test_accepted_jobs_are_polled_at_the_interval_until_they_are_terminal(stub: Stub) -> None:
    stub.polls_to_end = 3

    report = await offer(stub, 50.0)

    assert report.accepted == report.ended > 20
    assert report.statuses_by_status == {"200": report.ended, "202": 2 * report.ended}
    assert report.latency_ms["life"].p50 >= 300


async def test_the_open_loop_ends_despite_jobs_that_never_end(stub: Stub) -> None:
    stub.ends_as = None

    async with asyncio.timeout(30):
        report = await offer(stub, 50.0, 0.5, grace_s=0.5)

    assert report.accepted == report.unseen == report.lost["queued"] > 5


async def test_jobs_are_polled_before_the_end_of_the_grace_period(stub: Stub) -> None:
    stub.poll_after_s = 60

    report = await offer(stub, 50.0, 0.5, grace_s=2.3)

    assert report.accepted == report.ended > 5


@pytest.mark.parametrize("order", ["drop", "422"])
async def test_a_failed_submission_is_counted_and_does_not_stop_the_others(stub: Stub, order: str) -> None:
    stub.submissions.extend(["accept", order])

    report = await offer(stub, 100.0, 0.5)

    assert report.unknown_fate + report.invalid == 1
    assert report.accepted == report.ended == report.created - 1 > 20


async def test_submissions_to_a_stopped_server_count_as_unreachable(stub: Stub) -> None:
    running = asyncio.create_task(offer(stub, 100.0, 1.0, grace_s=0.2))
    await stub.submitted(20)
    await stub.stop()

    report = await running

    assert report.unreachable > 10
    assert report.errors == 0
