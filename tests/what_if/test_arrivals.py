"""Arrivals: drawn as many and as bursty as measured, and multiplied."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from jobqueue.what_if.arrivals import dispersion_of, instants, rates_of


def poisson_counts(mean: float, seconds: int, rng: Random) -> list[float]:
    counts = Counter(int(at) for at in instants((mean,), 1.0, until=float(seconds), rng=rng))
    return [float(counts[second]) for second in range(seconds)]


def drawn_counts(counts: list[float], factor: float, seconds: int, seed: int = 1) -> list[float]:
    found = Counter(int(at) for at in instants(rates_of(counts), factor, until=float(seconds), rng=Random(seed)))
    return [float(found[second]) for second in range(seconds)]


def test_a_poisson_process_has_a_dispersion_of_one() -> None:
    assert dispersion_of(poisson_counts(20.0, 3000, Random(1))) == pytest.approx(1.0, abs=0.1)
    assert dispersion_of([0.0, 0.0]) is None
    assert dispersion_of([5.0]) is None


def test_draws_have_the_measured_mean_and_variance() -> None:
    bursty = [float(100 * (second % 20 < 2) + 5) for second in range(600)]
    again = drawn_counts(bursty, 1.0, 6000)
    assert sum(again) / 6000 == pytest.approx(sum(bursty) / 600, rel=0.03)
    assert dispersion_of(again) == pytest.approx(dispersion_of(bursty) or 0.0, rel=0.05)


def test_bursts_keep_their_order_and_grow_with_the_load() -> None:
    bursty = [float(100 * (second % 20 < 2) + 5) for second in range(600)]
    twice = drawn_counts(bursty, 2.0, 600)
    start = Random(1).randrange(600)
    high = [count for second, count in enumerate(twice) if (start + second) % 20 < 2]
    low = [count for second, count in enumerate(twice) if (start + second) % 20 >= 2]
    assert sum(high) / len(high) == pytest.approx(210, rel=0.05)
    assert sum(low) / len(low) == pytest.approx(10, rel=0.25)


def test_arrivals_more_regular_than_chance_are_drawn_by_chance() -> None:
    assert rates_of([10.0] * 50) == (10.0,)
    assert dispersion_of(drawn_counts([10.0] * 50, 1.0, 3000)) == pytest.approx(1.0, abs=0.15)


def test_a_second_without_arrivals_has_none_and_instants_are_in_order() -> None:
    found = list(instants((0.0, 50.0), 1.0, until=100.0, rng=Random(3)))
    assert found == sorted(found)
    seconds = {int(at) % 2 for at in found}
    assert len(seconds) == 1
    assert all(0.0 <= at < 100.0 for at in found)
