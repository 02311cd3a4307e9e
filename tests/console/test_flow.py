"""The page Flow: the graph of its jobs, a large flow, and its actions against a running server."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from tests.console.checking import check
from tests.console.staging import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from playwright.async_api import Page

    from tests.console.browsing import Faults
    from tests.console.staging import Staged

    Show = Callable[..., Awaitable[Page]]
    Serve = Callable[..., Staged]


def job(name: str, kind: str, /, *after: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "after": list(after), **members}


def flow(server: Staged, jobs: Sequence[dict[str, Any]]) -> str:
    """Submit a flow; return its id."""
    document = server.ask("POST", "/v1/flows", {"jobs": jobs})
    assert "id" in document, document
    flow_id: str = document["id"]
    return flow_id


def ended(server: Staged, flow_id: str) -> Any:
    """Wait until all jobs of a flow have ended; return its document."""
    headers = {"Prefer": "wait=10"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/flows/{flow_id}", headers=headers)) as answer:
        assert answer.status == 200
    return server.ask("GET", f"/v1/flows/{flow_id}")


def media(server: Staged) -> str:
    """Submit a flow with jobs that end, run, fail, wait, and are cancelled for a parent."""
    return flow(
        server,
        [
            job("fetch", "thumbnail", args={"image": "a.png"}),
            job("small", "thumbnail", "fetch", args={"image": "a.png"}),
            job("large", "hold", "fetch"),
            job("mail", "send_mail", "fetch", args={"to": "ann@mail.example"}),
            job("publish", "thumbnail", "small", "large", "fetch", args={"image": "a.png"}),
            job("report", "report", "mail", args={"customer": "Ann"}, on_failure="run"),
            job("thanks", "thumbnail", "mail", args={"image": "b.png"}),
        ],
    )


async def test_a_flow_is_drawn_with_the_state_of_each_job(show: Show, staged: Staged) -> None:
    flow_id = media(staged)
    page = await show(f"flows/{flow_id}")
    graph = page.get_by_role("region", name="Jobs with edges")
    await expect(graph.get_by_role("link")).to_have_count(7)
    await expect(graph.get_by_role("link", name="publish thumbnail · waiting")).to_be_visible()
    await expect(graph.get_by_role("link", name="large hold · running")).to_be_visible()
    await expect(graph.get_by_role("link", name="mail send_mail · failed")).to_be_visible()
    await expect(graph.get_by_role("link", name="thanks thumbnail · cancelled")).to_be_visible()
    await expect(graph.locator("path.flow-edge")).to_have_count(8)
    await expect(page.get_by_text("5 of 7 ended")).to_be_visible()
    await check(page, "flow")
    await graph.get_by_role("link", name="fetch thumbnail").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Job of type thumbnail")


async def test_a_state_filters_the_table_of_jobs(show: Show, staged: Staged) -> None:
    page = await show(f"flows/{media(staged)}")
    table = page.get_by_role("table", name="Jobs of the flow")
    await page.get_by_role("button", name="1 failed").click()
    await expect(table.get_by_role("row")).to_have_count(2)
    await expect(table.get_by_role("row").last).to_contain_text("send_mail")
    await page.reload()
    await expect(table.get_by_role("row")).to_have_count(2)


async def test_a_flow_is_cancelled_and_retried(show: Show, staged: Staged) -> None:
    thumb = {"image": "a.png"}
    jobs = [job("one", "send_mail", args={"to": "a"}), job("two", "thumbnail", "one", args=thumb), job("three", "hold")]
    flow_id = flow(staged, jobs)
    page = await show(f"flows/{flow_id}")
    await page.get_by_role("button", name="1 failed").wait_for()
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_label("Reason").fill("the wrong file")
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.locator(".toast")).to_contain_text("The flow is cancelled")
    assert ended(staged, flow_id)["counts"]["cancelled"] == 2
    action = staged.ask("GET", "/v1/server/actions")["actions"][0]
    assert (action["action"], action["target"], action["reason"]) == ("cancel_flow", flow_id, "the wrong file")
    await page.get_by_role("button", name="Retry", exact=True).click()
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.locator(".toast").last).to_contain_text("The flow runs again: 2 jobs to be done.")


async def test_a_large_flow_has_counts_by_layer_and_pages_of_jobs(page: Page, serve: Serve) -> None:
    server = serve("queues.default.capacity=1000")
    middle = [job(f"part-{number}", "thumbnail", "first", args={"image": "a.png"}) for number in range(150)]
    jobs = [
        job("first", "thumbnail", args={"image": "a.png"}),
        *middle,
        job("last", "hold", *(each["name"] for each in middle)),
    ]
    flow_id = flow(server, jobs)
    await page.goto(f"{server.console}#/flows/{flow_id}")
    layers = page.locator(".flow-layers tr")
    await expect(layers).to_have_count(3)
    await expect(layers.nth(1)).to_contain_text("150 succeeded")
    await expect(layers.nth(2)).to_contain_text("1 running")
    await expect(page.get_by_role("region", name="Jobs with edges")).to_have_count(0)
    table = page.get_by_role("table", name="Jobs of the flow")
    await expect(table.get_by_role("row")).to_have_count(101)
    await page.get_by_role("button", name="Next page").click()
    await expect(table.get_by_role("row")).to_have_count(53)
    await expect(table.get_by_role("row").last).to_contain_text("and 145 more")
    await check(page, "flow-large")


async def test_hostile_names_and_types_are_text(show: Show, staged: Staged) -> None:
    flow_id = flow(staged, [job("hostile", "hostile", args={"fails": True})])
    ended(staged, flow_id)
    page = await show(f"flows/{flow_id}")
    document = {"type": HOSTILE, "name": HOSTILE}
    real = staged.ask("GET", f"/v1/flows/{flow_id}")
    forged = {**real, "jobs": [{**each, **document} for each in real["jobs"]]}
    await page.route("**/v1/flows/*", lambda route: route.fulfill(json=forged))
    await page.reload()
    await page.get_by_role("region", name="Jobs with edges").get_by_text("<img src=x").first.wait_for()
    assert await page.locator("#main img").count() == 0
    await check(page, "flow-hostile")


async def test_flows_are_listed_with_their_progress(page: Page, serve: Serve) -> None:
    server = serve()
    await page.goto(f"{server.console}#/flows")
    await page.get_by_text("There are no flows").wait_for()
    done = flow(server, [job("one", "thumbnail", args={"image": "a.png"})])
    ended(server, done)
    live = flow(server, [job("one", "hold"), job("two", "hold", "one")])
    rows = page.get_by_role("table", name="Flows").get_by_role("row")
    await expect(rows.nth(1)).to_contain_text(live)
    await expect(rows.nth(1)).to_contain_text("0 of 2 ended")
    await expect(rows.nth(2).locator(".state.succeeded")).to_be_visible()
    await expect(rows.nth(2)).to_contain_text("1 of 1 ended")
    await check(page, "flows")
    await rows.nth(2).get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text("Flow")
    await page.get_by_role("link", name="All flows").click()
    await expect(page.locator("h1")).to_have_text("Flows")


async def test_a_long_list_of_flows_has_pages(page: Page, serve: Serve) -> None:
    server = serve("queues.default.capacity=200")
    for _ in range(101):
        flow(server, [job("one", "hold")])
    await page.goto(f"{server.console}#/flows")
    rows = page.get_by_role("table", name="Flows").get_by_role("row")
    await expect(rows).to_have_count(101)
    await page.get_by_role("button", name="Next page").click()
    await expect(rows).to_have_count(2)


async def test_a_flow_without_records_has_a_page_with_the_reason(show: Show, faults: Faults) -> None:
    faults.allow(404)
    page = await show("flows/%3Cscript%3E")
    await page.get_by_text("A flow is held as long as the records of its jobs").wait_for()
    await expect(page.locator("p code").first).to_have_text("<script>")


async def test_a_read_only_console_has_no_actions_of_flows(page: Page, serve: Serve) -> None:
    server = serve()
    flow_id = flow(server, [job("one", "hold")])
    await page.route("**/console/session", lambda route: route.fulfill(json=_READ_ONLY))
    await page.goto(f"{server.console}#/flows/{flow_id}")
    await page.get_by_role("region", name="Jobs with edges").wait_for()
    assert await page.get_by_role("button", name="Cancel", exact=True).count() == 0


_READ_ONLY = {"name": None, "scopes": ["read"], "readonly": True, "version": "0", "keys": False}


async def test_waiting_jobs_are_counted_listed_and_filtered(show: Show, staged: Staged) -> None:
    flow_id = flow(staged, [job("one", "hold"), job("two", "thumbnail", "one", args={"image": "waits.png"})])
    page = await show("jobs?q=state:waiting")
    row = page.get_by_role("row").filter(has_text="thumbnail").first
    await expect(row.locator(".state.waiting")).to_have_text("waiting")
    await check(page, "jobs-waiting")
    await row.get_by_role("link").first.click()
    await page.get_by_text("It waits until its parents have ended.").wait_for()
    await page.goto(f"{staged.console}#/queues/default")
    await expect(page.locator(".strip-facts")).to_contain_text("waiting")
    staged.ask("POST", f"/v1/flows/{flow_id}:cancel")


async def test_a_job_links_its_flow_its_parents_and_its_children(show: Show, staged: Staged) -> None:
    flow_id = media(staged)
    large = next(each["id"] for each in staged.ask("GET", f"/v1/flows/{flow_id}")["jobs"] if each["name"] == "large")
    page = await show(f"jobs/{large}")
    facts = page.locator(".job-facts")
    await expect(facts.get_by_role("link", name="fetch", exact=True)).to_be_visible()
    await expect(facts.get_by_role("link", name="publish", exact=True)).to_be_visible()
    await check(page, "job-of-flow")
    await facts.get_by_role("link", name=flow_id[-10:]).click()
    await expect(page.locator("h1")).to_have_text("Flow")
