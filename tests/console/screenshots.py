"""Pictures of the console: each page of a staged server, in both widths and schemes.

python -m tests.console.screenshots     # into tmp/screenshots; of the documents also into docs/images
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image
from playwright.async_api import async_playwright

from tests.console.browsing import Chromium
from tests.console.checking import HEIGHT, SCHEMES, WIDTHS
from tests.console.staging import Staged
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Browser, Page

ALL: Final = ROOT / "tmp/screenshots"
SHOWN: Final = ROOT / "docs/images/console"
SHOWN_NAMES: Final = (*("overview-1440-light", "overview-1440-dark", "job-1440-light"),)
"""The pictures that documents show."""

COLOURS = 256
LOADED_S = 30.0
EVENTS_S = 2.0
SETTLED_MS = 1500
SIMULATED_MS = 60_000

ROUTES: Final = {
    "overview": "",
    "jobs": "jobs",
    "job": "jobs/{job}",
    "flow": "flows/{flow}",
    "queues": "queues",
    "queue": "queues/video",
    "types": "types",
    "type": "types/thumbnail/try",
    "schedules": "schedules",
    "schedule": "schedules/month-end",
    "topics": "topics?pattern=order.>",
    "failures": "failures",
    "callers": "callers",
    "live": "live",
    "server": "server",
    "what_if": "what-if/default",
}


def submit_flow(server: Staged) -> str:
    """Submit a flow with jobs that end, run and wait; return its id."""
    image = {"image": "photo.jpg"}
    jobs = [
        {"name": "fetch", "type": "thumbnail", "args": image},
        *({"name": f"size-{width}", "type": "thumbnail", "args": image, "after": ["fetch"]} for width in (128, 512)),
        {"name": "film", "type": "hold", "after": ["fetch"]},
        {"name": "mail", "type": "send_mail", "args": {"to": "ann@mail.example"}, "after": ["fetch"]},
        {"name": "publish", "type": "thumbnail", "args": image, "after": ["size-128", "size-512", "film"]},
        {"name": "thank", "type": "thumbnail", "args": image, "after": ["mail"]},
    ]
    flow_id: str = server.ask("POST", "/v1/flows", {"jobs": jobs})["id"]
    return flow_id


def load(server: Staged, seconds: float) -> None:
    """Submit jobs for a while, a few of which fail or are rejected, so that the charts have something to show."""
    rng, end = random.Random(7), time.monotonic() + seconds
    while time.monotonic() < end:
        count = rng.randint(4, 16)
        jobs: list[dict[str, object]] = [
            {"type": "thumbnail", "args": {"image": f"photo-{number}.jpg", "width": 100 + number}}
            for number in range(count)
        ]
        jobs += [{"type": "send_mail", "args": {"to": "ann@mail.example"}}] * rng.randint(0, 1)
        jobs += [{"type": "hold", "queue": "video"}] * rng.randint(0, 3)
        server.ask("POST", "/v1/jobs:batch", {"jobs": jobs})
        time.sleep(0.25)


async def simulate(page: Page, _: Staged) -> None:
    await page.get_by_role("button", name="Simulate", exact=True).click()
    await page.get_by_role("heading", name="What would happen").wait_for(timeout=SIMULATED_MS)


async def see_events(page: Page, server: Staged) -> None:
    await page.wait_for_timeout(SETTLED_MS)
    await asyncio.to_thread(load, server, EVENTS_S)


ACTS: Final = {"what_if": simulate, "live": see_events}
"""What a page shows comes of these."""


async def take(browser: Browser, server: Staged, only: list[str]) -> None:
    job, flow = server.ids["retried"][0], submit_flow(server)
    for scheme in SCHEMES:
        for width in WIDTHS:
            context = await browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
            page = await context.new_page()
            for name, route in ROUTES.items():
                if only and name not in only:
                    continue
                await page.goto(f"{server.console}#/{route.format(job=job, flow=flow)}")
                await page.wait_for_selector("#main h1")
                if name in ACTS:
                    await ACTS[name](page, server)
                await page.wait_for_timeout(SETTLED_MS)
                data = await page.screenshot(full_page=width == min(WIDTHS) and name != "live")
                await asyncio.to_thread(keep, f"{name}-{width}-{scheme}", data)
            await context.close()


def keep(name: str, data: bytes) -> None:
    """Write a picture of few colours, which is a third as large."""
    image = Image.open(io.BytesIO(data)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    for folder in (ALL, *([SHOWN] if name in SHOWN_NAMES else [])):
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{name}.png", optimize=True)
        print(f"{(folder / name).relative_to(ROOT)}.png: {(folder / f'{name}.png').stat().st_size / 1024:.0f} KiB")


@contextlib.contextmanager
def started() -> Iterator[tuple[Chromium, Staged]]:
    browser = Chromium()
    try:
        with tempfile.TemporaryDirectory() as folder, Staged(Path(folder)) as server:
            yield browser, server
    finally:
        browser.stop()


async def main(browser: Chromium, server: Staged, only: list[str]) -> None:
    async with async_playwright() as playwright:
        await take(await playwright.chromium.connect_over_cdp(browser.url), server, only)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Takes pictures of the console on a staged server.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="these alone")
    given = parser.parse_args()
    with started() as (chromium, staged):
        staged.stage()
        load(staged, LOADED_S)
        asyncio.run(main(chromium, staged, given.pages))
