"""The page Live in a real browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.browsing import eventually
from tests.console.checking import check
from tests.console.staging import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow


async def opened(show: Show) -> Page:
    """Show the page, with its stream open."""
    page = await show("live")
    url = page.url
    await page.goto("about:blank")  # else it might be the answer to the first stream that is awaited
    async with page.expect_response(lambda response: "/v1/events" in response.url):
        await page.goto(url)
    return page


async def test_events_come_newest_first_and_filters_hide_the_others(show: Show, staged: Staged) -> None:
    page = await opened(show)
    done = staged.submit("thumbnail", {"image": "a.png"}, wait=True)
    failed = staged.submit("send_mail", {"to": "a@b.example"}, wait=True)
    await page.get_by_role("cell", name="failed").first.wait_for()
    rows = await page.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert rows[:3] == ["failed", "started", "submitted"]
    await page.get_by_label("Event").select_option("succeeded")
    await page.get_by_role("link", name=failed).first.wait_for(state="detached")
    await page.get_by_role("link", name=done).wait_for()
    await page.get_by_label("Text").fill("no such word")
    await page.get_by_text("No event that is held fits the filter.").wait_for()


async def test_hostile_texts_are_shown_as_text(show: Show, staged: Staged) -> None:
    page = await opened(show)
    group = HOSTILE.replace("\x00", "")
    staged.submit("hostile", {"fails": True}, wait=True, group=group)
    await page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    await page.get_by_text("U+202E").first.wait_for()
    assert await page.locator("#main img").count() == 0
    await check(page, "live")


async def test_the_events_that_are_held_are_exported_as_lines_of_json(show: Show, staged: Staged) -> None:
    page = await opened(show)
    job_id = staged.submit("thumbnail", {"image": "a.png"}, wait=True)
    await page.get_by_role("link", name=job_id).nth(2).wait_for()
    async with page.expect_download() as download:
        await page.keyboard.press("e")
    saved = Path(await (await download.value).path())
    lines = list(map(json.loads, await asyncio.to_thread(lambda: saved.read_text().splitlines())))
    assert [line["event"] for line in lines if line["data"]["id"] == job_id] == ["submitted", "started", "succeeded"]


async def test_a_flood_is_drawn_four_times_a_second_and_its_gaps_are_marked(show: Show, staged: Staged) -> None:
    page = await opened(show)
    await page.evaluate(
        """() => {
            window.drawn = 0;
            const main = document.querySelector('#main');
            new MutationObserver(() => window.drawn += 1).observe(main, {subtree: true, childList: true});
        }"""
    )
    began = await page.evaluate("performance.now()")
    for _ in range(12):
        staged.ask("POST", "/v1/jobs:batch", {"jobs": [{"type": "thumbnail", "args": {"image": "a"}}] * 100})
    await page.get_by_text("Events are left out here").first.wait_for()
    seconds, drawn = await page.evaluate("began => [(performance.now() - began) / 1000, window.drawn]", began)
    assert drawn <= 8 * (seconds + 1), "the tail four times a second, and what is polled beside it"
    assert await page.locator("tbody tr").count() <= 200


async def test_two_tabs_share_one_stream_and_the_second_takes_over(show: Show, staged: Staged) -> None:
    page = await opened(show)
    other = await page.context.new_page()
    await other.goto(f"{staged.console}#/live")
    await other.wait_for_selector("#main h1")
    await eventually(other, "navigator.locks.query().then(({pending}) => pending.length === 1)")  # it listens
    first = staged.submit("thumbnail", {"image": "a.png"}, wait=True)
    for each in (page, other):
        await each.get_by_role("link", name=first).nth(2).wait_for()
    await one_stream(staged)
    await page.close()
    second = staged.submit("thumbnail", {"image": "a.png"}, wait=True)
    await other.get_by_role("link", name=second).nth(2).wait_for()
    await one_stream(staged)


async def one_stream(staged: Staged) -> None:
    """Wait until the server has one stream: it may see later than the page that a connection is closed."""
    async with asyncio.timeout(10):
        while staged.ask("GET", "/v1/server")["streams"] != 1:
            await asyncio.sleep(0.05)
