"""The rate meter: events per second, where older events count less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.rate_meter import RateMeter


def test_the_rate_converges_to_a_steady_rate() -> None:
    rate = RateMeter()
    for n in range(5000):
        rate.add(n / 50)
        if n > 2500:
            assert rate.per_s(n / 50) == pytest.approx(50.0, rel=0.01)


def test_the_rate_approaches_a_new_rate_by_half_per_half_life() -> None:
    rate = RateMeter(10.0)
    for n in range(20_000):
        rate.add(n / 100)
    for n in range(10_000):
        now = 200.0 + (n + 0.5) / 1000
        rate.add(now)
    assert rate.per_s(210.0) == pytest.approx((100.0 + 1000.0) / 2, rel=0.005)


@pytest.mark.parametrize("half_life_s", [1.0, 10.0, 60.0])
def test_the_rate_halves_per_half_life_without_events(half_life_s: float) -> None:
    rate = RateMeter(half_life_s)
    start = 100 * half_life_s
    rate.begin(0.0)
    for n in range(100):
        rate.add(start + n / 100)
    last = rate.per_s(start + 1.0)
    assert last > 0
    for lives in range(1, 10):
        assert rate.per_s(start + 1.0 + lives * half_life_s) == pytest.approx(last / 2**lives, rel=1e-9)


def test_the_half_life_defaults_to_ten_seconds() -> None:
    rate = RateMeter()
    rate.begin(-1000.0)
    rate.add(0.0)
    assert rate.per_s(10.0) == pytest.approx(rate.per_s(0.0) / 2, rel=1e-9)


def test_the_rate_is_correct_from_the_start() -> None:
    rate = RateMeter()
    rate.begin(500.0)
    for n in range(2000):
        rate.add(500.0 + (n + 0.5) / 20)
        now = 500.0 + (n + 1) / 20
        if now >= 501.0:
            assert rate.per_s(now) == pytest.approx(20.0, rel=1e-3)


def test_one_event_after_a_millisecond_is_one_per_second() -> None:
    rate = RateMeter()
    rate.begin(0.0)
    rate.add(0.001)
    assert rate.per_s(0.001) == pytest.approx(1.0, rel=0.05)


def test_measuring_begins_with_the_first_event_by_default() -> None:
    rate = RateMeter()
    rate.add(100.0)
    assert rate.per_s(100.0) == pytest.approx(1.0, rel=0.05)
    rate.begin(0.0)  # it has begun already
    assert rate.per_s(105.0) == pytest.approx(1 / 5, rel=0.2)


def test_the_rate_is_zero_before_the_first_event() -> None:
    rate = RateMeter()
    assert rate.per_s(5.0) == 0.0
    rate.begin(5.0)
    assert rate.per_s(5.0) == 0.0
    assert rate.per_s(50.0) == 0.0


def test_events_added_together_equal_events_added_one_by_one() -> None:
    several, each = RateMeter(), RateMeter()
    for now in (1.0, 2.0, 7.0):
        several.add(now, 5)
        for _ in range(5):
            each.add(now)
    assert several.per_s(9.0) == pytest.approx(each.per_s(9.0))


@pytest.mark.parametrize("per_s", [300, 5_000, 50_000])
def test_a_high_rate_is_measured_within_a_thousandth_and_never_too_high(per_s: int) -> None:
    rate = RateMeter(1.0)
    rate.begin(0.0)
    for n in range(4 * per_s):
        rate.add((n + 0.5) / per_s)
    assert per_s * (1 - 1e-3) < rate.per_s(4.0) <= per_s * (1 + 1e-5)


def test_a_long_pause_causes_no_arithmetic_error() -> None:
    rate = RateMeter()
    rate.add(0.0, 1_000_000)
    assert rate.per_s(1e9) == 0.0
    rate.add(1e9)
    assert 0.0 < rate.per_s(1e9) < 1.0


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=40), st.floats(0.0, 100.0))
def test_the_rate_is_the_sum_of_decayed_events_over_the_decayed_time(waits_s: list[float], later_s: float) -> None:
    rate = RateMeter(10.0)
    rate.begin(0.0)
    now = 0.0
    times = []
    for wait_s in waits_s:
        now += wait_s
        rate.add(now)
        times.append(now)
    now += later_s
    observed_s = max(now, 1.0)
    weight = sum(0.5 ** ((now - time) / 10.0) for time in times)
    steady = sum(0.5 ** ((step + 0.5) / 1000 * observed_s / 10.0) for step in range(1000)) * observed_s / 1000
    assert rate.per_s(now) == pytest.approx(weight / steady, rel=1e-3)


def test_events_within_a_thousandth_of_a_half_life_count_as_simultaneous() -> None:
    spread, together, apart = (RateMeter(half_life_s=1000.0) for _ in range(3))
    spread.add(0.0)
    spread.add(0.999)
    together.add(0.0, 2)
    apart.add(0.0)
    apart.add(1.0)
    assert spread.per_s(500.0) == together.per_s(500.0) < apart.per_s(500.0)


def test_a_time_below_a_tenth_of_a_half_life_counts_as_that_tenth() -> None:
    meter = RateMeter(half_life_s=10.0)
    meter.add(0.0)
    assert meter.per_s(0.95) / meter.per_s(1.0) == pytest.approx(2 ** (0.05 / 10.0), rel=1e-9)


def test_a_meter_can_begin_with_another() -> None:
    first, second, begun = RateMeter(), RateMeter(), RateMeter()
    first.begin(0.0)
    second.begin_with(first)
    begun.begin(40.0)
    begun.begin_with(first)
    for meter in (first, second, begun):
        meter.add(50.0)
    assert first.per_s(50.0) == second.per_s(50.0) < begun.per_s(50.0)
