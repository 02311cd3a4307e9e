"""Retry, run, cancel and delete of jobs, one at a time and in bulk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving


ON_EACH_BACKEND = True


async def act(http: aiohttp.ClientSession, action: str, **job_filter: Any) -> dict[str, Any]:
    async with http.post(f"/v1/jobs:{action}", json=job_filter) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def state(http: aiohttp.ClientSession, job: dict[str, Any]) -> str:
    async with http.head(f"/v1/jobs/{job['id']}") as response:
        return response.headers["Job-State"] if response.status < 400 else response.headers["Job-Gone-Reason"]


async def failed(serving: Serving, http: aiohttp.ClientSession, **more: Any) -> dict[str, Any]:
    job = await submit(http, type="fail", **more)
    await ended(serving, job)
    return job


async def test_a_failed_job_has_a_history_of_its_attempts(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="fail", attempts_max=2)
    async with http.post(f"/v1/jobs/{job['id']}:run"):
        pass
    async with asyncio.timeout(5):
        while await state(http, job) != "failed":
            async with http.post(f"/v1/jobs/{job['id']}:run"):  # skips its backoff
                pass
            await asyncio.sleep(0.01)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        document = await response.json()
    assert (document["attempt"], document["attempts_max"]) == (2, 2)
    assert [attempt["attempt"] for attempt in document["history"]] == [1, 2]
    for attempt in document["history"]:
        assert set(attempt) == {"attempt", "started_at", "ended_at", "code", "message", "traceback"}
        assert (attempt["code"], attempt["message"]) == ("handler_error", "ValueError: it can't be done")
        assert "it can't be done" in attempt["traceback"]
        assert attempt["started_at"] <= attempt["ended_at"]


async def test_retry_runs_a_failed_job_again_under_its_id(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await failed(serving, http)
    async with http.post(f"/v1/jobs/{job['id']}:retry") as response:
        document = await response.json()
        assert (response.status, document["id"], document["state"]) == (202, job["id"], "queued")
        assert (document["attempts_max"], document["error"]) == (2, None)
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        document = await response.json()
        assert (document["state"], document["attempt"], document["attempts_max"]) == ("failed", 2, 2)


@pytest.mark.parametrize(
    ("submission", "action"),
    [
        ({"type": "echo"}, "retry"),
        ({"type": "hold"}, "retry"),
        ({"type": "echo", "delay_s": 60}, "retry"),
        ({"type": "hold"}, "run"),
        ({"type": "fail"}, "run"),
    ],
)
async def test_retry_or_run_in_the_wrong_state_gets_409_with_the_state(
    serving: Serving, http: aiohttp.ClientSession, submission: dict[str, Any], action: str
) -> None:
    job = await submit(http, **submission)
    await asyncio.sleep(0.03)
    async with http.post(f"/v1/jobs/{job['id']}:{action}") as response:
        problem = await response.json()
        assert (response.status, problem["type"]) == (409, "/problems/wrong-state")
        assert problem["state"] == response.headers["Job-State"] == await state(http, job)


async def test_a_retry_into_a_full_queue_gets_503(start: Any, http_to: Any) -> None:
    serving = await start(queues={"default": {"capacity": 1, "workers": 1}})
    http = await http_to(serving)
    job = await failed(serving, http)
    await submit(http, type="hold")
    async with http.post(f"/v1/jobs/{job['id']}:retry") as response:
        assert (response.status, (await response.json())["type"]) == (503, "/problems/queue-full")
    assert await act(http, "retry", state="failed") == {"count": 0, "skipped": 1, "skipped_by": {"queue-full": 1}}
    assert await state(http, job) == "failed"


async def test_run_starts_a_delayed_job(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo", delay_s=60)
    async with http.post(f"/v1/jobs/{job['id']}:run") as response:
        assert (response.status, (await response.json())["state"]) == (202, "queued")
    await asyncio.wait_for(ended(serving, job), 5)
    assert await state(http, job) == "succeeded"


@pytest.mark.parametrize("action", ["retry", "run", "cancel"])
async def test_an_action_on_a_missing_job_gets_404_or_410(
    serving: Serving, http: aiohttp.ClientSession, action: str
) -> None:
    job = await failed(serving, http)
    await serving.service.backend.delete(job["id"])
    for job_id, status in ((job["id"], 410), ("nope", 404)):
        async with http.post(f"/v1/jobs/{job_id}:{action}") as response:
            assert response.status == status


async def test_head_of_an_evicted_job_has_the_reason(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await failed(serving, http)
    await serving.service.backend.delete(job["id"])
    async with http.head(f"/v1/jobs/{job['id']}") as response:
        assert (response.status, response.headers["Job-Gone-Reason"]) == (410, "evicted")


async def test_a_bulk_retry_retries_all_matching_jobs(serving: Serving, http: aiohttp.ClientSession) -> None:
    several = [await failed(serving, http, group="a") for _ in range(3)]
    other = await failed(serving, http, group="b")
    assert await act(http, "retry", type="fail", group="a") == {"count": 3}
    for job in several:
        await ended(serving, job)
    async with http.get(f"/v1/jobs/{several[0]['id']}") as response:
        assert (await response.json())["attempt"] == 2
    async with http.get(f"/v1/jobs/{other['id']}") as response:
        assert (await response.json())["attempt"] == 1


async def test_a_bulk_action_takes_the_filters_of_lists(serving: Serving, http: aiohttp.ClientSession) -> None:
    jobs = [await failed(serving, http) for _ in range(3)]
    held = [await submit(http, type="echo", args={"value": {"user": n}}, delay_s=60) for n in (1, 2, "2")]
    assert await act(http, "delete", id_prefix=jobs[0]["id"]) == {"count": 1}
    assert await act(http, "delete", error="timed_out") == {"count": 0}
    assert await act(http, "delete", message="CAN'T be done", until=0) == {"count": 0}
    assert await act(http, "delete", message="CAN'T be done", since=jobs[0]["created_at"], limit=1) == {"count": 1}
    assert await act(http, "delete", error="handler_error", until="9999-01-01T00:00:00Z") == {"count": 1}
    assert await act(http, "cancel", args={"value.user": 2}) == {"count": 1}
    assert [await state(http, job) for job in held] == ["delayed", "cancelled", "delayed"]
    assert await act(http, "cancel", since=0, until=4e9) == {"count": 2}


async def test_a_dry_run_changes_nothing_and_counts_the_jobs(http: aiohttp.ClientSession) -> None:
    ids = [(await submit(http, type="echo", delay_s=60))["id"] for _ in range(25)]
    dry = await act(http, "cancel", type="echo", dry_run=True)
    assert dry == {"count": 25, "sample": ids[:4:-1]}
    assert await act(http, "cancel", type="echo", dry_run=True, limit=3, sort="oldest") == {
        "count": 3,
        "sample": ids[:3],
    }
    assert await act(http, "retry", type="echo", dry_run=True) == {"count": 0, "sample": []}
    assert await act(http, "cancel", type="echo", limit=20, dry_run=False) == {"count": 20}
    assert await act(http, "cancel", type="echo", sort="oldest") == {"count": 5}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"dry_run": True}, ""),
        ({"limit": 1, "sort": "oldest"}, ""),
        ({"type": "t", "limit": 0}, "/limit"),
        ({"type": "t", "limit": True}, "/limit"),
        ({"type": "t", "dry_run": 1}, "/dry_run"),
        ({"type": "t", "sort": "down"}, "/sort"),
        ({"error": "nope"}, "/error"),
        ({"message": "x" * 201}, "/message"),
        ({"id_prefix": "a b"}, "/id_prefix"),
        ({"parent": "a"}, "/parent"),
        ({"since": "yesterday"}, "/since"),
        ({"until": -1}, "/until"),
        ({"args": {"a..b": 1}}, "/args/a..b"),
        ({"args": {"a": [1]}}, "/args/*"),
        ({"args": {"a": "x" * 201}}, "/args/a"),
        ({"args": {str(n): 1 for n in range(9)}}, "/args"),
        ({"arg.a": 1}, "/arg.a"),
        ({"message~": "x"}, "/message~0"),
    ],
)
async def test_an_invalid_bulk_filter_gets_422_where_the_fault_is(
    http: aiohttp.ClientSession, body: dict[str, Any], pointer: str
) -> None:
    async with http.post("/v1/jobs:delete", json=body) as response:
        problem = await response.json()
        assert (response.status, problem["type"]) == (422, "/problems/invalid-request")
        assert [error["pointer"] for error in problem["errors"]] == [pointer], problem


async def test_a_bulk_run_queues_delayed_jobs_that_match(http: aiohttp.ClientSession) -> None:
    for group in ("a", "a", "b"):
        async with http.post("/v1/jobs", json={"type": "hold", "group": group, "delay_s": 60}) as response:
            assert (await response.json())["state"] == "delayed"
    async with http.post("/v1/jobs:run", json={"group": "a", "dry_run": True}) as response:
        dry = await response.json()
        assert (dry["count"], len(dry["sample"])) == (2, 2)
    async with http.post("/v1/jobs:run", json={"group": "a"}) as response:
        assert (response.status, await response.json()) == (200, {"count": 2})
    async with http.get("/v1/jobs?state=delayed") as response:
        assert [job["group"] for job in (await response.json())["jobs"]] == ["b"]
    async with http.post("/v1/jobs:run", json={}) as response:
        assert response.status == 422


async def test_bulk_cancel_and_delete_apply_to_all_matching_jobs(serving: Serving, http: aiohttp.ClientSession) -> None:
    delayed = [await submit(http, type="echo", delay_s=60) for _ in range(3)]
    held = await submit(http, type="hold")
    await asyncio.sleep(0.02)
    assert await act(http, "cancel", state="delayed") == {"count": 3}
    assert [await state(http, job) for job in delayed] == ["cancelled"] * 3
    assert await act(http, "delete", state="cancelled", queue="default") == {"count": 3}
    assert [await state(http, job) for job in delayed] == ["evicted"] * 3
    assert await state(http, held) == "running"
    assert await act(http, "delete", type="hold") == {"count": 0}, "a live job can not be deleted"
    assert await act(http, "cancel", type="hold") == {"count": 1}


async def test_older_than_s_counts_from_the_submission(serving: Serving, http: aiohttp.ClientSession) -> None:
    old = await failed(serving, http)
    await asyncio.sleep(0.3)
    young = await failed(serving, http)
    assert await act(http, "delete", older_than_s=3600) == {"count": 0}
    assert await act(http, "delete", older_than_s=0.25) == {"count": 1}
    assert [await state(http, job) for job in (old, young)] == ["evicted", "failed"]


@pytest.mark.parametrize("action", ["retry", "cancel", "delete"])
@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{}", 422, ""),
        (b"[]", 422, ""),
        (b"null", 422, ""),
        (b'{"state":"done"}', 422, "/state"),
        (b'{"state":null}', 422, "/state"),
        (b'{"state":"failed","type":null}', 422, "/type"),
        (b'{"type":""}', 422, "/type"),
        (b'{"state":["failed"]}', 422, "/state"),
        (b'{"older_than_s":-1}', 422, "/older_than_s"),
        (b'{"older_than_s":"1h"}', 422, "/older_than_s"),
        (b"", 400, None),
        (b"state=failed", 400, None),
        (b'{"older_than_s":1e999}', 400, None),
    ],
)
async def test_an_invalid_filter_is_rejected_and_changes_nothing(
    serving: Serving, http: aiohttp.ClientSession, action: str, body: bytes, status: int, pointer: str | None
) -> None:
    job = await failed(serving, http)
    delayed = await submit(http, type="echo", delay_s=60)
    headers = {"Content-Type": "application/json"}
    async with http.post(f"/v1/jobs:{action}", data=body, headers=headers) as response:
        problem = await response.json()
        assert response.status == status
        if pointer is not None:
            assert problem["type"] == "/problems/invalid-request"
            assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert [await state(http, each) for each in (job, delayed)] == ["failed", "delayed"], "no job was changed"


async def test_a_filter_must_be_json(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs:delete", data={"state": "failed"}) as response:
        assert (response.status, response.headers["Accept-Post"]) == (415, "application/json")
    async with http.post("/v1/jobs:delete") as response:
        assert response.status == 415
