"""Chromium for the tests of the console: a process of its own, and what a page does wrong.

Each test connects to the same browser and gets a context of its own, so cookies and storage are apart.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import ConsoleMessage, Page, Request, Response

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"there is no browser at {CHROMIUM} (Debian: apt install chromium)"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--enable-precise-memory-info", "--hide-scrollbars"),  # as a phone does: else they take 15 of its 390 pixels
)
STARTING_S = 60.0

LISTENERS = """
window.breaches = [];
document.addEventListener('securitypolicyviolation', event => window.breaches.push(
  `${event.violatedDirective}: ${event.blockedURI} ${event.sample} at ${event.sourceFile}:${event.lineNumber}`));
"""


class Chromium:
    """A browser without windows, which listens for a debugger; `url` is what Playwright connects to."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        command = [str(CHROMIUM), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={self._folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = self._url()

    def _url(self) -> str:
        listening = Path(self._folder, "DevToolsActivePort")
        deadline = time.monotonic() + STARTING_S
        while not (listening.exists() and len(lines := listening.read_text().split()) == 2):
            assert time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.05)
        port, path = lines
        return f"ws://127.0.0.1:{port}{path}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STARTING_S)
        shutil.rmtree(self._folder, ignore_errors=True)


class Faults:
    """What a page does that it must not: errors in its console, breaches of its policy, failed requests.

    Attributes:
        found: As sentences.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._allowed: set[int] = set()
        self._may_fail = False

    def allow(self, *statuses: int) -> None:
        """Take answers with these statuses for what the test wants."""
        self._allowed.update(statuses)

    def allow_no_answer(self) -> None:
        """Take requests without an answer for what the test wants: it stops the server."""
        self._may_fail = True

    def watch(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_failed)

    def _on_console(self, message: ConsoleMessage) -> None:
        # The browser's own line for a request: `_on_response` and `_on_failed` judge that.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.found.append(f"console: {message.text}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._allowed:
            self.found.append(f"{response.status}: {response.request.method} {response.url}")

    def _on_failed(self, request: Request) -> None:
        # What the page gives up itself, as when it is left, is no fault.
        if request.failure != "net::ERR_ABORTED" and not self._may_fail:
            self.found.append(f"{request.failure}: {request.method} {request.url}")

    async def take(self, page: Page) -> list[str]:
        """Return what was found, breaches of the policy included."""
        if not page.is_closed():
            breaches: list[Any] = await page.evaluate("window.breaches ?? []")
            self.found += [f"policy: {each}" for each in breaches]
        return self.found


NAMES = re.compile(r"^(?:import|export let) \{([^}]+)\}(?: from |=)", re.MULTILINE)
"""The names that the modules of a script share."""

SHARED = """Promise.all(['console.js', 'pages.js', 'tools.js', 'vendor/htm-preact.js']
    .map(name => import(new URL(name, document.querySelector('script[type=module]').src))))
    .then(scripts => Object.assign({}, ...scripts))"""
"""An expression that promises all that the modules of the page share: the instances of the page, not others."""


async def eventually(page: Page, expression: str, timeout_s: float = 10.0) -> None:
    """Wait until an expression is true; the page's policy forbids `page.wait_for_function`, which evaluates in it."""
    async with asyncio.timeout(timeout_s):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


async def picture(page: Page, name: str) -> None:
    """Take a screenshot of the whole page, if `PICTURES` names a folder."""
    if folder := os.environ.get("PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
