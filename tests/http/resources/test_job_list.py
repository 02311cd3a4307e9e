"""Lists of jobs: by ids, and by filters in pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving


async def listed(http: aiohttp.ClientSession, **parameters: str) -> dict[str, Any]:
    async with http.get("/v1/jobs", params=parameters) as response:
        assert response.status == 200, await response.text()
        page: dict[str, Any] = await response.json()
        return page


async def test_a_list_by_ids_keeps_their_order_and_reports_missing_jobs_individually(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    first, second, gone = [await submit(http, type="echo") for _ in range(3)]
    await ended(serving, gone)
    async with http.delete(f"/v1/jobs/{gone['id']}"):
        pass
    jobs = (await listed(http, ids=",".join([second["id"], "nope", first["id"], gone["id"]])))["jobs"]
    assert [job["id"] for job in jobs] == [second["id"], "nope", first["id"], gone["id"]]
    assert [job.get("status") for job in jobs] == [None, 404, None, 410]
    assert jobs[1]["problem"]["type"] == "/problems/job-not-found"
    assert jobs[3]["problem"]["reason"] == "evicted"


async def test_a_repeated_id_is_listed_once(http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    ids = [job["id"], "nope", f" {job['id']}", *["nope"] * 97]
    assert [each["id"] for each in (await listed(http, ids=",".join(ids)))["jobs"]] == [job["id"], "nope"]


@pytest.mark.parametrize(
    "query",
    [
        "ids=",
        "ids=a,,b",
        "ids=" + ",".join("x" * 101),
        "ids=a&state=queued",
        "ids=a&ids=b",
        "state=done",
        "state=queued&state=running",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1.5",
        "limit=%D9%A1",
        "limit=99999999999999999999",
        "cursor=x",
        "cursor=",
        "sort=asc",
        "State=queued",
    ],
)
async def test_an_invalid_query_gets_400_with_a_reason(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"/v1/jobs?{query}") as response:
        problem = await response.json()
        assert (response.status, problem["type"]) == (400, "/problems/malformed-request")
        assert len(problem["detail"]) > 20


async def test_a_filtered_list_is_newest_first(http: aiohttp.ClientSession) -> None:
    held = await submit(http, type="hold", group="a")
    delayed = await submit(http, type="echo", group="a", delay_s=60)
    other = await submit(http, type="echo", group="b", delay_s=60)

    async def ids(**parameters: str) -> list[str]:
        return [job["id"] for job in (await listed(http, **parameters))["jobs"]]

    assert await ids() == [other["id"], delayed["id"], held["id"]]
    assert await ids(state="delayed") == [other["id"], delayed["id"]]
    assert await ids(group="a") == [delayed["id"], held["id"]]
    assert await ids(type="echo", group="a") == [delayed["id"]]
    assert await ids(queue="default", type="hold") == [held["id"]]
    assert await ids(type="nope") == []


async def test_pages_show_every_job_once_despite_submissions_and_deletes(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    jobs = [await submit(http, type="echo") for _ in range(25)]
    for job in jobs:
        await ended(serving, job)
    seen: list[str] = []
    parameters = {"limit": "4"}
    while True:
        page = await listed(http, **parameters)
        seen += [job["id"] for job in page["jobs"]]
        await submit(http, type="echo")
        async with http.delete(f"/v1/jobs/{seen[-1]}"):  # the job at which the next page starts
            pass
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == [job["id"] for job in reversed(jobs)]


async def test_a_page_is_bounded_in_bytes_and_continued_by_the_next(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    sizes = [100_000, 100_000, 300_000, 10, 100_000, 100_000]
    jobs = [await submit(http, type="big", args={"size": size}) for size in sizes]
    for job in jobs:
        await ended(serving, job)
    pages: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        async with http.get("/v1/jobs", params=cursor) as response, http.head("/v1/jobs", params=cursor) as head:
            page = await response.json()
            assert head.headers.get("Content-Length") == response.headers.get("Content-Length")
            assert head.headers["ETag"] == response.headers["ETag"]
        pages.append([len(job["result"]) for job in page["jobs"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [[100_000, 100_000, 10], [300_000], [100_000, 100_000]]


async def test_a_list_of_large_results_is_sent_in_chunks_as_valid_json(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    jobs = [await submit(http, type="big", args={"size": size}) for size in (100_000, 200_000, 5, 300_000)]
    for job in jobs:
        await ended(serving, job)
    path = "/v1/jobs?ids=" + ",".join([*(job["id"] for job in jobs), "nope"])
    async with http.get(path) as response:
        assert "Content-Length" not in response.headers
        raw = await response.read()
    assert raw.endswith(b"]}\n")
    *found, missing = json.loads(raw)["jobs"]
    assert [(job["id"], len(job["result"])) for job in found] == [
        (job["id"], size) for job, size in zip(jobs, (100_000, 200_000, 5, 300_000), strict=True)
    ]
    assert missing["status"] == 404
    async with http.head(path) as head:
        assert (head.status, await head.read()) == (200, b"")
        assert head.headers["ETag"] == response.headers["ETag"]
    async with http.get("/v1/jobs") as response:  # on the same connection: the HEAD had no body
        assert response.status == 200
    async with http.get(path, headers={"If-None-Match": head.headers["ETag"]}) as response:
        assert response.status == 304


async def test_histories_in_lists_are_shortened(start: Any, http_to: Any) -> None:
    serving = await start()

    @serving.queue.handler(attempts_max=1)
    async def wordy() -> None:
        raise ValueError("w" * 500)

    http = await http_to(serving)
    job = await submit(http, type="wordy")
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        whole = (await response.json())["history"][0]
    for parameters in ({"ids": job["id"]}, {"state": "failed"}):
        (attempt,) = (await listed(http, **parameters))["jobs"][0]["history"]
        assert (attempt["attempt"], attempt["code"], attempt["traceback"]) == (1, "handler_error", None)
        assert attempt["message"] == whole["message"][:99] + "…"
    assert whole["traceback"] is not None
