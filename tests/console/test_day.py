"""A console that is left open for a working day holds no more at its end than at its beginning."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.console.browsing import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import CDPSession, Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HOURS = float(os.environ.get("HOURS", "0.2"))
"""`HOURS=8` is a working day, in a quarter of an hour; a leak shows in a few minutes, too."""

STEP_S = 60
GROWTH_MAX_BYTES = 2 * 1024 * 1024

# The answers of the API, as the server would give them at the page's own time: what the page holds grows with what it
# gets, and a real server has no history of the hours to come.
ANSWERS = """
(() => {
    const real = window.fetch;
    const json = (document, headers = {}) => new Response(JSON.stringify(document), {
        headers: {'Content-Type': 'application/json', 'Content-Length': '1', ...headers}});
    let templates = null;
    window.asked = 0;
    window.learn = async () => {
        const read = async path => (await real(new URL('../' + path, document.baseURI))).json();
        templates = {queues: await read('v1/queues'), stats: await read('v1/stats?step=1')};
        window.fetch = answer;
    };
    const answer = async (url, options) => {
        const {pathname, searchParams} = new URL(url);
        const number = name => Number(searchParams.get(name));
        window.asked += 1;
        if (pathname.endsWith('/v1/queues')) {
            for (const queue of templates.queues.queues) queue.succeeded_total += 1;
            return json(templates.queues);
        }
        if (pathname.endsWith('/v1/stats')) return json(stats(number('since'), number('step')));
        if (pathname.endsWith('/v1/events')) return real(url, options);
        if (pathname.endsWith('/v1/findings')) return json({at: new Date().toISOString(), findings: []});
        if (pathname.endsWith('/readyz')) return json({status: 'ready', fast_path: true});
        return json({});
    };
    const stats = (since, step) => {
        const first = Math.floor(since / step) * step;
        const points = Math.max(1, Math.min(1000, Math.floor((Date.now() / 1000 - first) / step) + 1));
        const some = () => Array.from({length: points}, () => Math.floor(Math.random() * 20));
        const since_at = new Date(first * 1000).toISOString();
        return {...templates.stats, step_s: step, since: since_at, covered_s: some().map(() => step),
            series: [{name: 'default', waiting: some(), running: some(), succeeded: some(), failed: some(),
                refused: {'queue-full': some()}, waits: [some(), some(), null], runs: [null, some(), some()]}]};
    };
})();
"""


async def heap_bytes(session: CDPSession) -> int:
    """Collect what is garbage; return what is left."""
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    return int(usage["usedSize"])


@pytest.mark.parametrize("route", ["", "live"])
async def test_the_heap_does_not_grow_in_a_day(page: Page, staged: Staged, faults: Faults, route: str) -> None:
    await page.clock.install()
    await page.add_init_script(ANSWERS)
    await page.goto(f"{staged.console}#/{route}")
    await page.clock.run_for(2000)
    await page.wait_for_selector("#main h1")
    await page.evaluate("window.learn()")
    session = await page.context.new_cdp_session(page)
    await pass_time(page, 10 * 60)
    before, asked_before = await heap_bytes(session), await page.evaluate("window.asked")
    nodes_before = await page.evaluate("document.querySelectorAll('*').length")
    await pass_time(page, round(HOURS * 3600))
    after, asked = await heap_bytes(session), await page.evaluate("window.asked") - asked_before
    nodes = await page.evaluate("document.querySelectorAll('*').length")
    print(
        f"\n#/{route}: {before / 2**20:.2f} MiB, after {HOURS:g} hours and {asked:,} requests {after / 2**20:.2f} MiB"
    )
    assert asked > HOURS * 3600 / 10
    assert after - before < GROWTH_MAX_BYTES
    assert nodes < nodes_before * 1.5
    await eventually(page, "document.querySelector('#main h1') !== null")


async def pass_time(page: Page, seconds: int) -> None:
    for _ in range(seconds // STEP_S):
        await page.clock.run_for(STEP_S * 1000)
