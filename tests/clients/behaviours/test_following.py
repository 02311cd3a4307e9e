"""Long-polling, streaming and batching clients against a server with errors on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clients.fleet_run import run_fleet

if TYPE_CHECKING:
    from tests.clients.stub import Stub

WITHOUT_POLLS = pytest.mark.parametrize("via", ["wait", "events"])
WITHOUT_HEAD = pytest.mark.parametrize("via", ["wait", "events", "batch"])


@WITHOUT_HEAD
async def test_every_accepted_job_is_seen_to_end(stub: Stub, via: str) -> None:
    report = await run_fleet(stub, via=via, clients=4)

    assert report.accepted == report.ended >= 12
    assert 0 < report.goodput_per_s * report.duration_s <= report.ended
    assert (report.unseen, report.errors, report.refused, report.resumed) == (0, 0, 0, 0)
    assert report.exit_code == 0


@WITHOUT_HEAD
async def test_rejected_jobs_are_resubmitted_and_accepted(stub: Stub, via: str) -> None:
    stub.submissions.extend(["accept", "refuse", "refuse", "accept", "refuse"])
    stub.finer_retry_after_s = 0.1

    report = await run_fleet(stub, via=via, duration_s=0.6, jobs=3)

    assert report.refused == 3
    assert report.created == report.accepted == report.ended > 3
    assert report.given_up == report.errors == 0


@WITHOUT_HEAD
async def test_jobs_rejected_until_the_end_count_as_given_up(stub: Stub, via: str) -> None:
    stub.submissions.extend(["accept", *["refuse"] * 500])

    report = await run_fleet(stub, via=via, duration_s=1.5)

    assert (report.created, report.accepted, report.ended, report.given_up) == (3, 1, 1, 2)


@WITHOUT_HEAD
async def test_jobs_that_never_end_are_counted_by_their_last_state(stub: Stub, via: str) -> None:
    stub.ends_as = None
    stub.live_state = "running"

    report = await run_fleet(stub, via=via, duration_s=1.0, grace_s=0.3)

    assert report.accepted == report.unseen == 3
    assert report.lost == {"delayed": 0, "queued": 0, "running": 3} or via == "wait"
    assert report.exit_code == 1


@WITHOUT_HEAD
async def test_cancelled_jobs_are_counted_by_error_code(stub: Stub, via: str) -> None:
    stub.ends_as, stub.error_code = "cancelled", "shutdown"

    report = await run_fleet(stub, via=via, duration_s=0.05)

    assert report.ended_by_state == {"cancelled": report.ended}
    assert report.ended_by_error == {"shutdown": report.ended}
    assert sum(report.lost.values()) == report.shutdown == report.ended > 0


@WITHOUT_HEAD
async def test_a_submission_on_a_broken_connection_has_an_unknown_fate(stub: Stub, via: str) -> None:
    stub.submissions.append("whole drop" if via == "batch" else "drop")

    report = await run_fleet(stub, via=via, duration_s=0.05)

    assert report.unknown_fate == (3 if via == "batch" else 1)
    assert report.errors_by_kind == {"submission: connection dropped": 1}


@WITHOUT_HEAD
async def test_jobs_of_a_stopped_server_count_as_unseen(stub: Stub, via: str) -> None:
    stub.ends_as = None
    running = asyncio.create_task(run_fleet(stub, via=via, clients=2, duration_s=0.6, grace_s=0.5))
    await stub.submitted(6)
    await asyncio.sleep(0.1)
    await stub.stop()

    report = await running

    assert report.accepted == report.unseen == 6
    assert report.unreadable["gone"] > 0
    assert report.errors == 0


@WITHOUT_POLLS
async def test_the_end_of_a_job_is_seen_without_the_delay_of_a_poll(stub: Stub, via: str) -> None:
    stub.takes_s = 0.15

    report = await run_fleet(stub, via=via, jobs=2, duration_s=0.05, poll_s=30.0)

    life = report.latency_ms["life"]
    assert 150 <= life.p50 <= life.max < 10_000  # a poll would come after 30 s
    assert report.elapsed_s < 10


@WITHOUT_POLLS
async def test_a_long_job_does_not_delay_the_end_of_another(stub: Stub, via: str) -> None:
    stub.waits.extend(["no"])
    stub.streams.extend(["end"])
    stub.poll_after_s = 1

    report = await run_fleet(stub, via=via, jobs=3, duration_s=0.3, poll_s=1.0)

    assert report.ended == 3
    assert report.latency_ms["life"].p50 < 500 < report.latency_ms["life"].max


@WITHOUT_POLLS
async def test_a_client_with_many_jobs_uses_a_bounded_number_of_connections(stub: Stub, via: str) -> None:
    report = await run_fleet(stub, via=via, jobs=20, duration_s=0.1)

    assert report.accepted == report.ended >= 20
    assert len(stub.connections) <= 7


@WITHOUT_POLLS
async def test_a_job_answered_with_410_counts_as_gone_and_unseen(stub: Stub, via: str) -> None:
    stub.waits.append("410")
    stub.streams.append("410")

    report = await run_fleet(stub, via=via, jobs=1, duration_s=0.01)

    assert (report.gone, report.unseen) == (1, 1)


@WITHOUT_POLLS
async def test_a_rejected_long_poll_or_stream_is_repeated_after_retry_after(stub: Stub, via: str) -> None:
    stub.waits.append("503")
    stub.streams.append("503")
    stub.finer_retry_after_s = 0.2

    report = await run_fleet(stub, via=via, jobs=1, duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.accepted == report.ended == 1
    assert report.latency_ms["life"].max >= 200


# -- long polling


async def test_long_polling_needs_one_request_per_job_besides_the_submission(stub: Stub) -> None:
    report = await run_fleet(stub, via="wait", clients=3)

    assert len(stub.waited_at) == report.ended
    assert report.requests_per_job == 2.0
    assert report.latency_ms["wait 200"].count == report.ended


async def test_a_long_poll_that_lasted_its_full_time_is_repeated_immediately(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.behaviours.long_polling.WAIT_S", 1)
    stub.takes_s, stub.applied_s = 2.5, 1

    report = await run_fleet(stub, via="wait", jobs=1, duration_s=0.01, poll_s=30.0)

    assert report.latency_ms["wait 202"].count == 2
    assert 2400 <= report.latency_ms["life"].max <= 3000


@pytest.mark.parametrize("order", ["cut", "no"])
async def test_a_long_poll_that_ended_early_is_repeated_after_the_poll_interval(stub: Stub, order: str) -> None:
    stub.waits.extend([order, order])

    report = await run_fleet(stub, via="wait", jobs=1, duration_s=0.01, poll_s=0.2)

    first, second, third = stub.waited_at
    assert second - first >= 0.2
    assert third - second >= 0.2
    assert report.ended == 1


async def test_a_long_poll_may_last_longer_than_the_request_timeout(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.3)
    stub.takes_s = 2.0

    report = await run_fleet(stub, via="wait", jobs=1, duration_s=0.01)

    assert (report.ended, report.errors) == (1, 0)


async def test_a_client_reuses_its_connections_for_new_jobs(stub: Stub) -> None:
    report = await run_fleet(stub, via="wait", duration_s=0.5)

    assert report.ended > 15
    assert len(stub.connections) <= 4


# -- streaming


async def test_a_broken_stream_resumes_after_the_last_received_event(stub: Stub) -> None:
    stub.streams.extend(["break", "end"])

    report = await run_fleet(stub, via="events", jobs=1, duration_s=0.01)

    assert stub.listened == [None, "job-0.1", "job-0.1"]
    assert report.resumed == 2
    assert report.ended == 1
    assert report.errors == 0


async def test_a_broken_stream_is_reopened_after_its_retry_time(stub: Stub) -> None:
    stub.streams.append("end")

    report = await run_fleet(stub, via="events", jobs=1, duration_s=0.01, poll_s=0.001)

    assert report.latency_ms["life"].max >= 50  # the `retry` field of the stream


async def test_a_silent_stream_is_reopened_after_the_timeout(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.2)
    stub.streams.append("hang")

    report = await run_fleet(stub, via="events", jobs=1, duration_s=0.01)

    assert stub.listened == [None, "job-0.1"]
    assert (report.resumed, report.ended, report.errors) == (1, 1, 0)


# -- batches


async def test_a_batching_client_submits_and_reads_all_its_jobs_in_one_request(stub: Stub) -> None:
    stub.polls_to_end = 3

    report = await run_fleet(stub, via="batch", clients=2, jobs=5)

    assert set(stub.batches) == set(stub.asked_for) == {5}
    assert report.requests_per_job == pytest.approx((1 + 3) / 5)
    assert report.statuses_by_status == {"200": 3 * report.ended / 5}
    assert report.submissions_by_status == {"202": report.accepted}
    assert report.latency_ms["batch 207"].count == len(stub.batches)


async def test_rejected_jobs_of_a_batch_are_resubmitted_each_after_its_retry_after(stub: Stub) -> None:
    stub.submissions.extend(["accept", "refuse", "refuse", "refuse"])
    stub.retries_after_s.extend([0.2, 0.7, 0.2])

    report = await run_fleet(stub, via="batch", jobs=4, duration_s=1.2, poll_s=30.0, grace_s=0.1)

    first, *_, before_last, last = stub.submitted_at
    assert 0.2 <= before_last - first <= 0.5
    assert 0.7 <= last - first <= 1.1
    assert sum(stub.batches) == 4 + 2 + 1
    assert (report.refused, report.accepted) == (3, 4)


async def test_a_wholly_rejected_batch_is_resubmitted_whole(stub: Stub) -> None:
    stub.submissions.append("whole refuse")
    stub.finer_retry_after_s = 0.1

    report = await run_fleet(stub, via="batch", duration_s=0.5, jobs=3)

    assert report.refused == 3
    assert report.submissions_by_status["503"] == 3
    assert report.accepted == report.ended == report.created
    assert report.latency_ms["batch 503"].count == 1


async def test_invalid_jobs_of_a_batch_are_not_resubmitted(stub: Stub) -> None:
    stub.submissions.extend(["422", "accept", "422"])

    report = await run_fleet(stub, via="batch", duration_s=0.01)

    assert (report.created, report.invalid, report.accepted) == (3, 2, 1)
    assert report.errors_by_kind == {"submission: 422": 2}


async def test_reads_of_many_ids_are_split_into_several_requests(stub: Stub) -> None:
    report = await run_fleet(stub, via="batch", jobs=150, duration_s=0.01)

    assert report.ended == 150
    # The grouping depends on the machine; a request never takes more than 100 ids.
    assert sum(stub.asked_for) == 150
    assert len(stub.asked_for) >= 2
    assert max(stub.asked_for) <= 100


async def test_missing_jobs_of_a_list_are_counted_individually(stub: Stub) -> None:
    stub.polls.extend(["410", "answer", "404"])

    report = await run_fleet(stub, via="batch", duration_s=0.01)

    assert (report.gone, report.unseen, report.ended) == (1, 2, 1)
    assert report.errors_by_kind == {"status: 404": 1}


async def test_a_rejected_list_is_repeated_after_retry_after(stub: Stub) -> None:
    stub.polls.append("503")
    stub.finer_retry_after_s = 0.3

    report = await run_fleet(stub, via="batch", duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert stub.polled_at[1] - stub.polled_at[0] >= 0.3
    assert report.ended == 3
