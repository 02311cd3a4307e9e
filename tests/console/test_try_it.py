"""Try it: a form made from the schema of a type, its faults, and the job that comes of it."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

from tests.console.checking import check
from tests.console.handlers import HOSTILE
from tests.console.test_queues import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from playwright.async_api import Page, Request

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[[str], Awaitable[Page]]

BEYOND = 9_007_199_254_740_993
"""2^53 + 1, which JavaScript's numbers don't have."""


async def fill_order(page: Page, customer: str = "7") -> None:
    await page.get_by_label("customer").fill(customer)
    await page.get_by_role("button", name="Add an item").click()
    await page.get_by_label("sku").fill("A-1")
    await page.get_by_label("form of the value").select_option(label="Card")
    await page.get_by_label("number").fill("4111")


async def submit(page: Page) -> str:
    """Submit the form; return the id of the job."""
    await page.get_by_role("button", name="Submit", exact=True).click()
    heading = page.locator(".followed h2")
    await heading.wait_for()
    return (await heading.inner_text()).split()[-1]


def arguments(staged: Staged, job_id: str) -> str:
    """Return the arguments of a job as the server's text has them."""
    with urllib.request.urlopen(f"{staged.url}/v1/jobs/{job_id}?include=args") as response:
        text: str = response.read().decode()
        return text


def posts(page: Page) -> list[str]:
    """Collect the submissions that the page sends from now on."""
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/jobs"):
            sent.append(request.url)

    page.on("request", note)
    return sent


async def test_a_form_made_from_the_schema_submits_a_job_and_follows_it(show: Show) -> None:
    page = await show("types/order/try")
    await fill_order(page)
    await page.get_by_label("count").fill("3")
    await page.get_by_role("textbox", name="deliver").fill("2026-01-31")
    await page.get_by_label("gift").select_option("true")
    await submit(page)
    followed = page.locator(".followed")
    await followed.get_by_text("It has ended.").wait_for()
    await followed.get_by_text("succeeded").first.wait_for()
    await followed.get_by_text("4111").wait_for()
    await check(page, "try-it")


async def test_numbers_beyond_two_to_the_53_arrive_as_they_were_entered(show: Show, staged: Staged) -> None:
    page = await show("types/order/try")
    await fill_order(page, str(BEYOND))
    await page.get_by_role("button", name="Add notes").click()
    await page.get_by_label("further member").last.fill("price")
    await page.get_by_label("further member").last.press("Enter")
    await page.get_by_role("textbox", name="price").fill("1.10")
    job_id = await submit(page)
    await page.locator(".followed").get_by_text(str(BEYOND)).wait_for()
    assert f'"customer":{BEYOND}' in arguments(staged, job_id) or "null" in arguments(staged, job_id)


async def test_a_refusal_of_the_schema_stands_at_its_field_and_nothing_is_sent(show: Show) -> None:
    page = await show("types/order/try")
    sent = posts(page)
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.get_by_text("Not sent: some fields need attention").wait_for()
    summary = page.get_by_role("alert").filter(has_text="need")
    assert "/customer" in await summary.first.inner_text()
    await page.get_by_role("button", name="/customer").click()
    assert await page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    await fill_order(page, "seven")
    await page.get_by_text("is no whole number").first.wait_for()
    await page.get_by_label("customer").fill("7")
    await page.get_by_label("count").fill("100")
    await page.get_by_text("is 100: at most 99").first.wait_for()
    await page.get_by_role("button", name="Submit", exact=True).click()
    await check(page, "try-it-faults")
    assert sent == []


async def test_a_refusal_of_the_server_stands_at_its_field_until_that_changes(show: Show, faults: Faults) -> None:
    faults.allow(422)
    page = await show("types/slow/try")
    await page.get_by_text("Options of the job").first.click()
    await page.get_by_label("timeout_s").fill("99")
    await page.get_by_role("button", name="Submit", exact=True).click()
    fault = page.locator(".schema-field .fault", has_text="the timeout of its handler")
    await fault.wait_for()
    await page.get_by_label("timeout_s").fill("0.04")
    await fault.wait_for(state="detached")
    await submit(page)
    await page.locator(".followed").get_by_text("timed_out").wait_for()


async def test_arguments_may_be_entered_as_json(show: Show) -> None:
    page = await show("types/order/try")
    await page.get_by_role("button", name="JSON", exact=True).click()
    field = page.get_by_role("textbox", name="Arguments")
    await field.fill('{"customer": 7,\n "lines": [}')
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.get_by_text("line 2, column 12").first.wait_for()
    assert await page.get_by_role("button", name="Form", exact=True).is_disabled()
    await field.fill('{"customer": 7, "lines": [{"sku": "B-2"}], "payment": {"type": "invoice"}}')
    await page.get_by_role("button", name="Form", exact=True).click()
    assert await page.get_by_label("sku").input_value() == "B-2"
    await submit(page)
    await page.locator(".followed").get_by_text("B-2").wait_for()


async def test_files_are_chosen_or_dropped_and_sent_in_their_parts(show: Show, tmp_path: Path) -> None:
    page = await show("types/sizes/try")
    (tmp_path / "one.txt").write_text("12345")
    await page.locator("#chosen-files").set_input_files(tmp_path / "one.txt")
    data = await page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['abc'], 'two.txt')); return data; }"
    )
    await page.locator(".file-drop").dispatch_event("drop", {"dataTransfer": data})
    await page.get_by_label("part").nth(1).fill("second")
    await submit(page)
    followed = page.locator(".followed")
    await followed.get_by_text("second").wait_for()
    text = await followed.inner_text()
    assert "5" in text
    assert "3" in text


async def test_a_job_fills_in_the_form_but_for_hidden_values(show: Show, staged: Staged) -> None:
    args = {"customer": 0, "lines": [{"sku": "C-3", "count": 2}], "payment": {"type": "card", "number": "42"}}
    job_id = staged.submit("order", {**args, "secret": "s3cret"}, wait=True)
    page = await show(f"types/order/try?from={job_id}")
    await page.get_by_text("1 hidden value has to be entered anew.").wait_for()
    assert await page.get_by_label("sku").input_value() == "C-3"
    assert await page.get_by_label("number").input_value() == "42"
    sent = posts(page)
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.get_by_text("hidden by the server: enter it anew").first.wait_for()
    assert sent == []
    await page.get_by_label("secret").fill("another")
    await page.get_by_label("customer").fill("8")
    await submit(page)
    await page.locator(".followed").get_by_text("succeeded").first.wait_for()


async def test_a_form_is_filled_with_hostile_arguments_as_text(show: Show, staged: Staged) -> None:
    job_id = staged.submit("hostile", {"fails": True, HOSTILE: [HOSTILE]}, wait=True)
    page = await show(f"types/hostile/try?from={job_id}")
    await page.get_by_role("textbox", name="fails").wait_for()
    assert await page.locator("#main img").count() == 0
    await check(page, "try-it-hostile")


async def test_a_job_that_is_gone_leaves_an_empty_form(show: Show, faults: Faults) -> None:
    faults.allow(404)
    page = await show("types/order/try?from=nothing")
    await page.get_by_text("The arguments of that job could not be read").wait_for()
    assert await page.get_by_label("customer").input_value() == ""


async def test_a_submission_is_copied_for_other_programs(show: Show) -> None:
    page = await show("types/order/try")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await fill_order(page, str(BEYOND))
    for language, part in (
        ("curl", f'"customer":{BEYOND}'),
        ("Python", f'"customer": {BEYOND}'),
        ("JavaScript", '"customer"'),
        ("CLI", "jobqueue submit"),
    ):
        await page.get_by_role("button", name=language, exact=True).click()
        await page.get_by_role("button", name="Copied").wait_for()
        assert part in await page.evaluate("navigator.clipboard.readText()")
        await page.get_by_role("button", name=language, exact=True).wait_for()


async def test_a_repeated_key_is_answered_with_the_existing_job(show: Show) -> None:
    page = await show("types/thumbnail/try")
    await page.get_by_label("image").fill("again.png")
    await page.get_by_text("Options of the job").first.click()
    await page.get_by_label("idempotency_key").fill("once-only")
    first = await submit(page)
    await page.locator(".followed").get_by_text("It has ended.").wait_for()
    await page.get_by_role("button", name="Submit", exact=True).click()
    await page.get_by_text("The server has answered with an existing job").wait_for()
    assert first in await page.locator(".followed h2").inner_text()


async def test_a_read_only_console_has_no_form(page: Page, serve: Callable[..., Staged]) -> None:
    await opened(page, serve("console.readonly=true"), "types/order/try")
    await page.get_by_text("This session may look, and not submit").wait_for()
    assert await page.get_by_role("button", name="Submit", exact=True).count() == 0


def test_the_staged_number_is_none_of_javascript() -> None:
    assert int(float(BEYOND)) != json.loads(str(BEYOND))
