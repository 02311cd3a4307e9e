"""Cost of an open console to a server at full load: its CPU with and without a page, in windows that take turns.

    python -m tests.console.cost --windows 12 --build compiled     # the compiled form: after `make compiled`

64 connections submit echo jobs and read each until its end, as fast as the server answers; it has one core, generator
and browser have the other. A window without the page tells the CPU of a job; what the server used beyond that in the
window with the page beside it is the page's, per second: a share of one core. The last page asks the server for
nothing: what it seems to take is chance. A window without any load tells the same without that chance, and with the
server's caches warm.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple

from playwright.async_api import async_playwright

from bench.load.driving import GENERATOR_CORE, Generator, Process, pinned
from bench.load.generator import Order, Report
from bench.load.scripts import Life
from bench.measure.builds import Build
from bench.measure.meter import cpu_s
from bench.measure.spread import spread, table
from bench.peers.contenders import SUBMISSION, request
from tests.console.browsing import Chromium

if TYPE_CHECKING:
    from playwright.async_api import Page

CONNECTIONS = 64
WINDOW_S = 2.0
WARM_S = 1.5
FILL_S = 3.0
REST_S = 10.0
SETTLE_S = 2.0
PAGES = {"Overview": "", "Jobs": "jobs", "Live": "live", "a page of another site": None}
"""The last one asks the server for nothing."""

LIFE = Life(submit=request("POST", "/v1/jobs", body=SUBMISSION), look=request("HEAD", "/v1/jobs/{id}"))
SETTINGS = ("statuses.jobs_max=200000", "limits.idle_timeout_s=600")


class Window(NamedTuple):
    """One window: the CPU of the server, its seconds, and the jobs that ended."""

    cpu_s: float
    seconds: float
    jobs: int

    def share_beyond(self, without: Window) -> float:
        """The share of a core that it took beyond the CPU of its jobs."""
        return (self.cpu_s - self.jobs * without.cpu_s / without.jobs) / self.seconds


async def measured(generator: Generator, pid: int, seconds: float = WINDOW_S) -> Window:
    order = Order(script=LIFE, seconds=seconds, warm_s=WARM_S, pids=(pid,))
    report: Report = await asyncio.to_thread(generator.run, order)
    return Window(report.cpu_s[0], report.seconds, report.done)


async def at_rest(page: Page, url: str, pid: int) -> float:
    """The share of a core that a page takes of a server without load."""
    await page.goto("about:blank")
    used = []
    for target in ("about:blank", url):
        await page.goto(target)
        await asyncio.sleep(SETTLE_S)
        before = cpu_s(pid)
        await asyncio.sleep(REST_S)
        used.append((cpu_s(pid) - before) / REST_S)
    await page.goto("about:blank")
    return used[1] - used[0]


async def at_full_load(page: Page, url: str, generator: Generator, pid: int, windows: int) -> list[str]:
    """Measure one page in turns; return the share of a core that it takes in percent, and the jobs per second."""
    found, rates = [], []
    for _ in range(windows):
        await page.goto("about:blank")
        before = await measured(generator, pid)
        await page.goto(url)
        during = await measured(generator, pid)
        await page.goto("about:blank")
        after = await measured(generator, pid)
        without = Window(before.cpu_s + after.cpu_s, before.seconds + after.seconds, before.jobs + after.jobs)
        found.append(100 * during.share_beyond(without))
        rates.append(without.jobs / without.seconds)
    return [str(spread(found)), str(spread(rates))]


async def main(build: Build, windows: int, only: list[str]) -> None:
    command = [sys.executable, "-m", "jobqueue", "serve", "--port=0", *(f"--set={each}" for each in SETTINGS)]
    rows = []
    with Process("console", command, environment=build.environment, cwd=build.root) as server:
        port = server.port()
        with pinned(GENERATOR_CORE):
            browser = Chromium()
        try:
            with Generator(port, CONNECTIONS) as generator:
                await measured(generator, server.pid, FILL_S)
                async with async_playwright() as playwright:
                    connected = await playwright.chromium.connect_over_cdp(browser.url)
                    page = await (await connected.new_context(viewport={"width": 1440, "height": 900})).new_page()
                    for name, route in PAGES.items():
                        if not only or name in only:
                            url = "about:blank" if route is None else f"http://127.0.0.1:{port}/console/#/{route}"
                            loaded = await at_full_load(page, url, generator, server.pid, windows)
                            rested = await at_rest(page, url, server.pid)
                            rows.append([name, *loaded, f"{100 * rested:.2f}"])
                            print(rows[-1], flush=True)
        finally:
            browser.stop()
    print(table([f"open, {build} form", "at full load: % of a core", "jobs/s without", "at rest: % of a core"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measures the cost of an open console to a server at full load.")
    parser.add_argument("--windows", type=int, default=8, help="pairs of windows for each page")
    parser.add_argument("--build", type=Build, choices=list(Build), default=Build.PURE)
    parser.add_argument("--only", action="append", default=[], choices=list(PAGES), help="measure this page alone")
    given = parser.parse_args()
    asyncio.run(main(given.build, given.windows, given.only))
