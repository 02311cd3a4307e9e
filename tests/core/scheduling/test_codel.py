from __future__ import annotations

from collections import deque
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.rate_meter import RateMeter
from jobqueue.core.scheduling.codel import CoDel

# The standing queue

TARGET_S = 5.0
INTERVAL_S = 100.0


def codel() -> CoDel:
    return CoDel(target_s=TARGET_S, interval_s=INTERVAL_S)


def test_a_wait_above_the_target_makes_a_standing_queue_only_after_a_whole_interval() -> None:
    measure = codel()
    assert not measure.observe(10.0, sojourn_s=5.0, backlog=10)
    assert not measure.observe(109.9, sojourn_s=50.0, backlog=10)
    assert measure.observe(110.0, sojourn_s=5.0, backlog=10)
    assert measure.standing


def test_one_short_wait_says_that_there_is_no_standing_queue_and_the_interval_begins_anew() -> None:
    measure = codel()
    measure.observe(0.0, sojourn_s=9.0, backlog=10)
    measure.observe(90.0, sojourn_s=4.9, backlog=10)
    assert not measure.observe(101.0, sojourn_s=9.0, backlog=10)
    assert not measure.observe(200.9, sojourn_s=9.0, backlog=10)
    assert measure.observe(201.0, sojourn_s=9.0, backlog=10)
    assert not measure.observe(202.0, sojourn_s=4.9, backlog=10)
    assert not measure.standing


def test_a_single_job_that_is_left_is_no_queue_however_long_they_waited() -> None:
    measure = codel()
    measure.observe(0.0, sojourn_s=500.0, backlog=2)
    assert not measure.observe(100.0, sojourn_s=500.0, backlog=1)
    assert not measure.observe(150.0, sojourn_s=500.0, backlog=2)
    assert measure.observe(250.0, sojourn_s=500.0, backlog=2)


def test_a_queue_that_ran_empty_stands_no_longer() -> None:
    measure = codel()
    measure.observe(0.0, sojourn_s=9.0, backlog=10)
    measure.observe(100.0, sojourn_s=9.0, backlog=10)
    measure.ran_empty()
    assert not measure.standing
    assert not measure.observe(101.0, sojourn_s=9.0, backlog=10)


# Drops


def test_drops_come_at_intervals_that_shrink_with_the_root_of_their_count() -> None:
    measure = codel()
    drops = []
    for tenth in range(20_000):
        now = tenth / 10
        while measure.drops(now, sojourn_s=9.0, backlog=1000):
            drops.append(now)
    expected = [100.0]
    for n in range(1, 15):
        expected.append(expected[-1] + INTERVAL_S / sqrt(n))
    assert drops[:2] == [100.0, 200.0]
    assert drops[:15] == pytest.approx(expected, abs=0.11 * 15)
    assert len(drops) > 80


def test_a_short_wait_ends_the_dropping_at_once() -> None:
    measure = codel()
    measure.drops(0.0, sojourn_s=9.0, backlog=1000)
    assert measure.drops(100.0, sojourn_s=9.0, backlog=1000)
    assert not measure.drops(200.0, sojourn_s=1.0, backlog=1000)
    assert not measure.drops(201.0, sojourn_s=9.0, backlog=1000)


class ReferenceCoDel:
    """The queue of RFC 8289, section 5, line by line: packets are the times at which they came, MTU and sizes are 1."""

    def __init__(self, target: float, interval: float) -> None:
        self.packets: deque[float] = deque()
        self.target, self.interval = target, interval
        self.first_above_time = 0.0
        self.drop_next = 0.0
        self.count = self.lastcount = 0
        self.dropping = False
        self.dropped: list[float] = []
        self.resumed = 0  # how often it went on at an earlier rate

    def control_law(self, t: float, count: int) -> float:
        return t + self.interval / sqrt(count)

    def dodequeue(self, now: float) -> tuple[float | None, bool]:
        if not self.packets:
            self.first_above_time = 0
            return None, False
        packet = self.packets.popleft()
        ok_to_drop = False
        sojourn_time = now - packet
        if sojourn_time < self.target or len(self.packets) <= 1:
            self.first_above_time = 0
        elif self.first_above_time == 0:
            self.first_above_time = now + self.interval
        elif now >= self.first_above_time:
            ok_to_drop = True
        return packet, ok_to_drop

    def drop(self, packet: float | None) -> None:
        assert packet is not None
        self.dropped.append(packet)

    def dequeue(self, now: float) -> float | None:
        packet, ok_to_drop = self.dodequeue(now)
        if self.dropping:
            if not ok_to_drop:
                self.dropping = False
            while now >= self.drop_next and self.dropping:
                self.drop(packet)
                self.count += 1
                packet, ok_to_drop = self.dodequeue(now)
                if not ok_to_drop:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next, self.count)
        elif ok_to_drop:
            self.drop(packet)
            packet, ok_to_drop = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.interval:
                self.count = delta
                self.resumed += 1
            self.drop_next = self.control_law(now, self.count)
            self.lastcount = self.count
        return packet


class CodelQueue:
    """The same queue around the class that is tested."""

    def __init__(self, target: float, interval: float) -> None:
        self.packets: deque[float] = deque()
        self.codel = CoDel(target_s=target, interval_s=interval)
        self.dropped: list[float] = []

    def dequeue(self, now: float) -> float | None:
        while self.packets:
            packet = self.packets.popleft()
            if not self.codel.drops(now, sojourn_s=now - packet, backlog=len(self.packets)):
                return packet
            self.dropped.append(packet)
        self.codel.ran_empty()
        return None


def twins(target: float, interval: float) -> tuple[CodelQueue, ReferenceCoDel]:
    return CodelQueue(target, interval), ReferenceCoDel(target, interval)


def test_it_drops_what_the_rfcs_pseudo_code_drops_under_random_loads() -> None:
    dropped = resumed = 0
    for seed in range(40):
        rng = Random(seed)
        queue, reference = twins(rng.uniform(0.5, 5.0), rng.uniform(5.0, 50.0))
        now, load = 1.0, 1.0
        for step in range(3000):
            if step % 200 == 0:
                load = rng.choice((0.5, 0.9, 1.1, 1.5, 3.0))
            now += rng.expovariate(1.0)
            while rng.random() < load / (1 + load):
                for each in (queue, reference):
                    each.packets.append(now)
            assert queue.dequeue(now) == reference.dequeue(now)
            assert queue.dropped == reference.dropped
        dropped += len(reference.dropped)
        resumed += reference.resumed
    assert dropped > 5000
    assert resumed > 50, "it hardly ever went on at an earlier rate"


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0, 200.0]), st.integers(0, 4), st.booleans()), max_size=80
    )
)
def test_no_few_packets_tell_it_from_the_rfcs_pseudo_code(steps: list[tuple[float, int, bool]]) -> None:
    queue, reference = twins(1.0, 5.0)
    now = 1.0
    for wait_s, arrivals, dequeues in steps:
        now += wait_s
        for each in (queue, reference):
            each.packets.extend([now] * arrivals)
        if dequeues:
            assert queue.dequeue(now) == reference.dequeue(now)
        assert queue.dropped == reference.dropped


# The rate of events


def test_it_comes_to_the_true_rate_and_stays_there() -> None:
    rate = RateMeter()
    for n in range(5000):
        rate.add(n / 50)
        if n > 2500:
            assert rate.per_s(n / 50) == pytest.approx(50.0, rel=0.01)


def test_it_follows_a_new_rate_by_half_of_the_difference_in_each_half_life() -> None:
    rate = RateMeter(10.0)
    for n in range(20_000):
        rate.add(n / 100)
    for n in range(10_000):
        now = 200.0 + (n + 0.5) / 1000
        rate.add(now)
    assert rate.per_s(210.0) == pytest.approx((100.0 + 1000.0) / 2, rel=0.005)


@pytest.mark.parametrize("half_life_s", [1.0, 10.0, 60.0])
def test_it_halves_in_each_half_life_in_which_nothing_happens(half_life_s: float) -> None:
    rate = RateMeter(half_life_s)
    start = 100 * half_life_s
    rate.begin(0.0)
    for n in range(100):
        rate.add(start + n / 100)
    last = rate.per_s(start + 1.0)
    assert last > 0
    for lives in range(1, 10):
        assert rate.per_s(start + 1.0 + lives * half_life_s) == pytest.approx(last / 2**lives, rel=1e-9)


def test_the_half_life_is_ten_seconds_unless_said_otherwise() -> None:
    rate = RateMeter()
    rate.begin(-1000.0)
    rate.add(0.0)
    assert rate.per_s(10.0) == pytest.approx(rate.per_s(0.0) / 2, rel=1e-9)


def test_it_is_right_from_the_start_and_does_not_climb_from_nothing() -> None:
    rate = RateMeter()
    rate.begin(500.0)
    for n in range(2000):
        rate.add(500.0 + (n + 0.5) / 20)
        now = 500.0 + (n + 1) / 20
        if now >= 501.0:
            assert rate.per_s(now) == pytest.approx(20.0, rel=1e-3)


def test_one_event_in_the_first_moment_is_not_a_thousand_per_second() -> None:
    rate = RateMeter()
    rate.begin(0.0)
    rate.add(0.001)
    assert rate.per_s(0.001) == pytest.approx(1.0, rel=0.05)


def test_without_a_beginning_looking_begins_with_the_first_event() -> None:
    rate = RateMeter()
    rate.add(100.0)
    assert rate.per_s(100.0) == pytest.approx(1.0, rel=0.05)
    rate.begin(0.0)  # it has begun already
    assert rate.per_s(105.0) == pytest.approx(1 / 5, rel=0.2)


def test_before_the_first_event_the_rate_is_nothing() -> None:
    rate = RateMeter()
    assert rate.per_s(5.0) == 0.0
    rate.begin(5.0)
    assert rate.per_s(5.0) == 0.0
    assert rate.per_s(50.0) == 0.0


def test_several_events_at_once_count_as_so_many() -> None:
    several, each = RateMeter(), RateMeter()
    for now in (1.0, 2.0, 7.0):
        several.add(now, 5)
        for _ in range(5):
            each.add(now)
    assert several.per_s(9.0) == pytest.approx(each.per_s(9.0))


@pytest.mark.parametrize("per_s", [300, 5_000, 50_000])
def test_a_crowd_of_events_is_measured_to_a_thousandth_and_never_too_high(per_s: int) -> None:
    rate = RateMeter(1.0)
    rate.begin(0.0)
    for n in range(4 * per_s):
        rate.add((n + 0.5) / per_s)
    assert per_s * (1 - 1e-3) < rate.per_s(4.0) <= per_s * (1 + 1e-5)


def test_a_long_silence_is_no_arithmetic_fault() -> None:
    rate = RateMeter()
    rate.add(0.0, 1_000_000)
    assert rate.per_s(1e9) == 0.0
    rate.add(1e9)
    assert 0.0 < rate.per_s(1e9) < 1.0


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=40), st.floats(0.0, 100.0))
def test_it_is_the_sum_of_halved_events_over_what_a_steady_one_would_weigh(
    waits_s: list[float], later_s: float
) -> None:
    rate = RateMeter(10.0)
    rate.begin(0.0)
    now = 0.0
    times = []
    for wait_s in waits_s:
        now += wait_s
        rate.add(now)
        times.append(now)
    now += later_s
    looked_s = max(now, 1.0)
    weight = sum(0.5 ** ((now - time) / 10.0) for time in times)
    steady = sum(0.5 ** ((step + 0.5) / 1000 * looked_s / 10.0) for step in range(1000)) * looked_s / 1000
    assert rate.per_s(now) == pytest.approx(weight / steady, rel=1e-3)
