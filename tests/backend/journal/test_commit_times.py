"""The durations of commits."""

from __future__ import annotations

from jobqueue.backend.journal.commit_times import LATEST_MAX, CommitTimes
from jobqueue.core.histogram import BOUNDS_S, BUCKETS


def test_without_a_commit_there_are_no_durations() -> None:
    times = CommitTimes()
    assert (times.total, times.sum_s, times.last_s, times.p50_s(), times.max_s()) == (0, 0.0, None, None, None)


def test_a_commit_is_counted_in_the_first_bucket_with_a_bound_of_its_duration_or_more() -> None:
    times = CommitTimes()
    for duration_s in (0.0, BOUNDS_S[0], 0.0011, BOUNDS_S[-1], BOUNDS_S[-1] + 1):
        times.add(duration_s)
    assert times.counts == [2, 1, *[0] * (BUCKETS - 4), 1, 1]
    assert times.total == 5
    assert times.last_s == BOUNDS_S[-1] + 1
    assert times.sum_s == 0.0 + BOUNDS_S[0] + 0.0011 + BOUNDS_S[-1] + BOUNDS_S[-1] + 1


def test_median_and_maximum_are_those_of_the_latest_commits() -> None:
    times = CommitTimes()
    times.add(9.0)
    for duration_s in (0.003, 0.001, 0.002):
        times.add(duration_s)
    assert (times.p50_s(), times.max_s()) == (0.003, 9.0)
    for _ in range(LATEST_MAX):
        times.add(0.004)
    assert (times.p50_s(), times.max_s()) == (0.004, 0.004)
    assert times.total == LATEST_MAX + 4
