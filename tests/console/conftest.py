"""Fixtures for the console: a staged server, and pages of a real browser that may do nothing wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.browsing import CHROMIUM, LISTENERS, MISSING, Chromium, Faults
from tests.console.staging import Staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from playwright.async_api import Page

Open = "Callable[[str], Awaitable[Page]]"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that needs the browser as slow: `make test-console` runs it."""
    for item in items:
        if isinstance(item, pytest.Function) and "chromium" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def wider_fixtures_change() -> bool:
    """The browser and the staged server start with the first test that needs them."""
    return True


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    if not CHROMIUM.exists():
        pytest.skip(MISSING)
    pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    browser = Chromium()
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    """A server with jobs in each state, for the tests of one module."""
    with Staged(tmp_path_factory.mktemp("spool")) as server:
        server.stage()
        yield server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Staged]]:
    """Start a server for one test, with further settings; without jobs until it is told to `stage`."""
    started: list[Staged] = []

    def serve(*settings: str) -> Staged:
        server = Staged(tmp_path / f"spool-{len(started)}", *settings)
        started.append(server)
        return server.__enter__()

    yield serve
    for server in started:
        server.__exit__(None, None, None)


@pytest.fixture
def faults() -> Faults:
    """What the page does wrong; a test allows what it wants: `faults.allow(422)`."""
    return Faults()


@pytest.fixture
async def page(chromium: Chromium, faults: Faults) -> AsyncIterator[Page]:
    """A page of 1,440 pixels. The test fails if it logs an error, breaks its policy, or if a request fails."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium.url)
        context = await browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
        await context.add_init_script(LISTENERS)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        faults.watch(page)
        yield page
        found = await faults.take(page)
        await context.close()
        await browser.close()
    assert found == []


@pytest.fixture
def show(page: Page, staged: Staged) -> Callable[[str], Awaitable[Page]]:
    """Show a route of the staged server's console, such as `jobs?q=state:failed`, and wait for its heading."""

    async def show(route: str = "") -> Page:
        await page.goto(f"{staged.console}#/{route}")
        await page.wait_for_selector("#main h1")
        return page

    return show
