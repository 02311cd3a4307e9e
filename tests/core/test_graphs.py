"""Random graphs with failures, cancels and retries at random instants, beside a naive evaluator.

`make graphs GRAPHS=10000` checks as many, from the seed `START` on.
"""

from __future__ import annotations

import os

import pytest

from tests.core.graph_evaluator import Graphs

STEPS = 60
PORTION = 25
GRAPHS = int(os.environ.get("GRAPHS", "300"))
START = int(os.environ.get("START", "0"))


@pytest.mark.parametrize("first", range(START, START + GRAPHS, PORTION))
def test_every_job_of_random_graphs_has_the_state_that_its_parents_imply(first: int) -> None:
    for seed in range(first, min(first + PORTION, START + GRAPHS)):
        graphs = Graphs(seed)
        for step in range(STEPS):
            try:
                graphs.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {step}: {error}") from error
        graphs.driver.advance(100.0)
        graphs.check()
