"""What the console weighs, and how soon it is there."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.http.resources.console_bundles import SCRIPTS
from jobqueue.http.resources.console_files import console_files
from tests.console.browsing import NAMES, eventually
from tests.console.test_files import MODULES, code_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

FIRST_BYTES_MAX = 75_000
"""Of the shell, the first page and its charts."""

BYTES_MAX = 150_000
"""Of all pages together, the page itself too."""

FILES_MAX = 8
LOADED = {"", "console.js", "console.css", "pages.js", "tools.js", "htm-preact.js", "uplot.js"}
ROUTES = (
    "jobs",
    "flows",
    "queues",
    "queues/default",
    "types",
    "types/thumbnail/try",
    "schedules",
    "schedules/tidy",
    "topics",
    "failures",
    "callers",
    "live",
    "server",
    "what-if",
)

SIZES = """() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]
    .filter(({name}) => /console[/](?!session$)/.test(name.split('#')[0]))
    .map(({name, encodedBodySize}) => [name.split('#')[0], encodedBodySize])"""
FETCHED = """() => performance.getEntriesByType('resource')
    .filter(({name, transferSize}) => name.endsWith('.js') && transferSize > 0).length"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


async def test_all_files_together_are_within_their_budget(show: Show) -> None:
    page = await show()
    await page.locator(".uplot").first.wait_for()
    files: dict[str, int] = dict(await sizes(page))
    first = sum(files.values())
    assert first <= FIRST_BYTES_MAX
    for route in ROUTES:
        files |= dict(await sizes(page))
        await page.evaluate(f"location.hash = '#/{route}'")
        await eventually(page, "document.querySelector('#main h1') !== null")
    async with asyncio.timeout(30):
        while not {name.rpartition("/")[2] for name in files} >= LOADED:
            await asyncio.sleep(0.1)
            files |= dict(await sizes(page))
    assert len(files) <= FILES_MAX
    print(f"\n{len(files)} files, {sum(files.values()):,} bytes compressed; the first page {first:,} bytes")
    assert sum(files.values()) <= BYTES_MAX, sorted(files.items(), key=lambda each: -each[1])[:10]


async def sizes(page: Page) -> Any:
    return await page.evaluate(SIZES)


async def test_no_name_of_a_script_hides_one_that_a_module_has_of_the_browser(show: Show) -> None:
    """Modules share the names of their script without imports: `Text` is a component there, not a class of the DOM."""
    page = await show()
    files = console_files().by_name
    heads = [names for name in SCRIPTS for names in NAMES.findall(files[name].body.decode())]
    names = sorted({name.strip() for head in heads for name in head.split(",")})
    assert len(names) > 200
    for name in await page.evaluate("names => names.filter((name) => name in globalThis)", names):
        own = re.compile(rf"^(?:import {{[^}}]*\b{name}\b|export function {name}\b)", re.MULTILINE)
        other = [path for path in MODULES if not own.search(path.read_text())]
        assert [path for path in other if re.search(rf"\b{name}[(.]", code_of(path.read_text()))] == [], name


async def test_a_second_visit_fetches_no_file_again(show: Show) -> None:
    page = await show()
    await page.reload()
    await page.wait_for_selector("#main h1")
    assert await page.evaluate(FETCHED) == 0


async def test_the_first_paint_comes_without_waiting_for_the_api(show: Show) -> None:
    """The figure is printed; how soon it comes says more about the machine than about the console."""
    page = await show()
    paints = []
    for _ in range(int(os.environ.get("PAINTS", "3"))):
        await page.goto("about:blank")
        page = await show()
        await eventually(page, f"({PAINT})() !== null")
        paints.append(await page.evaluate(PAINT))
    print(f"\nfirst contentful paint: {', '.join(f'{paint:.0f}' for paint in paints)} ms")
    assert paints
