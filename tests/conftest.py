"""Fixtures for every test: it must leave nothing behind."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest_plugins = ["tests.leaks", "tests.file_order", "tests.stores"]

# The import of aiohttp reads the system's certificates, which no test needs: 30 ms of each of a thousand processes.
os.environ["SSL_CERT_FILE"] = os.devnull

# How long an example takes says more about the machine than about the code.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

ITERATIONS = 3
"""Of the loop, within which what a test has closed ends: the server's task of a connection whose client has gone."""


@pytest.fixture(autouse=True)
async def no_task_is_leaked(nothing_is_leaked: None) -> AsyncIterator[None]:
    yield
    for _ in range(ITERATIONS):
        await asyncio.sleep(0)
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and not t.done()]
    assert not left, f"leaked tasks: {left}"
