"""Histograms of durations."""

from __future__ import annotations

import pytest

from jobqueue.core.histogram import BOUNDS_S, BUCKETS, FIRST_BOUND_S, Histogram
from jobqueue.core.job import JobId


def bucket_of(duration_s: float) -> int:
    histogram = Histogram()
    histogram.add(duration_s, JobId("j"))
    return histogram.counts.index(1)


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    for bucket, bound_s in enumerate(BOUNDS_S):
        assert bucket_of(bound_s) == bucket
        assert bucket_of(bound_s * 1.000001) == bucket + 1


def test_durations_beyond_the_last_bound_have_a_bucket() -> None:
    assert bucket_of(1e9) == BUCKETS - 1 == len(BOUNDS_S)
    assert bucket_of(0.0) == 0
    assert BOUNDS_S[0] == FIRST_BOUND_S


def test_counts_and_sum_are_those_of_all_durations() -> None:
    histogram = Histogram()
    for duration_s in (0.0005, 0.003, 0.003, 7000.0):
        histogram.add(duration_s, JobId("j"))
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1]) == (1, 2, 1)
    assert sum(histogram.counts) == 4
    assert histogram.sum_s == pytest.approx(7000.0065)


def test_the_example_of_a_bucket_is_its_latest_job() -> None:
    histogram = Histogram()
    for duration_s, name in ((0.0005, "first"), (0.0004, "second"), (2.0, "slow")):
        histogram.add(duration_s, JobId(name))
    assert [name for name in histogram.examples if name is not None] == ["second", "slow"]
    assert histogram.examples[bucket_of(2.0)] == "slow"
