"""The fixture of the stub server that the fleets of these tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.stub import Stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with Stub().serving() as server:
        yield server
