"""The pages Failures and Failure in a real browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.console.browsing import SHARED
from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

REFUSED = "ConnectionRefusedError: connection to mail.example:# refused"


def group_of(staged: Staged, job_type: str) -> dict[str, Any]:
    groups = staged.ask("GET", f"/v1/failures?type={job_type}")["groups"]
    found: dict[str, Any] = groups[0]
    return found


async def test_groups_are_listed_with_counts_and_masked_messages(show: Show, staged: Staged) -> None:
    page = await show("failures")
    row = page.get_by_role("row").filter(has_text=REFUSED)
    await expect(row).to_contain_text("send_mail")
    await expect(row).to_contain_text("handler_error")
    count = sum(group["count"] for group in staged.ask("GET", "/v1/failures?type=send_mail")["groups"])
    await expect(row.get_by_role("cell").first).to_have_text(str(count))
    await check(page, "failures")


async def test_hostile_messages_are_shown_as_text(show: Show) -> None:
    page = await show("failures")
    await page.get_by_text("<img src=x onerror=alert(#)>").first.wait_for()
    await page.get_by_text("<U+202E>").first.wait_for()
    assert await page.locator("#main img").count() == 0


async def test_filters_and_order_stand_in_the_url(show: Show) -> None:
    page = await show("failures")
    await page.get_by_label("Type").select_option("slow")
    await expect(page.get_by_text(REFUSED)).to_have_count(0)
    await expect(page.get_by_role("cell", name="timed_out")).to_be_visible()
    await page.get_by_label("Type").select_option("")
    await page.get_by_label("Message").fill("REFUSED")
    await expect(page.get_by_role("cell", name="timed_out")).to_have_count(0)
    await page.get_by_role("button", name="Jobs", exact=False).first.click()
    await page.wait_for_url("**sort=count**")
    assert "text=REFUSED" in page.url
    await page.get_by_label("Message").fill("no such message")
    await page.get_by_text("No failed job fits the filter.").wait_for()


async def test_a_group_shows_its_sample_and_common_arguments(show: Show, staged: Staged) -> None:
    staged.submit("hostile", {"fails": True, "tenant": "acme", "n": 1}, wait=True)
    staged.submit("hostile", {"fails": True, "tenant": "acme", "n": 2}, wait=True)
    group = group_of(staged, "hostile")
    page = await show(f"failures/{group['id']}")
    await page.get_by_role("heading", name="Failures of hostile").wait_for()
    assert await page.locator("ul.plain a").all_inner_texts() == group["sample"]
    await expect(page.get_by_role("heading", name="Arguments in common")).to_be_visible()
    await expect(page.locator("section[aria-labelledby=common-args]")).to_contain_text("true")
    await check(page, "failure")
    await page.get_by_role("link", name=f"All {group['count']} jobs of the group").click()
    await page.wait_for_url(f"**failure**{group['id']}**")


async def test_a_group_is_retried_after_a_dry_run(show: Show, staged: Staged) -> None:
    group = group_of(staged, "check")
    page = await show(f"failures/{group['id']}")
    await page.get_by_role("button", name="Retry all").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("1")
    await expect(dialog).to_contain_text(group["sample"][0])
    await dialog.locator("button[type=submit]").click()
    await page.locator(".toast").first.wait_for()


async def test_a_group_is_deleted_and_then_gone(show: Show, staged: Staged, faults: Faults) -> None:
    faults.allow(404)
    staged.submit("slow", wait=True)
    group = group_of(staged, "slow")
    page = await show(f"failures/{group['id']}")
    await page.keyboard.press("Delete")
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await page.get_by_text("No failed job is in this group any more").wait_for()
    await page.get_by_role("link", name="All failures").click()
    await expect(page.get_by_role("cell", name="timed_out")).to_have_count(0)


async def test_a_muted_group_is_hidden_in_this_browser(show: Show, staged: Staged) -> None:
    group = group_of(staged, "send_mail")
    page = await show(f"failures/{group['id']}")
    await page.get_by_role("button", name="Mute").click()
    await page.get_by_role("link", name="All failures").click()
    await page.get_by_role("button", name="Show 1 muted").wait_for()
    await expect(page.get_by_text(REFUSED)).to_have_count(0)
    await page.get_by_role("button", name="Show 1 muted").click()
    await expect(page.get_by_text(REFUSED)).to_be_visible()
    kept = await page.evaluate("localStorage.getItem('jobqueue.muted')")
    assert json.loads(kept) == [group["id"]]


async def test_the_list_of_muted_groups_is_bounded(show: Show) -> None:
    page = await show("failures")
    many = json.dumps([f"{n:016x}" for n in range(1000)] + ["<img>", 7, "x" * 100_000])
    await page.evaluate("many => localStorage.setItem('jobqueue.muted', many)", many)
    await page.reload()
    await page.wait_for_selector("#main h1")
    await page.get_by_text(REFUSED).wait_for()
    count = await page.evaluate(f"{SHARED}.then(({{muted}}) => muted.store.get().length)")
    assert count == 200


async def test_the_jobs_of_a_group_are_exported_as_lines_of_json(show: Show, staged: Staged) -> None:
    group = group_of(staged, "send_mail")
    page = await show(f"failures/{group['id']}")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export").click()
    lines = (await asyncio.to_thread(Path(await (await download.value).path()).read_text)).splitlines()
    assert len(lines) == group["count"]
    assert {json.loads(line)["type"] for line in lines} == {"send_mail"}


async def test_without_a_failed_job_the_page_says_so(page: Page, serve: Callable[..., Staged]) -> None:
    staged = serve()
    await page.goto(f"{staged.console}#/failures")
    await page.get_by_text("No failed job is held").wait_for()
