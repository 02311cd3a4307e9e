"""Clients that wait, listen, or deal in batches, against a server that misbehaves on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clients.sailing import sail

if TYPE_CHECKING:
    from tests.clients.stub import Stub

NOT_BY_POLLS = pytest.mark.parametrize("via", ["wait", "events"])
EACH_NEW_WAY = pytest.mark.parametrize("via", ["wait", "events", "batch"])


@EACH_NEW_WAY
async def test_every_accepted_job_is_followed_until_it_has_ended(stub: Stub, via: str) -> None:
    report = await sail(stub, via=via, clients=4)

    assert report.accepted == report.ended >= 12
    assert 0 < report.goodput_per_s * report.duration_s <= report.ended
    assert (report.unseen, report.errors, report.refused, report.resumed) == (0, 0, 0, 0)
    assert report.exit_code == 0


@EACH_NEW_WAY
async def test_refused_jobs_come_back_and_are_accepted_in_the_end(stub: Stub, via: str) -> None:
    stub.submissions.extend(["accept", "refuse", "refuse", "accept", "refuse"])
    stub.finer_retry_after_s = 0.1

    report = await sail(stub, via=via, duration_s=0.6, jobs=3)

    assert report.refused == 3
    assert report.created == report.accepted == report.ended > 3
    assert report.given_up == report.errors == 0


@EACH_NEW_WAY
async def test_jobs_still_refused_at_the_end_are_given_up(stub: Stub, via: str) -> None:
    stub.submissions.extend(["accept", *["refuse"] * 50])

    report = await sail(stub, via=via)

    assert (report.created, report.accepted, report.ended, report.given_up) == (3, 1, 1, 2)


@EACH_NEW_WAY
async def test_jobs_that_never_end_are_counted_by_their_last_state(stub: Stub, via: str) -> None:
    stub.ends_as = None
    stub.live_state = "running"

    report = await sail(stub, via=via, grace_s=0.3)

    assert report.accepted == report.unseen == 3
    assert report.lost == {"delayed": 0, "queued": 0, "running": 3} or via == "wait"
    assert report.exit_code == 1


@EACH_NEW_WAY
async def test_why_a_job_did_not_succeed_is_counted(stub: Stub, via: str) -> None:
    stub.ends_as, stub.error_code = "cancelled", "shutdown"

    report = await sail(stub, via=via, duration_s=0.05)

    assert report.ended_by_state == {"cancelled": report.ended}
    assert report.ended_by_error == {"shutdown": report.ended}
    assert sum(report.lost.values()) == report.shutdown == report.ended > 0


@EACH_NEW_WAY
async def test_a_submission_whose_connection_breaks_is_of_unknown_fate(stub: Stub, via: str) -> None:
    stub.submissions.append("whole drop" if via == "batch" else "drop")

    report = await sail(stub, via=via, duration_s=0.05)

    assert report.unknown_fate == (3 if via == "batch" else 1)
    assert report.errors_by_kind == {"submission: connection dropped": 1}


@EACH_NEW_WAY
async def test_a_server_that_goes_away_leaves_its_jobs_unseen(stub: Stub, via: str) -> None:
    stub.ends_as = None
    course = asyncio.create_task(sail(stub, via=via, clients=2, duration_s=0.6, grace_s=0.5))
    await stub.submitted(6)
    await asyncio.sleep(0.1)
    await stub.go_away()

    report = await course

    assert report.accepted == report.unseen == 6
    assert report.unreadable["gone"] > 0
    assert report.errors == 0


@NOT_BY_POLLS
async def test_a_job_is_seen_to_end_when_it_ends_and_not_at_a_poll_s_time(stub: Stub, via: str) -> None:
    stub.takes_s = 0.15

    report = await sail(stub, via=via, jobs=2, duration_s=0.05, poll_s=30.0)

    life = report.latency_ms["life"]
    assert 150 <= life.p50 <= life.max < 10_000  # a poll would come after 30 s
    assert report.elapsed_s < 10


@NOT_BY_POLLS
async def test_a_job_that_takes_long_does_not_hide_the_end_of_another(stub: Stub, via: str) -> None:
    stub.waits.extend(["no"])
    stub.streams.extend(["end"])
    stub.poll_after_s = 1

    report = await sail(stub, via=via, jobs=3, duration_s=0.3, poll_s=1.0)

    assert report.ended == 3
    assert report.latency_ms["life"].p50 < 500 < report.latency_ms["life"].max


@NOT_BY_POLLS
async def test_more_jobs_than_a_client_follows_at_once_are_followed_in_turn(stub: Stub, via: str) -> None:
    report = await sail(stub, via=via, jobs=20, duration_s=0.1)

    assert report.accepted == report.ended >= 20
    assert len(stub.connections) <= 7


@NOT_BY_POLLS
async def test_a_status_that_was_dropped_is_a_job_never_seen_to_end(stub: Stub, via: str) -> None:
    stub.waits.append("410")
    stub.streams.append("410")

    report = await sail(stub, via=via, jobs=1, duration_s=0.01)

    assert (report.gone, report.unseen) == (1, 1)


@NOT_BY_POLLS
async def test_a_server_where_too_many_wait_already_is_asked_again_when_it_says_so(stub: Stub, via: str) -> None:
    stub.waits.append("503")
    stub.streams.append("503")
    stub.finer_retry_after_s = 0.2

    report = await sail(stub, via=via, jobs=1, duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.accepted == report.ended == 1
    assert report.latency_ms["life"].max >= 200


# -- waiting


async def test_a_job_is_one_request_beside_its_submission(stub: Stub) -> None:
    report = await sail(stub, via="wait", clients=3)

    assert len(stub.waited_at) == report.ended
    assert report.requests_per_job == 2.0
    assert report.latency_ms["wait 200"].count == report.ended


async def test_a_wait_that_took_its_time_is_repeated_at_once(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.behaviours.long_polling.WAIT_S", 1)
    stub.takes_s, stub.applied_s = 2.5, 1

    report = await sail(stub, via="wait", jobs=1, duration_s=0.01, poll_s=30.0)

    assert report.latency_ms["wait 202"].count == 2
    assert 2400 <= report.latency_ms["life"].max <= 3000


@pytest.mark.parametrize("order", ["cut", "no"])
async def test_a_wait_that_ends_early_is_not_repeated_at_full_speed(stub: Stub, order: str) -> None:
    stub.waits.extend([order, order])

    report = await sail(stub, via="wait", jobs=1, duration_s=0.01, poll_s=0.2)

    first, second, third = stub.waited_at
    assert second - first >= 0.2
    assert third - second >= 0.2
    assert report.ended == 1


async def test_a_wait_may_be_silent_for_longer_than_another_request(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.3)
    stub.takes_s = 2.0

    report = await sail(stub, via="wait", jobs=1, duration_s=0.01)

    assert (report.ended, report.errors) == (1, 0)


async def test_connections_are_kept_from_round_to_round(stub: Stub) -> None:
    report = await sail(stub, via="wait", duration_s=0.5)

    assert report.ended > 15
    assert len(stub.connections) <= 4


# -- listening


async def test_a_stream_that_breaks_goes_on_from_the_last_event_heard(stub: Stub) -> None:
    stub.streams.extend(["break", "end"])

    report = await sail(stub, via="events", jobs=1, duration_s=0.01)

    assert stub.listened == [None, "job-0.1", "job-0.1"]
    assert report.resumed == 2
    assert report.ended == 1
    assert report.errors == 0


async def test_a_broken_stream_is_not_opened_again_before_the_server_wants_it(stub: Stub) -> None:
    stub.streams.append("end")

    report = await sail(stub, via="events", jobs=1, duration_s=0.01, poll_s=0.001)

    assert report.latency_ms["life"].max >= 50  # as its `retry` says


async def test_a_stream_without_a_sign_of_life_is_opened_anew(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.2)
    stub.streams.append("hang")

    report = await sail(stub, via="events", jobs=1, duration_s=0.01)

    assert stub.listened == [None, "job-0.1"]
    assert (report.resumed, report.ended, report.errors) == (1, 1, 0)


# -- batches


async def test_all_jobs_of_a_client_go_in_one_request_and_are_read_in_one(stub: Stub) -> None:
    stub.polls_to_end = 3

    report = await sail(stub, via="batch", clients=2, jobs=5)

    assert set(stub.batches) == set(stub.asked_for) == {5}
    assert report.requests_per_job == pytest.approx((1 + 3) / 5)
    assert report.statuses_by_status == {"200": 3 * report.ended / 5}
    assert report.submissions_by_status == {"202": report.accepted}
    assert report.latency_ms["batch 207"].count == len(stub.batches)


async def test_of_a_batch_only_the_refused_jobs_come_back_each_when_it_was_told(stub: Stub) -> None:
    stub.submissions.extend(["accept", "refuse", "refuse", "refuse"])
    stub.retries_after_s.extend([0.2, 0.7, 0.2])

    report = await sail(stub, via="batch", jobs=4, duration_s=1.2, poll_s=30.0, grace_s=0.1)

    first, *_, before_last, last = stub.submitted_at
    assert 0.2 <= before_last - first <= 0.5
    assert 0.7 <= last - first <= 1.1
    assert sum(stub.batches) == 4 + 2 + 1
    assert (report.refused, report.accepted) == (3, 4)


async def test_a_batch_that_is_refused_whole_comes_back_whole(stub: Stub) -> None:
    stub.submissions.append("whole refuse")
    stub.finer_retry_after_s = 0.1

    report = await sail(stub, via="batch", duration_s=0.5, jobs=3)

    assert report.refused == 3
    assert report.submissions_by_status["503"] == 3
    assert report.accepted == report.ended == report.created
    assert report.latency_ms["batch 503"].count == 1


async def test_a_job_of_a_batch_that_is_turned_away_for_good_does_not_come_back(stub: Stub) -> None:
    stub.submissions.extend(["422", "accept", "422"])

    report = await sail(stub, via="batch", duration_s=0.01)

    assert (report.created, report.invalid, report.accepted) == (3, 2, 1)
    assert report.errors_by_kind == {"submission: 422": 2}


async def test_more_ids_than_one_request_takes_are_asked_for_in_several(stub: Stub) -> None:
    report = await sail(stub, via="batch", jobs=150, duration_s=0.01)

    assert report.ended == 150
    # How they fall due together is the machine's affair; a request never takes more than a hundred.
    assert sum(stub.asked_for) == 150
    assert len(stub.asked_for) >= 2
    assert max(stub.asked_for) <= 100


async def test_jobs_that_a_list_can_not_tell_are_counted_one_by_one(stub: Stub) -> None:
    stub.polls.extend(["410", "answer", "404"])

    report = await sail(stub, via="batch", duration_s=0.01)

    assert (report.gone, report.unseen, report.ended) == (1, 2, 1)
    assert report.errors_by_kind == {"status: 404": 1}


async def test_a_list_that_is_refused_is_asked_for_again_when_the_server_says_so(stub: Stub) -> None:
    stub.polls.append("503")
    stub.finer_retry_after_s = 0.3

    report = await sail(stub, via="batch", duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert stub.polled_at[1] - stub.polled_at[0] >= 0.3
    assert report.ended == 3
