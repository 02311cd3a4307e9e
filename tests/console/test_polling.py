"""What a page reads again and again: answers that it must not take, and requests that it must not forget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browsing import SHARED, eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page, Route

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow

PROBE = f"""async ([path, firstMs, thenMs]) => {{
    const {{html, render, usePolled, useState}} = await {SHARED};
    const Probe = () => {{
        const [everyMs, put] = useState(firstMs);
        window.change = () => put(thenMs);
        const {{document}} = usePolled(path, {{everyMs}});
        return html`<p id="probe">${{document ? 'read' : 'nothing'}}</p>`;
    }};
    render(html`<${{Probe}} />`, document.body.appendChild(document.createElement('div')));
}}"""
FORGET = f"{SHARED}.then(({{forgetAll}}) => forgetAll())"


async def probe(page: Page, told: str) -> None:
    await eventually(page, f"document.querySelector('#probe').textContent === '{told}'")


class Held:
    """Requests that are held until they are let go."""

    def __init__(self) -> None:
        self.routes: asyncio.Queue[Route] = asyncio.Queue()
        self.holds = True

    async def take(self, route: Route) -> None:
        if self.holds:
            self.routes.put_nowait(route)
        else:
            await route.continue_()

    async def next(self) -> Route:
        return await asyncio.wait_for(self.routes.get(), 20)


async def test_an_answer_to_an_earlier_session_is_not_taken(show: Show, page: Page) -> None:
    await show("queues")
    held = Held()
    held.holds = False
    await page.route("**/v1/jobs?state=failed", held.take)
    await page.evaluate(PROBE, ["v1/jobs?state=failed", 500, 500])
    await probe(page, "read")
    held.holds = True
    route = await held.next()
    tag = route.request.headers["if-none-match"]
    held.holds = False
    await page.evaluate(FORGET)
    await route.fulfill(status=304, headers={"ETag": tag})
    await probe(page, "read")
    await page.unroute_all(behavior="ignoreErrors")


async def test_a_document_is_read_although_its_interval_changes_before_the_answer(show: Show, page: Page) -> None:
    await show("queues")
    held = Held()
    await page.route("**/v1/types", held.take)
    await page.evaluate(PROBE, ["v1/types", 60_000, 120_000])
    route = await held.next()
    held.holds = False
    await page.evaluate("window.change()")
    await probe(page, "read")
    await route.continue_()
    await page.unroute_all(behavior="ignoreErrors")


async def test_a_single_read_is_repeated_after_a_refusal(
    staged: Staged, show: Show, page: Page, faults: Faults
) -> None:
    faults.allow(503)
    refused: list[Any] = []

    async def refuse_first(route: Route) -> None:
        if refused:
            await route.continue_()
            return
        refused.append(route)
        problem = '{"type":"/problems/overloaded","title":"Server overloaded","status":503}'
        await route.fulfill(
            status=503, content_type="application/problem+json", headers={"Retry-After": "1"}, body=problem
        )

    for pattern, path, text in (
        ("**/v1/queues", "types/thumbnail/try", "video"),
        ("**/v1/jobs/*?include=*", f"jobs/{staged.ids['delayed'][0]}?tab=arguments", "later.jpg"),
        ("**/v1/jobs?*count=*", "jobs?q=type:check", "1 job"),
    ):
        refused.clear()
        await page.route(pattern, refuse_first)
        await page.goto("about:blank")
        await shown(show, path, text)
        assert refused, path
        await page.unroute(pattern)


async def shown(show: Show, path: str, text: str) -> None:
    page = await show(path)
    await eventually(page, f"document.querySelector('#main').textContent.includes('{text}')")
