"""Measured: a window of the history becomes arrivals, run times, waits and types."""

from __future__ import annotations

import pytest

from jobqueue.errors import Draining, QueueFull, RateLimited
from jobqueue.what_if.measured import NotMeasured, given, measure
from jobqueue.what_if.run_times import GivenRunTimes
from tests.what_if.recording import RUN_MS, WAIT_MS, Recording, reason, run, total, wait


def usual(recording: Recording, seconds: int) -> None:
    """Record seconds with 6 arrivals each: four of type a with runs of 20 ms, two of type b with runs of 2 s."""
    for _ in range(seconds):
        both = {total("submitted"): 6, total("succeeded"): 5, run(3): 4, run(7): 2, RUN_MS: 4080}
        recording.add(
            queue={**both, wait(0): 6, WAIT_MS: 3},
            a={total("submitted"): 4, total("succeeded"): 4, run(3): 4, RUN_MS: 80},
            b={total("submitted"): 2, total("succeeded"): 1, run(7): 2, RUN_MS: 4000},
        )


def test_a_window_has_arrivals_run_times_waits_and_the_share_of_each_type() -> None:
    recording = Recording()
    usual(recording, 61)  # the last second is not complete
    measured = measure(recording.recorded())
    assert measured.window_s == 60
    assert measured.arrivals_per_s == 6.0
    assert measured.per_s("succeeded") == 5.0
    assert measured.waits.count == 360
    assert measured.run_times.mean_s == pytest.approx(0.68)
    shares = {each.options.name: each.share for each in measured.types}
    assert shares == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}
    means = {each.options.name: each.run_times.mean_s for each in measured.types}
    assert means == {"a": pytest.approx(0.02), "b": pytest.approx(2.0)}
    assert [each.fails for each in measured.types] == [0.0, 0.5]


def test_submissions_rejected_for_lack_of_room_are_arrivals_and_those_over_a_quota_are_not() -> None:
    recording = Recording()
    usual(recording, 30)
    recording.add(queue={reason(QueueFull): 30, reason(RateLimited): 500, reason(Draining): 7, total("retried"): 3})
    recording.add(queue={})
    measured = measure(recording.recorded())
    assert measured.counts[-1] == 33.0
    assert measured.totals["refused"] == 30


def test_a_point_after_a_gap_is_spread_over_the_seconds_that_it_covers() -> None:
    recording = Recording()
    usual(recording, 20)
    recording.skip(4)
    recording.add(queue={total("submitted"): 50})
    recording.add(queue={})
    measured = measure(recording.recorded())
    assert measured.window_s == 25
    assert measured.counts[-5:] == [10.0] * 5


def test_a_window_ends_where_the_history_of_finest_points_does() -> None:
    recording = Recording()
    usual(recording, 700)
    assert measure(recording.recorded(10_000)).window_s == 599
    assert measure(recording.recorded(60)).window_s == 60


def test_without_a_series_of_types_all_jobs_have_the_run_times_of_the_queue() -> None:
    recording = Recording()
    usual(recording, 20)
    measured = measure(recording.recorded(types=[]))
    (only,) = measured.types
    assert only.run_times.mean_s == pytest.approx(0.68)
    assert only.fails == pytest.approx(1 / 6)


def test_a_type_without_an_ended_run_has_the_run_times_of_all() -> None:
    recording = Recording()
    for _ in range(20):
        recording.add(
            queue={total("submitted"): 3, total("succeeded"): 2, run(3): 2, RUN_MS: 60},
            a={total("submitted"): 2, total("succeeded"): 2, run(3): 2, RUN_MS: 60},
            b={total("submitted"): 1},
        )
    measured = measure(recording.recorded())
    assert {each.options.name: each.share for each in measured.types}["b"] == pytest.approx(1 / 3)
    assert {each.options.name: each.run_times.mean_s for each in measured.types}["b"] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("seconds", "rows", "missing"),
    [
        (3, {total("submitted"): 100, run(1): 100}, "2 seconds"),
        (20, {}, "0 jobs arrived"),
        (20, {total("submitted"): 1, run(1): 1}, "19 jobs arrived"),
        (30, {total("submitted"): 5}, "0 runs"),
    ],
)
def test_too_little_is_not_measured_and_the_message_names_the_lack(
    seconds: int, rows: dict[int, int], missing: str
) -> None:
    recording = Recording()
    for _ in range(seconds):
        recording.add(queue=rows)
    with pytest.raises(NotMeasured, match=missing):
        measure(recording.recorded())


def test_an_empty_history_is_not_measured() -> None:
    with pytest.raises(NotMeasured, match="0 seconds"):
        measure(Recording().recorded())


def test_a_queue_that_is_not_measured_has_the_given_arrivals_and_run_times() -> None:
    measured = given(12.5, GivenRunTimes(0.2))
    assert measured.arrivals_per_s == 12.5
    assert measured.dispersion is None
    assert measured.types[0].run_times.mean_s == 0.2
