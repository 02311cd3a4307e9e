"""Lists of jobs: by ids, and by filters in pages."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving


ON_EACH_BACKEND = True


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
        "sort=Newest",
        "count=2",
        "count=true",
        "State=queued",
        "id_prefix=",
        "id_prefix=a%20b",
        "id_prefix=" + "x" * 23,
        "parent=",
        "parent=0aB",
        "parent=" + "x" * 23,
        "error=",
        "error=timed-out",
        "message~=",
        "message~=" + "x" * 201,
        "message=x",
        "arg=1",
        "arg.=1",
        "arg.a.=1",
        "arg..a=1",
        "arg.x=1&arg.x=2",
        "arg." + ".".join("a" * 9) + "=1",
        "arg." + "a" * 201 + "=1",
        "arg.x=" + "a" * 201,
        "&".join(f"arg.x{n}=1" for n in range(9)),
        "since=yesterday",
        "since=",
        "since=-1",
        "since=1e300",
        "since=nan",
        "since=253402300800",
        "since=2026-01-01T00:00:00",
        "since=2026-01-01",
        "until=2026-01-01T00:00:00+00:00",
        "until=9999-12-31T23:59:59-23:59",
        "ids=a&count=1",
    ],
)
async def test_an_invalid_query_gets_400_with_a_reason(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(URL(f"/v1/jobs?{query}", encoded=True)) as response:
        problem = await response.json()
        assert (response.status, problem["type"]) == (400, "/problems/malformed-request")
        assert len(problem["detail"]) > 20


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("error=timedout", "did you mean 'timed_out'?"),
        ("state=quued", "did you mean 'queued'?"),
        ("sort=oldst", "did you mean 'oldest'?"),
        ("stat=queued", "did you mean 'state'?"),
        ("idprefix=a", "did you mean 'id_prefix'?"),
        ("massage~=x", "did you mean 'message~'?"),
        ("arg:x=1", "known: ids, "),
        ("since=2026-01-01T00:00:00+00:00", "a + is written %2B"),
    ],
)
async def test_an_unknown_name_or_word_gets_400_with_a_similar_one(
    http: aiohttp.ClientSession, query: str, meant: str
) -> None:
    async with http.get(URL(f"/v1/jobs?{query}", encoded=True)) as response:
        assert response.status == 400
        assert meant in (await response.json())["detail"]


async def found(http: aiohttp.ClientSession, **parameters: str) -> list[str]:
    return [job["id"] for job in (await listed(http, **parameters))["jobs"]]


async def test_a_list_by_arguments_compares_scalars_and_texts(http: aiohttp.ClientSession) -> None:
    values = [17, "17", 17.5, True, "true", None, "", {"id": 3}, [{"id": "é"}]]
    ids = [(await submit(http, type="echo", args={"value": value}, delay_s=60))["id"] for value in values]

    async def numbers(path: str, text: str) -> list[int]:
        return sorted(ids.index(job_id) for job_id in await found(http, **{f"arg.{path}": text}))

    assert await numbers("value", "17") == [0, 1]
    assert await numbers("value", "17.0") == [0]
    assert await numbers("value", '"17"') == [1]
    assert await numbers("value", "true") == [3, 4]
    assert await numbers("value", "null") == [5]
    assert await numbers("value", "") == [6]
    assert await numbers("value", "{}") == []
    assert await numbers("value.id", "3") == [7]
    assert await numbers("value.0.id", "é") == [8]
    assert await numbers("value.1.id", "é") == []
    assert await numbers("other", "17") == []


async def test_a_list_by_id_prefix_error_and_message(serving: Serving, http: aiohttp.ClientSession) -> None:
    failed, other = await submit(http, type="fail"), await submit(http, type="echo")
    for job in (failed, other):
        await ended(serving, job)
    assert await found(http, id_prefix=failed["id"]) == [failed["id"]]
    assert await found(http, id_prefix=failed["id"][:3]) == [other["id"], failed["id"]]
    assert await found(http, id_prefix="zz") == []
    assert await found(http, error="handler_error") == [failed["id"]]
    assert await found(http, error="timed_out") == []
    assert await found(http, **{"message~": "CAN'T be DONE"}) == [failed["id"]]
    assert await found(http, **{"message~": "can be done"}) == []


async def test_since_and_until_are_compared_with_the_instants_in_documents(http: aiohttp.ClientSession) -> None:
    jobs = []
    for _ in range(3):
        jobs.append(await submit(http, type="echo", delay_s=60))
        await asyncio.sleep(0.005)
    first, middle, last = jobs
    instant = middle["created_at"]
    unix_s = datetime.fromisoformat(instant).timestamp()
    elsewhere = datetime.fromisoformat(instant).astimezone(timezone(timedelta(hours=2))).isoformat()
    for since in (instant, f"{unix_s:.3f}", elsewhere):
        assert await found(http, since=since) == [last["id"], middle["id"]]
        assert await found(http, until=since) == [first["id"]]
        assert await found(http, since=since, until=last["created_at"]) == [middle["id"]]
    assert await found(http, since="0", until="253402300799") == [last["id"], middle["id"], first["id"]]


async def test_a_list_with_a_count_has_the_total_of_all_pages(http: aiohttp.ClientSession) -> None:
    for n in range(5):
        await submit(http, type="echo", group="odd" if n % 2 else "even", delay_s=60)
    page = await listed(http, count="1", group="even", limit="1")
    assert (len(page["jobs"]), page["total"], page["total_complete"]) == (1, 3, True)
    second = await listed(http, count="1", group="even", limit="1", cursor=page["next_cursor"])
    assert (second["total"], second["total_complete"]) == (3, True)
    assert "total" not in await listed(http, count="0")


async def test_a_list_with_sort_oldest_goes_from_the_oldest_on(http: aiohttp.ClientSession) -> None:
    ids = [(await submit(http, type="echo", delay_s=60))["id"] for _ in range(5)]
    page = await listed(http, sort="oldest", limit="3")
    assert [job["id"] for job in page["jobs"]] == ids[:3]
    assert await found(http, sort="oldest", cursor=page["next_cursor"]) == ids[3:]
    async with http.get("/v1/jobs", params={"cursor": page["next_cursor"]}) as response:
        assert (response.status, "same sort" in await response.text()) == (400, True)


async def test_a_redacted_argument_is_not_searched(start: Any, http_to: Any) -> None:
    serving = await start()

    @serving.queue.handler(redact=("password", "user.token"))
    async def login(name: str, password: str, user: dict[str, str]) -> None: ...

    http = await http_to(serving)
    args = {"name": "ann", "password": "p", "user": {"token": "t", "id": "i"}}
    job = await submit(http, type="login", args=args, delay_s=60)
    assert await found(http, **{"arg.name": "ann", "arg.user.id": "i"}) == [job["id"]]
    assert await found(http, **{"arg.password": "p"}) == []
    assert await found(http, **{"arg.name": "ann", "arg.user.token": "t"}) == []
    async with http.post("/v1/jobs:cancel", json={"args": {"password": "p"}, "dry_run": True}) as response:
        assert (await response.json())["count"] == 0


async def test_a_list_counts_the_jobs_with_arguments_too_long_to_search(start: Any, http_to: Any) -> None:
    http = await http_to(await start(limits={"body_bytes": 200_000}))
    await submit(http, type="echo", args={"value": "x" * 100_000}, delay_s=60)
    short = await submit(http, type="echo", args={"value": "x"}, delay_s=60)
    page = await listed(http, **{"arg.value": "x"})
    assert ([job["id"] for job in page["jobs"]], page["unsearched"]) == ([short["id"]], 1)
    assert "unsearched" not in await listed(http, type="echo")


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
