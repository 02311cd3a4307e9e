"""The pages Schedules and Schedule: what they show, and each of their actions against a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]
    Serve = Callable[..., Staged]


def put(server: Staged, name: str, **members: object) -> None:
    given = {"type": "thumbnail", "args": {"image": "a.png"}, "every_s": 3600, **members}
    assert server.ask("PUT", f"/v1/schedules/{name}", given)["name"] == name


async def confirmed(page: Page) -> None:
    """Confirm the open dialog, and wait for its end."""
    dialog = page.get_by_role("dialog")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog).to_have_count(0)


async def test_schedules_are_listed_with_their_instants_in_words_and_as_notation(show: Show, staged: Staged) -> None:
    put(staged, "hourly", overlap="replace")
    staged.ask("POST", "/v1/schedules/hourly:run")
    put(staged, "resting")
    staged.ask("POST", "/v1/schedules/resting:pause")
    page = await show("schedules")
    row = page.get_by_role("row").filter(has_text="tidy").first
    await expect(
        page.get_by_role("row").filter(has_text="at 03:00 on Monday to Friday, Europe/Berlin")
    ).to_contain_text("0 3 * * MON-FRI")
    await expect(row).to_contain_text("active")
    await expect(page.get_by_role("row").filter(has_text="hourly")).to_contain_text("every 1 h")
    await expect(page.get_by_role("row").filter(has_text="resting")).to_contain_text("paused")
    await check(page, "schedules")


async def test_a_schedule_shows_its_next_instants_counts_and_arguments(show: Show, staged: Staged) -> None:
    page = await show("schedules/month-end")
    await page.get_by_text("at 04:07 on the last day of the month, UTC").wait_for()
    await expect(page.get_by_role("list", name="The next instants").get_by_role("listitem")).to_have_count(5)
    await expect(page.get_by_role("group", name="Arguments of its jobs")).to_contain_text('"all"')
    await expect(page.get_by_text("the code: it is changed there")).to_be_visible()
    assert await page.get_by_role("button", name="Delete").count() == 0
    await check(page, "schedule")


async def test_a_run_submits_a_job_that_the_schedule_links(show: Show, staged: Staged) -> None:
    put(staged, "by-hand")
    page = await show("schedules/by-hand")
    await page.get_by_role("button", name="Run by-hand now").click()
    await page.get_by_label("Reason").fill("it is needed today")
    await check(page, "schedule-run")
    await confirmed(page)
    await expect(page.locator(".toast")).to_contain_text("by-hand has submitted the job")
    await expect(page.locator(".toast").get_by_role("button", name="Copy as curl")).to_be_visible()
    assert staged.ask("GET", "/v1/schedules/by-hand")["submitted_total"] == 1
    await page.get_by_role("link", name="its job").click()
    await expect(page.locator("h1")).to_have_text("Job of type thumbnail")
    action = staged.ask("GET", "/v1/server/actions")["actions"][0]
    assert (action["action"], action["target"], action["reason"]) == ("run_schedule", "by-hand", "it is needed today")


async def test_a_schedule_is_paused_resumed_and_deleted(show: Show, staged: Staged, faults: Faults) -> None:
    faults.allow(404)  # the poll that comes before the page is left
    put(staged, "short-lived")
    page = await show("schedules/short-lived")
    await page.get_by_role("button", name="Pause short-lived").click()
    await confirmed(page)
    await expect(page.locator(".badge").filter(has_text="paused")).to_be_visible()
    assert staged.ask("GET", "/v1/schedules/short-lived")["pause"] is not None
    await page.get_by_role("button", name="Resume short-lived").click()
    await confirmed(page)
    assert staged.ask("GET", "/v1/schedules/short-lived")["pause"] is None
    await page.get_by_role("button", name="Delete short-lived").click()
    await confirmed(page)
    await expect(page.locator("h1")).to_have_text("Schedules")
    assert staged.ask("GET", "/v1/schedules/short-lived")["status"] == 404


async def test_a_row_is_run_and_paused_by_keys(show: Show, staged: Staged) -> None:
    put(staged, "keyed")
    page = await show("schedules")
    await page.get_by_role("row").filter(has_text="keyed").focus()
    await page.keyboard.press("p")
    await expect(page.get_by_role("dialog", name="Pause keyed")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("row").filter(has_text="keyed").focus()
    await page.keyboard.press("r")
    await expect(page.get_by_role("dialog", name="Run keyed now")).to_be_visible()


async def test_a_run_that_the_server_refuses_says_why(show: Show, staged: Staged, faults: Faults) -> None:
    faults.allow(409, 503)
    put(staged, "held", type="hold", args={})
    staged.ask("POST", "/v1/schedules/held:run")
    page = await show("schedules/held")
    await page.get_by_role("button", name="Run held now").click()
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("409")


async def test_an_unknown_schedule_has_a_page_with_the_reason(show: Show, faults: Faults) -> None:
    faults.allow(404)
    page = await show("schedules/%3Cb%3Enone%3C%2Fb%3E")
    await page.locator(".problem").wait_for()
    assert await page.locator("h1").inner_text() == "<b>none</b>"
    await page.get_by_role("link", name="All schedules").click()
    await expect(page.locator("h1")).to_have_text("Schedules")


async def test_a_read_only_console_has_no_actions_of_schedules(page: Page, serve: Serve) -> None:
    server = serve("console.readonly=true")
    await page.goto(f"{server.console}#/schedules")
    await page.get_by_role("row").filter(has_text="month-end").wait_for()
    assert await page.get_by_role("button", name="Run").count() == 0


async def test_an_empty_list_says_how_to_make_a_schedule(page: Page, serve: Serve) -> None:
    server = serve()
    await page.route("**/v1/schedules*", lambda route: route.fulfill(json={"schedules": [], "next_cursor": None}))
    await page.goto(f"{server.console}#/schedules")
    await page.get_by_text('@queue.every("5m")').wait_for()
    await check(page, "schedules-empty")
