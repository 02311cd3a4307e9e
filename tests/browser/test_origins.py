"""In a real browser, pages of other origins change and read nothing, and listed ones work.

`make test-browser` prints a line for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import CHANGES, READS, page_server, script_of
from tests.browser.relay import free_port, relayed
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.browser.pages import Attempt
    from tests.browser.relay import Relay

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
EVIL = "evil.example"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM} (Debian: apt install chromium)"
    ),
]


@pytest.fixture
async def pages() -> AsyncIterator[int]:
    async with page_server() as port:
        yield port


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


class Queue:
    """The job queue, through a relay that records the requests of pages, and directly."""

    def __init__(self, server_url: str, port: int, relay: Relay) -> None:
        self._server_url = server_url
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.relay = relay

    def ask(self, method: str, path: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self._server_url + path, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read() or b"null")

    def state(self) -> dict[str, Any]:
        """Return the state that a page may try to change."""
        (queue,) = self.ask("GET", "/v1/queues")["queues"]
        names = ("paused", "workers", "delayed", "submitted_total", "cancelled_total")
        return {name: queue[name] for name in names}

    def delayed_job(self) -> str:
        job: str = self.ask("POST", "/v1/jobs", {"type": "echo", "delay_s": 3600})["id"]
        return job


@contextlib.asynccontextmanager
async def job_queue(folder: Path, port: int, *settings: str) -> AsyncIterator[Queue]:
    """Serve a queue behind a relay that listens on a port."""
    own = f"server.hosts=127.0.0.1:{port},localhost:{port}"
    with ServerProcess(folder, None, own, *settings) as process:
        url = process.url
        async with relayed(int(url.rpartition(":")[2]), port) as relay:
            yield Queue(url, port, relay)


@pytest.fixture
async def queue(tmp_path: Path, pages: int) -> AsyncIterator[Queue]:
    async with job_queue(tmp_path, free_port(), f"server.origins=http://listed.example:{pages}") as queue:
        yield queue


async def tried(page: Page, attempt: Attempt, base: str, job: str) -> str:
    """Run an attempt in a page; return its result in the page."""
    return str(await asyncio.wait_for(page.evaluate(script_of(attempt), [base, job]), 20))


async def check_refused(page: Page, attempt: Attempt, queue: Queue, base: str, job: str, status: int) -> None:
    """Run an attempt, and check that the server rejects it and the queue is unchanged."""
    before = queue.state()
    queue.relay.noted.clear()
    seen = await tried(page, attempt, base, job)
    noted = await queue.relay.first()
    print(f"  {attempt.name:52}  {', '.join(map(str, noted)):24}  the page: {seen}")
    assert {each.status for each in noted} == {status}
    assert seen not in ("200", "202", "204", "open")
    assert queue.state() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", EVIL])
@pytest.mark.parametrize(("kind", "attempts"), [("changes", CHANGES), ("reads", READS)])
async def test_requests_of_a_page_of_another_origin_are_rejected(
    page: Page, pages: int, queue: Queue, host: str, kind: str, attempts: tuple[Attempt, ...]
) -> None:
    origin = f"http://{host}:{pages}"
    job = queue.delayed_job()
    print(f"\n{kind} of {queue.url} tried by a page of {origin}")
    for attempt in attempts:
        await page.goto(f"{origin}/page")
        await check_refused(page, attempt, queue, queue.url, job, 403)


async def test_requests_after_dns_rebinding_are_rejected(page: Page, tmp_path: Path) -> None:
    """The page is loaded from another server; then its name resolves to the job queue."""
    async with page_server() as port:
        origin = f"http://{EVIL}:{port}"
        await page.goto(f"{origin}/page")
    async with job_queue(tmp_path, port) as queue:
        job = queue.delayed_job()
        print(f"\n{queue.url} tried by a page of {origin}, which is of its own origin by now")
        for attempt in (*CHANGES, *READS):
            await check_refused(page, attempt, queue, origin, job, 421)
        answer = await page.goto(f"{origin}/v1/queues")
        assert answer is not None
        assert answer.status == 421


async def test_a_link_from_any_page_is_followed(page: Page, pages: int, queue: Queue) -> None:
    await page.goto(f"http://{EVIL}:{pages}/page")
    await page.set_content(f'<a href="{queue.url}/v1/queues">the queues</a>')
    async with page.expect_navigation() as navigation:
        await page.click("a")
    answer = await navigation.value
    assert answer is not None
    assert answer.status == 200


async def test_a_page_of_the_origin_of_the_server_has_full_access(page: Page, queue: Queue) -> None:
    await page.goto(f"{queue.url}/v1/queues")
    statuses = await page.evaluate(
        """async () => {
            const headers = {'Content-Type': 'application/json'};
            const submitted = await fetch('/v1/jobs', {method: 'POST', headers, body: '{"type":"echo"}'});
            const looked = await fetch(submitted.headers.get('Location'), {headers: {Prefer: 'wait=5'}});
            const paused = await fetch('/v1/queues/default:pause', {method: 'POST'});
            return [submitted.status, looked.status, paused.status];
        }"""
    )
    assert statuses == [202, 200, 200]
    assert queue.state()["paused"]


LISTED = """async base => {
    const json = {'Content-Type': 'application/json'};
    const call = (path, method = 'GET', headers = {}, body) => fetch(base + path, {method, headers, body});
    const submit = () => call(
        '/v1/jobs', 'POST', {...json, 'Idempotency-Key': 'k', Prefer: 'wait=0'}, '{"type":"echo","delay_s":1}');
    const results = {};
    const submitted = await submit();
    results.status = submitted.status;
    for (const name of ['Location', 'Retry-After', 'Job-State', 'ETag', 'Preference-Applied'])
        results[name] = submitted.headers.get(name);
    results['Job-Deduplicated'] = (await submit()).headers.get('Job-Deduplicated');
    const ended = await call(results.Location, 'GET', {Prefer: 'wait=10'});
    results.state = (await ended.json()).state;
    results.unchanged = (await call(results.Location, 'GET', {'If-None-Match': ended.headers.get('ETag')})).status;
    const source = new EventSource(`${base}/v1/events`);
    results.listened = await new Promise(resolve => {
        source.onopen = () => resolve('open');
        source.onerror = () => resolve('error');
    });
    source.close();
    results.deleted = (await call(results.Location, 'DELETE')).status;
    const gone = await call(results.Location);
    results.gone = [gone.status, gone.headers.get('Job-Gone-Reason'), (await gone.json()).type];
    results.patched = (await call('/v1/queues/default', 'PATCH', json, '{"workers":7}')).status;
    const wrong = await call('/v1/jobs', 'POST', json, '{}');
    results.wrong = [wrong.status, (await wrong.json()).type];
    return results;
}"""


async def test_a_page_of_a_listed_origin_has_full_access(page: Page, pages: int, queue: Queue) -> None:
    origin = f"http://listed.example:{pages}"
    await page.goto(f"{origin}/page")
    results = await asyncio.wait_for(page.evaluate(LISTED, queue.url), 30)
    print(f"\na listed page of {origin} with {queue.url}")
    for name, value in results.items():
        print(f"  {name:20} {value}")
    assert results.pop("Location").startswith("/v1/jobs/")
    assert int(results.pop("Retry-After")) >= 1
    assert results.pop("ETag").startswith('W/"')
    assert results == {
        "status": 202,
        "Job-State": "delayed",
        "Preference-Applied": "wait=0",
        "Job-Deduplicated": "true",
        "state": "succeeded",
        "unchanged": 304,
        "listened": "open",
        "deleted": 204,
        "gone": [410, "evicted", "/problems/job-gone"],
        "patched": 200,
        "wrong": [422, "/problems/invalid-submission"],
    }
    assert queue.state()["workers"] == 7
