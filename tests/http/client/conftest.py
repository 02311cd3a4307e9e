"""Both clients, for every test that takes `kind` or `call`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.http.client.calling import calling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.http.client.calling import Call
    from tests.http.serving import Serving


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
