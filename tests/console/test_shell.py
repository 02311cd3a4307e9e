"""The console's shell in a real browser: navigation, keys, focus, a server that is gone or drains, hidden tabs."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browsing import SHARED, eventually
from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

PAGES = {
    "j": "Jobs",
    "q": "Queues",
    "t": "Types",
    "f": "Failures",
    "c": "Callers",
    "l": "Live",
    "s": "Server",
    "w": "What if",
    "o": "Overview",
}


async def heading(page: Page, text: str) -> None:
    await page.get_by_role("heading", level=1, name=text, exact=True).wait_for()


async def test_each_page_is_reached_by_its_key_and_has_the_focus_on_its_heading(show: Show) -> None:
    page = await show()
    for key, title in PAGES.items():
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await heading(page, title)
        await eventually(page, "document.activeElement?.tagName === 'H1'")
        assert await page.title() == f"{title} · jobqueue"
        assert await page.locator("nav [aria-current=page]").inner_text() == f"{title}\ng {key}"


async def test_the_shell_has_no_violation_and_neither_has_its_help(show: Show) -> None:
    page = await show("nowhere/at/all")
    await heading(page, "There is no such page")
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    await dialog.get_by_text("Pause and resume live updates").wait_for()
    await check(page, "keys")
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="detached")


async def test_the_skip_link_is_first_and_leads_to_the_content(show: Show) -> None:
    page = await show("live")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await heading(page, "Live")


async def test_the_slash_key_finds_the_search_of_the_page(show: Show) -> None:
    page = await show("live")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.type") == "search"
    await page.keyboard.type("g j")
    await heading(page, "Live")


async def test_the_page_reports_a_server_that_is_gone_and_its_return(
    page: Page, serve: Callable[..., Staged], faults: Faults
) -> None:
    server = serve()
    await page.goto(server.console)
    await heading(page, "Overview")
    await page.evaluate("window.sentinel = 1")
    port = server.url.rpartition(":")[2]
    faults.allow_no_answer()
    server.stop(signal.SIGKILL)
    alert = page.get_by_role("alert").filter(has_text="The server does not answer")
    await alert.wait_for()
    assert re.search(r"since \d\d:\d\d:\d\d", await alert.inner_text())
    await check(page, "gone")
    serve(f"server.port={port}").wait_for("server.listening")
    await alert.wait_for(state="detached")
    assert await page.evaluate("window.sentinel") == 1


async def test_the_page_reports_a_drain(page: Page, serve: Callable[..., Staged], faults: Faults) -> None:
    server = serve("server.drain_s=60")
    server.submit("hold")
    faults.allow(503)
    faults.allow_no_answer()
    await page.goto(server.console)
    await heading(page, "Overview")
    server.process.send_signal(signal.SIGTERM)
    await page.get_by_role("alert").filter(has_text="The server is stopping").wait_for()


async def test_another_version_of_the_server_offers_a_reload(page: Page, staged: Staged) -> None:
    version = "9.9.9"

    async def newer(route: Any) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, json={**await response.json(), "version": version})

    await page.goto(staged.console)
    await heading(page, "Overview")
    await page.route("**/console/session", newer)
    await page.evaluate(f"{SHARED}.then(each => each.loadSession())")
    await page.get_by_text(f"The server is version {version} now").wait_for()
    async with page.expect_navigation():
        await page.get_by_role("button", name="Reload").click()
    await page.get_by_text(f"jobqueue {version}").wait_for()
    await page.unroute_all(behavior="ignoreErrors")


async def test_a_hidden_or_paused_tab_requests_nothing(page: Page, staged: Staged) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(staged.console)
    await page.get_by_text("Jobs ended, by state").wait_for()
    for begin, end in ((hide, reveal), (pause, pause)):
        await begin(page)
        await page.wait_for_timeout(300)
        asked.clear()
        await page.wait_for_timeout(2500)
        assert asked == []
        await end(page)
        await asyncio.wait_for(until(lambda: any("/v1/queues" in url for url in asked)), 5)


async def hide(page: Page) -> None:
    await page.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


async def reveal(page: Page) -> None:
    await page.evaluate("delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))")


async def pause(page: Page) -> None:
    await page.keyboard.press(".")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


async def test_a_page_that_throws_leaves_the_others_in_order(page: Page, staged: Staged, faults: Faults) -> None:
    begin = '$pages["pages/types.js"]=$run(()=>{'
    replaced = 0

    async def broken(route: Any) -> None:
        nonlocal replaced
        response = await route.fetch()
        script = await response.text()
        replaced += script.count(begin)
        throwing = f"{begin}return {{title: 'Types', default: () => {{ throw new Error('x1'); }}}};"
        await route.fulfill(response=response, body=script.replace(begin, throwing))

    await page.route(re.compile(r"/(?:pages|tools)\.js$"), broken)
    await page.goto(f"{staged.console}#/types")
    await page.get_by_text("This page has a fault").wait_for()
    assert replaced == 1
    await page.keyboard.press("g")
    await page.keyboard.press("l")
    await heading(page, "Live")


async def test_a_page_with_a_late_answer_reads_and_then_shows_it(page: Page, staged: Staged) -> None:
    held: list[Any] = []
    answers = False

    async def hold(route: Any) -> None:
        held.append(route)
        if answers:
            await route.continue_()

    paths = {
        "queues": "v1/queues",
        "queues/video": "v1/queues",
        "types": "v1/types",
        "types/order": "v1/types/order",
        "jobs": "v1/jobs?limit=*",
        "failures": "v1/failures?*",
        "callers": "v1/callers?*",
        "server": "v1/server",
    }
    for place, path in paths.items():
        answers = False
        held.clear()
        await page.goto("about:blank")
        await page.route(f"**/{path}", hold)
        await page.goto(f"{staged.console}#/{place}")
        reading = page.locator("#main [role=status]").get_by_text("Reading …", exact=True).first
        await reading.wait_for()
        answers = True
        for route in [*held]:
            await route.continue_()
        await reading.wait_for(state="detached")
    await page.unroute_all(behavior="ignoreErrors")
