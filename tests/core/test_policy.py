"""Invalid settings of a queue raise an error when the policy is made."""

from __future__ import annotations

import msgspec
import pytest

from jobqueue.core.policy import QueuePolicy


@pytest.mark.parametrize("name", ["capacity", "workers", "weight"])
@pytest.mark.parametrize("number", [0, -1])
def test_capacity_workers_and_weight_below_one_raise_an_error(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number from 1, got {number}"):
        msgspec.structs.replace(QueuePolicy(), **{name: number})


def test_an_unknown_discipline_raises_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fifo, lifo, priority, fair, adaptive, got 'random'"):
        QueuePolicy(discipline="random")  # type: ignore[arg-type]  # invalid on purpose
