"""The pages Queues and Queue: what they show, and each of their actions against a running server."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[[str], Awaitable[Page]]
    Serve = Callable[..., Staged]


def submitted(server: Staged, kind: str, args: object = None, **options: Any) -> None:
    """Submit a job; again while the server of a busy machine rejects it, because its loop is late."""
    for _ in range(100):
        document = server.ask("POST", "/v1/jobs", {"type": kind, "args": args or {}, **options})
        if "id" in document:
            return
        assert document["status"] == 503, document
        time.sleep(0.1)
    raise AssertionError("the server rejects every submission")


async def opened(page: Page, server: Staged, route: str) -> None:
    await page.goto(f"{server.console}#/{route}")
    await page.wait_for_selector("#main h1")


async def test_all_queues_have_a_strip_with_their_numbers_and_badges(show: Show) -> None:
    page = await show("queues")
    strips = page.locator(".strips > li")
    await strips.nth(2).wait_for()
    texts = {(await strips.nth(n).locator("a").first.inner_text()): await strips.nth(n).inner_text() for n in range(3)}
    assert "paused" in texts["mail"]
    assert "full" in texts["video"]
    assert "queued 18" in texts["video"].replace("\n", " ")
    await check(page, "queues")


async def test_a_queue_shows_its_waiting_jobs_times_limiters_and_settings(show: Show) -> None:
    page = await show("queues/video")
    await page.get_by_text("All 18 queued jobs.").wait_for()
    assert (await page.get_by_role("table", name="by type").locator("tr").first.inner_text()).split() == ["hold", "18"]
    await page.get_by_role("table", name="Limiters").get_by_text("thread").wait_for()
    settings = page.get_by_role("table", name="Settings of this queue")
    assert "workers" in await settings.inner_text()
    await check(page, "queue")


async def test_the_history_of_a_queue_is_a_histogram_of_waits_and_runs(show: Show) -> None:
    page = await show("queues/default")
    bars = page.locator("figure.histogram")
    await bars.nth(1).locator("table").wait_for(timeout=15_000)
    label = await bars.nth(0).locator("table").get_attribute("aria-label")
    assert "in all, half within" in (label or "")


async def test_settings_change_at_once_after_their_estimated_effect_was_shown(page: Page, serve: Serve) -> None:
    server = serve()
    for _ in range(30):
        submitted(server, "thumbnail", {"image": "a"})  # too short for the server's clock
    for _ in range(10):
        submitted(server, "hold", queue="video")
    await opened(page, server, "queues/default")
    await page.get_by_text("Estimated effect").wait_for(timeout=60_000)
    await page.get_by_label("Workers", exact=True).first.fill("7")
    assert "→" in await page.locator(".effects").inner_text()
    await page.get_by_text("What this assumes").click()
    assumed = await page.locator(".estimate details").inner_text()
    assert re.search(r"one job at a time, for .+ \(the mean of 30 runs", assumed)
    await page.get_by_label("Weight", exact=True).first.fill("3")
    await page.get_by_text("Share of the starts").wait_for()
    await page.get_by_label("Discipline").select_option("lifo")
    await page.get_by_role("button", name="Apply").click()
    await page.get_by_text("workers 50 → 7").wait_for()
    queue = server.ask("GET", "/v1/queues/default")
    assert (queue["workers"], queue["weight"], queue["discipline"]) == (7, 3, "lifo")


@pytest.mark.parametrize("entered", ["0", "-1", "1.5", "many", "100001", ""])
async def test_a_value_out_of_range_is_marked_and_not_sent(show: Show, staged: Staged, entered: str) -> None:
    page = await show("queues/video")
    field = page.get_by_label("Workers", exact=True).first
    await field.fill(entered)
    assert await field.get_attribute("aria-invalid") == "true"
    assert await page.locator("#change-workers-hint").inner_text() == "a whole number, 1 to 100,000"
    assert await page.get_by_role("button", name="Apply").is_disabled()
    await page.get_by_role("button", name="Undo").click()
    assert await field.input_value() == "2"
    assert staged.ask("GET", "/v1/queues/video")["workers"] == 2


async def test_a_smaller_capacity_tells_of_the_jobs_over_it(show: Show) -> None:
    page = await show("queues/default")
    await page.get_by_text("Estimated effect").wait_for(timeout=60_000)
    await page.get_by_label("Capacity", exact=True).first.fill("1")
    await page.get_by_text("are over this capacity").wait_for()


async def test_a_queue_is_paused_with_a_reason_and_an_end_and_resumed(page: Page, serve: Serve) -> None:
    server = serve()
    await opened(page, server, "queues/mail")
    await page.get_by_role("button", name="Pause …").click()
    minutes = page.get_by_label("Resume by itself after, in minutes")
    await minutes.fill("soon")
    assert await page.get_by_role("button", name="Pause", exact=True).last.is_disabled()
    await minutes.fill("30")
    await page.get_by_label("Reason").fill("<b>the bank</b> is down")
    await page.get_by_role("dialog").get_by_role("button", name="Pause", exact=True).click()
    await page.get_by_text("Queue mail is paused.").wait_for()
    pause = server.ask("GET", "/v1/queues/mail")["pause"]
    assert pause["reason"] == "<b>the bank</b> is down"
    assert pause["until"] is not None
    banner = page.locator(".banner", has_text="Paused: no job starts")
    assert "<b>the bank</b> is down" in await banner.inner_text()
    await page.get_by_role("button", name="Resume").click()
    await page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    await page.get_by_text("Queue mail starts its jobs again.").wait_for()
    assert server.ask("GET", "/v1/queues/mail")["paused"] is False


async def test_all_queued_jobs_are_cancelled_after_their_count_was_shown(page: Page, serve: Serve) -> None:
    server = serve()
    for _ in range(12):
        submitted(server, "hold", queue="video")
    await opened(page, server, "queues/video")
    await page.get_by_role("button", name="Cancel all queued …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("10").first.wait_for()
    await dialog.locator("button[type=submit]").click()
    await page.get_by_text("No job waits.").wait_for()
    queue = server.ask("GET", "/v1/queues/video")
    assert (queue["queued"], queue["running"]) == (0, 2)


async def test_a_read_only_console_has_no_actions(page: Page, serve: Serve) -> None:
    server = serve("console.readonly=true")
    await opened(page, server, "queues/video")
    await page.get_by_text("This session may look, and not change").wait_for()
    assert await page.get_by_role("button", name="Pause …").count() == 0
    assert await page.get_by_role("button", name="Apply").count() == 0
    assert await page.get_by_label("Workers", exact=True).first.is_disabled()


async def test_an_unknown_queue_is_answered_with_the_known_ones(show: Show, faults: Faults) -> None:
    faults.allow(400)  # its history
    page = await show("queues/%3Cscript%3E")
    await page.get_by_text("This server has no such queue").wait_for()
    assert "video" in await page.locator(".problem").inner_text()
    assert await page.locator("h1").inner_text() == "<script>"
