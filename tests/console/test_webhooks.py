"""The receivers of webhooks on the page Server: what they get, their latest attempt, their failures."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.console.checking import check
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.console.browsing import Faults

    Show = Callable[..., Awaitable[Page]]

SETTINGS = """
webhooks:
  allow: [127.0.0.1]
  endpoints:
    crm:
      url: http://127.0.0.1:9/hooks
      events: [job.succeeded, job.failed]
      topics: ["order.>"]
      secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
"""
"""A receiver at a port on which nothing listens."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    file = tmp_path / "config.yaml"
    file.write_text(SETTINGS)
    with ServerProcess(tmp_path / "spool", f"--config={file}") as server:
        yield server


def submit(server: ServerProcess) -> None:
    body = json.dumps({"type": "echo", "args": {}}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/jobs", body, headers)).close()


async def test_a_receiver_is_shown_with_its_latest_attempt_and_the_way_to_its_deliveries(
    page: Page, server: ServerProcess
) -> None:
    submit(server)
    await page.goto(f"{server.url}/console/#/server?tab=webhooks")
    row = page.get_by_role("row").filter(has_text="crm")
    await expect(row).to_contain_text("127.0.0.1")
    await expect(row).to_contain_text("job.failed, job.succeeded")
    await expect(row).to_contain_text("order.>")
    await expect(row.locator(".badge.good")).to_contain_text("enabled")
    await expect(row.locator(".bad-text").first).to_contain_text("refused", timeout=15_000)
    await check(page, "webhooks")
    await page.get_by_role("link", name="All deliveries").click()
    await expect(page.get_by_role("table", name="Jobs that match").get_by_role("row")).to_have_count(2)


async def test_without_a_receiver_the_panel_says_how_to_make_one(show: Show) -> None:
    page = await show("server?tab=webhooks")
    await page.get_by_text("No receiver is configured.").wait_for()
    await check(page, "webhooks-none")


async def test_nothing_submits_a_delivery(page: Page, server: ServerProcess, faults: Faults) -> None:
    faults.allow(400)  # its history, until it has one
    submit(server)
    await page.goto(f"{server.url}/console/#/jobs?q=type:webhook")
    await page.get_by_role("table", name="Jobs that match").get_by_role("link").first.click()
    await page.get_by_role("tab", name="Raw").wait_for()
    await expect(page.get_by_role("tab", name="Submit again")).to_have_count(0)
    assert await page.get_by_role("link", name="Submit again").count() == 0
    await page.goto(f"{server.url}/console/#/types/webhook")
    await page.get_by_role("link", name="Jobs").first.wait_for()
    await page.get_by_role("heading", name="webhook", exact=True).wait_for()
    assert await page.get_by_role("link", name="Try it").count() == 0
