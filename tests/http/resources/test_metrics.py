"""The metrics as a resource: forms by Accept, access, path, and what a drain leaves of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from jobqueue.metrics.exposition import OPENMETRICS, TEXT
from tests.http.declared import ANSWERS
from tests.http.keyed import READER, STRANGER, SUB, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

NAMED = {"Accept": "application/openmetrics-text;version=1.0.0"}


async def scrape(http: aiohttp.ClientSession, path: str = "/metrics", **options: dict[str, str]) -> str:
    async with http.get(path, **options) as response:  # type: ignore[arg-type]  # any option
        assert response.status == 200
        return await response.text()


async def run(http: aiohttp.ClientSession) -> str:
    async with http.post("/v1/jobs", json={"type": "echo"}, headers={"Prefer": "wait=10"}) as response:
        assert response.status == 200
        return str((await response.json())["id"])


async def test_each_form_is_whole_and_named_by_its_media_type(http: aiohttp.ClientSession) -> None:
    job_id = await run(http)
    async with http.get("/metrics") as response:
        assert response.headers["Content-Type"] == TEXT
        assert {family.name for family in parse_text(await response.text())} >= {"jobqueue_jobs", "jobqueue_attempts"}
    async with http.get("/metrics", headers=NAMED) as response:
        assert (response.headers["Content-Type"], response.headers["Vary"]) == (OPENMETRICS, "Accept")
        text = await response.text()
    assert text.endswith("# EOF\n")
    examples = [each.exemplar for family in parse_openmetrics(text) for each in family.samples if each.exemplar]
    assert {example.labels["job_id"] for example in examples} == {job_id}


async def test_a_head_has_the_headers_alone(http: aiohttp.ClientSession) -> None:
    async with http.head("/metrics") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_answers_are_counted_by_path_route_and_problem(http: aiohttp.ClientSession) -> None:
    before = await scrape(http)
    assert 'jobqueue_http_problems_total{problem="job-not-found"} ' in before
    async with http.get("/v1/queues/nope") as response:
        assert response.status == 404
    async with http.get("/nowhere") as response:
        assert response.status == 404
    text = await scrape(http)
    for sample in (
        'jobqueue_http_stock_requests_total{method="GET",route="/v1/queues/{name}",code="404"} 1\n',
        'jobqueue_http_stock_requests_total{method="GET",route="none",code="404"} 1\n',
        'jobqueue_http_requests_total{path="stock"} 3\n',
    ):
        assert sample in text


async def test_a_scrape_needs_a_key_with_the_scope_read(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth("reader", "sub")))
    for headers, status in (({}, 401), (bearer(STRANGER), 401), (bearer(SUB), 403), (bearer(READER), 200)):
        async with http.get("/metrics", headers=headers) as response:
            assert response.status == status


async def test_open_metrics_need_no_key_and_name_no_job(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth("sub", "reader"), metrics={"access": "open"}))
    submission = {"json": {"type": "echo"}, "headers": bearer(SUB) | {"Prefer": "wait=10"}}
    async with http.post("/v1/jobs", **submission) as response:  # type: ignore[arg-type]  # any option
        assert response.status == 200
    assert "job_id" not in await scrape(http, headers=NAMED)
    assert 'jobqueue_attempts_total{type="echo",outcome="succeeded"} 1' in await scrape(http)


async def test_a_key_that_sees_only_its_own_jobs_gets_no_ids(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth("sub", "reader")))
    async with http.post("/v1/jobs", json={"type": "echo"}, headers=bearer(SUB) | {"Prefer": "wait=10"}) as response:
        assert response.status == 200
    assert "job_id" not in await scrape(http, headers=NAMED | bearer(READER))


@pytest.mark.parametrize("metrics", [{"enabled": False}, {"listen": "127.0.0.1:0"}])
async def test_metrics_that_are_off_or_on_another_port_are_not_here(
    start: Start, http_to: Open, metrics: dict[str, object]
) -> None:
    http = await http_to(await start(metrics=metrics))
    async with http.get("/metrics") as response:
        assert response.status == 404
    async with http.get("/") as response:
        assert "metrics" not in (await response.json())["links"]


async def test_another_path_replaces_the_usual_one(start: Start) -> None:
    serving = await start(metrics={"path": "/internal/metrics"})
    async with aiohttp.ClientSession(serving.url) as http:
        async with http.get("/internal/metrics") as response:
            assert "jobqueue_build_info" in await response.text()
        assert ANSWERS.undeclared == ["GET /internal/metrics -> 200 : is not declared"], "the row has the usual path"
        ANSWERS.undeclared.clear()
        async with http.get("/metrics") as response:
            assert response.status == 404


async def test_a_scrape_works_while_the_server_drains(serving: Serving, http: aiohttp.ClientSession) -> None:
    serving.service.stop_admitting()
    text = await scrape(http)
    assert "jobqueue_draining 1\n" in text
    async with http.post("/v1/jobs", json={"type": "echo"}) as response:
        assert response.status == 503
    assert 'jobqueue_jobs_refused_total{queue="default",reason="draining"} 1\n' in await scrape(http)


async def test_two_servers_of_one_process_have_metrics_of_their_own(start: Start, http_to: Open) -> None:
    one, other = await http_to(await start()), await http_to(await start())
    await run(one)
    sample = 'jobqueue_jobs_submitted_total{queue="default",type="echo"} '
    assert f"{sample}1\n" in await scrape(one)
    assert f"{sample}0\n" in await scrape(other)
