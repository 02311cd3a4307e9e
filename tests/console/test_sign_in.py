"""Sign in, in a real browser: a key once, a cookie that no script reads, and the end of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.keys import Key
from tests.console.browsing import eventually
from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Serve = Callable[..., Staged]

pytestmark = pytest.mark.slow

OPS = Key("opsopsss", "m2n3o4p5" * 6 + "q6r7")
SUB = Key("subsubbb", "g2h3i4j5" * 6 + "k6l7")
STRANGER = Key("stranger", "s2t3u4v5" * 6 + "w6x7")


def keyed(serve: Serve, *settings: str) -> Staged:
    """Start a server with two keys."""
    keys = (("ops", OPS, "admin"), ("sub", SUB, "submit"))
    of_keys = [
        f"auth.keys.{name}.{field}={value}"
        for name, key, scope in keys
        for field, value in (("id", key.id), ("sha256", key.digest), ("scopes", scope))
    ]
    return serve(*of_keys, *settings)


async def open_page(page: Page, server: Staged, route: str = "") -> None:
    await page.goto(f"{server.console}#/{route}")
    await page.get_by_role("heading", level=1, name="Sign in").wait_for()


async def give(page: Page, text: str) -> None:
    await page.get_by_label("Key", exact=True).fill(text)
    await page.get_by_role("button", name="Sign in").click()


async def test_the_page_has_no_violation_with_and_without_a_fault(serve: Serve, page: Page) -> None:
    await open_page(page, keyed(serve))
    await check(page, "sign-in")
    await give(page, "secret")
    await page.get_by_role("alert").get_by_text("not the form of a key").wait_for()
    await check(page, "sign-in-fault")


async def test_a_key_leads_to_the_page_that_was_asked_for(serve: Serve, page: Page) -> None:
    await open_page(page, keyed(serve), "queues")
    await give(page, f"  {OPS.text}\n")
    await page.get_by_role("heading", level=1, name="Queues").wait_for()
    assert await page.get_by_text("ops", exact=True).count() == 1
    assert await page.evaluate("document.cookie") == "", "no script reads the cookie"
    stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert OPS.secret not in stored
    await page.reload()
    await page.get_by_role("heading", level=1, name="Queues").wait_for()


async def test_a_wrong_key_is_one_sentence_and_one_request(serve: Serve, page: Page, faults: Faults) -> None:
    faults.allow(401)
    await open_page(page, keyed(serve))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url.rpartition('/')[2]}"))
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await give(page, STRANGER.text)
    await page.get_by_role("alert").get_by_text("knows no such key").wait_for()
    await page.wait_for_timeout(1500)
    assert [each for each in sent if each.startswith("POST")] == ["POST session"]
    assert dialogs == []
    assert await page.locator("form").get_by_role("alert").count() == 1
    await give(page, OPS.text)
    await page.get_by_role("heading", level=1, name="Overview").wait_for()


async def test_a_text_that_is_no_key_is_not_sent(serve: Serve, page: Page) -> None:
    await open_page(page, keyed(serve))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    for text in ("", "hunter2", OPS.text.upper(), f"{OPS.text}a", "jq_\u202eopsopsss", "Bearer " + OPS.text):
        await give(page, text)
        await page.get_by_role("alert").get_by_text("not the form of a key").wait_for()
    assert "POST" not in sent


async def test_a_key_without_the_scope_gets_a_sentence_of_its_own(serve: Serve, page: Page, faults: Faults) -> None:
    faults.allow(403)
    await open_page(page, keyed(serve))
    await give(page, SUB.text)
    await page.get_by_role("alert").get_by_text("has not the scope read").wait_for()


async def test_the_field_is_masked_and_nothing_fills_it(serve: Serve, page: Page) -> None:
    await open_page(page, keyed(serve))
    field = page.get_by_label("Key", exact=True)
    style = "getComputedStyle(document.getElementById('key')).webkitTextSecurity"
    assert await page.evaluate(style) == "disc"
    await page.get_by_role("button", name="Show").click()
    assert await page.evaluate(style) == "none"
    assert await field.get_attribute("autocomplete") == "off"
    assert await field.get_attribute("name") is None
    await eventually(page, "document.querySelector('input[type=password]') === null")


async def test_a_page_signs_out_and_shows_nothing_any_more(serve: Serve, page: Page, faults: Faults) -> None:
    faults.allow(401)  # of what it asked for meanwhile
    await open_page(page, keyed(serve))
    await give(page, OPS.text)
    await page.get_by_role("heading", level=1, name="Overview").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", level=1, name="Sign in").wait_for()
    assert await page.context.cookies() == []


async def test_a_read_only_console_signs_in_and_says_so(serve: Serve, page: Page) -> None:
    await open_page(page, keyed(serve, "console.readonly=true"), "queues")
    await give(page, OPS.text)
    await page.get_by_role("heading", level=1, name="Queues").wait_for()
    await page.get_by_text("read-only", exact=False).first.wait_for()
