"""When the refused should come back: places of their own, as far apart as free seats are."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from jobqueue.core.returns import JITTER, RETRY_AFTER_S_MAX, RETURNS_SHARE_MIN, Returns


class NoChance(Random):
    """Draws the lowest number each time: places without their jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a


def places(returns: Returns, count: int, *, now: float, seats_per_s: float) -> list[float]:
    return [returns.place_s(now, seats_per_s=seats_per_s) for _ in range(count)]


def stream(returns: Returns, *, per_s: float, since: float, until: float) -> None:
    """Let newcomers arrive at a steady rate."""
    for number in range(int((until - since) * per_s)):
        returns.arrivals.add(since + number / per_s)


def test_the_first_refused_is_told_when_the_next_seat_comes_free() -> None:
    assert Returns(NoChance()).place_s(100.0, seats_per_s=0.5) == pytest.approx(2.0)


def test_a_herd_is_spread_as_far_apart_as_seats_come_free() -> None:
    waits = places(Returns(NoChance()), 100, now=100.0, seats_per_s=4.0)

    assert waits == pytest.approx([number / 4.0 for number in range(1, 101)])


def test_places_go_on_behind_those_that_were_given_before() -> None:
    returns = Returns(NoChance())
    places(returns, 40, now=100.0, seats_per_s=4.0)  # the last one at 110

    assert returns.place_s(105.0, seats_per_s=4.0) == pytest.approx(5.25)
    assert returns.place_s(300.0, seats_per_s=4.0) == pytest.approx(0.25)


def test_newcomers_take_their_seats_first() -> None:
    returns = Returns(NoChance())
    stream(returns, per_s=3.0, since=0.0, until=120.0)

    waits = places(returns, 10, now=120.0, seats_per_s=4.0)

    assert [after - before for before, after in pairwise(waits)] == pytest.approx([1.0] * 9, rel=0.1)


def test_where_newcomers_outrun_the_seats_a_twentieth_is_for_those_who_return() -> None:
    returns = Returns(NoChance())
    stream(returns, per_s=30.0, since=0.0, until=60.0)

    waits = places(returns, 10, now=60.0, seats_per_s=10.0)

    assert RETURNS_SHARE_MIN == 0.05
    assert [after - before for before, after in pairwise(waits)] == pytest.approx([2.0] * 9)


def test_those_who_return_are_not_taken_for_newcomers() -> None:
    returns = Returns(NoChance())
    places(returns, 200, now=0.0, seats_per_s=4.0)
    for number in range(1, 161):  # 40 s: all that come are those who were told to
        returns.arrivals.add(number / 4.0)

    before, after = places(returns, 2, now=40.0, seats_per_s=4.0)

    assert after - before == pytest.approx(1 / 4.0, rel=0.1)
    assert returns.waiting == pytest.approx(200 - 160 + 2, abs=4)


def test_jitter_adds_at_most_a_tenth_and_grows_with_the_wait() -> None:
    without = places(Returns(NoChance()), 200, now=0.0, seats_per_s=2.0)
    jittered = places(Returns(Random(1)), 200, now=0.0, seats_per_s=2.0)
    added = [late - early for early, late in zip(without, jittered, strict=True)]

    assert all(0.0 <= more <= JITTER * wait for more, wait in zip(added, without, strict=True))
    assert max(added[:20]) < 1.0 < max(added[100:])


def test_a_crowd_without_end_is_spread_evenly_up_to_the_longest_wait() -> None:
    waits = places(Returns(Random(1)), 10_000, now=0.0, seats_per_s=10.0)
    beyond = waits[3000:]

    assert max(waits) <= RETRY_AFTER_S_MAX
    assert min(beyond) >= RETRY_AFTER_S_MAX / 2
    fifths = [sum(int((wait - 150) / 30) == fifth for wait in beyond) for fifth in range(5)]
    assert max(fifths) / min(fifths) < 1.2


def test_the_longest_wait_is_never_exceeded_by_jitter() -> None:
    for seed in range(20):
        returns = Returns(Random(seed))
        assert max(places(returns, 400, now=0.0, seats_per_s=1.0)) <= RETRY_AFTER_S_MAX


def test_a_crowd_of_any_size_takes_a_counter_for_each_second() -> None:
    returns = Returns(Random(1))
    places(returns, 100_000, now=0.0, seats_per_s=10_000.0)

    assert len(returns._places) <= 11
    assert returns.waiting == 100_000


def test_places_that_are_over_are_forgotten() -> None:
    returns = Returns(Random(1))
    places(returns, 50, now=0.0, seats_per_s=10.0)

    returns.place_s(100.0, seats_per_s=10.0)

    assert returns.waiting == 1
