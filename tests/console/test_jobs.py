"""The page Jobs: its filter, its rows, a selection and the actions on it."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.browsing import eventually
from tests.console.checking import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[[str], Awaitable[Page]]

ROWS = "#main tbody tr"
FIELD = "[data-search]"


async def states(page: Page) -> list[str]:
    return [text.strip() for text in await page.locator(f"{ROWS} .state").all_text_contents()]


async def apply(page: Page, text: str) -> None:
    """Type a filter, and apply it."""
    await page.fill(FIELD, text)
    await page.keyboard.press("Escape")
    await page.press(FIELD, "Enter")


async def in_url(page: Page, text: str) -> None:
    """Wait until a filter is in the URL, and the page has been drawn for it."""
    await eventually(page, f"new URLSearchParams(location.hash.split('?')[1]).get('q') === {json.dumps(text)}")
    for _ in range(2):
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


async def shown(page: Page, count: int) -> None:
    """Wait until the table has a number of rows."""
    await eventually(page, f"document.querySelectorAll({json.dumps(ROWS)}).length === {count}")
    # The keys of a page heed new rows after the next frame.
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


async def sentence(page: Page) -> str:
    """Return the result of an action."""
    return await page.locator(".toast").last.locator(".text").first.inner_text()


async def confirm(page: Page, name: str) -> None:
    await page.locator("dialog").get_by_role("button", name=name, exact=True).click()


async def test_the_page_is_accessible(show: Show) -> None:
    page = await show("jobs")
    await page.wait_for_selector(ROWS)
    await check(page, "jobs")


async def test_the_newest_jobs_stand_first_with_their_facts(staged: Staged, show: Show) -> None:
    page = await show("jobs?q=state:failed type:check")
    await shown(page, 1)
    row = page.locator(ROWS).first
    text = await row.inner_text()
    assert "check" in text
    assert "rejected" in text
    assert "1/1" in text
    assert await row.locator("a").get_attribute("title") == staged.ids["failed"][-2]


async def test_hostile_texts_are_shown_as_texts(staged: Staged, show: Show) -> None:
    page = await show("jobs?q=type:hostile")
    await page.click("summary")
    for column in ("Group", "Message"):
        await page.get_by_label(column, exact=True).check()
    await page.keyboard.press("Escape")
    await shown(page, 2)
    text = await page.locator("#main").inner_text()
    assert "<img src=x onerror=alert(1)>" in text
    assert "U+202E" in text
    assert "U+0000" in text
    assert "\u202e" not in text
    assert await page.locator("#main img").count() == 0
    await check(page, "jobs-hostile")


async def test_the_choice_of_columns_is_kept(show: Show) -> None:
    page = await show("jobs")
    await page.wait_for_selector(ROWS)
    await page.click("summary")
    await page.get_by_label("Priority", exact=True).check()
    await page.get_by_label("Queue", exact=True).uncheck()
    await page.reload()
    await page.wait_for_selector(ROWS)
    heads = await page.locator("#main thead th").all_text_contents()
    assert "Priority" in heads
    assert "Queue" not in heads


@pytest.mark.parametrize("kept", ["nonsense", '{"a":1}', '["x"]', '["x","id","__proto__"]', "[]", "[" * 5000])
async def test_a_broken_choice_of_columns_is_replaced_by_the_first_one(kept: str, page: Page, staged: Staged) -> None:
    await page.add_init_script(f"localStorage.setItem('jobqueue.console.jobs.columns', {json.dumps(kept)})")
    await page.goto(f"{staged.console}#/jobs")
    await page.wait_for_selector(ROWS)
    assert "Id" in await page.locator("#main thead th").all_text_contents()


async def test_a_filter_goes_into_the_url_and_comes_from_it(show: Show) -> None:
    page = await show("jobs")
    await apply(page, "state:failed error:timed_out")
    await shown(page, 1)
    assert page.url.endswith("#/jobs?q=state%3Afailed+error%3Atimed_out")
    await page.go_back()
    await eventually(page, "document.querySelectorAll('#main tbody tr').length > 1")
    await eventually(page, "document.querySelector('[data-search]').value === ''")


async def test_a_filter_finds_jobs_by_their_arguments_ages_and_messages(staged: Staged, show: Show) -> None:
    page = await show("jobs")
    for text, count in (
        ("arg.to:user2@mail.example", 1),
        ("arg.value.a.0:1", 1),
        ("newer:1h type:check", 1),
        ("older:1h", 0),
        ('message~:"can\'t be used"', 1),
        (f"id:{staged.ids['delayed'][0]}", 1),
        (staged.ids["delayed"][0], 1),
    ):
        await apply(page, text)
        await in_url(page, text)  # the page before may have as many rows
        await (shown(page, count) if count else page.get_by_text("No job matches.").wait_for())


async def test_a_filter_finds_the_jobs_of_a_group_of_failures(staged: Staged, show: Show) -> None:
    groups = staged.ask("GET", "/v1/failures")["groups"]
    group = next(each for each in groups if each["type"] == "send_mail")
    page = await show(f"jobs?q=failure:{group['id']}")
    await shown(page, group["count"])
    assert set(await states(page)) == {"failed"}


async def test_a_button_for_each_state_narrows_the_filter(show: Show) -> None:
    page = await show("jobs?q=type:hold")
    await page.get_by_role("button", name="running", exact=True).click()
    await eventually(page, "document.querySelector('[data-search]').value === 'type:hold state:running'")
    await page.wait_for_selector(ROWS)
    assert set(await states(page)) == {"running"}
    await page.get_by_role("button", name="running", exact=True).click()
    await eventually(page, "document.querySelector('[data-search]').value === 'type:hold'")


async def test_a_fault_is_marked_where_it_is_and_can_be_mended(show: Show) -> None:
    page = await show("jobs?q=type:check state:faild")
    marked = page.locator(".filter-faults mark")
    assert await marked.inner_text() == "faild"
    assert "did you mean failed?" in await page.locator(".filter-faults").inner_text()
    assert await page.get_attribute(FIELD, "aria-invalid") == "true"
    assert await page.locator(ROWS).count() == 0
    url = page.url
    await apply(page, "type:check state:faile")
    assert page.url == url
    await check(page, "jobs-fault")
    await page.get_by_role("button", name="Use failed").click()
    await shown(page, 1)


async def test_completion_offers_names_and_values(show: Show) -> None:
    page = await show("jobs")
    await page.keyboard.press("/")
    await page.keyboard.type("typ")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.type("thu")
    await page.get_by_role("option", name="thumbnail").wait_for()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Tab")
    assert await page.input_value(FIELD) == "type:thumbnail "
    await page.keyboard.type("arg.wi")
    await page.get_by_role("option", name="arg.width:").wait_for()
    await check(page, "jobs-completion")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.type("103")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    assert await page.input_value(FIELD) == "type:thumbnail arg.width:103"


async def test_pages_go_forth_and_back_by_cursors(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for number in range(120):
        server.submit("thumbnail", {"image": f"{number}"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs?q=sort:oldest")
    await shown(page, 50)
    first = await page.locator(f"{ROWS} a").first.get_attribute("title")
    await page.get_by_text("120 jobs").wait_for()
    for _ in range(2):
        before = await page.locator(f"{ROWS} a").first.get_attribute("title")
        await page.get_by_role("button", name="Next page").click()
        link = json.dumps(f"{ROWS} a")
        await eventually(page, f"document.querySelector({link})?.title !== {json.dumps(before)}")
    await shown(page, 20)
    assert await page.get_by_role("button", name="Next page").is_disabled()
    await page.get_by_role("button", name="First page").click()
    await shown(page, 50)
    assert await page.locator(f"{ROWS} a").first.get_attribute("title") == first


async def test_rows_are_live(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("thumbnail", {"image": "a"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs")
    await shown(page, 1)
    server.ask("POST", f"/v1/jobs/{job}:run")
    await page.locator(f"{ROWS} .succeeded").wait_for()
    server.submit("thumbnail", {"image": "b"}, delay_s=3600)
    await shown(page, 2)


async def test_a_place_in_the_queue_is_fresh_while_its_own_job_does_not_change(
    serve: Callable[..., Staged], page: Page
) -> None:
    server = serve("queues.small.workers=1")
    _, before, job = (server.submit("hold", {"note": f"{number}"}, queue="small") for number in range(3))
    await page.goto(f"{server.console}#/jobs?q=id:{job}")
    await shown(page, 1)
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.headers) if "limit=50" in request.url else None)
    await until(lambda: len(asked) > 1)
    assert "if-none-match" in asked[-1], "without these columns an unchanged list is not sent again"
    await page.click("summary")
    await page.get_by_label("Position", exact=True).check()
    await page.keyboard.press("Escape")
    place = page.locator(f"{ROWS} td", has_text=re.compile(r"^[12]$"))
    await place.get_by_text("2", exact=True).wait_for()
    server.ask("POST", f"/v1/jobs/{before}:cancel")
    await place.get_by_text("1", exact=True).wait_for()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_search_that_the_server_ends_early_goes_on_by_itself(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("limits.result_bytes=1MiB")
    for number in range(4):  # a page ends after 256 KiB
        server.submit("hostile", {"long": "x" * 300_000, "number": number}, wait=True)
    await page.goto(f"{server.console}#/jobs")
    await page.get_by_text("The search goes on").wait_for()
    await shown(page, 4)
    await eventually(page, "!document.querySelector('.search-line').textContent")


async def test_keys_select_rows_and_act_on_them(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for number in range(4):
        server.submit("check", {"value": number}, wait=True)
    await page.goto(f"{server.console}#/jobs")
    await shown(page, 4)
    await page.keyboard.press("j")
    await page.locator(f"{ROWS}:focus").wait_for()
    await page.keyboard.press("x")
    await page.get_by_text("1 selected").wait_for()
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.locator(f"{ROWS}:focus input").click(modifiers=["Shift"])
    await page.get_by_text("3 selected").wait_for()
    await page.keyboard.press("Shift+Tab")  # from the box to its row
    await page.keyboard.press("Delete")
    await page.get_by_text("will be deleted for good").wait_for()
    await page.keyboard.press("Escape")
    assert await page.locator("dialog").count() == 0
    await page.keyboard.press("Enter")
    await page.get_by_text("Job of type check").wait_for()


async def test_an_action_on_selected_jobs_reports_its_result(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for number in range(3):
        server.submit("check", {"value": number}, wait=True)
    server.submit("thumbnail", {"image": "a"}, wait=True)
    await page.goto(f"{server.console}#/jobs")
    await shown(page, 4)
    await page.get_by_label("Select all rows").check()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await page.get_by_text("3 jobs will be queued again.").wait_for()
    assert "1 of the selected jobs is left alone" in await page.locator("dialog").inner_text()
    await check(page, "jobs-action")
    await confirm(page, "Retry 3 jobs")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "3 queued again"
    assert server.ask("GET", "/v1/queues/default")["retried_total"] == 3


async def test_all_that_match_are_changed_in_one_request(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("queues.small.capacity=3", "queues.small.workers=1")
    for _ in range(4):
        for number in range(3):
            server.submit("check", {"value": number}, queue="small", wait=True)
    server.ask("POST", "/v1/queues/small:pause")
    await page.goto(f"{server.console}#/jobs?q=type:check state:failed")
    await shown(page, 12)
    await page.locator(f"{ROWS} input").first.check()
    await page.get_by_role("button", name="Select all 12 jobs that match").click()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await page.get_by_text("12 jobs will be queued again.").wait_for()
    await page.get_by_label("Reason").fill("after the incident")
    await confirm(page, "Retry 12 jobs")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "3 queued again, 9 skipped: queue full"
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy as curl").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -X POST")
    assert "jobs:retry" in copied
    assert '"state":"failed"' in copied


async def test_all_delayed_jobs_that_match_are_run_now(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for group in ("a", "a", "b"):
        server.submit("hold", {}, group=group, delay_s=3600)
    await page.goto(f"{server.console}#/jobs?q=state:delayed group:a")
    await shown(page, 2)
    await page.locator(f"{ROWS} input").first.check()
    await page.get_by_role("button", name="Select all 2 jobs that match").click()
    await page.get_by_role("button", name="Run now", exact=True).click()
    await page.get_by_text("2 jobs will be queued now.").wait_for()
    await confirm(page, "Run 2 jobs now")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "2 queued"
    assert [job["group"] for job in server.ask("GET", "/v1/jobs?state=delayed")["jobs"]] == ["b"]


async def test_from_a_hundred_jobs_on_the_number_or_the_word_is_typed(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for number in range(100):
        server.submit("thumbnail", {"image": f"{number}"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs?q=state:delayed")
    await page.get_by_text("100 jobs").wait_for()
    await page.locator(f"{ROWS} input").first.check()
    await page.get_by_role("button", name="Select all 100 jobs that match").click()
    await page.get_by_role("button", name="Cancel", exact=True).click()
    button = page.locator("dialog").get_by_role("button", name="Cancel 100 jobs")
    await button.wait_for()
    assert await button.is_disabled()
    typed = page.get_by_label("Type 100 or")
    for wrong in ("10", "1000", "cance", "delete"):
        await typed.fill(wrong)
        assert await button.is_disabled(), wrong
    for right in ("100", "cancel", " Cancel "):
        await typed.fill(right)
        assert await button.is_enabled(), right
    await check(page, "jobs-typed")
    await button.click()
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "100 cancelled"
    assert server.ask("GET", "/v1/queues/default")["delayed"] == 0


async def test_a_long_action_goes_in_portions_and_can_be_stopped(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("queues.default.capacity=5000")
    for _ in range(3):
        jobs = [{"type": "thumbnail", "args": {"image": "a"}, "delay_s": 3600}] * 900
        server.ask("POST", "/v1/jobs:batch", {"jobs": jobs})
    asked: list[Any] = []

    async def hold(route: Any) -> None:
        """Let the first portion through, and stop before the answer to the second."""
        asked.append(json.loads(route.request.post_data))
        if len(asked) == 3:
            await page.get_by_role("button", name="Stop", exact=True).click()
        await route.continue_()

    await page.route("**/v1/jobs:cancel", hold)
    await page.goto(f"{server.console}#/jobs?q=state:delayed")
    await page.get_by_text("2,700 jobs").wait_for()
    await page.locator(f"{ROWS} input").first.check()
    await page.get_by_role("button", name="Select all 2,700 jobs that match").click()
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_label("Type 2700 or").fill("2700")
    await confirm(page, "Cancel 2,700 jobs")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "2,000 cancelled; stopped before the rest"
    assert [each.get("limit") for each in asked] == [None, 1000, 1000]
    assert {each["until"] for each in asked[1:]} == {asked[1]["until"]}
    assert server.ask("GET", "/v1/queues/default")["delayed"] == 700


async def test_an_action_on_all_jobs_without_a_condition_is_not_offered(show: Show) -> None:
    page = await show("jobs")
    await page.locator(f"{ROWS} input").first.check()
    bar = page.locator(".selection")
    assert "Add a condition to the filter" in await bar.inner_text()
    assert await bar.get_by_role("button", name="Select all").count() == 0


async def test_a_problem_of_an_action_is_shown_in_its_dialog(show: Show, page: Page, faults: Faults) -> None:
    faults.allow(503)
    problem = {"type": "/problems/overloaded", "title": "Server overloaded", "status": 503, "detail": "too busy"}
    await page.route(
        "**/v1/jobs:retry",
        lambda route: route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem)),
    )
    await show("jobs?q=state:failed")
    await page.locator(f"{ROWS} input").first.check()
    await page.get_by_role("button", name="Select all").last.click()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await page.locator("dialog .problem").wait_for()
    assert "too busy" in await page.locator("dialog").inner_text()


async def test_a_key_that_may_not_operate_has_disabled_buttons(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("console.readonly=true")
    server.submit("check", {"value": 1}, wait=True)
    await page.goto(f"{server.console}#/jobs")
    await shown(page, 1)
    await page.locator(f"{ROWS} input").first.check()
    for name in ("Retry", "Cancel", "Run now", "Delete"):
        assert await page.locator(".selection").get_by_role("button", name=name, exact=True).is_disabled()
    await page.keyboard.press("Delete")
    assert await page.locator("dialog").count() == 0


async def test_a_page_asks_at_most_once_a_second(show: Show, page: Page) -> None:
    await show("jobs")
    await page.wait_for_selector(ROWS)
    began = """performance.getEntriesByType('resource').filter(({name}) => name.includes('/v1/jobs?limit=50'))
        .map(({startTime}) => startTime)"""
    await eventually(page, f"{began}.length >= 4", 60)
    times = await page.evaluate(began)
    assert all(later - earlier > 990 for earlier, later in itertools.pairwise(times))
