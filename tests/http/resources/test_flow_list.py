"""Lists of flows over HTTP, and the pages of a flow's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.http.keyed import ANN, BOB, OPS, SUB, auth, bearer
from tests.http.resources.test_flows import UNKNOWN, ended, job, post

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def get(http: aiohttp.ClientSession, path: str, status: int = 200, **headers: str) -> dict[str, Any]:
    async with http.get(path, headers=headers) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        return document


async def test_flows_are_listed_newest_first_with_their_counts(http: aiohttp.ClientSession) -> None:
    done = await post(http, job("a"), job("b", "a", type="fail"), job("c", "b"))
    live = await post(http, job("a", type="hold"))
    done = await ended(http, done["id"])
    document = await get(http, "/v1/flows")
    assert document == {
        "flows": [
            {
                "id": live["id"],
                "state": "running",
                "created_at": live["created_at"],
                "finished_at": None,
                "live": 1,
                "ended": {"succeeded": 0, "failed": 0, "cancelled": 0, "expired": 0},
                "evicted": 0,
            },
            {
                "id": done["id"],
                "state": "failed",
                "created_at": done["created_at"],
                "finished_at": done["finished_at"],
                "live": 0,
                "ended": {"succeeded": 1, "failed": 1, "cancelled": 1, "expired": 0},
                "evicted": 0,
            },
        ],
        "next_cursor": None,
    }
    assert [flow["id"] for flow in (await get(http, "/v1/flows?state=failed"))["flows"]] == [done["id"]]
    assert (await get(http, "/v1/flows?state=succeeded"))["flows"] == []


async def test_pages_of_flows_have_each_flow_once_while_others_come(http: aiohttp.ClientSession) -> None:
    ids = [(await post(http, job("a", type="hold")))["id"] for _ in range(5)]
    page, found = await get(http, "/v1/flows?limit=2"), []
    while True:
        found += [flow["id"] for flow in page["flows"]]
        await post(http, job("a", type="hold"))
        if page["next_cursor"] is None:
            break
        page = await get(http, f"/v1/flows?limit=2&cursor={page['next_cursor']}")
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (
            "state=runing",
            "state is one of running, succeeded, failed, cancelled, got 'runing'; did you mean 'running'?",
        ),
        ("limit=0", "limit is a number from 1 to 100, got '0'"),
        ("limit=101", "limit is a number from 1 to 100, got '101'"),
        ("limit=²", "limit is a number from 1 to 100, got '²'"),
        ("cursor=x", "cursor is the next_cursor of an earlier page, got 'x'"),
        ("name=x", "unknown query parameter 'name'; known: state, limit, cursor"),
        ("limit=1&limit=2", "duplicate query parameter limit"),
    ],
)
async def test_a_faulty_query_is_rejected_with_its_fault(http: aiohttp.ClientSession, query: str, detail: str) -> None:
    assert (await get(http, f"/v1/flows?{query}", 400))["detail"] == detail


async def test_a_key_lists_its_own_flows(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    mine = (await post(http, job("a", type="hold"), **bearer(ANN)))["id"]
    theirs = (await post(http, job("a", type="hold"), **bearer(BOB)))["id"]
    for key, ids in ((ANN, [mine]), (BOB, [theirs]), (OPS, [theirs, mine])):
        assert [flow["id"] for flow in (await get(http, "/v1/flows", **bearer(key)))["flows"]] == ids
    await get(http, "/v1/flows", 403, **bearer(SUB))
    cursor = (await get(http, "/v1/flows?limit=1", **bearer(OPS)))["next_cursor"]
    page = await get(http, f"/v1/flows?cursor={cursor}", **bearer(BOB))
    assert page == {"flows": [], "next_cursor": None}


async def test_the_jobs_of_a_flow_come_in_pages(http: aiohttp.ClientSession) -> None:
    names = [str(number) for number in range(5)]
    flow = await post(http, *(job(name) for name in names))
    await ended(http, flow["id"])
    for include in ("", "&include=jobs"):
        path, found = f"/v1/flows/{flow['id']}?limit=2{include}", []
        page = await get(http, path)
        while True:
            found += page["jobs"]
            assert page["counts"]["succeeded"] == 5
            if page["next_cursor"] is None:
                break
            page = await get(http, f"{path}&cursor={page['next_cursor']}")
        assert [each["name"] for each in found] == names
        assert all((each["job"]["id"] == each["id"]) if include else "job" not in each for each in found)


@pytest.mark.parametrize("query", ["cursor=x", "limit=0", "limit=1001", "cursor="])
async def test_a_faulty_page_of_jobs_is_rejected(http: aiohttp.ClientSession, query: str) -> None:
    flow = await post(http, job("a"))
    problem = await get(http, f"/v1/flows/{flow['id']}?{query}", 400)
    assert problem["type"] == "/problems/malformed-request"


async def test_a_flow_of_more_than_1_000_jobs_shows_the_first_ones(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"capacity": 3000}})
    http = await http_to(serving)
    flow = await post(http, *(job(str(number), type="hold") for number in range(1000)))
    backend = serving.service.backend
    spec = (await backend.get(flow["jobs"][0]["id"])).spec
    await backend.submit_together([(spec, b"{}", None, None)] * 1001, flow=flow["id"])
    seen: list[str] = []
    path = f"/v1/flows/{flow['id']}"
    page = await get(http, path, 202)
    while True:
        seen += [each["id"] for each in page["jobs"]]
        if page["next_cursor"] is None:
            break
        page = await get(http, f"{path}?cursor={page['next_cursor']}", 202)
    assert (len(seen), len(set(seen)), page["counts"]["queued"] + page["counts"]["running"]) == (2001, 2001, 2001)
    async with http.post(f"{path}:cancel") as response:
        document = await response.json()
    assert (len(document["jobs"]), document["next_cursor"] is None) == (1000, False)


async def test_the_children_of_a_job_are_listed_and_cancelled_by_its_id(http: aiohttp.ClientSession) -> None:
    parent, other = [await submitted(http, type="hold") for _ in range(2)]
    ids = [await submitted(http, type="echo", after=after) for after in ([parent], [other, parent])]
    grandchild = await submitted(http, type="echo", after=[ids[0]])

    async def found(query: str) -> list[str]:
        return [each["id"] for each in (await get(http, f"/v1/jobs?parent={query}"))["jobs"]]

    assert await found(parent) == ids[::-1]
    assert await found(f"{parent}&sort=oldest&limit=1") == ids[:1]
    assert await found(f"{other}&state=waiting") == ids[1:]
    assert await found(grandchild) == await found(UNKNOWN) == []
    async with http.post("/v1/jobs:cancel", json={"parent": parent}) as response:
        assert (await response.json())["count"] == 2


async def test_a_key_finds_no_children_of_another_keys_job(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    parent = await submitted(http, bearer(ANN), type="hold")
    child = await submitted(http, bearer(ANN), type="echo", after=[parent])
    for key, ids in ((ANN, [child]), (OPS, [child]), (BOB, [])):
        page = await get(http, f"/v1/jobs?parent={parent}", **bearer(key))
        assert [each["id"] for each in page["jobs"]] == ids


async def submitted(http: aiohttp.ClientSession, key: dict[str, str] | None = None, **submission: Any) -> str:
    async with http.post("/v1/jobs", json=submission, headers=key) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["id"])
