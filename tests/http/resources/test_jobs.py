"""One job over HTTP: submission, reads, cancellation, deletion; queues and health."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.context import JobContext
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving

ON_EACH_BACKEND = True

FIELDS = [
    *("id", "type", "queue", "state", "attempt", "attempts_max", "priority", "group"),
    *("created_at", "run_at", "started_at", "finished_at"),
    *("progress", "position", "eta_s", "poll_after_ms", "waiting_for", "result", "error", "history"),
]


async def submit(http: aiohttp.ClientSession, **submission: Any) -> dict[str, Any]:
    async with http.post("/v1/jobs", json=submission) as response:
        assert response.status == 202, await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def ended(serving: Serving, job: dict[str, Any]) -> None:
    await serving.service.backend.wait(job["id"])


@pytest.mark.in_process  # a store starts it before the answer
async def test_a_submission_gets_202_with_its_document_and_location(
    http: aiohttp.ClientSession,
) -> None:
    async with http.post("/v1/jobs", json={"type": "hold", "group": "g", "priority": 3}) as response:
        document = await response.json()
        assert response.status == 202
        assert response.headers["Location"] == f"/v1/jobs/{document['id']}"
        assert response.headers["Job-State"] == document["state"] == "queued"
        assert response.headers["Retry-After"] == "1"
        assert response.headers["ETag"].startswith('W/"')
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert response.headers["Server"] == "jobqueue"
        assert list(document) == FIELDS
        assert (document["group"], document["priority"], document["poll_after_ms"]) == ("g", 3, 1000)
        assert document["position"] == 1
        absent = ("started_at", "finished_at", "progress", "eta_s", "result", "error", "history")
        assert [document[name] for name in absent] == [None] * len(absent)


async def test_a_submitted_job_is_readable_immediately(http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 202
        assert (await response.json())["id"] == job["id"]


async def test_times_are_rfc_3339_in_utc_with_milliseconds(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        document = await response.json()
    for name in ("created_at", "run_at", "started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document[name])
    now_ms = round(datetime.now().timestamp() * 1000)
    created_ms = round(datetime.fromisoformat(document["created_at"]).timestamp() * 1000)
    assert 0 <= now_ms - created_ms < 10_000


async def test_the_status_is_202_for_a_live_job_and_200_for_a_terminal_one(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    for method in ("HEAD", "GET"):
        async with http.request(method, f"/v1/jobs/{job['id']}") as response:
            assert response.status == 202
            assert "Retry-After" in response.headers
    serving.gate.set()
    await ended(serving, job)
    for method in ("HEAD", "GET"):
        async with http.request(method, f"/v1/jobs/{job['id']}") as response:
            assert response.status == 200
            assert response.headers["Job-State"] == "succeeded"
            assert "Retry-After" not in response.headers
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        document = await response.json()
        assert (document["result"], document["poll_after_ms"]) == ("held", None)


async def test_head_has_the_headers_of_get_and_no_body(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo", args={"value": 1})
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        got = response.headers.copy()
    raw = await serving.talk(f"HEAD /v1/jobs/{job['id']} HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode())
    answer = Answer(raw)
    assert answer.rest == b""
    # No length rather than a wrong one: the JSON is not rendered.
    assert "content-length" not in answer.headers
    for name in ("ETag", "Job-State", "Cache-Control", "Content-Type"):
        assert answer.headers[name.lower()] == got[name]


async def test_head_does_not_render_json(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(http, type="hold")

    def fail(*args: object) -> bytes:
        raise AssertionError("rendered")

    monkeypatch.setattr("jobqueue.http.response.reply.job_document", fail)
    async with http.head(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 202


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_matching_etag_gets_304_until_the_job_changes(
    serving: Serving, http: aiohttp.ClientSession, method: str
) -> None:
    job = await submit(http, type="hold")
    path = f"/v1/jobs/{job['id']}"
    await asyncio.sleep(0.02)  # it runs now
    async with http.head(path) as response:
        etag = response.headers["ETag"]
    opaque = etag.removeprefix("W/")
    for given in (etag, opaque, f'"x", {etag}', f'W/"y",{opaque}', "*", " * "):
        async with http.request(method, path, headers={"If-None-Match": given}) as response:
            assert response.status == 304, given
            assert response.headers["ETag"] == etag
            assert response.headers["Job-State"] == "running"
            assert response.headers["Retry-After"] == "1"
            assert await response.read() == b""
    for given in ('"x"', "nonsense", opaque[1:-1], '""'):
        async with http.request(method, path, headers={"If-None-Match": given}) as response:
            assert response.status == 202, given
    serving.gate.set()
    await ended(serving, job)
    async with http.request(method, path, headers={"If-None-Match": etag}) as response:
        assert response.status == 200
        assert response.headers["ETag"] != etag


async def test_a_result_has_the_same_bytes_in_both_resources(serving: Serving, http: aiohttp.ClientSession) -> None:
    value = {"b": 18446744073709551615, "a": [1.5, "é\u2028", None]}
    job = await submit(http, type="echo", args={"value": value})
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        document = await response.read()
        assert json.loads(document)["result"] == value
    async with http.get(f"/v1/jobs/{job['id']}/result") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        result = await response.read()
    assert json.loads(result) == value
    assert b'"result":' + result.removesuffix(b"\n") in document


async def test_null_is_a_result(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}/result") as response:
        assert (response.status, await response.read()) == (200, b"null\n")


async def test_a_document_has_progress_and_error(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold", args={"note": "half"})
    while True:
        async with http.get(f"/v1/jobs/{job['id']}") as response:
            document = await response.json()
        if document["progress"] is not None:
            break
    assert document["progress"] == {"fraction": 0.5, "note": "half"}
    job = await submit(http, type="fail")
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        assert (await response.json())["error"] == {
            "code": "handler_error",
            "message": "ValueError: it can't be done",
        }


async def test_an_unencodable_progress_note_is_replaced(serving: Serving, http: aiohttp.ClientSession) -> None:
    serving.queue.handler(name="surrogate")(_surrogate)
    job = await submit(http, type="surrogate")
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 200
        assert (await response.json())["progress"]["note"] == "?"


async def _surrogate(ctx: JobContext) -> None:
    ctx.progress(1.0, "\ud800")


@pytest.mark.parametrize(
    ("submission", "state"),
    [({"type": "hold"}, "running"), ({"type": "fail"}, "failed"), ({"type": "echo", "delay_s": 60}, "delayed")],
)
async def test_the_result_of_a_job_that_did_not_succeed_gets_409(
    serving: Serving, http: aiohttp.ClientSession, submission: dict[str, Any], state: str
) -> None:
    job = await submit(http, **submission)
    if state == "failed":
        await ended(serving, job)
    await asyncio.sleep(0.02)
    async with http.get(f"/v1/jobs/{job['id']}/result") as response:
        problem = await response.json()
        assert (response.status, problem["state"], response.headers["Job-State"]) == (409, state, state)
        assert problem["type"] == "/problems/wrong-state"


async def test_cancel_ends_a_delayed_job_immediately_and_a_running_one_when_it_stops(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    waiting = await submit(http, type="echo", delay_s=60)
    async with http.post(f"/v1/jobs/{waiting['id']}:cancel") as response:
        assert (response.status, (await response.json())["state"]) == (200, "cancelled")
    running = await submit(http, type="hold")
    await asyncio.sleep(0.02)
    async with http.post(f"/v1/jobs/{running['id']}:cancel") as response:
        assert (response.status, (await response.json())["state"]) == (202, "running")
    await ended(serving, running)
    async with http.head(f"/v1/jobs/{running['id']}") as response:
        assert (response.status, response.headers["Job-State"]) == (200, "cancelled")
    async with http.post(f"/v1/jobs/{running['id']}:cancel") as response:
        assert response.status == 409
        assert (await response.json())["state"] == "cancelled"


async def test_cancel_ignores_if_none_match(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo", delay_s=60)
    async with http.post(f"/v1/jobs/{job['id']}:cancel", headers={"If-None-Match": "*"}) as response:
        assert (response.status, (await response.json())["state"]) == (200, "cancelled")


async def test_a_terminal_job_can_be_deleted_and_a_live_one_gets_409(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    async with http.delete(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 409
    serving.gate.set()
    await ended(serving, job)
    async with http.delete(f"/v1/jobs/{job['id']}") as response:
        assert (response.status, await response.read()) == (204, b"")
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", ":cancel")):
        async with http.request(method, f"/v1/jobs/{job['id']}{path}") as response:
            problem = await response.json()
            assert (response.status, problem["reason"]) == (410, "evicted")
            assert "deleted" in problem["detail"]
    async with http.head(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 410


async def test_an_id_of_an_earlier_run_gets_410_and_an_unknown_id_404(
    start: Any, serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="echo")
    later = await start()
    async with later.connect() as (reader, writer):
        writer.write(f"GET /v1/jobs/{job['id']} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        gone = await read_answer(reader)
        assert (gone.status, gone.problem["reason"]) == (410, "earlier-run")
        writer.write(b"GET /v1/jobs/nonsense HTTP/1.1\r\nHost: h\r\n\r\n")
        unknown = await read_answer(reader)
        assert (unknown.status, unknown.kind) == (404, "job-not-found")


async def test_a_full_queue_rejects_with_retry_after_and_accepts_no_job(start: Any) -> None:
    serving = await start(queues={"default": {"capacity": 1, "workers": 1}})
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    assert held.status == 202
    refused = Answer(await serving.talk(post(b'{"type":"echo"}', CLOSE)))
    assert (refused.status, refused.kind) == (503, "queue-full")
    assert int(refused.headers["retry-after"]) >= 1
    serving.gate.set()
    await serving.service.backend.wait(json.loads(held.rest)["id"])
    assert serving.service.backend.stats()[0].accepted_total == 1


async def test_queues_have_counts_and_settings(serving: Serving, http: aiohttp.ClientSession) -> None:
    await submit(http, type="hold")
    await submit(http, type="echo", delay_s=60)
    await asyncio.sleep(0.02)
    async with http.get("/v1/queues") as response:
        (queue,) = (await response.json())["queues"]
    assert (queue["name"], queue["running"], queue["delayed"], queue["submitted_total"]) == ("default", 1, 1, 2)
    async with http.get("/v1/queues/default") as response:
        assert (await response.json())["capacity"] == 10_000
    async with http.get("/v1/queues/nope") as response:
        assert (response.status, (await response.json())["type"]) == (404, "/problems/queue-not-found")


async def test_readiness_names_the_degraded_parts(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http.get("/readyz") as response:
        assert await response.json() == {"status": "ready", "fast_path": True}
    monkeypatch.setattr(type(serving.service), "degraded", ["handlers in processes can't run: no process runs"])
    async with http.get("/readyz") as response:
        assert response.status == 200
        assert (await response.json())["degraded"] == ["handlers in processes can't run: no process runs"]


async def test_a_draining_server_is_live_not_ready_and_rejects_submissions(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    async with http.get("/readyz") as response:
        assert response.status == 200
    serving.service.stop_admitting()
    async with http.get("/readyz") as response:
        assert response.status == 503
    async with http.get("/livez") as response:
        assert response.status == 200
    async with http.post("/v1/jobs", json={"type": "echo"}) as response:
        assert (response.status, (await response.json())["type"]) == (503, "/problems/draining")
        assert int(response.headers["Retry-After"]) >= 1
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        assert response.status == 202


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/jobs/", "/v1/jobs/a/b", "/v1/jobs/a:fly", "/v2/jobs", "/V1/jobs"])
async def test_an_unknown_path_gets_a_404_problem(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/v1/jobs/x", "DELETE, GET, HEAD"),
        ("GET", "/v1/jobs/x:cancel", "POST"),
        ("DELETE", "/v1/queues", "GET, HEAD"),
        ("OPTIONS", "/readyz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_gets_405_with_the_allowed_methods(
    http: aiohttp.ClientSession, method: str, path: str, allowed: str
) -> None:
    async with http.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed
        assert response.content_type == "application/problem+json"
