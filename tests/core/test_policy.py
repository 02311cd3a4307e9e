"""Settings of a queue that can't be kept to are refused where they are made, before anything has changed."""

from __future__ import annotations

import msgspec
import pytest

from jobqueue.core.policy import QueuePolicy


@pytest.mark.parametrize("name", ["capacity", "workers", "weight"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_queue_has_a_slot_a_worker_and_a_share(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number from 1, got {number}"):
        msgspec.structs.replace(QueuePolicy(), **{name: number})


def test_a_discipline_that_no_order_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="fifo, lifo, priority, fair, adaptive, got 'random'"):
        QueuePolicy(discipline="random")  # type: ignore[arg-type]
