from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.backoff import Backoff


def test_the_backoff_ceiling_doubles_with_each_attempt_up_to_the_maximum() -> None:
    backoff = Backoff(backoff_s_base=1.0, backoff_s_max=10.0)
    assert [backoff.ceiling_s(attempt) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.integers(1, 10_000), st.integers())
def test_a_backoff_lies_between_zero_and_the_ceiling(attempt: int, seed: int) -> None:
    backoff = Backoff()
    assert 0.0 <= backoff.wait_s(attempt, Random(seed)) <= backoff.ceiling_s(attempt) <= backoff.backoff_s_max


def test_the_same_seed_gives_the_same_backoffs() -> None:
    first, second = Random(3), Random(3)
    waits = [Backoff().wait_s(n, first) for n in range(1, 6)]
    assert waits == [Backoff().wait_s(n, second) for n in range(1, 6)]
    assert len(set(waits)) == 5


def test_backoffs_are_spread_over_the_whole_interval() -> None:
    rng = Random(4)
    waits = [Backoff().wait_s(5, rng) for _ in range(5000)]
    hundredths = {int(wait / 0.16) for wait in waits}
    assert hundredths == set(range(100))
