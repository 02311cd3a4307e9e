"""Settings of a queue: invalid ones raise an error when the policy is made; some decide the order of jobs."""

from __future__ import annotations

import msgspec
import pytest

from jobqueue.core.policy import Discipline, QueuePolicy


@pytest.mark.parametrize("name", ["capacity", "workers", "weight"])
@pytest.mark.parametrize("number", [0, -1])
def test_capacity_workers_and_weight_below_one_raise_an_error(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number from 1, got {number}"):
        msgspec.structs.replace(QueuePolicy(), **{name: number})


def test_an_unknown_discipline_raises_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fifo, lifo, priority, fair, adaptive, got 'random'"):
        QueuePolicy(discipline="random")  # type: ignore[arg-type]  # invalid on purpose


@pytest.mark.parametrize(
    ("discipline", "decisive"),
    [
        (Discipline.FIFO, set()),
        (Discipline.LIFO, set()),
        (Discipline.FAIR, set()),
        (Discipline.PRIORITY, {"aging_s"}),
        (Discipline.ADAPTIVE, {"codel_target_s", "codel_interval_s", "patience_s"}),
    ],
)
def test_two_policies_order_alike_unless_a_setting_of_their_discipline_differs(
    discipline: Discipline, decisive: set[str]
) -> None:
    policy = QueuePolicy(discipline=discipline)
    assert policy.orders_as(QueuePolicy(discipline=discipline, capacity=3, workers=2, weight=5))
    for name in ("aging_s", "codel_target_s", "codel_interval_s", "patience_s"):
        other = msgspec.structs.replace(policy, **{name: 1.5})
        assert policy.orders_as(other) == (name not in decisive), name
    for each in Discipline:
        assert policy.orders_as(QueuePolicy(discipline=each)) == (each is discipline)
