"""A fleet of one process against a server with errors on demand."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from clients.counters import Counters
from clients.fleet import LAST_POLL_S, Fleet, random_of, start_offset_s
from clients.options import Options
from clients.wire.requests import Requests
from tests.clients.fleet_run import options, run_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients.stub import Stub


async def test_every_accepted_job_is_polled_until_it_is_terminal(stub: Stub) -> None:
    stub.polls_to_end = 3

    report = await run_fleet(stub, clients=5)

    assert report.created == report.accepted == report.ended >= 15
    assert (report.unseen, report.errors, report.refused) == (0, 0, 0)
    assert report.exit_code == 0
    assert report.statuses_by_status == {"200": report.ended, "202": 2 * report.ended}


async def test_a_fleet_can_poll_with_get(stub: Stub) -> None:
    report = await run_fleet(stub, via="get")

    assert report.ended == report.accepted > 0
    assert stub.polled_at == []  # no HEAD requests


async def test_a_rejected_job_is_resubmitted_until_it_is_accepted(stub: Stub) -> None:
    stub.submissions.extend(["refuse", "accept", "refuse"])

    report = await run_fleet(stub, duration_s=2.6, jobs=2, poll_s=30.0, grace_s=2.1)

    assert report.created == 2
    assert report.refused == 2
    assert report.accepted == 2
    assert report.given_up == 0
    assert report.errors == 0


async def test_a_rejected_job_is_resubmitted_after_retry_after(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after_s = 1

    await run_fleet(stub, duration_s=1.5, jobs=1, poll_s=30.0, grace_s=0.1)

    rejected_at, resubmitted_at = stub.submitted_at
    assert 1.0 <= resubmitted_at - rejected_at <= 1.3


async def test_a_fractional_retry_after_of_the_problem_is_used(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.finer_retry_after_s = 0.3

    await run_fleet(stub, duration_s=1.0, jobs=1, poll_s=30.0, grace_s=0.1)

    rejected_at, resubmitted_at = stub.submitted_at
    assert 0.3 <= resubmitted_at - rejected_at <= 0.6


async def test_disobedient_clients_ignore_retry_after(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after_s = 30

    await run_fleet(stub, duration_s=1.0, jobs=1, poll_s=30.0, grace_s=0.1, disobedient=1.0, impatience_s=0.1)

    rejected_at, resubmitted_at = stub.submitted_at
    assert 0.1 <= resubmitted_at - rejected_at <= 0.4


async def test_disobedient_clients_ignore_the_suggested_poll_interval(stub: Stub) -> None:
    stub.poll_after_s = 30
    stub.polls_to_end = 5

    report = await run_fleet(stub, disobedient=1.0, grace_s=1.0)

    assert report.ended == report.accepted > 0
    assert report.statuses_by_status["202"] == 4 * report.ended


async def test_the_given_share_of_clients_is_disobedient(stub: Stub) -> None:
    stub.submissions.extend(["refuse"] * 200)
    stub.retry_after_s = 30

    report = await run_fleet(
        stub, clients=100, jobs=1, duration_s=1.1, disobedient=0.25, impatience_s=0.7, poll_s=30.0, grace_s=0.1
    )

    assert report.created == 100
    assert 10 <= report.refused - 100 <= 45  # resubmitted once before the end


async def test_polls_keep_the_suggested_interval(stub: Stub) -> None:
    stub.poll_after_s = 1
    stub.polls_to_end = 2

    await run_fleet(stub, jobs=1)

    first, second = stub.polled_at
    assert first - stub.submitted_at[0] >= 1.0
    assert second - first >= 1.0


async def test_jobs_rejected_until_the_end_count_as_given_up(stub: Stub) -> None:
    stub.submissions.extend(["refuse"] * 100)

    report = await run_fleet(stub, clients=4)

    assert report.created == report.given_up == 12
    assert report.accepted == 0
    assert report.exit_code == 0  # no accepted job is missing


async def test_a_submission_on_a_broken_connection_has_an_unknown_fate_and_is_not_resent(stub: Stub) -> None:
    stub.submissions.extend(["accept", "drop"])

    report = await run_fleet(stub, duration_s=0.8)

    assert report.unknown_fate == 1
    assert report.created == report.accepted + 1
    assert report.errors_by_kind == {"submission: connection dropped": 1}
    assert len(stub.submitted_at) == report.created  # no submission was sent twice


async def test_an_invalid_submission_is_counted_and_not_resent(stub: Stub) -> None:
    stub.submissions.extend(["422"] * 100)

    report = await run_fleet(stub)

    assert report.invalid == report.created == 3
    assert report.errors_by_kind == {"submission: 422": 3}


async def test_a_poll_on_a_stale_connection_is_resent_on_a_new_one(stub: Stub) -> None:
    stub.polls.append("drop")  # as a server that closes an idle connection

    report = await run_fleet(stub, jobs=1, duration_s=0.05)

    assert report.reopened == 1
    assert report.ended == report.accepted > 0
    assert report.errors == 0


async def test_a_poll_that_fails_on_a_new_connection_too_counts_as_unreadable(stub: Stub) -> None:
    stub.polls.extend(["drop", "drop"])

    report = await run_fleet(stub, jobs=1, duration_s=0.05)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.errors_by_kind == {"status: connection dropped": 1}
    assert report.ended == report.accepted == 1


async def test_a_poll_rejected_with_503_is_repeated_after_retry_after(stub: Stub) -> None:
    stub.polls.append("503")

    report = await run_fleet(stub, jobs=1, duration_s=0.01)

    assert report.unreadable == {"up": 1, "gone": 0}
    assert report.errors == 0
    assert report.ended == report.accepted == 1
    assert stub.polled_at[1] - stub.polled_at[0] >= 1.0


async def test_accepted_jobs_that_never_end_set_exit_code_1(stub: Stub) -> None:
    stub.ends_as = None
    stub.live_state = "running"

    report = await run_fleet(stub, grace_s=0.3)

    assert report.accepted == report.unseen == 3
    assert report.lost == {"delayed": 0, "queued": 0, "running": 3}
    assert report.exit_code == 1
    assert "3 jobs were accepted but never seen to end" in report.verdict


async def test_a_job_answered_with_410_counts_as_gone_and_unseen(stub: Stub) -> None:
    stub.polls.append("410")

    report = await run_fleet(stub, jobs=1, duration_s=0.05)

    assert (report.gone, report.unseen, report.lost["queued"]) == (1, 1, 1)
    assert report.errors == 0


async def test_an_accepted_job_answered_with_404_is_an_error(stub: Stub) -> None:
    stub.polls.append("404")

    report = await run_fleet(stub, jobs=1, duration_s=0.05)

    assert report.errors_by_kind == {"status: 404": 1}
    assert report.unseen == 1


@pytest.mark.parametrize("via", ["head", "get"])
async def test_jobs_cancelled_by_a_shutdown_are_counted_separately(stub: Stub, via: str) -> None:
    stub.ends_as, stub.error_code = "cancelled", "shutdown"

    report = await run_fleet(stub, via=via, duration_s=0.05)

    assert report.ended_by_state == {"cancelled": report.ended}
    assert report.shutdown == report.ended == report.lost["queued"] > 0
    assert report.exit_code == 0
    assert "jobs were ended by the server's shutdown; lost by their last state" in report.verdict


async def test_a_job_started_since_its_last_poll_counts_as_lost_while_running(stub: Stub) -> None:
    stub.ends_as, stub.error_code, stub.started = "cancelled", "shutdown", True

    report = await run_fleet(stub, duration_s=0.05)

    assert report.lost == {"delayed": 0, "queued": 0, "running": report.ended}


async def test_failed_jobs_are_counted_by_error_code(stub: Stub) -> None:
    stub.ends_as, stub.error_code = "failed", "timed_out"

    report = await run_fleet(stub, duration_s=0.05)

    assert report.ended_by_error == {"timed_out": report.ended}
    assert report.shutdown == 0


async def test_jobs_of_a_stopped_server_are_counted_by_their_last_state(stub: Stub) -> None:
    stub.ends_as = None
    running = asyncio.create_task(run_fleet(stub, clients=2, duration_s=0.6, grace_s=0.5))
    await stub.submitted(6)
    await stub.stop()

    report = await running

    assert report.accepted == report.lost["queued"] == 6
    assert report.unreadable["up"] == 0
    assert report.unreadable["gone"] > 0
    assert report.errors == 0


async def test_a_submission_interrupted_by_a_server_stop_has_an_unknown_fate_and_is_no_error(stub: Stub) -> None:
    stub.submissions.append("hang")
    running = asyncio.create_task(run_fleet(stub, jobs=1, duration_s=1.0))
    await stub.submitted(1)
    await stub.stop()

    report = await running

    assert report.unknown_fate == 1
    assert report.errors == 0


async def test_jobs_are_polled_before_the_end_of_the_grace_period_despite_a_longer_interval(stub: Stub) -> None:
    stub.poll_after_s = 60

    report = await run_fleet(stub, grace_s=LAST_POLL_S + 0.2)

    assert report.ended == report.accepted >= 1
    assert report.elapsed_s < stub.poll_after_s


@pytest.mark.parametrize("via", ["head", "wait", "batch"])
async def test_an_unreachable_server_ends_the_fleet_early_with_exit_code_1(stub: Stub, via: str) -> None:
    await stub.stop()

    report = await run_fleet(stub, duration_s=30.0, via=via)

    assert report.elapsed_s < 8  # one second, and a margin for a busy machine
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
async def test_a_fleet_with_only_invalid_submissions_ends_early_and_names_the_reason(
    stub: Stub, via: str, status: int, reason: str
) -> None:
    problems: dict[int, dict[str, object]] = {
        422: {"detail": "", "errors": [{"pointer": "/type", "detail": "no handler is registered for 'x'"}]},
        404: {"detail": "there is nothing\nhere."},
        413: {"title": "Too Large", "detail": ""},
    }
    stub.submissions.extend([str(status)] * 1000)
    stub.problem = problems[status]

    report = await run_fleet(stub, duration_s=30.0, via=via)

    assert report.elapsed_s < 8
    assert report.exit_code == 1
    assert report.verdict == f"Every submission was rejected: {report.invalid} by {reason}."


async def test_a_single_invalid_submission_sets_exit_code_1(stub: Stub) -> None:
    stub.submissions.extend(["accept", "422"])

    report = await run_fleet(stub, duration_s=1.5)

    assert report.exit_code == 1
    assert report.verdict.startswith("1 submissions were rejected: 1 by HTTP 422")
    assert report.verdict.endswith("Every accepted job was seen to end.")


async def test_the_reason_of_a_rejection_is_one_short_printable_line(stub: Stub) -> None:
    stub.submissions.extend(["422"] * 100)
    stub.problem = {"detail": "\x1b[2Ja\u202eb\r\n" + "x" * 10_000}

    report = await run_fleet(stub)

    assert report.verdict.isprintable()
    assert len(report.verdict) < 300


async def test_gateway_errors_leave_submissions_of_unknown_fate_and_repeat_polls(stub: Stub) -> None:
    stub.submissions.extend(["502", "504"])
    stub.polls.extend(["502", "504"])

    report = await run_fleet(stub, jobs=2, duration_s=1.6, poll_s=0.05)

    assert report.unknown_fate == 2
    assert (report.invalid, report.unseen) == (0, 0)
    assert report.ended == report.accepted > 0
    assert report.exit_code == 0


async def test_retry_after_may_be_a_date(stub: Stub) -> None:
    stub.submissions.append("refuse")
    stub.retry_after = formatdate(time.time() + 2.0, usegmt=True)

    await run_fleet(stub, duration_s=3.5, jobs=1, poll_s=30.0, grace_s=0.1)

    rejected_at, resubmitted_at = stub.submitted_at
    assert 0.9 <= resubmitted_at - rejected_at <= 2.6  # the date has whole seconds


@pytest.mark.parametrize("value", ["1e400", "-5", "9" * 400, "soon"])
async def test_an_invalid_retry_after_causes_no_resubmission_at_full_speed(stub: Stub, value: str) -> None:
    stub.submissions.extend(["refuse"] * 100)
    stub.retry_after = value
    stub.finer_retry_after_s = -5.0

    report = await run_fleet(stub, jobs=1, duration_s=0.5)

    assert report.refused == 1


async def test_credentials_in_the_url_are_sent_and_the_password_is_not_reported(stub: Stub) -> None:
    url = stub.url.replace("http://", "http://ada:secret@")

    report = await run_fleet(stub, url=url, duration_s=0.05)

    assert report.accepted > 0
    assert stub.authorizations == {"Basic YWRhOnNlY3JldA=="}
    assert report.url == stub.url.replace("http://", "http://ada@")
    request = Requests(Options(url=url)).submission
    assert b"Host: 127.0.0.1:" in request


async def test_a_request_without_a_response_times_out(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.wire.connection.SILENT_S", 0.5)
    stub.submissions.append("hang")

    report = await run_fleet(stub, jobs=1, duration_s=1.5)

    assert report.unknown_fate == 1
    assert list(report.errors_by_kind) == ["submission: no answer for 0 s"]


async def test_finish_stops_submitting_and_waits_for_accepted_jobs(stub: Stub) -> None:
    stub.polls_to_end = 10
    counters = Counters()
    fleet = Fleet(options(stub, duration_s=60.0), counters, part=0, starts_at=time.monotonic())
    running = asyncio.create_task(fleet.run())
    await stub.submitted(3)

    fleet.finish()
    await asyncio.wait_for(running, 5)

    assert counters.counts.accepted == counters.counts.ended == 3


async def test_a_cancelled_fleet_ends_immediately_with_consistent_counters(stub: Stub) -> None:
    stub.ends_as = None
    stub.submissions.extend(["accept", "accept", "hang"])
    counters = Counters()
    running = asyncio.create_task(
        Fleet(options(stub, duration_s=60.0), counters, part=0, starts_at=time.monotonic()).run()
    )
    await stub.submitted(3)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    counters.check()
    assert (counters.unseen["queued"], counters.counts.unknown_fate) == (2, 1)


async def test_a_submission_in_progress_at_the_end_has_an_unknown_fate(stub: Stub) -> None:
    stub.submissions.append("hang")

    report = await run_fleet(stub, grace_s=0.1)

    assert (report.created, report.unknown_fate, report.given_up) == (1, 1, 0)


async def test_every_submission_uploads_the_given_file(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF" * 100_000)

    report = await run_fleet(stub, jobs=1, duration_s=0.05, type="digest", args={}, file=path)

    assert report.ended == report.accepted > 0
    assert all(b"RIFF" * 100_000 in body and b'"type": "digest"' in body for body in stub.bodies)


def test_start_times_and_choices_depend_on_the_seed_and_not_on_the_processes() -> None:
    one, split, other = Options(seed=7), Options(seed=7, processes=2), Options(seed=8)

    def schedule(of: Options) -> list[tuple[float, float]]:
        return [(start_offset_s(index, of), random_of(index, of).random()) for index in range(20)]

    assert schedule(one) == schedule(split)
    assert schedule(one) != schedule(other)


def test_clients_start_evenly_at_the_spawn_rate() -> None:
    wanted = Options(spawn_rate=10.0)

    assert [int(start_offset_s(index, wanted) * 10) for index in range(30)] == list(range(30))


def test_requests_keep_the_path_prefix_of_the_url() -> None:
    requests = Requests(Options(url="http://127.0.0.1:8080/work"))
    assert requests.submission.startswith(b"POST /work/v1/jobs HTTP/1.1\r\n")
    assert requests.batch(2).startswith(b"POST /work/v1/jobs:batch HTTP/1.1\r\n")
    assert requests.read_many(["a", "b"]).startswith(b"GET /work/v1/jobs?ids=a,b HTTP/1.1\r\n")
