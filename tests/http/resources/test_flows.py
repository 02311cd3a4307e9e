"""Flows over HTTP: a graph is accepted whole or not at all, read, awaited, cancelled and retried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.keyed import ANN, BOB, OPS, SUB, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

UNKNOWN = "0aB000000-1c3FfGhIjKlM"


def job(name: str, *after: str, type: str = "echo", **options: Any) -> dict[str, Any]:
    return {"name": name, "type": type, "after": [*after], **options}


async def post(http: aiohttp.ClientSession, *jobs: Any, status: int = 202, **headers: str) -> dict[str, Any]:
    async with http.post("/v1/flows", json={"jobs": jobs}, headers=headers) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        if status < 400:
            assert response.headers["Location"] == f"/v1/flows/{document['id']}"
        return document


async def ended(http: aiohttp.ClientSession, id: str) -> dict[str, Any]:
    async with http.get(f"/v1/flows/{id}", headers={"Prefer": "wait=10"}) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document


def states(flow: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["state"] for each in flow["jobs"]}


async def test_a_graph_runs_in_its_order_and_has_one_document(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("d", "b", "c"), job("b", "a"), job("c", "a"), job("a", args={"value": 1}))
    assert (flow["state"], flow["finished_at"], flow["evicted"]) == ("running", None, 0)
    assert sum(flow["counts"].values()) == 4
    ids = {each["name"]: each["id"] for each in flow["jobs"]}
    after = {each["name"]: each["after"] for each in flow["jobs"]}
    assert after == {"a": [], "b": [ids["a"]], "c": [ids["a"]], "d": [ids["b"], ids["c"]]}
    flow = await ended(http, flow["id"])
    assert (flow["state"], flow["counts"]["succeeded"]) == ("succeeded", 4)
    assert flow["finished_at"] >= flow["created_at"]
    jobs = {}
    for id in ids.values():
        async with http.get(f"/v1/jobs/{id}") as response:
            jobs[id] = await response.json()
    assert jobs[ids["d"]]["started_at"] >= max(jobs[ids[name]]["finished_at"] for name in "bc")


async def test_include_jobs_adds_the_document_of_each(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("a", args={"value": "é"}), job("b", "a", type="big", args={"size": 200_000}))
    await ended(http, flow["id"])
    async with http.get(f"/v1/flows/{flow['id']}?include=jobs") as response:
        assert response.status == 200
        small, large = (each["job"] for each in (await response.json())["jobs"])
    assert (small["result"], len(large["result"])) == ("é", 200_000)
    async with http.get(f"/v1/flows/{flow['id']}?include=job") as response:
        assert response.status == 400
        assert "did you mean 'jobs'" in (await response.json())["detail"]


async def test_a_failed_parent_cancels_its_children_and_a_retry_goes_on_from_there(
    http: aiohttp.ClientSession,
) -> None:
    flow = await post(http, job("a"), job("b", "a", type="fail"), job("c", "b"), job("d", "a"))
    flow = await ended(http, flow["id"])
    assert flow["state"] == "failed"
    assert states(flow) == {"a": "succeeded", "b": "failed", "c": "cancelled", "d": "succeeded"}
    (c,) = (each["id"] for each in flow["jobs"] if each["name"] == "c")
    async with http.get(f"/v1/jobs/{c}") as response:
        assert (await response.json())["error"]["code"] == "parent_failed"
    async with http.post(f"/v1/flows/{flow['id']}:retry") as response:
        assert response.status == 202
        again = await response.json()
    assert (again["id"], again["state"], again["counts"]["succeeded"]) == (flow["id"], "running", 2)
    assert states(await ended(http, flow["id"])) == states(flow)


async def test_a_job_that_runs_after_failures_runs(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("a", type="fail"), job("b", "a", on_failure="run"))
    assert states(await ended(http, flow["id"])) == {"a": "failed", "b": "succeeded"}


async def test_cancel_ends_all_live_jobs_of_a_flow(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("a", type="hold"), job("b", "a"), job("c", "b"))
    async with http.post(f"/v1/flows/{flow['id']}:cancel") as response:
        assert response.status in (200, 202)
    flow = await ended(http, flow["id"])
    assert (flow["state"], flow["counts"]["cancelled"]) == ("cancelled", 3)
    async with http.post(f"/v1/flows/{flow['id']}:cancel") as response:
        assert (response.status, (await response.json())["type"]) == (409, "/problems/wrong-state")


@pytest.mark.parametrize(
    ("jobs", "pointers"),
    [
        ([job("a", "b"), job("b", "a")], ["/jobs/0/after/0"]),
        ([job("a", "a")], ["/jobs/0/after/0"]),
        ([job("a"), job("a")], ["/jobs/1/name"]),
        ([job("a", "nothing")], ["/jobs/0/after/0"]),
        ([job("a"), job("b", type="nope"), job("c", args={"x": 1})], ["/jobs/1/type", "/jobs/2/args/x"]),
        ([job("a", priority=10), job("b", delay_s=-1)], ["/jobs/0/priority", "/jobs/1/delay_s"]),
        ([job("a", unique="one")], ["/jobs/0/unique"]),
        ([job("a", on_failure="run")], ["/jobs/0/on_failure"]),
        ([job("a b")], ["/jobs/0/name"]),
        ([{"type": "echo"}], ["/jobs/0/name"]),
        ([7], ["/jobs/0"]),
        ([], ["/jobs"]),
        ([job(f"j{number}") for number in range(1001)], ["/jobs"]),
    ],
)
async def test_a_fault_of_a_graph_has_its_place_and_nothing_is_made(
    serving: Serving, http: aiohttp.ClientSession, jobs: list[Any], pointers: list[str]
) -> None:
    problem = await post(http, *jobs, status=422)
    assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert serving.service.backend.stats()[0].accepted_total == 0


async def test_a_flow_without_slots_for_all_its_jobs_is_refused_whole(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"capacity": 3}})
    http = await http_to(serving)
    problem = await post(http, *(job(str(number)) for number in range(4)), status=422)
    assert [fault["pointer"] for fault in problem["errors"]] == ["/jobs"]
    async with http.post("/v1/jobs", json={"type": "hold"}) as response:
        held = (await response.json())["id"]
    problem = await post(http, *(job(str(number)) for number in range(3)), status=503)
    assert problem["type"] == "/problems/queue-full"
    assert serving.service.backend.stats()[0].accepted_total == 1
    await ended(http, (await post(http, job("a"), job("b")))["id"])
    async with http.post(f"/v1/jobs/{held}:cancel") as response:
        assert response.status in (200, 202)


async def test_a_repeated_key_is_answered_with_the_first_flow(http: aiohttp.ClientSession) -> None:
    key = {"Idempotency-Key": "one"}
    first = await post(http, job("a"), job("b", "a"), **key)
    await ended(http, first["id"])
    async with http.post("/v1/flows", json={"jobs": [job("a"), job("b", "a")]}, headers=key) as response:
        assert (response.status, response.headers["Job-Deduplicated"]) == (200, "true")
        assert (await response.json())["id"] == first["id"]
    problem = await post(http, job("a"), status=422, **key)
    assert problem["type"] == "/problems/idempotency-key-reused"


async def test_a_flow_is_unchanged_while_its_tag_holds(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("a"))
    await ended(http, flow["id"])
    async with http.get(f"/v1/flows/{flow['id']}") as response:
        tag = response.headers["ETag"]
    async with http.get(f"/v1/flows/{flow['id']}", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with http.head(f"/v1/flows/{flow['id']}") as response:
        assert (response.status, response.headers["ETag"]) == (200, tag)


async def test_a_flow_may_come_after_a_job_that_exists(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs", json={"type": "hold"}) as response:
        held = (await response.json())["id"]
    flow = await post(http, job("a", held), job("b", "a"))
    assert flow["jobs"][0]["after"] == [held]
    assert flow["counts"]["waiting"] == 2
    async with http.post(f"/v1/jobs/{held}:cancel") as response:
        assert response.status in (200, 202)
    assert (await ended(http, flow["id"]))["counts"]["cancelled"] == 2


@pytest.mark.parametrize("path", ["/v1/flows", "/v1/jobs"])
async def test_an_unknown_parent_is_not_found(http: aiohttp.ClientSession, path: str) -> None:
    body = {"jobs": [job("a", UNKNOWN)]} if path == "/v1/flows" else {"type": "echo", "after": [UNKNOWN]}
    async with http.post(path, json=body) as response:
        assert (response.status, (await response.json())["type"]) == (404, "/problems/job-not-found")


async def test_a_submission_comes_after_the_jobs_that_it_names(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs", json={"type": "hold"}) as response:
        held = (await response.json())["id"]
    async with http.post("/v1/jobs", json={"type": "echo", "after": [held], "on_failure": "run"}) as response:
        child = await response.json()
        assert (response.status, child["state"]) == (202, "waiting")
    async with http.post(f"/v1/jobs/{held}:cancel") as response:
        assert response.status in (200, 202)
    async with http.get(f"/v1/jobs/{child['id']}", headers={"Prefer": "wait=10"}) as response:
        assert (await response.json())["state"] == "succeeded"


@pytest.mark.parametrize(
    ("submission", "pointer"),
    [
        ({"after": [UNKNOWN], "unique": "one"}, "/unique"),
        ({"on_failure": "run"}, "/on_failure"),
        ({"after": [UNKNOWN], "on_failure": "stop"}, "/on_failure"),
        ({"after": UNKNOWN}, "/after"),
        ({"after": [7]}, "/after/0"),
    ],
)
async def test_a_fault_of_parents_has_its_place(
    http: aiohttp.ClientSession, submission: dict[str, Any], pointer: str
) -> None:
    async with http.post("/v1/jobs", json={"type": "echo", **submission}) as response:
        assert response.status == 422
        assert [fault["pointer"] for fault in (await response.json())["errors"]] == [pointer]


async def test_a_job_has_at_most_10_000_parents(start: Start, http_to: Open) -> None:
    http = await http_to(await start(limits={"body_bytes": 1 << 20}))
    async with http.post("/v1/jobs", json={"type": "echo", "after": [UNKNOWN] * 10_001}) as response:
        assert response.status == 422
        assert [fault["pointer"] for fault in (await response.json())["errors"]] == ["/after"]


async def test_a_batch_takes_no_job_with_parents(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs:batch", json={"jobs": [{"type": "echo", "after": [UNKNOWN]}]}) as response:
        (verdict,) = (await response.json())["jobs"]
    assert verdict["status"] == 422
    assert [fault["pointer"] for fault in verdict["problem"]["errors"]] == ["/jobs/0/after"]


async def test_the_flow_of_another_key_is_not_found(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    flow = await post(http, job("a", type="hold"), **bearer(ANN))
    parent = flow["jobs"][0]["id"]
    for key, status in ((BOB, 404), (ANN, 202), (OPS, 202)):
        async with http.get(f"/v1/flows/{flow['id']}", headers=bearer(key)) as response:
            assert response.status == status
    for path in (f"/v1/flows/{flow['id']}:cancel", f"/v1/flows/{flow['id']}:retry"):
        async with http.post(path, headers=bearer(BOB)) as response:
            assert response.status == 404
    for path, body in (
        ("/v1/flows", {"jobs": [job("b", parent)]}),
        ("/v1/jobs", {"type": "echo", "after": [parent]}),
    ):
        async with http.post(path, json=body, headers=bearer(BOB)) as response:
            assert response.status == 404
        async with http.post(path, json=body, headers=bearer(ANN)) as response:
            assert response.status == 202
    async with http.post(f"/v1/flows/{flow['id']}:cancel", headers=bearer(SUB)) as response:
        assert response.status == 403
    async with http.post(f"/v1/flows/{flow['id']}:cancel", headers=bearer(ANN)) as response:
        assert response.status in (200, 202)


async def test_a_flow_counts_each_of_its_jobs_towards_the_callers_rate(start: Start, http_to: Open) -> None:
    http = await http_to(await start(limits={"caller_rate": {"count": 4, "period_s": 3600.0}}))
    problem = await post(http, *(job(str(number)) for number in range(5)), status=422)
    assert problem["errors"][0]["pointer"] == "/jobs"
    await post(http, job("a"), job("b"), job("c"))
    problem = await post(http, job("a"), job("b"), status=429)
    assert problem["type"] == "/problems/quota-exceeded"
    await post(http, job("a"))  # what was refused has used nothing up


async def test_many_waits_for_one_flow_end_together(http: aiohttp.ClientSession) -> None:
    flow = await post(http, job("a", type="hold"), job("b", "a"))
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(ended(http, flow["id"])) for _ in range(20)]
        async with http.post(f"/v1/flows/{flow['id']}:cancel") as response:
            assert response.status in (200, 202)
    assert {each.result()["state"] for each in waits} == {"cancelled"}
