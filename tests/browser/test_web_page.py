"""In a real browser, the example of a web page: upload, progress, result, cancel and errors, under its own policy."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.web_page import app as web_page
from tests.browser.test_origins import browser, page, pytestmark
from tests.examples.conftest import page_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

__all__ = ["browser", "page", "page_url", "pytestmark"]


@cache
def table() -> dict[str, Any]:
    rows = "".join(f"customer {n},{n},{n / 4}\n" for n in range(300_000))
    return {"name": "orders.csv", "mimeType": "text/csv", "buffer": f"customer,pieces,price\n{rows}".encode()}


@pytest.fixture(autouse=True)
async def no_idle_threads() -> AsyncIterator[None]:
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture
def faults(page: Page) -> list[str]:
    """What the page's console calls an error, breaches of its policy included."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


async def notes_of(page: Page) -> None:
    """Collect the states and notes that the page shows."""
    await page.evaluate(
        """() => {
            window.shown = [];
            const look = () => window.shown.push(
                `${document.getElementById('state').textContent} ${document.getElementById('note').textContent}`);
            new MutationObserver(look).observe(document.getElementById('job'), {subtree: true, childList: true});
        }"""
    )


async def picture(page: Page, name: str) -> None:
    """Take a screenshot, if `PICTURES` names a folder."""
    if folder := os.environ.get("PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_a_file_is_uploaded_followed_and_summed_up(page: Page, page_url: str, faults: list[str]) -> None:
    await page.set_viewport_size({"width": 720, "height": 720})
    await page.goto(page_url)
    await picture(page, "empty")
    await notes_of(page)
    await page.set_input_files("#file", files=[table()])
    await page.click("#start")
    await page.wait_for_function("() => document.getElementById('bar').value > 0.3")
    await picture(page, "running")
    await page.wait_for_selector("#result:not([hidden])")
    await picture(page, "done")
    shown: list[str] = await page.evaluate("window.shown")
    assert any(each.startswith("Running ") and each.endswith("0 rows") for each in shown)
    assert shown[-1] == "Done 300,000 rows, 3 columns"
    assert await page.inner_text("#rows") == "customer\t-\npieces\t44,999,850,000\nprice\t11,249,962,500"
    async with page.expect_download() as download:
        await page.click("#download")
    assert (await download.value).suggested_filename == "sums.csv"
    assert faults == []


async def test_a_job_is_cancelled_by_the_page(page: Page, page_url: str, faults: list[str]) -> None:
    await page.goto(page_url)
    await page.set_input_files("#file", files=[table()])
    await page.click("#start")
    await page.wait_for_function("() => document.getElementById('bar').value > 0")
    await page.click("#cancel")
    await page.wait_for_function("() => document.getElementById('state').textContent === 'Cancelled'")
    await page.wait_for_selector("#start:not([disabled])")
    assert await page.is_hidden("#cancel")
    assert faults == []


async def test_a_rejection_is_shown_in_words(page: Page, page_url: str) -> None:
    await page.goto(page_url)
    await page.set_input_files("#file", files=[{**table(), "buffer": b"a,b\n" + b'"' + b"x" * 200_000}])
    await page.click("#start")
    await page.wait_for_function("() => document.getElementById('state').textContent === 'Failed'")
    await picture(page, "failed")
    assert "field larger than field limit" in await page.inner_text("#note")
    assert web_page.queue.running
