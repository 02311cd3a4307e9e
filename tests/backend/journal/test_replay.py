"""The main test of the journal: a replay is equal to the engine, after each operation of random lives."""

from __future__ import annotations

from collections import Counter

import pytest

from jobqueue.backend.journal.records import FIELDS, decode
from tests.backend.journal.world import World

SEEDS = range(60)
STEPS = 150


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_equals_the_engine_after_each_operation(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
        world.check()
    world.check(twice=True)


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_a_log_that_is_read_twice_equals_the_engine(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
        world.check(twice=True)


def test_every_kind_of_record_occurs() -> None:
    kinds: Counter[str] = Counter()
    for seed in SEEDS:
        world = World(seed)
        for _ in range(STEPS):
            world.step()
        kinds.update(FIELDS[record[0]][0] for body in (*world.snapshot, *world.log) for record in decode(body))
    missing = {names[0] for names in FIELDS} - {"clean", "process"} - {kind for kind in kinds if kinds[kind] >= 5}
    assert not missing, kinds
