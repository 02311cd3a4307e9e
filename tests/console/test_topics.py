"""The page Topics: its subscribers, what is published on it and by others, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from bench.store import MISSING, Store, executable
from tests.console.browsing import eventually
from tests.console.checking import check
from tests.console.staging import HOSTILE
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]
    Serve = Callable[..., Staged]

LISTENING = "document.querySelector('#main .badge')?.textContent.includes('listening')"


def publish(server: Staged, topic: str, data: object) -> None:
    assert "jobs" in server.ask("POST", f"/v1/topics/{topic}", {"data": data})


def args_of(server: Staged, kind: str) -> Any:
    """Return the arguments of the newest job of a type, while it is held with them."""
    newest = server.ask("GET", f"/v1/jobs?type={kind}&limit=1")["jobs"][0]["id"]
    return server.ask("GET", f"/v1/jobs/{newest}?include=args")["args"]


async def test_subscribers_are_listed_with_their_patterns_and_counts(show: Show, staged: Staged) -> None:
    publish(staged, "user.added", None)
    page = await show("topics")
    row = page.get_by_role("row").filter(has_text="audit")
    await expect(row.get_by_text("order.>")).to_be_visible()
    await expect(row.get_by_text("user.*")).to_be_visible()
    await expect(row.get_by_role("cell").last).to_have_text("1")
    await check(page, "topics")


async def test_data_is_published_digit_by_digit_and_its_jobs_are_linked(show: Show, staged: Staged) -> None:
    staged.ask("POST", "/v1/queues/default:pause")  # so that its arguments are held
    page = await show("topics")
    await page.get_by_label("Topic", exact=True).fill("order.paid")
    await page.get_by_label("Data", exact=True).fill('{"id": 9007199254740993, "total": 9.5}')
    await page.get_by_role("button", name="Publish").click()
    note = page.locator(".note")
    await expect(note).to_contain_text("Published to order.paid: 2 jobs")
    await expect(note.get_by_role("link")).to_have_count(2)
    assert args_of(staged, "send_invoice")["data"]["id"] == 9007199254740993
    staged.ask("POST", "/v1/queues/default:resume")
    curl = page.locator(".toast").get_by_role("button", name="Copy as curl")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await curl.click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert "/v1/topics/order.paid" in copied
    assert "9007199254740993" in copied


async def test_a_refusal_of_the_server_stands_at_the_data(show: Show, faults: Faults) -> None:
    faults.allow(422)
    page = await show("topics")
    await page.get_by_label("Topic", exact=True).fill("order.paid")
    await page.get_by_label("Data", exact=True).fill('{"id": "seventeen"}')
    await page.get_by_role("button", name="Publish").click()
    fault = page.locator(".field .fault").filter(has_text="/id")
    await expect(fault).to_contain_text("int")
    await check(page, "topics-refused")
    await page.get_by_label("Data", exact=True).fill('{"id": 17}')
    await expect(fault).to_have_count(0)


async def test_nothing_is_sent_that_is_no_topic_or_no_json(show: Show, staged: Staged) -> None:
    before = staged.ask("GET", "/v1/topics")["published_total"]
    page = await show("topics")
    await page.get_by_label("Topic", exact=True).fill("order..paid")
    await page.get_by_label("Data", exact=True).fill("{")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_label("Topic", exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Data", exact=True)).to_have_attribute("aria-invalid", "true")
    assert staged.ask("GET", "/v1/topics")["published_total"] == before


async def test_data_without_a_subscriber_is_published_and_says_so(show: Show) -> None:
    page = await show("topics")
    await page.get_by_label("Topic", exact=True).fill("nothing.listens")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator(".toast")).to_contain_text("Published to nothing.listens: no subscriber, so no job")


async def test_a_tail_of_a_pattern_shows_data_as_text(show: Show, staged: Staged) -> None:
    page = await show("topics")
    await page.get_by_role("link", name="Listen to order.>").click()
    await eventually(page, LISTENING)
    publish(staged, "order.paid", {"id": 1})
    publish(staged, "user.added", {"id": 2})
    publish(staged, "order.cancelled.late", {HOSTILE: 12345678901234567890})
    tail = page.get_by_role("list", name="Published to order.>")
    await expect(tail.get_by_role("listitem")).to_have_count(2)
    await expect(tail.get_by_role("listitem").first).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(tail.get_by_role("listitem").first).to_contain_text("12345678901234567890")
    assert await page.locator("#main img").count() == 0
    await check(page, "topics-tail")


async def test_a_stream_is_open_only_while_its_page_is_shown(show: Show, staged: Staged) -> None:
    page = await show("topics?pattern=user.*")
    await eventually(page, LISTENING)
    assert staged.ask("GET", "/v1/topics")["listeners"] == [{"pattern": "user.*", "count": 1}]
    async with page.expect_event("requestfailed"):  # the page gives its stream up
        await page.evaluate("location.hash = '#/queues'")
    await eventually(page, "document.querySelector('.strips') !== null")
    while staged.ask("GET", "/v1/topics")["listeners"]:
        await page.wait_for_timeout(50)


async def test_a_text_that_is_no_pattern_is_marked_and_not_listened_to(show: Show) -> None:
    page = await show("topics?pattern=order.>.late")
    await page.get_by_text("Enter a pattern").wait_for()
    await expect(page.get_by_label("Pattern", exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("button", name="Listen", exact=True)).to_be_disabled()


async def test_a_read_only_console_publishes_nothing_and_listens(page: Page, serve: Serve) -> None:
    server = serve("console.readonly=true")
    await page.goto(f"{server.console}#/topics?pattern=>")
    await eventually(page, LISTENING)
    assert await page.get_by_role("button", name="Publish").count() == 0
    await page.get_by_role("button", name="Stop").click()  # before the server ends
    await page.get_by_text("Enter a pattern").wait_for()


@pytest.mark.skipif(executable() is None, reason=MISSING)
async def test_a_server_over_a_store_says_that_it_has_no_topics_or_flows_and_counts_its_own_jobs(
    page: Page, tmp_path: Path
) -> None:
    with (
        Store() as store,
        ServerProcess(tmp_path, "tests.e2e.holding:queue", "backend=valkey", f"valkey.url={store.url}") as server,
    ):
        await page.goto(f"{server.url}/console/#/topics")
        await page.get_by_text("There are none where servers share a store").wait_for()
        await expect(page.get_by_role("button", name="Publish")).to_have_count(0)
        await check(page, "topics-store")
        await page.goto(f"{server.url}/console/#/flows")
        await page.get_by_text("There are none where servers share a store").wait_for()
        await page.goto(f"{server.url}/console/#/schedules")
        await page.get_by_text("There is no schedule").wait_for()
        await page.goto(f"{server.url}/console/")
        await page.get_by_text("of this server, 0/s now").first.wait_for()


async def test_a_publish_of_the_console_is_audited(show: Show, staged: Staged) -> None:
    page = await show("topics")
    await page.get_by_label("Topic", exact=True).fill("user.added")
    await page.get_by_role("button", name="Publish").click()
    await page.locator(".toast").wait_for()
    action = staged.ask("GET", "/v1/server/actions")["actions"][0]
    assert (action["action"], action["target"]) == ("publish", "user.added"), json.dumps(action)
