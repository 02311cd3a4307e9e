"""The page Overview in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.browsing import eventually
from tests.console.checking import check
from tests.console.test_shell import heading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

TIMES = ".chart .legend li.muted"


async def test_the_overview_has_no_violation(show: Show) -> None:
    page = await show()
    await page.locator(".uplot").nth(2).wait_for()
    await page.get_by_role("link", name="video").first.wait_for()
    await check(page, "overview")


async def test_the_numbers_are_those_of_the_server_and_lead_to_the_jobs(show: Show, staged: Staged) -> None:
    page = await show()
    queues = staged.ask("GET", "/v1/queues")["queues"]
    for state in ("delayed", "queued", "running"):
        number = page.locator(f".big-number:has(.shape.{state}) .value")
        await number.wait_for()
        assert await number.inner_text() == str(sum(queue[state] for queue in queues))
    await page.locator(".big-number:has(.shape.failed)").click()
    await heading(page, "Jobs")
    assert page.url.endswith("#/jobs?q=state%3Afailed")


async def test_a_full_and_a_paused_queue_say_so_in_words(show: Show) -> None:
    page = await show()
    video = page.locator(".strip").filter(has=page.get_by_role("link", name="video", exact=True))
    await video.get_by_text("full").wait_for()
    assert "2 running, 18 queued, 0 delayed, 0 waiting, of a capacity of 20" in (
        await video.locator(".bar").get_attribute("aria-label") or ""
    )
    mail = page.locator(".strip").filter(has=page.get_by_role("link", name="mail", exact=True))
    await mail.get_by_text("paused").wait_for()


async def test_the_crosshair_is_one_for_all_charts_and_moves_by_keys(show: Show, staged: Staged) -> None:
    page = await show()
    await page.locator(".uplot").nth(2).wait_for()
    await eventually(page, "document.querySelectorAll('.legend .muted')[0].textContent !== 'no data yet'")
    chart = page.get_by_role("group", name="Jobs ended, by state")
    await chart.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    times = page.locator(TIMES)
    await eventually(
        page, f"new Set([...document.querySelectorAll('{TIMES}')].map(each => each.textContent)).size === 1"
    )
    assert await times.count() >= 3


async def test_a_choice_of_the_time_stays_in_the_url(show: Show) -> None:
    page = await show()
    await page.get_by_label("Time that the charts show").select_option("3 hours")
    await eventually(page, "location.hash === '#/?range=3h'")
    await page.locator(".uplot").nth(2).wait_for()


async def test_ages_become_exact_instants_at_a_key(show: Show) -> None:
    page = await show()
    since = page.locator(".finding.critical time").first  # the full queue: another one may come before the others
    await since.get_by_text("ago").wait_for()
    at = await since.get_attribute("datetime") or ""
    await page.keyboard.press("u")
    await since.get_by_text(f"= {at[:19]}").wait_for()
    await page.get_by_role("button", name="Exact times").click()
    await since.get_by_text("ago").wait_for()
