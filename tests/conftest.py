"""Fixtures for every test: it must leave nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest_plugins = ["tests.leaks"]

# How long an example takes says more about the machine than about the code.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(autouse=True)
async def no_task_is_leaked(nothing_is_leaked: None) -> AsyncIterator[None]:
    yield
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and not t.done()]
    assert not left, f"leaked tasks: {left}"
