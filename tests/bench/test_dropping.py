"""The CoDel of the overload lab drops exactly the packets that RFC 8289 drops."""

from __future__ import annotations

from collections import deque
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.overload.dropping import DroppingCoDel

TARGET_S = 5.0
INTERVAL_S = 100.0


def codel() -> DroppingCoDel:
    return DroppingCoDel(target_s=TARGET_S, interval_s=INTERVAL_S)


def test_codel_shortens_the_drop_interval_with_the_square_root_of_the_count() -> None:
    measure = codel()
    drops = []
    for tenth in range(20_000):
        now = tenth / 10
        while measure.drops(now, waited_s=9.0, backlog=1000):
            drops.append(now)
    expected = [100.0]
    for n in range(1, 15):
        expected.append(expected[-1] + INTERVAL_S / sqrt(n))
    assert drops[:2] == [100.0, 200.0]
    assert drops[:15] == pytest.approx(expected, abs=0.11 * 15)
    assert len(drops) > 80


def test_a_wait_below_the_target_ends_dropping_immediately() -> None:
    measure = codel()
    measure.drops(0.0, waited_s=9.0, backlog=1000)
    assert measure.drops(100.0, waited_s=9.0, backlog=1000)
    assert not measure.drops(200.0, waited_s=1.0, backlog=1000)
    assert not measure.drops(201.0, waited_s=9.0, backlog=1000)


class ReferenceCoDel:
    """The queue of RFC 8289, section 5, line by line: packets are arrival times, MTU and sizes are 1."""

    def __init__(self, target: float, interval: float) -> None:
        self.packets: deque[float] = deque()
        self.target, self.interval = target, interval
        self.first_above_time = 0.0
        self.drop_next = 0.0
        self.count = self.lastcount = 0
        self.dropping = False
        self.dropped: list[float] = []
        self.resumed = 0  # times that dropping resumed at an earlier rate

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
    """The same queue with the class under test."""

    def __init__(self, target: float, interval: float) -> None:
        self.packets: deque[float] = deque()
        self.codel = DroppingCoDel(target_s=target, interval_s=interval)
        self.dropped: list[float] = []

    def dequeue(self, now: float) -> float | None:
        while self.packets:
            packet = self.packets.popleft()
            if not self.codel.drops(now, waited_s=now - packet, backlog=len(self.packets)):
                return packet
            self.dropped.append(packet)
        self.codel.ran_empty()
        return None


def twins(target: float, interval: float) -> tuple[CodelQueue, ReferenceCoDel]:
    return CodelQueue(target, interval), ReferenceCoDel(target, interval)


def test_codel_matches_rfc_8289_under_random_loads() -> None:
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
    assert resumed > 50, "dropping hardly ever resumed at an earlier rate"


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0, 200.0]), st.integers(0, 4), st.booleans()), max_size=80
    )
)
def test_codel_matches_rfc_8289_for_any_short_sequence_of_packets(steps: list[tuple[float, int, bool]]) -> None:
    queue, reference = twins(1.0, 5.0)
    now = 1.0
    for wait_s, arrivals, dequeues in steps:
        now += wait_s
        for each in (queue, reference):
            each.packets.extend([now] * arrivals)
        if dequeues:
            assert queue.dequeue(now) == reference.dequeue(now)
        assert queue.dropped == reference.dropped
