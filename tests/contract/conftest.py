"""Runs each test of the suite on each backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.store import MISSING, executable
from tests.contract.backends import BACKENDS, Make, on_disk, on_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.store import Store


@pytest.fixture(scope="session")
def store_of_suite(request: pytest.FixtureRequest) -> Store | None:
    """The store of all tests, before any of them looks for what it leaves behind; None: there is no server here."""
    return None if executable() is None else request.getfixturevalue("shared_store")


@pytest.fixture(params=[*BACKENDS, "journal", "valkey", pytest.param("valkey_twice", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, store_of_suite: Store | None) -> Iterator[Make]:
    """The factory of the backend under test; `valkey_twice`: each call is sent twice, as after a lost reply."""
    if request.param in BACKENDS:
        yield BACKENDS[request.param]
    elif request.param == "journal":
        with on_disk() as make:
            yield make
    elif store_of_suite is None:
        pytest.skip(MISSING)
    else:
        with on_store(store_of_suite, twice=request.param == "valkey_twice") as make:
            yield make
