"""Staged incidents: cause and remedy are found in the console alone, in a few steps, each by a word of the page itself.

A step is a click or an entry. The figures that `docs/how-to/console.md` has are those that these tests print.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browsing import picture
from tests.console.staging import Staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from playwright.async_api import Locator, Page

    from tests.console.browsing import Faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

HANDLERS = str(Path(__file__).parent / "incidents.py")
FOUND_MS = 120_000
"""A finding comes a few seconds after its cause, on a busy machine later."""


class Incident(Staged):
    """A server of the handlers in `incidents.py`; `mend` gives them what they need."""

    def __init__(self, folder: Path) -> None:
        self._mended = folder / "mended"
        settings = (
            *("queues.payments.workers=4", "queues.payments.retry_budget=5", "queues.images.workers=1"),
            *("queues.exports.workers=2", "queues.exports.capacity=20"),
        )
        super().__init__(folder / "spool", *settings, target=HANDLERS, environment={"MENDED": str(self._mended)})

    def mend(self) -> None:
        self._mended.touch()

    async def submit_all(self, kind: str, queue: str, args: list[dict[str, Any]]) -> None:
        """Submit jobs, in a thread: the server may be held."""
        jobs = [{"type": kind, "queue": queue, "args": each} for each in args]
        await asyncio.to_thread(self.ask, "POST", "/v1/jobs:batch", {"jobs": jobs})


class Walk:
    """What a viewer does, step by step, from the page Overview on."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.steps = 0
        self.name = name
        self._began = time.monotonic()

    async def click(self, of: Locator) -> None:
        self.steps += 1
        await of.click()
        await picture(self.page, f"incident-{self.name}-{self.steps}")

    async def link(self, name: str) -> None:
        await self.click(self.page.get_by_role("link", name=name, exact=True).first)

    async def button(self, name: str) -> None:
        await self.click(self.page.get_by_role("button", name=name, exact=True).last)

    async def enter(self, label: str, text: str) -> None:
        self.steps += 1
        await self.page.get_by_label(label, exact=True).first.fill(text)

    async def sees(self, text: str) -> None:
        await self.page.get_by_text(text).first.wait_for(timeout=FOUND_MS)

    def tell(self, what: str) -> None:
        print(f"\n{self.name}: {what} after {self.steps} steps, {time.monotonic() - self._began:.0f} s")


@pytest.fixture
def incident(tmp_path: Path) -> Iterator[Incident]:
    with Incident(tmp_path) as server:
        yield server


@pytest.fixture
async def walk(page: Page, incident: Incident, request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Walk]]:
    await asyncio.to_thread(lambda: incident.url)

    async def begin() -> Walk:
        begun = Walk(page, request.node.name.removeprefix("test_a_").partition("_is_")[0])
        await page.goto(incident.console)
        return begun

    yield begin
    incident.mend()


async def test_a_poisoned_type_is_released_and_its_failed_jobs_run_again(
    incident: Incident, walk: Any, faults: Faults
) -> None:
    faults.allow(404)  # the group is empty in the end
    await incident.submit_all("charge_card", "payments", [{"customer": n, "amount": 9.5} for n in range(30)])
    viewer = await walk()
    await viewer.sees("Type charge_card has been in quarantine")
    await viewer.sees("connection to bank.example:443 refused, for customer")
    viewer.tell("the cause is told")
    await viewer.link("Type charge_card")
    await viewer.sees("In quarantine: its jobs wait")
    incident.mend()  # as the viewer does with the bank
    await viewer.button("Release …")
    await viewer.button("Release")
    await viewer.sees("charge_card is released from quarantine.")
    await viewer.link("Its failures")
    await viewer.click(viewer.page.locator("#main tbody a").first)
    await viewer.button("Retry all")
    await viewer.click(viewer.page.get_by_role("dialog").locator("button[type=submit]"))
    await viewer.sees("queued again")
    viewer.tell("the jobs run again")
    assert viewer.steps == 7
    async with asyncio.timeout(30):
        while incident.ask("GET", "/v1/types/charge_card")["succeeded_total"] != 30:
            await asyncio.sleep(0.1)


async def test_a_full_queue_is_given_more_workers(incident: Incident, walk: Any) -> None:
    await incident.submit_all("export", "exports", [{"month": f"2026-{n % 12 + 1:02}"} for n in range(20)])
    await incident.submit_all("export", "exports", [{"month": "2027-01"}] * 9)
    viewer = await walk()
    await viewer.sees("Queue exports is full: 20 of 20 jobs")
    await viewer.sees("All 2 of its workers are busy.")
    await viewer.sees("Queue exports has rejected 9 submissions in the last minute")
    viewer.tell("the cause is told")
    await viewer.link("Queue exports")
    await viewer.enter("Workers", "20")
    await viewer.button("Apply")
    await viewer.sees("workers 2 → 20")
    viewer.tell("its jobs run")
    assert viewer.steps == 3
    async with asyncio.timeout(30):
        while (queue := incident.ask("GET", "/v1/queues/exports"))["queued"]:
            await asyncio.sleep(0.1)
    assert queue["running"] + queue["succeeded_total"] == 20


async def test_a_blocked_loop_is_contained_by_a_pause(incident: Incident, walk: Any, faults: Faults) -> None:
    faults.allow(503)
    faults.allow_no_answer()
    await incident.submit_all("resize", "images", [{"image": f"{n}.png"} for n in range(200)])
    viewer = await walk()
    await viewer.sees("The event loop was blocked")
    await viewer.sees("incidents.py:46 in resize")
    await viewer.sees("pause their queue")
    viewer.tell("the cause is told")
    await viewer.link("Types")
    await viewer.link("resize")
    await viewer.link("Its jobs")
    await viewer.sees("images")
    await viewer.link("Queues")
    await viewer.link("images")
    await viewer.button("Pause …")
    await viewer.button("Pause")
    await viewer.sees("Queue images is paused.")
    viewer.tell("the server answers at once")
    assert viewer.steps == 7
    began = time.monotonic()
    assert incident.ask("GET", "/v1/queues/images")["running"] == 0
    assert time.monotonic() - began < 1.0
    assert json.dumps(incident.ask("GET", "/v1/server/actions")).count("pause_queue") == 1
