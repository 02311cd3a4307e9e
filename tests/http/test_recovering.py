"""While jobs are recovered, requests that need them are rejected, on every path alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import Recovering
from jobqueue.http.routes import ROUTES

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving


async def test_each_route_that_needs_jobs_is_rejected_and_no_other_is(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    serving.server.fast_path = None  # as the server does it
    serving.service.why_not_ready = Recovering
    for row in ROUTES:
        path = row.path.replace("{id}", "a" * 22).replace("{name}", "default").replace("{failure}", "0123456789abcdef")
        if "{" in path or row.name in ("drain_server", "reload_server"):
            continue
        for method in row.methods:
            headers = {"Content-Type": "application/json"} if row.body is not None else {}
            async with http.request(method, path, headers=headers, allow_redirects=False) as response:
                rejected = response.status == 503 and response.headers.get("Retry-After") == "1"
                assert rejected is (row.needs_jobs or row.name == "get_readiness"), (method, path, response.status)


async def test_an_expectation_is_not_continued_while_jobs_are_recovered(serving: Serving) -> None:
    serving.service.why_not_ready = Recovering
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    answer = await serving.talk(head + b"Expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"/problems/recovering" in answer


def test_routes_of_jobs_need_them() -> None:
    needing = {row.name for row in ROUTES if row.needs_jobs}
    assert {
        "submit_job",
        "get_job",
        "list_jobs",
        "cancel_job",
        "pause_queue",
        "change_queue",
        "list_failures",
        "retry_jobs",
    } <= needing
    assert not {"list_queues", "get_server", "get_liveness", "get_metrics", "drain_server"} & needing
