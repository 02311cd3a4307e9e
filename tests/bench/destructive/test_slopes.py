"""Slopes by Theil and Sen."""

from __future__ import annotations

import random

import pytest

from bench.destructive.slopes import POINTS_MAX, theil_sen, thin


def test_a_line_has_its_slope() -> None:
    slope = theil_sen([(x, 3.0 + 2.0 * x) for x in range(20)])
    assert slope.median == slope.least == slope.most == pytest.approx(2.0)
    assert slope.grows


def test_outliers_hardly_move_the_slope() -> None:
    points = [(float(x), 2.0 * x) for x in range(50)]
    for at in range(0, 50, 5):
        points[at] = (points[at][0], 1e6)
    assert theil_sen(points).median == pytest.approx(2.0, abs=0.2)


def test_noise_without_a_trend_does_not_grow() -> None:
    chance = random.Random(7)
    slope = theil_sen([(float(x), chance.gauss(100.0, 5.0)) for x in range(300)])
    assert slope.least < 0 < slope.most
    assert not slope.grows


def test_growth_under_noise_is_found() -> None:
    chance = random.Random(7)
    slope = theil_sen([(float(x), 0.1 * x + chance.gauss(100.0, 5.0)) for x in range(300)])
    assert slope.grows
    assert slope.least <= 0.1 <= slope.most


def test_many_points_are_replaced_by_medians_of_runs() -> None:
    thinned = thin([(float(x), float(x)) for x in range(10 * POINTS_MAX)])
    assert len(thinned) == POINTS_MAX
    assert thinned[0] == (4.5, 4.5)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_a_slope_needs_two_points_apart(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two points"):
        theil_sen(points)
