"""The page What if in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

FIVE = "5\N{MULTIPLICATION SIGN}"

LOADS = 4
"""Of a forecast, unless the question names others."""

MS = 60_000
"""A simulation takes seconds, and on a busy machine more."""


async def give(page: Page, arrivals: str = "80", run_s: str = "1", patience_s: str = "5") -> None:
    """Give arrivals and run times instead of measured ones."""
    await page.get_by_text("Instead of what is measured").click()
    await page.get_by_label("Arrivals a second").fill(arrivals)
    await page.get_by_label("Mean run time in s").fill(run_s)
    await page.get_by_label("Patience of clients in s").fill(patience_s)


async def simulate(page: Page) -> None:
    await page.get_by_role("button", name="Simulate", exact=True).click()
    await page.get_by_role("heading", name="What would happen").wait_for(timeout=MS)


async def test_a_forecast_is_a_table_with_sentences_and_a_chart_without_a_violation(show: Show) -> None:
    page = await show("what-if/default")
    await give(page)
    await simulate(page)
    table = page.get_by_role("table", name="Settings by load")
    assert await table.get_by_text("present", exact=True).count() == 1
    assert await table.get_by_text("best", exact=True).count() >= 1
    for name in ("fifo", "lifo", "priority", "fair", "adaptive"):
        assert await table.get_by_text(name).count() >= 1
    sentences = page.locator(".sentences li")
    assert await sentences.count() == 4
    assert f"At {FIVE} the load" in await sentences.nth(3).inner_text()
    await page.locator(".load-chart polyline").first.wait_for()
    assert "instead of a measurement" in await page.get_by_role("heading", name="Given").inner_text()
    await check(page, "what_if")


async def test_another_measure_and_the_order_of_a_load_change_the_table(show: Show) -> None:
    page = await show("what-if/default")
    await give(page)
    await simulate(page)
    table = page.get_by_role("table", name="Settings by load")
    await table.get_by_role("button", name=FIVE, exact=True).click()
    assert await table.get_by_role("columnheader", name=FIVE).last.get_attribute("aria-sort") == "descending"
    first = await table.locator("tbody tr").first.inner_text()
    assert "best" in first
    means = await table.locator("tbody tr .forecast-cell").locator("b").all_inner_texts()
    rates = [float(mean.removesuffix("/s").replace(",", "")) for mean in means[LOADS - 1 :: LOADS]]
    assert len(set(rates)) > 1
    assert rates == sorted(rates, reverse=True)
    await page.get_by_label("Show").select_option("rejected submissions")
    await page.get_by_role("table", name="Settings by load: rejected submissions").wait_for()
    assert "%" in await table.locator(".forecast-cell b").first.inner_text()


async def test_a_setting_of_the_table_is_applied_after_its_changes_are_shown(show: Show, staged: Staged) -> None:
    page = await show("what-if/mail")
    await give(page)
    await simulate(page)
    row = page.get_by_role("table", name="Settings by load").locator("tbody tr").filter(has_text="adaptive").first
    await row.get_by_role("button", name="Apply").click()
    dialog = page.get_by_role("dialog")
    changes = await dialog.get_by_role("table", name="Changes").inner_text()
    assert "discipline\tfifo\tadaptive" in changes
    await dialog.get_by_role("button", name="Apply").click()
    toast = page.locator(".toast")
    await toast.get_by_text("discipline fifo → adaptive").wait_for()
    assert await toast.get_by_role("button", name="Copy as curl").count() == 1
    assert staged.ask("GET", "/v1/queues/mail")["discipline"] == "adaptive"
    staged.ask("PATCH", "/v1/queues/mail", {"discipline": "fifo"})


async def test_a_setting_of_the_viewer_is_compared_with_those_of_the_table(show: Show) -> None:
    page = await show("what-if/default")
    await give(page)
    await simulate(page)
    await page.get_by_text("A setting of your own").click()
    await page.get_by_label("Capacity").fill("77")
    await page.get_by_role("button", name="Compare it too").click()
    await page.get_by_role("button", name="Simulate", exact=True).click()
    await page.get_by_role("table", name="Settings by load").get_by_text("77 slots").first.wait_for(timeout=MS)
    assert await page.get_by_role("table", name="Settings by load").get_by_text("adaptive").count() >= 1


async def test_a_queue_without_a_measurement_names_the_lack_and_the_way_on(show: Show, faults: Faults) -> None:
    faults.allow(409)
    page = await show("what-if/video")
    await page.get_by_role("button", name="Simulate", exact=True).click()
    problem = page.locator(".problem")
    await problem.get_by_text("Too little measured").wait_for(timeout=MS)
    assert "arrivals_per_s and run_s" in await problem.inner_text()


async def test_a_simulation_is_cancelled_and_the_server_takes_the_next_one(show: Show, staged: Staged) -> None:
    page = await show("what-if/default")
    await give(page, arrivals="100000")
    await page.get_by_role("button", name="Simulate", exact=True).click()
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_role("button", name="Simulate", exact=True).wait_for()
    assert await page.get_by_role("heading", name="What would happen").count() == 0
    question: dict[str, Any] = {"arrivals_per_s": 1, "run_s": 1, "seconds": 1, "loads": [1]}
    while "loads" not in (told := staged.ask("POST", "/v1/queues/default:simulate", question)):
        assert told["type"] == "/problems/simulator-in-use"


async def test_the_choice_of_the_queue_stays_in_the_url_and_a_missing_one_is_named(show: Show) -> None:
    page = await show("what-if")
    await page.get_by_label("Queue", exact=True).select_option("video")
    await page.wait_for_url("**/#/what-if/video")
    page = await show("what-if/nope")
    await page.get_by_text("There is no queue nope.").wait_for()
