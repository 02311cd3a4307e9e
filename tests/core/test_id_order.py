"""Ids in their order."""

from __future__ import annotations

from random import Random

import pytest

from jobqueue.core.id_order import RUN_MAX, IdOrder
from jobqueue.core.job import JobId


def ids(count: int) -> list[JobId]:
    return [JobId(f"{number:022}") for number in range(count)]


def read(order: IdOrder, limit: int) -> list[JobId]:
    """Return all ids, read in portions."""
    found: list[JobId] = []
    while portion := order.before(found[-1] if found else None, limit):
        assert len(portion) <= limit
        found += portion
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [1, 7, RUN_MAX, 5 * RUN_MAX])
def test_a_reading_has_all_ids_from_the_latest_on_after_any_changes(seed: int, limit: int) -> None:
    rng, order, known = Random(seed), IdOrder(), ids(3 * RUN_MAX)
    rng.shuffle(known)
    held: set[JobId] = set()
    for id in known:
        order.add(id)
        held.add(id)
        if rng.random() < 0.4:
            gone = rng.choice(sorted(held)[:50])
            order.remove(gone)
            held.remove(gone)
    assert read(order, limit) == sorted(held, reverse=True)


def test_ids_in_order_fill_their_runs() -> None:
    order = IdOrder()
    for id in ids(4 * RUN_MAX):
        order.add(id)
    assert [len(run) for run in order._runs] == [RUN_MAX] * 4


def test_a_reading_begins_at_any_text() -> None:
    order, known = IdOrder(), ids(RUN_MAX + 10)
    for id in known:
        order.add(id)
    assert order.before(known[RUN_MAX + 1], 3) == [known[RUN_MAX], known[RUN_MAX - 1], known[RUN_MAX - 2]]
    assert order.before(known[0], 3) == []
    assert order.before("~", 1) == known[-1:]


def test_an_order_without_ids_is_empty() -> None:
    order = IdOrder()
    (id,) = ids(1)
    order.add(id)
    order.remove(id)
    assert (order.before(None, 1), order.before(id, 1)) == ([], [])
