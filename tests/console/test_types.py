"""The pages Types and Type: what they show, and the release from quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.checking import check
from tests.console.test_queues import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[[str], Awaitable[Page]]
    Serve = Callable[..., Staged]


async def test_all_types_are_listed_with_counts_and_found_by_a_part_of_their_names(show: Show) -> None:
    page = await show("types")
    rows = page.get_by_role("table", name="Types").locator("tbody tr")
    await page.get_by_role("link", name="send_mail").wait_for()
    assert "4 (100 %)" in await rows.filter(has_text="send_mail").inner_text()
    await check(page, "types")
    await page.get_by_label("Find a type").fill("THUMB")
    await page.get_by_text("1 of ").wait_for()
    assert await rows.count() == 1
    await page.get_by_role("button", name="run p95").click()
    assert page.url.endswith("q=THUMB")


async def test_a_type_shows_its_arguments_options_counts_and_times(show: Show) -> None:
    page = await show("types/order")
    arguments = page.get_by_role("table", name="Arguments")
    await arguments.wait_for()
    text = await arguments.inner_text()
    assert "array of Line" in text
    assert "Card or Invoice" in text or "card or invoice" in text.lower()
    assert "•••" in text, "its secret is hidden"
    assert "Take an order" in await page.locator("#main").inner_text()
    await check(page, "type")


async def test_the_words_of_a_hostile_type_are_text(show: Show) -> None:
    page = await show("types/hostile")
    await page.get_by_text("<b>Bold</b> words").wait_for()
    assert await page.locator("#main b").count() == 0


async def test_a_type_in_quarantine_is_released(page: Page, serve: Serve) -> None:
    server = serve("queues.default.retry_budget=2")
    for number in range(2):
        server.submit("send_mail", {"to": f"{number}"}, wait=True)
    assert server.ask("GET", "/v1/types/send_mail")["quarantined"] is not None
    await opened(page, server, "types/send_mail")
    quarantine = page.locator(".quarantine")
    assert "ConnectionRefusedError" in await quarantine.inner_text()
    await check(page, "type-quarantined")
    await quarantine.get_by_role("button", name="Release …").click()
    await page.get_by_role("dialog").get_by_role("button", name="Release", exact=True).click()
    await page.get_by_text("send_mail is released from quarantine.").wait_for()
    assert server.ask("GET", "/v1/types/send_mail")["quarantined"] is None
    await quarantine.wait_for(state="detached")


async def test_an_unknown_type_is_answered_with_the_nearest(show: Show, faults: Faults) -> None:
    faults.allow(404)
    page = await show("types/ordre")
    await page.get_by_text("did you mean 'order'?").wait_for()
