"""Receivers of webhooks over HTTP: the document, what each key is told, and callbacks of submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core.job_filter import JobFilter
from tests.http.keyed import ANN, BOB, OPS, READER, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.keys import Key
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the specification's own example


def webhooks(port: int = 1, **crm: Any) -> dict[str, Any]:
    """Return settings with an endpoint on a port of loopback, and callbacks there."""
    endpoint = {"url": f"http://127.0.0.1:{port}/hooks?token=t0ken", "events": ["job.succeeded"], "attempts_max": 1}
    return {
        "allow": ["127.0.0.1"],
        "secret": SECRET,
        "callbacks": True,
        "callback_hosts": ["127.0.0.1:1"],
        "endpoints": {"crm": endpoint | crm},
    }


async def read(http: aiohttp.ClientSession, key: Key | None = None) -> list[dict[str, Any]]:
    async with http.get("/v1/webhooks", headers=bearer(key)) as response:
        assert response.status == 200, await response.text()
        listed: list[dict[str, Any]] = (await response.json())["webhooks"]
        return listed


async def run(http: aiohttp.ClientSession, key: Key | None = None, **submission: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Prefer": "wait=10", **bearer(key)}
    async with http.post("/v1/jobs", json={"type": "echo", **submission}, headers=headers) as response:
        return response.status, await response.json()


async def deliveries_end(serving: Serving) -> None:
    backend = serving.service.backend
    for job in (await backend.page(JobFilter(type="webhook"), limit=100, cursor=None)).jobs:
        await backend.wait(job.id)


async def test_a_server_without_webhooks_has_no_receivers(http: aiohttp.ClientSession) -> None:
    assert await read(http) == []


async def test_a_receiver_has_its_state_its_counts_and_its_latest_attempt(start: Start, http_to: Open) -> None:
    serving = await start(webhooks=webhooks())
    http = await http_to(serving)
    untouched, of_callbacks = await read(http)
    assert (untouched["last_attempt"], untouched["delivered_at"], of_callbacks["name"]) == (None, None, "@127.0.0.1:1")
    assert (await run(http))[0] == 200
    await deliveries_end(serving)
    crm = (await read(http))[0]
    assert crm | {"last_attempt": None} == {
        "name": "crm",
        "host": "127.0.0.1",
        "events": ["job.succeeded"],
        "topics": [],
        "state": "enabled",
        "disabled_reason": None,
        "pending": 0,
        "delivered_total": 0,
        "failed_total": 1,
        "attempts_failed_total": 1,
        "dropped_total": 0,
        "last_attempt": None,
        "delivered_at": None,
    }
    assert crm["last_attempt"]["error"] == "127.0.0.1 can't be reached: Connection refused"


async def test_a_key_that_sees_its_own_jobs_only_gets_no_counts_and_no_delivery(start: Start, http_to: Open) -> None:
    serving = await start(auth=auth(), webhooks=webhooks())
    http = await http_to(serving)
    status, _ = await run(http, ANN)
    assert status in (200, 202)
    await deliveries_end(serving)
    for each in await read(http, READER):
        assert {*each} == {"name", "host", "events", "topics", "state", "disabled_reason"}
    job_id = (await read(http, OPS))[0]["last_attempt"]["job_id"]
    for key, expected in ((OPS, 200), (ANN, 404)):
        async with http.get(f"/v1/jobs/{job_id}", headers=bearer(key)) as response:
            assert response.status == expected


async def test_no_answer_has_a_secret_or_more_of_a_url_than_its_host(start: Start, http_to: Open) -> None:
    serving = await start(webhooks=webhooks())
    http = await http_to(serving)
    _, job = await run(http, callback="http://127.0.0.1:1/done?token=t0ken")
    while any(each["last_attempt"] is None for each in await read(http)):
        continue
    texts = []
    for path in (
        "/v1/webhooks",
        "/v1/jobs?type=webhook",
        f"/v1/jobs/{job['id']}?include=args,spec,events",
        "/v1/types",
        "/v1/types/webhook",
        "/v1/failures",
        "/metrics",
    ):
        async with http.get(path) as response:
            texts.append(await response.text())
            assert response.status == 200, path
    for each in await read(http):
        async with http.get(f"/v1/jobs/{each['last_attempt']['job_id']}?include=args,spec,events") as response:
            texts.append(await response.text())
    for text in texts:
        assert "t0ken" not in text
        assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in text


@pytest.mark.parametrize(
    ("callback", "detail"),
    [
        ("http://169.254.169.254/latest", "169.254.169.254 is an address of cloud metadata"),
        ("http://[::ffff:127.0.0.1]/", "is an IPv6 address that carries an IPv4 one"),
        ("https://example.com/", "webhooks.callback_hosts does not list it"),
        ("http://127.0.0.1:8000/", "no callbacks go to this host and port"),
        ("https://127.1/", "is neither the name of a host nor an address"),
        ("https://a:b@127.0.0.1/", "a URL has no user and no password"),
        ("javascript:alert(1)", "a URL begins with https://"),
        ("http://127.0.0.1\r\nX: y/", "printable ASCII characters"),
        ("", "Expected `str` of length >= 1"),
        ("https://127.0.0.1/" + "a" * 2000, "Expected `str` of length <= 2000"),
        (17, "Expected `str"),
    ],
)
async def test_a_callback_that_may_not_be_called_is_a_422_at_its_place(
    start: Start, http_to: Open, callback: Any, detail: str
) -> None:
    http = await http_to(await start(webhooks=webhooks()))
    status, problem = await run(http, callback=callback)
    assert status == 422
    ((pointer, said),) = [(each["pointer"], each["detail"]) for each in problem["errors"]]
    assert pointer == "/callback"
    assert detail in said


async def test_a_server_without_callbacks_says_so(http: aiohttp.ClientSession) -> None:
    status, problem = await run(http, callback="https://example.com/")
    assert (status, problem["errors"][0]["pointer"]) == (422, "/callback")
    assert problem["errors"][0]["detail"] == "this server has no callbacks (webhooks.callbacks)"


async def test_no_submission_may_name_the_type_of_deliveries(start: Start, http_to: Open) -> None:
    http = await http_to(await start(webhooks=webhooks()))
    for more in ({}, {"delay_s": 1}, {"queue": "webhooks"}):
        status, problem = await run(http, type="webhook", args={"to": "crm", "event": {}}, **more)
        assert (status, problem["type"]) == (422, "/problems/unknown-type")
    async with http.post("/v1/jobs:batch", json={"jobs": [{"type": "webhook", "args": {}}]}) as response:
        assert '"status":422' in await response.text()
    async with http.get("/openapi.json") as response:
        assert '"webhook.Submission"' not in await response.text()
    async with http.get("/v1/types") as response:
        assert [each["type"] for each in (await response.json())["types"] if each["built_in"]] == ["webhook"]


async def test_no_submission_may_name_the_queue_of_deliveries(start: Start, http_to: Open) -> None:
    http = await http_to(await start(webhooks=webhooks()))
    job = {"type": "echo", "queue": "webhooks"}
    for path, body, pointer in (
        ("/v1/jobs", job, "/queue"),
        ("/v1/flows", {"jobs": [{"name": "first", **job}]}, "/jobs/0/queue"),
        ("/v1/jobs:batch", {"jobs": [job]}, "/jobs/0/queue"),
    ):
        async with http.post(path, json=body) as response:
            text = await response.text()
            assert f'"pointer":"{pointer}"' in text, text
    async with http.put("/v1/schedules/nightly", json={**job, "every_s": 60}) as response:
        assert (response.status, (await response.json())["errors"][0]["pointer"]) == (422, "/queue")


async def test_a_callback_is_a_job_of_the_caller_that_asked_for_it(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth(), webhooks=webhooks()))
    await run(http, ANN, callback="http://127.0.0.1:1/")
    while (job := (await read(http, OPS))[1]["last_attempt"]) is None:
        continue
    for key, expected in ((ANN, 202), (OPS, 202), (BOB, 404)):
        async with http.get(f"/v1/jobs/{job['job_id']}", headers=bearer(key)) as response:
            assert response.status == expected
    async with http.get("/v1/callers", headers=bearer(OPS)) as response:
        assert {each["name"]: each["jobs_live"] for each in (await response.json())["callers"]}["key:ann"] == 1


async def test_the_history_knows_the_type_of_deliveries(start: Start, http_to: Open) -> None:
    http = await http_to(await start(webhooks=webhooks()))
    for name, expected in (("webhook", 200), ("webhoo", 400)):
        async with http.get(f"/v1/stats?by=type&name={name}") as response:
            assert response.status == expected, await response.text()
