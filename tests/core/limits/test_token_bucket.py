"""Rates and the token bucket, against an exact token bucket of fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.limits.token_bucket import TICKS_PER_S, TokenBucket
from jobqueue.core.rate import Rate
from tests.core.limits.exact_bucket import ExactBucket

RATES = [
    Rate(1, 1.0),
    Rate(3, 1.0),
    Rate(7, 60.0),
    Rate(10, 1.0),
    Rate(1000, 1.0),
    Rate(600, 60.0),
    Rate(5, 3600.0),
    Rate(999_999_999, 3600.0),
    Rate(3, 0.1),
    Rate(10, 1.0, burst=1),
    Rate(7, 60.0, burst=2),
    Rate(3, 1.0, burst=20),
]
rates = st.sampled_from(RATES)
small_rates = st.sampled_from([rate for rate in RATES if rate.count <= 1000])
nows = st.floats(0, 1e9, allow_nan=False)


def taken_at(bucket: TokenBucket, now: float, most: int = 1000) -> int:
    """Take all tokens, `most` at most; return their number."""
    taken = 0
    while taken < most and bucket.take(now):
        taken += 1
    return taken


@given(rate=rates, start=nows, seed=st.integers(0, 1 << 32))
def test_the_token_bucket_matches_an_exact_bucket(rate: Rate, start: float, seed: int) -> None:
    rng = Random(seed)
    bucket, exact, now = TokenBucket(rate), ExactBucket(rate, start), start
    token_s = rate.period_s / rate.count
    for _ in range(150):
        # A rounded bucket would err at the instants at which tokens arrive.
        now += rng.choice([0.0, token_s, token_s / 2, rng.random() * 3 * token_s, rng.random() * rate.period_s])
        for _ in range(rng.choice([1, 1, 1, 2, 11])):
            exact.fill(now)
            assert bucket.remaining(now) == math.floor(exact.tokens)
            assert bucket.is_full(now) == (exact.tokens == exact.burst)
            assert (bucket.wait_s(now) == 0.0) == (exact.tokens >= 1)
            assert bucket.take(now) == exact.take(now)


def test_the_token_bucket_is_still_exact_after_a_hundred_thousand_takes() -> None:
    rng = Random(5)
    rate = Rate(7, 1.0)
    bucket, exact, now = TokenBucket(rate), ExactBucket(rate, 1000.0), 1000.0
    for _ in range(100_000):
        now += rng.choice([0.0, 1 / 7, rng.random() * 0.3])
        assert bucket.take(now) == exact.take(now)


@given(rate=small_rates, start=nows, takes=st.lists(st.integers(1, 5), max_size=20))
def test_a_take_succeeds_after_the_stated_wait_and_not_before(rate: Rate, start: float, takes: list[int]) -> None:
    bucket = TokenBucket(rate)
    for taken in takes:
        taken_at(bucket, start, taken)
        start = max(start, bucket.free_at())
    taken_at(bucket, start)
    wait_s = bucket.wait_s(start)
    assert start + wait_s >= bucket.free_at()
    early = min(bucket.free_at(), start + wait_s) - 2 / TICKS_PER_S
    if math.nextafter(early, math.inf) - early < 1 / TICKS_PER_S:
        assert not bucket.take(max(start, early))
    assert bucket.take(start + wait_s)


@given(rate=small_rates, start=nows, seed=st.integers(0, 1 << 32))
def test_no_window_of_one_period_admits_more_than_the_burst_plus_the_count(rate: Rate, start: float, seed: int) -> None:
    rng = Random(seed)
    bucket = TokenBucket(rate)
    passed: list[tuple[float, int]] = []
    now = start
    for _ in range(60):
        now += rng.choice([0.0, 0.25, 0.5, 1.0, rng.random()]) * rate.period_s
        passed.append((now, taken_at(bucket, now) if rng.random() < 0.8 else 0))
    for first, (begin, _) in enumerate(passed):
        within = [n for at, n in passed[first:] if Fraction(at) - Fraction(begin) <= Fraction(rate.period_s)]
        assert sum(within) <= rate.burst_max + rate.count


@pytest.mark.parametrize("rate", [Rate(3, 1.0), Rate(7, 60.0), Rate(10, 1.0), Rate(10, 1.0, burst=2)], ids=str)
def test_the_token_bucket_admits_exactly_the_rate_in_the_long_run(rate: Rate) -> None:
    bucket = TokenBucket(rate)
    start = now = 12345.678
    passed = taken_at(bucket, now)
    assert passed == rate.burst_max, "a full bucket lets its whole burst pass at once"
    periods = 1000
    while (at := now + bucket.wait_s(now)) <= start + periods * rate.period_s:
        now = at
        assert bucket.take(now)
        passed += 1
    assert passed == rate.burst_max + periods * rate.count


def test_a_burst_of_one_spaces_takes_evenly() -> None:
    bucket, now, taken = TokenBucket(Rate.parse("10/s burst 1")), 5.0, []
    for _ in range(50):
        now += bucket.wait_s(now)
        assert bucket.take(now)
        assert not bucket.take(now)
        taken.append(now)
    assert taken == pytest.approx([5.0 + n / 10 for n in range(50)])


def test_a_failed_take_changes_nothing() -> None:
    bucket = TokenBucket(Rate(10, 1.0))
    assert taken_at(bucket, 5.0) == 10
    assert not bucket.take(5.0)
    assert bucket.remaining(5.0) == 0
    assert bucket.wait_s(5.0) == pytest.approx(0.1)
    assert bucket.full_at == pytest.approx(6.0)


@given(rate=rates, start=nows, count=st.integers(1, 10))
def test_an_idle_token_bucket_becomes_full_and_behaves_as_a_new_one(rate: Rate, start: float, count: int) -> None:
    bucket = TokenBucket(rate)
    assert bucket.is_full(start)
    taken_at(bucket, start, count)
    assert not bucket.is_full(start)
    later = bucket.full_at
    assert bucket.is_full(later)
    assert bucket.remaining(later) == rate.burst_max
    assert taken_at(bucket, later) == taken_at(TokenBucket(rate), later) if rate.count <= 1000 else True


@pytest.mark.parametrize(
    "rate", [Rate(0, 1.0), Rate(-1, 1.0), Rate(1, 0.0), Rate(1, -1.0), Rate(1, 1.0, burst=0)], ids=repr
)
def test_a_token_bucket_with_a_rate_of_zero_or_less_raises_an_error(rate: Rate) -> None:
    with pytest.raises(ValueError, match="of at least 1 in a time over 0 s"):
        TokenBucket(rate)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1.0)),
        ("600/m", Rate(600, 60.0)),
        ("5/h", Rate(5, 3600.0)),
        ("10/s burst 1", Rate(10, 1.0, burst=1)),
        ("5/h burst 20", Rate(5, 3600.0, burst=20)),
    ],
)
def test_a_rate_is_parsed_and_formatted_alike(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert str(rate) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "10/x", "0/s", "-1/s", "1.5/s", "10 /s", "10/s ", "9999999999/s", "\u0661/s"),
        "10/s burst",
        "10/s burst 0",
        "10/s burst -1",
        "10/s burst 1.5",
        "10/s  burst 1",
        "10/s burst=1",
        "10 burst 1/s",
        "burst 1",
    ],
)
def test_an_invalid_rate_raises_an_error_that_describes_the_format(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number from 1, a slash"):
        Rate.parse(text)


def test_a_rate_with_an_unusual_period_is_formatted_in_seconds() -> None:
    assert str(Rate(3, 0.5)) == "3/0.5s"
