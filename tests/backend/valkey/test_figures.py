"""The figures of a store, from the calls and the mirror of a backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.store import figures_of
from jobqueue.backend.valkey.library import FUNCTIONS
from jobqueue.core.job import JobSpec
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import backend_on
from tests.backend.valkey.process_calls import namespace

if TYPE_CHECKING:
    from bench.store import Store


@virtual_time
async def test_a_backend_has_the_figures_of_its_store(shared_store: Store) -> None:
    one, calls = backend_on(shared_store, name := namespace())
    two, others = backend_on(shared_store, name)
    await one.submit(JobSpec(type="t"))
    await asyncio.sleep(2)
    calls.figures.add("submit", 0.002)
    calls.figures.fail("connection")
    figures = one.figures()
    assert figures == figures_of(one)
    assert (figures.namespace, figures.servers, figures.up, figures.reason) == (name, 2, True, None)
    assert set(figures.calls) == set(FUNCTIONS)
    assert (figures.calls["submit"], sum(figures.call_counts), figures.call_sum_s) == (1, 1, 0.002)
    assert (figures.errors["connection"], figures.errors["timeout"]) == (1, 0)
    assert figures.copy_age_s is not None
    assert figures.copy_age_s <= 1.0, "the copy is read each second"
    calls.out = True
    await asyncio.sleep(30)
    figures = one.figures()
    assert (figures.up, figures.reason) == (False, "out")
    assert figures.copy_age_s == pytest.approx(30, abs=1.5)
    calls.out = False
    await two.stop()
    await asyncio.sleep(2)
    assert one.figures().servers == 1
    await one.stop()
    for each in (calls, others):
        each.disconnect()
