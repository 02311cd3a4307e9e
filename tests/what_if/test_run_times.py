"""Run times drawn from a histogram: the counts of the buckets and the mean are kept."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from random import Random

import pytest

from jobqueue.core.histogram import BOUNDS_S, BUCKETS, Histogram
from jobqueue.core.job import JobId
from jobqueue.what_if.run_times import LAST_FACTOR, GivenRunTimes, MeasuredRunTimes

DRAWS = 20_000


def measured(*runs_s: float) -> MeasuredRunTimes:
    histogram = Histogram()
    for run_s in runs_s:
        histogram.add(run_s, JobId("any"))
    return MeasuredRunTimes(histogram.counts, histogram.sum_s)


def drawn(run_times: MeasuredRunTimes | GivenRunTimes, seed: int = 1) -> list[float]:
    rng = Random(seed)
    return [run_times.draw_s(rng) for _ in range(DRAWS)]


@pytest.mark.parametrize(
    "runs_s",
    [
        (0.2,),
        (0.06, 0.07, 3.0),
        (0.0002, 0.02, 0.02, 0.3, 40.0),
        (0.4999,) * 9 + (0.11,),
        (2000.0, 5000.0),
    ],
)
def test_draws_have_the_measured_mean_and_the_counts_of_each_bucket(runs_s: tuple[float, ...]) -> None:
    run_times = measured(*runs_s)
    draws = drawn(run_times)
    mean_s = sum(runs_s) / len(runs_s)
    assert run_times.mean_s == pytest.approx(mean_s)
    assert sum(draws) / DRAWS == pytest.approx(mean_s, rel=0.05)
    buckets = Counter(bisect_right(BOUNDS_S, each) for each in draws)  # the lower bound is drawn, the upper is not
    assert set(buckets) == {number for number, count in enumerate(run_times.counts) if count}
    for number, count in buckets.items():
        assert count / DRAWS == pytest.approx(run_times.counts[number] / len(runs_s), abs=0.02)


def test_a_sum_that_the_buckets_contradict_gives_the_nearest_mean_and_stays_in_its_bucket() -> None:
    counts = [0] * BUCKETS
    counts[5] = 3  # from 0.1 to 0.5 s
    for sum_s in (0.0, 3.0):  # rounded to nothing, and too much
        draws = drawn(MeasuredRunTimes(counts, sum_s))
        assert min(draws) >= 0.1
        assert max(draws) <= 0.5


def test_runs_beyond_the_last_bound_are_taken_to_end_at_a_multiple_of_it() -> None:
    draws = drawn(measured(4000.0, 10_000.0))
    assert min(draws) >= BOUNDS_S[-1]
    assert max(draws) <= LAST_FACTOR * BOUNDS_S[-1]


def test_quantiles_are_those_of_the_draws() -> None:
    for run_times in (measured(0.06, 0.07, 0.3, 3.0), GivenRunTimes(0.5)):
        draws = sorted(drawn(run_times))
        for share in (0.2, 0.6, 0.95):
            assert run_times.quantile_s(share) == pytest.approx(draws[int(share * DRAWS)], rel=0.05)


def test_given_run_times_are_exponential_around_their_mean() -> None:
    draws = drawn(GivenRunTimes(0.5))
    mean_s = sum(draws) / DRAWS
    assert mean_s == pytest.approx(0.5, rel=0.05)
    assert sum((each - mean_s) ** 2 for each in draws) / DRAWS == pytest.approx(0.25, rel=0.1)
