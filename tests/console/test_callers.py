"""The page Callers in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

NOWHERE = "203.0.113.9"
HOSTILE = "cert:<b>x</b>\u202e"


def block(staged: Staged, name: str, for_s: float = 600) -> None:
    assert "blocked_until" in staged.ask("POST", f"/v1/callers/{quote(name, safe='')}:block", {"for_s": for_s})


async def test_callers_are_listed_with_their_use(show: Show, staged: Staged) -> None:
    block(staged, NOWHERE)
    block(staged, HOSTILE)
    page = await show("callers")
    row = page.get_by_role("row").filter(has_text="127.0.0.1")
    await expect(row).to_contain_text("address")
    await expect(page.get_by_text("cert:<b>x</b>")).to_be_visible()
    blocked = page.get_by_role("row").filter(has_text=NOWHERE)
    await expect(blocked).to_contain_text("blocked")
    await check(page, "callers")


async def test_a_caller_is_blocked_for_minutes_and_unblocked(show: Show, staged: Staged) -> None:
    block(staged, NOWHERE, 600)
    page = await show("callers")
    await page.get_by_role("button", name=f"Unblock {NOWHERE}").click()
    await page.get_by_text(f"{NOWHERE} is not blocked any more").wait_for()
    assert all(each["name"] != NOWHERE for each in staged.ask("GET", "/v1/callers")["callers"])


async def test_an_own_address_is_not_blocked(show: Show, staged: Staged, faults: Faults) -> None:
    faults.allow(422)
    page = await show("callers")
    await page.get_by_role("button", name="Block 127.0.0.1").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("For how many minutes").fill("0")
    await expect(dialog.locator("button[type=submit]")).to_be_disabled()
    await dialog.get_by_label("For how many minutes").fill("15")
    await check(page, "block")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog).to_contain_text("it would be blocked itself")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
