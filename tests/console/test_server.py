"""The page Server in a real browser: figures, commands, settings, log, actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.checking import check
from tests.console.handlers import HOSTILE
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.slow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file of the demo server."""
    file = tmp_path / "config.yaml"
    file.write_text("log: {level: info}\nqueues:\n  mail: {workers: 5}\n")
    return file


@pytest.fixture
def of_file(file: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that reads it."""
    with ServerProcess(tmp_path / "spool", f"--config={file}", "server.drain_s=1") as server:
        yield server


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def show_server(page: Page, server: ServerProcess, query: str = "") -> Page:
    await page.goto(f"{server.url}/console/#/server{query}")
    await page.get_by_role("heading", name="Server", level=1).wait_for()
    return page


@pytest.mark.parametrize("tab", ["settings", "log", "actions"])
async def test_each_part_has_no_violation(show: Show, tab: str) -> None:
    page = await show(f"server?tab={tab}&all=1")
    await page.get_by_role("heading", name="Event loop").wait_for()
    if tab != "actions":
        await page.locator("#tab-panel tbody tr, .log-line").nth(3).wait_for()
    await check(page, f"server-{tab}")


async def test_settings_are_found_with_their_sources(show: Show) -> None:
    page = await show("server")
    rows = page.locator("#tab-panel tbody tr")
    await rows.first.wait_for()
    shown = await rows.all_inner_texts()
    assert all("--set" in row or "--port" in row for row in shown)  # those at their defaults are not shown
    await page.keyboard.press("/")
    await page.keyboard.type("patience_s")
    await page.get_by_role("cell", name="queues.default.patience_s").wait_for()
    assert "30s" in await rows.first.inner_text()
    await page.keyboard.type("x")
    await page.get_by_text("No setting matches.").wait_for()
    assert "q=patience_sx" in page.url


async def test_a_journal_has_a_panel_and_a_drain_keeps_its_jobs(page: Page, faults: Faults, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with ServerProcess(tmp_path, None, "spool.dir=null", f"journal.dir={folder}") as server:
        server.wait_for("journal.opened")
        await show_server(page, server)
        panel = page.get_by_role("region", name="Journal", exact=True)
        await panel.get_by_text("always", exact=True).wait_for()
        shown = await panel.inner_text()
        assert "ok" in shown
        assert "128 MiB of 4.0 GiB" in shown
        assert str(folder) in shown
        await page.get_by_role("button", name="Drain and stop").click()
        await page.get_by_text("kept in the journal, for the next start").wait_for()
        await check(page, "server-journal")


async def test_a_reload_shows_its_changes_or_each_fault_with_its_place(
    page: Page, faults: Faults, of_file: ServerProcess, file: Path
) -> None:
    await show_server(page, of_file)
    reload = page.get_by_role("button", name="Read the settings again")
    await reload.click()
    await page.get_by_text("Nothing has changed.").wait_for()
    write(file, "queues:\n  mail: {workers: 7}\nlimits: {header_bytes: 32KiB}\n")
    await reload.click()
    await page.get_by_text("The settings were read: 1 changed, 1 need a restart.").wait_for()
    assert await page.locator(".reload-result li").all_inner_texts() == ["queues.mail.workers", "limits.header_bytes"]
    await page.get_by_text("1 setting waits for a restart:").wait_for()
    faults.allow(422)
    write(file, "queues:\n  mail: {wrokers: 7}\nlog: {level: loud}\n")
    await reload.click()
    await page.get_by_text("The settings have 2 faults.").wait_for()
    told = await page.locator(".faults li").all_inner_texts()
    assert told[0].endswith(
        "config.yaml:2:10: queues.mail.wrokers: unknown setting, did you mean 'queues.mail.workers'?"
    )
    assert "config.yaml:3:14: log.level: must be one of debug" in told[1]
    await page.get_by_text("failed: see the log").wait_for()
    await check(page, "server-faults")


async def test_the_level_of_the_log_changes_and_the_change_is_an_action(page: Page, of_file: ServerProcess) -> None:
    await show_server(page, of_file)
    await (
        page.locator("section", has=page.get_by_role("heading", name="Commands"))
        .get_by_role("combobox")
        .select_option("debug")
    )
    await page.get_by_text("The log has the level debug").wait_for()
    await page.get_by_role("tab", name="Settings").click()
    row = page.locator("#tab-panel tbody tr", has=page.get_by_role("cell", name="log.level"))
    await row.get_by_text("request").wait_for()
    await page.get_by_role("tab", name="Actions").click()
    await page.get_by_role("cell", name="change_server").wait_for()


async def test_the_log_shows_hostile_texts_as_text_from_a_level_on(show: Show, staged: Staged) -> None:
    page = await show("server?tab=log&level=warning&event=job.failed")
    await page.locator(".log-line").first.wait_for()
    staged.submit("hostile", {"fails": True}, wait=True, group=HOSTILE.replace("\x00", ""))
    await page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    assert await page.locator("#main img").count() == 0
    assert set(await page.locator(".log-line strong").all_inner_texts()) == {"job.failed"}
    await page.get_by_label("Level, at least").select_option("error")
    await page.get_by_text("No line of this kind among the latest 500.").wait_for()
    await page.get_by_label("Event", exact=True).fill("server.")
    await page.get_by_label("Level, at least").select_option("info")
    await page.get_by_text("server.listening").wait_for()


async def test_a_drain_is_typed_and_its_progress_is_shown(
    page: Page, faults: Faults, of_file: ServerProcess, tmp_path: Path
) -> None:
    faults.allow_no_answer()
    await show_server(page, of_file)
    await page.get_by_role("button", name="Drain and stop …").click()
    dialog = page.get_by_role("dialog", name="Drain and stop")
    confirm = dialog.get_by_role("button", name="Drain and stop")
    assert await confirm.is_disabled()
    await dialog.get_by_text("for 1s at most").wait_for()
    await check(page, "server-drain")
    await dialog.get_by_label("Type drain to confirm").fill("drai")
    assert await confirm.is_disabled()
    await dialog.get_by_label("Type drain to confirm").fill("drain")
    await dialog.get_by_label("Reason, for the audit").fill("a test")
    await confirm.click()
    await page.get_by_text("The server drains 0 live jobs").wait_for()
    assert of_file.exit_code() == 0
    action = of_file.wait_for("console.action")
    assert (action["action"], action["reason"]) == ("drain_server", "a test")
