"""The page Job: its state and timeline, its parts, and the actions on it."""

from __future__ import annotations

import json
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

PANEL = "[role=tabpanel]"


async def tab(page: Page, name: str) -> str:
    """Choose a part of the job; return its text."""
    await page.get_by_role("tab", name=name).click()
    await eventually(page, f"!document.querySelector('{PANEL}').textContent.includes('Reading')")
    return await page.locator(PANEL).inner_text()


async def button(page: Page, name: str) -> None:
    await page.locator(".page-head").get_by_role("button", name=name, exact=True).click()


async def sentence(page: Page) -> str:
    return await page.locator(".toast").last.locator(".text").first.inner_text()


@pytest.mark.parametrize("state", ["failed", "retried", "running", "hostile"])
async def test_a_job_in_each_state_is_accessible(state: str, staged: Staged, show: Show) -> None:
    page = await show(f"jobs/{staged.ids[state][-1]}")
    await page.wait_for_selector(PANEL)
    await page.get_by_text("Caller", exact=True).wait_for()
    await check(page, f"job-{state}")


async def test_each_part_is_accessible(staged: Staged, show: Show) -> None:
    page = await show(f"jobs/{staged.ids['failed'][0]}")
    for name in ("Arguments", "Result", "Attempts", "Events", "Submit again", "Raw"):
        await tab(page, name)
        await check(page, f"job-{name.lower().replace(' ', '-')}")


async def test_the_timeline_shows_attempts_and_backoffs(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("check", {"value": 1}, wait=True)
    server.ask("POST", f"/v1/jobs/{job}:retry")
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.get_by_text("Attempt 2", exact=True).wait_for()
    rows = await page.locator(".timeline-row").all_inner_texts()
    assert [row.split()[1] for row in rows] == ["1", "2"]
    assert all("rejected" in row and "ran" in row for row in rows)
    waiting = server.submit("charge", {"amount": 1, "customer": 2})
    await page.goto(f"{server.console}#/jobs/{waiting}")
    await page.get_by_text("Next", exact=True).wait_for()
    assert await page.locator(".timeline-track .bar.backoff").count() == 1


async def test_a_running_job_shows_its_progress_and_its_end(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("hold", {"note": "page 3 of 6"})
    await page.goto(f"{server.console}#/jobs/{job}")
    status = page.locator(".job-status")
    await status.get_by_text("page 3 of 6").wait_for()
    assert "50 %" in await status.inner_text()
    await page.get_by_text("the event loop, process").wait_for()
    server.ask("POST", f"/v1/jobs/{job}:cancel")
    await status.get_by_text("cancelled").wait_for()
    assert await page.locator(".timeline-row .bar.run.cancelled").count() == 1


async def test_the_place_in_the_queue_follows_the_jobs_before_it(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("queues.small.workers=1")
    _, before, job = (server.submit("hold", {"note": f"{number}"}, queue="small") for number in range(3))
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.get_by_text("Position 2").wait_for()
    server.ask("POST", f"/v1/jobs/{before}:cancel")  # the job itself does not change
    await page.get_by_text("Position 1 (next)").wait_for()


async def test_arguments_are_a_tree_that_keeps_every_digit(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    args = {"number": 12345678901234567890, "small": 1.0, "nested": {"list": [1, {"deep": None}]}, "empty": {}}
    job = server.submit("hostile", args, delay_s=3600)
    await page.goto(f"{server.console}#/jobs/{job}")
    text = await tab(page, "Arguments")
    assert "12345678901234567890" in text
    assert "1.0" in text
    toggle = page.get_by_role("button", name="{ 2 members }")
    assert await toggle.count() == 0
    nested = page.get_by_role("button", name="[ 2 items ]")
    await nested.click()
    assert await nested.get_attribute("aria-expanded") == "false"
    assert "deep" not in await page.locator(PANEL).inner_text()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.locator(PANEL).get_by_role("button", name="Copy").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == args


async def test_values_that_a_handler_redacts_are_shown_as_redacted(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("report", {"customer": "Ann", "password": "secret"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs/{job}")
    text = await tab(page, "Arguments")
    assert "•••" in text
    assert "secret" not in await page.content()
    assert await page.locator(".json-redacted").count() == 1
    assert "values that are hidden" in await tab(page, "Submit again")


async def test_large_arguments_are_cut_with_the_rest_on_demand(serve: Callable[..., Staged], page: Page) -> None:
    server = serve("limits.body_bytes=4MiB")
    wide = {f"k{number}": number for number in range(100_000)}
    job = server.submit("hostile", {"wide": wide, "long": "x" * 1_000_000}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs/{job}")
    await tab(page, "Arguments")
    assert await page.locator(f"{PANEL} li").count() == 2
    await page.get_by_role("button", name="{ 100,000 members }").click()
    assert await page.locator(f"{PANEL} li").count() == 103
    await page.get_by_role("button", name="Show 100 more of 99,900").click()
    assert await page.locator(f"{PANEL} li").count() == 203
    assert len(await page.locator(PANEL).inner_text()) < 10_000
    await page.get_by_role("button", name="999,800 more characters").click()
    assert await page.get_by_role("button", name="979,800 more characters").count() == 1


async def test_hostile_texts_of_a_job_are_shown_as_texts(staged: Staged, show: Show) -> None:
    for job in staged.ids["hostile"]:
        page = await show(f"jobs/{job}")
        await page.wait_for_selector(PANEL)
        for name in ("Arguments", "Result", "Attempts", "Submit again", "Raw"):
            text = await tab(page, name)
            assert not {"\u202e", "\x00", "\x1b"} & set(text)
            assert await page.locator("#main img").count() == 0
    assert "U+202E" in await page.locator("#main").inner_text()


async def test_a_result_is_a_tree(staged: Staged, show: Show) -> None:
    page = await show(f"jobs/{staged.ids['succeeded'][0]}")
    await page.locator(".json").wait_for()
    text = await page.locator(PANEL).inner_text()
    assert 'image: "photo-0.jpg"' in text.replace("\n", " ").replace(":  ", ": ")


async def test_a_large_result_comes_on_demand(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("hostile", {"long": "x" * 200_000}, wait=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/result") else None)
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.get_by_text("The first 1.0 KiB:").wait_for()
    assert len(await page.locator(f"{PANEL} pre").inner_text()) < 1500
    await page.get_by_role("button", name="Show all 195 KiB").click()
    await page.locator(".json").wait_for()
    assert len(asked) == 2


async def test_files_are_shown_by_their_type_and_never_as_a_page(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    for media_type, shown in (
        ("image/png", "img.preview"),
        ("audio/wav", "audio.preview"),
        ("text/html", "pre"),
        ("application/zip", "p"),
    ):
        job = server.submit("drawing", {"media_type": media_type}, wait=True)
        await page.goto(f"{server.console}#/jobs/{job}")
        await page.get_by_text(f"A file: {media_type}").wait_for()
        await page.locator(f"{PANEL} {shown}").first.wait_for()
        link = page.get_by_role("link", name="Download")
        assert await link.get_attribute("href") == f"{server.url}/v1/jobs/{job}/result"
        assert await page.locator("iframe, object, embed").count() == 0
        await check(page, f"job-file-{shown.split('.')[0]}")
    assert await page.get_by_text("No preview of files of this type.").count() == 1


async def test_failed_attempts_show_their_own_frames_first(staged: Staged, show: Show) -> None:
    page = await show(f"jobs/{staged.ids['failed'][0]}")
    await page.locator(".attempts").wait_for()
    frames = await page.locator(".frames li").all_inner_texts()
    assert len(frames) == 1
    assert "handlers.py" in frames[0]
    assert "send_mail" in frames[0]
    whole = page.get_by_text("The whole traceback")
    await whole.click()
    assert "Traceback (most recent call last)" in await page.locator("details pre").inner_text()


async def test_events_come_as_they_happen(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("thumbnail", {"image": "a"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs/{job}?tab=events")
    await page.locator(".events").get_by_text("delayed").first.wait_for()
    server.ask("POST", f"/v1/jobs/{job}:run")
    await page.get_by_text("The job has ended: no more events will come.").wait_for()
    names = await page.locator(".events strong").all_inner_texts()
    assert names[0] == "succeeded"
    assert "started" in names


async def test_a_failed_job_is_retried_at_once(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("check", {"value": 1}, wait=True)
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.wait_for_selector(PANEL)
    await page.keyboard.press("r")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "1 queued again"
    await page.get_by_text("Attempt 2", exact=True).wait_for()
    assert server.ask("GET", f"/v1/jobs/{job}")["attempt"] == 2


async def test_a_delayed_job_is_run_now_and_then_deleted(
    serve: Callable[..., Staged], page: Page, faults: Faults
) -> None:
    faults.allow(410)
    server = serve()
    job = server.submit("thumbnail", {"image": "a"}, delay_s=3600)
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.wait_for_selector(PANEL)
    await button(page, "Run now")
    await page.locator(".job-status .succeeded").wait_for()
    await button(page, "Delete")
    await page.get_by_text("1 job will be deleted for good.").wait_for()
    await check(page, "job-delete")
    await page.locator("dialog").get_by_role("button", name="Delete 1 job").click()
    await page.get_by_text("The job is not there").wait_for()
    assert await sentence(page) == "1 deleted"
    assert "deleted" in await page.locator("#main").inner_text()


async def test_a_running_job_is_cancelled_after_a_confirmation(serve: Callable[..., Staged], page: Page) -> None:
    server = serve()
    job = server.submit("hold")
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.locator(".job-status .running").wait_for()
    await page.keyboard.press("c")
    await page.locator("dialog").get_by_role("button", name="Cancel 1 job").click()
    await page.locator(".job-status .cancelled").wait_for()


async def test_an_action_that_comes_too_late_says_why(serve: Callable[..., Staged], page: Page, faults: Faults) -> None:
    faults.allow(409)
    server = serve()
    job = server.submit("check", {"value": 1}, wait=True)
    await page.route(
        "**/v1/jobs/*:retry",
        lambda route: route.fulfill(
            status=409,
            content_type="application/problem+json",
            body='{"type":"/problems/wrong-state","title":"Not possible","status":409,"detail":"the job is queued"}',
        ),
    )
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.wait_for_selector(PANEL)
    await button(page, "Retry")
    await page.locator(".toast").wait_for()
    assert await sentence(page) == "Could not retry: the job is queued"


@pytest.mark.parametrize(
    ("job", "status", "said"),
    [
        ("0123456789012345678901", 404, "No job has this id"),
        ("nonsense", 404, "No job has this id"),
        ("", 410, "is gone"),
    ],
)
async def test_a_missing_job_is_explained(
    job: str, status: int, said: str, serve: Callable[..., Staged], page: Page, faults: Faults
) -> None:
    faults.allow(status)
    server = serve()
    if not job:
        job = server.submit("check", {"value": 1}, wait=True)
        server.ask("DELETE", f"/v1/jobs/{job}")
    await page.goto(f"{server.console}#/jobs/{job}")
    await page.get_by_text(said).wait_for()
    await check(page, f"job-gone-{status}")
    await page.get_by_role("link", name="To the list of jobs").click()
    await page.wait_for_selector("[data-search]")


async def test_a_job_of_an_earlier_run_says_so(serve: Callable[..., Staged], page: Page, faults: Faults) -> None:
    faults.allow(410)
    first, second = serve(), serve()
    document: Any = {"type": "/problems/job-gone", "title": "Gone", "status": 410, "reason": "earlier-run"}
    await page.route(
        "**/v1/jobs/0*",
        lambda route: route.fulfill(status=410, content_type="application/problem+json", body=json.dumps(document)),
    )
    await page.goto(f"{second.console}#/jobs/0123456789012345678901")
    await page.get_by_text("an earlier run of this server").wait_for()
    assert first.url != second.url


async def test_submit_again_leads_to_the_form_of_the_type(staged: Staged, show: Show) -> None:
    job = staged.ids["delayed"][0]
    page = await show(f"jobs/{job}")
    link = page.get_by_role("link", name="Submit again with changes")
    assert await link.get_attribute("href") == f"#/types/thumbnail/try?from={job}"


async def test_a_job_is_copied_as_a_command(staged: Staged, show: Show) -> None:
    page = await show(f"jobs/{staged.ids['delayed'][0]}")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await tab(page, "Submit again")
    for name, begin in (
        ("curl", "curl"),
        ("Python", "from jobqueue.client"),
        ("JavaScript", "import {"),
        ("Command line", "jobqueue submit"),
    ):
        await page.locator(PANEL).get_by_role("button", name=name, exact=True).click()
        await page.get_by_role("button", name=f"Copy as {name}").click()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith(begin)
        assert "later.jpg" in copied
        assert staged.url in copied


async def test_a_hidden_job_page_asks_for_nothing_more_once_the_job_has_ended(
    staged: Staged, show: Show, page: Page
) -> None:
    asked: list[str] = []
    await show(f"jobs/{staged.ids['succeeded'][0]}")
    await page.locator(".json").wait_for()
    page.on("request", lambda request: asked.append(request.url) if "include" in request.url else None)
    await page.wait_for_timeout(1500)
    assert asked == []
