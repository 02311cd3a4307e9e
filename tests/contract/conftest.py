"""Runs each test of the suite on each backend."""

from __future__ import annotations

import pytest

from tests.contract.backends import BACKENDS, Make


@pytest.fixture(params=list(BACKENDS))
def make(request: pytest.FixtureRequest) -> Make:
    """The factory of the backend under test."""
    return BACKENDS[request.param]
