"""In a real browser, the JavaScript client of a page of another origin: with a key, so each request has a preflight."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.browser.test_origins import EVIL, browser, page, pages, pytestmark
from tests.e2e.processes import ROOT, ServerProcess
from tests.e2e.test_keys import new_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.async_api import Page

__all__ = ["browser", "page", "pages", "pytestmark"]

HANDLERS = ROOT / "tests/clients/js/handlers.py"

TOUR = """async ([url, key, limited]) => {
    const jobqueue = await import('/jobqueue.js');
    const client = new jobqueue.Client(url, {key});
    const caught = call => call.then(() => 'nothing', error => error);
    const found = {};

    found.result = await client.run({type: 'echo', args: {value: 7}});
    const told = [];
    const onProgress = each => {
        told.push(each);
        if (each.state === 'delayed') client.runNow(each.id);
    };
    found.steps = await client.run({type: 'steps', args: {count: 3}, delay_s: 60}, {onProgress});
    found.told = [...new Set(told.map(({state, note}) => `${state} ${note}`))];

    const file = new File(['of a page'], 'page.txt', {type: 'text/plain'});
    const upload = await client.submit({type: 'upper'}, {files: {text: file}, waitS: 10});
    found.download = await (await client.download(upload.id)).text();

    const failed = await caught(client.run({type: 'fail', args: {message: 'x'}}));
    found.failed = [failed.name, failed.code, failed.reason];
    const invalid = await caught(client.submit({type: 'sleep', args: {}}));
    found.invalid = [invalid.name, invalid.errors.map(({pointer}) => pointer)];

    const status = await client.status(upload.id);
    found.status = [status.state, status.etag !== null];
    const live = await client.submit({type: 'echo', delay_s: 60}, {idempotencyKey: 'one'});
    found.retryAfter = (await client.status(live.id)).retryAfterS >= 1;
    found.deduplicated = (await client.submit({type: 'echo', delay_s: 60}, {idempotencyKey: 'one'})).deduplicated;
    found.workers = (await client.changeQueue('default', {workers: 7})).workers;
    await client.cancel(live.id);
    await client.delete(live.id);
    const gone = await caught(client.get(live.id));
    found.gone = [gone.name, gone.reason];

    const waiting = new AbortController();
    const {id} = await client.submit({type: 'sleep', args: {seconds: 60}});
    setTimeout(() => waiting.abort(), 100);
    found.aborted = (await caught(client.wait(id, {signal: waiting.signal}))).name;
    await client.cancel(id);

    const busy = new jobqueue.Client(url, {key: limited});
    await busy.submit({type: 'echo'});
    const rejected = await caught(busy.submit({type: 'echo'}));
    found.rejected = [rejected.name, rejected.retryAfterS >= 0 && rejected.retryAfterS <= 2];
    found.later = (await busy.submit({type: 'echo', args: {value: 5}}, {retryForS: 20, waitS: 10})).result;

    const stranger = new jobqueue.Client(url, {key: 'jq_unknown_key'});
    found.stranger = (await caught(stranger.queues())).name;
    for await (const event of client.events(null, {lastEventId: '0123456789ab-7'})) {
        found.event = event.name;
        break;
    }
    return found;
}"""


@contextmanager
def served(folder: Path, origin: str) -> Iterator[list[str]]:
    """Serve for pages of an origin; yield the URL, a key with all scopes, and one with a rate."""
    file = folder / "keys.yaml"
    key = new_key(file, "page", "admin")
    limited = new_key(file, "limited", "submit,read")
    with file.open("a") as keys:  # to the last key
        keys.write("\n  limits: {rate: 1/s burst 1}\n")
    settings = (f"auth.keys_file={file}", f"server.origins={origin}")
    with ServerProcess(folder, str(HANDLERS), *settings) as server:
        yield [server.url, key, limited]
        assert server.stop() == 0


async def test_the_client_of_a_listed_page_does_all_that_it_does_elsewhere(
    page: Page, pages: int, tmp_path: Path
) -> None:
    origin = f"http://listed.example:{pages}"
    with served(tmp_path, origin) as about:
        await page.goto(f"{origin}/page")
        found: dict[str, Any] = await asyncio.wait_for(page.evaluate(TOUR, about), 60)
    print(f"\nthe client in a page of {origin} with {about[0]}")
    for name, value in found.items():
        print(f"  {name:14} {value}")
    assert found == {
        "result": 7,
        "steps": 3,
        "told": [
            *("delayed null", "queued null", "running null"),
            *("running step 1", "running step 2", "running step 3", "succeeded step 3"),
        ],
        "download": "OF A PAGE",
        "failed": ["JobFailed", "handler_error", "ValueError: x"],
        "invalid": ["InvalidSubmission", ["/args/seconds"]],
        "status": ["succeeded", True],
        "retryAfter": True,
        "deduplicated": True,
        "workers": 7,
        "gone": ["JobGone", "evicted"],
        "aborted": "AbortError",
        "rejected": ["RateLimited", True],
        "later": 5,
        "stranger": "Unauthorized",
        "event": "reset",
    }


async def test_the_client_of_another_page_gets_no_answer(page: Page, pages: int, tmp_path: Path) -> None:
    with served(tmp_path, f"http://listed.example:{pages}") as about:
        await page.goto(f"http://{EVIL}:{pages}/page")
        script = """async ([url, key]) => {
            const jobqueue = await import('/jobqueue.js');
            const client = new jobqueue.Client(url, {key, retryReadsForS: 0});
            const name = call => call.then(() => 'nothing', error => error.name);
            return [await name(client.queues()), await name(client.submit({type: 'echo'}))];
        }"""
        assert await page.evaluate(script, about[:2]) == ["NoAnswer", "FateUnknown"]
