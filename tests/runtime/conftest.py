"""Loops of the tests: the pools register descriptors with the loop, so their tests run on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ON_BOTH_LOOPS = {"tests.runtime.pools.test_threads", "tests.runtime.pools.test_processes"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.module.__name__ in ON_BOTH_LOOPS:  # type: ignore[attr-defined]  # of a pytest.Function
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
