"""Fixtures: `kind` and `call` run a test with each client, async and sync."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.client.calling import calling
from tests.http import conftest as server_tests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.client.calling import Call
    from tests.http.serving import Serving

# The server under test, and its loop, are those of tests/http.
pytest_asyncio_loop_factories = server_tests.pytest_asyncio_loop_factories
place, start, serving = server_tests.place, server_tests.start, server_tests.serving
http_to, http = server_tests.http_to, server_tests.http


@pytest.fixture(autouse=True)
async def no_idle_threads() -> AsyncIterator[None]:
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture(params=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def call(kind: str, serving: Serving) -> AsyncIterator[Call]:
    async with calling(kind, serving.url) as call:
        yield call
