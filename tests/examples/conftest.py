"""The server under test: an example's application on a free port of loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from examples.web_page import app as web_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[str]:
    """Serve an aiohttp application; yield its URL."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
        # aiohttp: a connection that its client has closed just now ends its task in the next iterations.
        ending = [task for task in asyncio.all_tasks() if "RequestHandler.start" in repr(task.get_coro())]
        if ending:
            await asyncio.wait(ending, timeout=5.0)


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    async with served(web_page.application()) as url:
        yield url
