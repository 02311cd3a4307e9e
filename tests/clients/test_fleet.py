"""One process's fleet against a server that misbehaves on demand."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from clients.counters import Counters
from clients.fleet import LAST_LOOK_S, Fleet, random_of, start_offset_s
from clients.options import Options
from clients.wire.requests import Requests
from tests.clients.sailing import options, sail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients.stub import Stub


async def test_every_accepted_job_is_polled_until_it_has_ended(stub: Stub) -> None:
    stub.polls_to_end = 3

    report = await sail(stub, clients=5)

    assert report.created == report.accepted == report.ended >= 15
    assert (report.unseen, report.errors, report.refused) == (0, 0, 0)
    assert report.exit_code == 0
    assert report.statuses_by_status == {"200": report.ended, "202": 2 * report.ended}


async def test_statuses_can_be_read_by_get(stub: Stub) -> None:
    report = await sail(stub, via="get")

    assert report.ended == report.accepted > 0
    assert stub.polled_at == []  # of HEADs


async def test_a_refused_job_is_sent_again_until_it_is_accepted(stub: Stub) -> None:
    stub.submissions.extend(["refuse", "accept", "refuse"])

    report = await sail(stub, duration_s=2.6, jobs=2, poll_s=30.0, grace_s=2.1)

    assert report.created == 2
    assert report.refused == 2
    assert report.accepted == 2
    assert report.given_up == 0
    assert report.errors == 0


async def test_a_refused_job_comes_back_no_sooner_than_the_server_asked(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after_s = 1

    await sail(stub, duration_s=1.5, jobs=1, poll_s=30.0, grace_s=0.1)

    refused_at, came_back_at = stub.submitted_at
    assert 1.0 <= came_back_at - refused_at <= 1.3


async def test_a_refusal_that_knows_fractions_of_a_second_is_obeyed_to_them(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.finer_retry_after_s = 0.3

    await sail(stub, duration_s=1.0, jobs=1, poll_s=30.0, grace_s=0.1)

    refused_at, came_back_at = stub.submitted_at
    assert 0.3 <= came_back_at - refused_at <= 0.6


async def test_the_disobedient_come_back_when_they_like_to(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after_s = 30

    await sail(stub, duration_s=1.0, jobs=1, poll_s=30.0, grace_s=0.1, disobedient=1.0, impatience_s=0.1)

    refused_at, came_back_at = stub.submitted_at
    assert 0.1 <= came_back_at - refused_at <= 0.4


async def test_the_disobedient_poll_as_often_as_they_like_to(stub: Stub) -> None:
    stub.poll_after_s = 30
    stub.polls_to_end = 5

    report = await sail(stub, disobedient=1.0, grace_s=1.0)

    assert report.ended == report.accepted > 0
    assert report.statuses_by_status["202"] == 4 * report.ended


async def test_a_share_of_the_clients_is_disobedient(stub: Stub) -> None:
    stub.submissions.extend(["refuse"] * 200)
    stub.retry_after_s = 30

    report = await sail(
        stub, clients=100, jobs=1, duration_s=1.1, disobedient=0.25, impatience_s=0.7, poll_s=30.0, grace_s=0.1
    )

    assert report.created == 100
    assert 10 <= report.refused - 100 <= 45  # came back once before the end


async def test_a_poll_comes_no_sooner_than_the_server_asked(stub: Stub) -> None:
    stub.poll_after_s = 1
    stub.polls_to_end = 2

    await sail(stub, jobs=1)

    first, second = stub.polled_at
    assert first - stub.submitted_at[0] >= 1.0
    assert second - first >= 1.0


async def test_jobs_that_are_still_refused_at_the_end_are_given_up_and_counted(stub: Stub) -> None:
    stub.submissions.extend(["refuse"] * 100)

    report = await sail(stub, clients=4)

    assert report.created == report.given_up == 12
    assert report.accepted == 0
    assert report.exit_code == 0  # nothing that was accepted is missing


async def test_a_submission_whose_connection_breaks_is_counted_as_of_unknown_fate(stub: Stub) -> None:
    stub.submissions.extend(["accept", "drop"])

    report = await sail(stub, duration_s=0.8)

    assert report.unknown_fate == 1
    assert report.created == report.accepted + 1
    assert report.errors_by_kind == {"submission: connection dropped": 1}
    assert len(stub.submitted_at) == report.created  # it was not sent twice


async def test_a_submission_that_is_turned_away_for_good_is_not_repeated_at_full_speed(stub: Stub) -> None:
    stub.submissions.extend(["422"] * 100)

    report = await sail(stub)

    assert report.invalid == report.created == 3
    assert report.errors_by_kind == {"submission: 422": 3}


async def test_a_poll_on_a_connection_that_was_idle_too_long_is_sent_again(stub: Stub) -> None:
    stub.polls.append("drop")  # as a server does that closes it just now

    report = await sail(stub, jobs=1, duration_s=0.05)

    assert report.reopened == 1
    assert report.ended == report.accepted > 0
    assert report.errors == 0


async def test_a_poll_that_breaks_on_a_new_connection_too_is_an_unreadable_status(stub: Stub) -> None:
    stub.polls.extend(["drop", "drop"])

    report = await sail(stub, jobs=1, duration_s=0.05)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.errors_by_kind == {"status: connection dropped": 1}
    assert report.ended == report.accepted == 1


async def test_a_busy_answer_to_a_poll_is_waited_out(stub: Stub) -> None:
    stub.polls.append("503")

    report = await sail(stub, jobs=1, duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.errors == 0
    assert report.ended == report.accepted == 1
    assert stub.polled_at[1] - stub.polled_at[0] >= 1.0


async def test_an_accepted_job_that_never_ends_makes_the_exit_code_1(stub: Stub) -> None:
    stub.ends_as = None
    stub.live_state = "running"

    report = await sail(stub, grace_s=0.3)

    assert report.accepted == report.unseen == 3
    assert report.lost == {"delayed": 0, "queued": 0, "running": 3}
    assert report.exit_code == 1
    assert "3 jobs were accepted but never seen to end" in report.verdict


async def test_a_status_that_the_server_has_dropped_is_a_job_never_seen_to_end(stub: Stub) -> None:
    stub.polls.append("410")

    report = await sail(stub, jobs=1, duration_s=0.05)

    assert (report.gone, report.unseen, report.lost["queued"]) == (1, 1, 1)
    assert report.errors == 0


async def test_an_accepted_job_that_is_not_found_is_an_error(stub: Stub) -> None:
    stub.polls.append("404")

    report = await sail(stub, jobs=1, duration_s=0.05)

    assert report.errors_by_kind == {"status: 404": 1}
    assert report.unseen == 1


@pytest.mark.parametrize("via", ["head", "get"])
async def test_jobs_that_the_server_ended_when_it_stopped_are_told_apart(stub: Stub, via: str) -> None:
    stub.ends_as, stub.error_code = "cancelled", "shutdown"

    report = await sail(stub, via=via, duration_s=0.05)

    assert report.ended_by_state == {"cancelled": report.ended}
    assert report.shutdown == report.ended == report.lost["queued"] > 0
    assert report.exit_code == 0
    assert "jobs were ended by the server's shutdown; lost by their last state" in report.verdict


async def test_a_job_that_was_started_since_its_last_poll_counts_as_lost_while_running(stub: Stub) -> None:
    stub.ends_as, stub.error_code, stub.started = "cancelled", "shutdown", True

    report = await sail(stub, duration_s=0.05)

    assert report.lost == {"delayed": 0, "queued": 0, "running": report.ended}


async def test_why_a_job_did_not_succeed_is_counted_by_error_code(stub: Stub) -> None:
    stub.ends_as, stub.error_code = "failed", "timed_out"

    report = await sail(stub, duration_s=0.05)

    assert report.ended_by_error == {"timed_out": report.ended}
    assert report.shutdown == 0


async def test_what_was_accepted_by_a_server_that_has_gone_is_counted_by_its_last_state(stub: Stub) -> None:
    stub.ends_as = None
    course = asyncio.create_task(sail(stub, clients=2, duration_s=0.6, grace_s=0.5))
    await stub.submitted(6)
    await stub.go_away()

    report = await course

    assert report.accepted == report.lost["queued"] == 6
    assert report.unreadable["up"] == 0
    assert report.unreadable["gone"] > 0
    assert report.errors == 0


async def test_a_submission_that_a_server_takes_along_when_it_goes_is_of_unknown_fate_but_no_error(stub: Stub) -> None:
    stub.submissions.append("hang")
    course = asyncio.create_task(sail(stub, jobs=1, duration_s=1.0))
    await stub.submitted(1)
    await stub.go_away()

    report = await course

    assert report.unknown_fate == 1
    assert report.errors == 0


async def test_a_job_is_looked_at_before_the_patience_ends_even_if_the_server_asked_for_more(stub: Stub) -> None:
    stub.poll_after_s = 60

    report = await sail(stub, grace_s=LAST_LOOK_S + 0.2)

    assert report.ended == report.accepted >= 1
    assert report.elapsed_s < stub.poll_after_s


@pytest.mark.parametrize("via", ["head", "wait", "batch"])
async def test_a_server_that_never_was_there_ends_the_fleet_at_once_with_exit_code_1(stub: Stub, via: str) -> None:
    await stub.go_away()

    report = await sail(stub, duration_s=30.0, via=via)

    assert report.elapsed_s < 8  # it is one second; the rest is for a busy machine
    assert report.exit_code == 1
    port = stub.url.rpartition(":")[2]
    assert report.verdict == (
        f'No server listens on {stub.url}: start one with make run-server ARGS="--port {port}", or give the URL of one.'
    )


@pytest.mark.parametrize("via", ["head", "batch"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (422, "HTTP 422: /type: no handler is registered for 'x'"),
        (404, "HTTP 404: there is nothing here"),
        (413, "HTTP 413: Too Large"),
    ],
)
async def test_submissions_that_are_all_turned_away_are_told_at_once_with_the_reason(
    stub: Stub, via: str, status: int, reason: str
) -> None:
    problems: dict[int, dict[str, object]] = {
        422: {"detail": "", "errors": [{"pointer": "/type", "detail": "no handler is registered for 'x'"}]},
        404: {"detail": "there is nothing\nhere."},
        413: {"title": "Too Large", "detail": ""},
    }
    stub.submissions.extend([str(status)] * 1000)
    stub.problem = problems[status]

    report = await sail(stub, duration_s=30.0, via=via)

    assert report.elapsed_s < 8
    assert report.exit_code == 1
    assert report.verdict == f"Every submission was rejected: {report.invalid} by {reason}."


async def test_some_submissions_that_are_turned_away_are_exit_code_1_too(stub: Stub) -> None:
    stub.submissions.extend(["accept", "422"])

    report = await sail(stub, duration_s=1.5)

    assert report.exit_code == 1
    assert report.verdict.startswith("1 submissions were rejected: 1 by HTTP 422")
    assert report.verdict.endswith("Every accepted job was seen to end.")


async def test_a_reason_is_one_line_without_control_characters(stub: Stub) -> None:
    stub.submissions.extend(["422"] * 100)
    stub.problem = {"detail": "\x1b[2Ja\u202eb\r\n" + "x" * 10_000}

    report = await sail(stub)

    assert report.verdict.isprintable()
    assert len(report.verdict) < 300


async def test_what_a_proxy_answers_in_the_server_s_place_is_of_unknown_fate_and_no_end(stub: Stub) -> None:
    stub.submissions.extend(["502", "504"])
    stub.polls.extend(["502", "504"])

    report = await sail(stub, jobs=2, duration_s=1.6, poll_s=0.05)

    assert report.unknown_fate == 2
    assert (report.invalid, report.unseen) == (0, 0)
    assert report.ended == report.accepted > 0
    assert report.exit_code == 0


async def test_a_pause_may_be_given_as_a_date(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after = formatdate(time.time() + 2.0, usegmt=True)

    await sail(stub, duration_s=3.5, jobs=1, poll_s=30.0, grace_s=0.1)

    refused_at, came_back_at = stub.submitted_at
    assert 0.9 <= came_back_at - refused_at <= 2.6  # the date has whole seconds


@pytest.mark.parametrize("value", ["1e400", "-5", "9" * 400, "soon"])
async def test_a_pause_that_is_none_or_endless_is_no_storm(stub: Stub, value: str) -> None:
    stub.submissions.extend(["refuse"] * 100)
    stub.retry_after = value
    stub.finer_retry_after_s = -5.0

    report = await sail(stub, jobs=1, duration_s=0.5)

    assert report.refused == 1


async def test_a_user_and_a_password_in_the_url_are_sent_and_not_shown(stub: Stub) -> None:
    url = stub.url.replace("http://", "http://ada:secret@")

    report = await sail(stub, url=url, duration_s=0.05)

    assert report.accepted > 0
    assert stub.authorizations == {"Basic YWRhOnNlY3JldA=="}
    assert report.url == stub.url.replace("http://", "http://ada@")
    request = Requests(Options(url=url)).submission
    assert b"Host: 127.0.0.1:" in request


async def test_a_request_that_stays_unanswered_is_broken_off(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.5)
    stub.submissions.append("hang")

    report = await sail(stub, jobs=1, duration_s=1.5)

    assert report.unknown_fate == 1
    assert list(report.errors_by_kind) == ["submission: no answer for 0 s"]


async def test_finish_creates_no_more_and_waits_for_what_was_accepted(stub: Stub) -> None:
    stub.polls_to_end = 10
    counters = Counters()
    fleet = Fleet(options(stub, duration_s=60.0), counters, part=0, starts_at=time.monotonic())
    course = asyncio.create_task(fleet.run())
    await stub.submitted(3)

    fleet.finish()
    await asyncio.wait_for(course, 5)

    assert counters.counts.accepted == counters.counts.ended == 3


async def test_cancelling_ends_a_fleet_at_once_with_its_figures_whole(stub: Stub) -> None:
    stub.ends_as = None
    stub.submissions.extend(["accept", "accept", "hang"])
    counters = Counters()
    course = asyncio.create_task(
        Fleet(options(stub, duration_s=60.0), counters, part=0, starts_at=time.monotonic()).run()
    )
    await stub.submitted(3)

    course.cancel()
    with pytest.raises(asyncio.CancelledError):
        await course

    counters.check()
    assert (counters.unseen["queued"], counters.counts.unknown_fate) == (2, 1)


async def test_a_submission_under_way_at_the_end_is_of_unknown_fate(stub: Stub) -> None:
    stub.submissions.append("hang")

    report = await sail(stub, grace_s=0.1)

    assert (report.created, report.unknown_fate, report.given_up) == (1, 1, 0)


async def test_a_file_is_sent_with_every_job(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF" * 100_000)

    report = await sail(stub, jobs=1, duration_s=0.05, type="digest", args={}, file=path)

    assert report.ended == report.accepted > 0
    assert all(b"RIFF" * 100_000 in body and b'"type": "digest"' in body for body in stub.bodies)


def test_a_seed_gives_the_same_starts_and_choices_however_the_fleet_is_split() -> None:
    one, split, other = Options(seed=7), Options(seed=7, processes=2), Options(seed=8)

    def course(of: Options) -> list[tuple[float, float]]:
        return [(start_offset_s(index, of), random_of(index, of).random()) for index in range(20)]

    assert course(one) == course(split)
    assert course(one) != course(other)


def test_clients_begin_evenly_at_the_spawn_rate() -> None:
    wanted = Options(spawn_rate=10.0)

    assert [int(start_offset_s(index, wanted) * 10) for index in range(30)] == list(range(30))


def test_the_submission_keeps_the_path_under_which_the_service_is_mounted() -> None:
    requests = Requests(Options(url="http://127.0.0.1:8080/work"))
    assert requests.submission.startswith(b"POST /work/v1/jobs HTTP/1.1\r\n")
    assert requests.batch(2).startswith(b"POST /work/v1/jobs:batch HTTP/1.1\r\n")
    assert requests.read_many(["a", "b"]).startswith(b"GET /work/v1/jobs?ids=a,b HTTP/1.1\r\n")
